"""The windowed affinity: it is the kernel of an infinitely wide network times a taper, and its products are its own."""

from __future__ import annotations

import numpy as np
import pytest

from ntk_nonlocal.architecture import Conv, Rbf, Serial
from ntk_nonlocal.kernels import nngp_kernel, windowed_affinity
from ntk_nonlocal.kernels.windowed import half_window

HEIGHT, WIDTH, CHANNELS, PATCH, WINDOW = 7, 9, 2, 3, 4
PIXELS = HEIGHT * WIDTH


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(0).random((CHANNELS, HEIGHT, WIDTH)).astype(np.float32)


def taper(height: int, width: int, window: int) -> np.ndarray:
    row, column = np.divmod(np.arange(height * width), width)
    one = [np.maximum(1 - np.abs(at[:, None] - at) / window, 0) for at in (row, column)]
    return one[0] * one[1]


@pytest.mark.parametrize("bandwidth", [0.1, 0.5])
def test_it_is_the_infinite_network_fed_a_mirrored_frame(features: np.ndarray, bandwidth: float) -> None:
    kernel = windowed_affinity(features, PATCH, bandwidth, WINDOW)
    margin = PATCH // 2
    framed = np.pad(np.moveaxis(features, 0, 2), ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    network = Serial(Conv(PATCH, weight_std=1.0), Rbf(bandwidth**-2), Conv(1, weight_std=1.0))
    whole = np.asarray(nngp_kernel(network, framed).as_matrix())
    inner = np.arange(whole.shape[0]).reshape(framed.shape[:2])[margin:-margin, margin:-margin].ravel()
    expected = taper(HEIGHT, WIDTH, WINDOW) * whole[np.ix_(inner, inner)]
    np.testing.assert_allclose(kernel.as_matrix(), expected, atol=2e-6 / bandwidth**2)


@pytest.mark.parametrize(("size", "window"), [((5, 7), 1), ((7, 5), 3), ((4, 9), 12)])
def test_float64_follows_the_definition_to_rounding(size: tuple[int, int], window: int, x64: None) -> None:
    """Windows smaller and larger than the image, in 64-bit JAX."""
    height, width = size
    rng = np.random.default_rng(2)
    image, columns = rng.random((2, height, width)), rng.normal(size=(height * width, 3))
    framed = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="reflect")
    patches = np.stack([framed[:, y : y + height, x : x + width] for y in range(3) for x in range(3)])
    pixels = patches.reshape(-1, height * width)
    distance = np.mean((pixels[:, :, None] - pixels[:, None]) ** 2, axis=0)
    expected = taper(height, width, window) * np.exp(-np.maximum(distance - 0.02, 0) / 0.3**2)
    kernel = windowed_affinity(image, 3, 0.3, window, offset=0.02)
    np.testing.assert_allclose(kernel.as_matrix(), expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose(kernel @ columns, expected @ columns, rtol=0, atol=1e-12)


def test_products_diagonal_and_matrix_agree(features: np.ndarray) -> None:
    kernel = windowed_affinity(features, PATCH, 0.3, WINDOW, offset=0.01)
    matrix = np.asarray(kernel.as_matrix())
    columns = np.random.default_rng(1).normal(size=(PIXELS, 3)).astype(np.float32)
    np.testing.assert_allclose(kernel @ columns, matrix @ columns, atol=1e-5)
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_allclose(kernel.diagonal(), np.diag(matrix))


def test_it_is_positive_semi_definite_within_its_window(features: np.ndarray) -> None:
    matrix = np.asarray(windowed_affinity(features, 1, 0.8, WINDOW).as_matrix(), np.float64)
    assert np.linalg.eigvalsh(matrix)[0] > -1e-5
    cut = np.where(taper(HEIGHT, WIDTH, WINDOW) > 0, 1.0, 0.0)
    assert np.linalg.eigvalsh(cut)[0] < -0.1  # which a window without a taper is not


def test_the_offset_takes_noise_off_the_distances(features: np.ndarray) -> None:
    plain = np.asarray(windowed_affinity(features, PATCH, 0.3, WINDOW).as_matrix())
    shifted = np.asarray(windowed_affinity(features, PATCH, 0.3, WINDOW, offset=0.05).as_matrix())
    inside = taper(HEIGHT, WIDTH, WINDOW) > 0
    ratio = shifted[inside] / plain[inside]
    assert ratio.min() >= 1 - 1e-5 and ratio.max() == pytest.approx(np.exp(0.05 / 0.09), rel=1e-4)


def test_half_a_window_holds_one_of_every_pair() -> None:
    lags = {tuple(lag) for lag in half_window(4).tolist()}
    assert len(lags) == 25 and (0, 0) in lags
    assert {(-y, -x) for y, x in lags} | lags == {(y, x) for y in range(-3, 4) for x in range(-3, 4)}
    assert {(-y, -x) for y, x in lags} & lags == {(0, 0)}


@pytest.mark.parametrize(
    ("shape", "patch", "bandwidth", "window", "offset", "message"),
    [
        ((7, 9), 3, 0.3, 4, 0.0, "shape"),
        ((2, 7, 9), 4, 0.3, 4, 0.0, "patch_size"),
        ((2, 3, 9), 7, 0.3, 4, 0.0, "patch_size"),
        ((2, 7, 9), 3, 0.0, 4, 0.0, "bandwidth"),
        ((2, 7, 9), 3, 0.3, 0, 0.0, "window"),
        ((2, 7, 9), 3, 0.3, 4, -1.0, "offset"),
    ],
)
def test_bad_arguments_are_named(
    shape: tuple[int, ...], patch: int, bandwidth: float, window: int, offset: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        windowed_affinity(np.zeros(shape, np.float32), patch, bandwidth, window, offset)
