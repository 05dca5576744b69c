"""The windowed affinity: it is the kernel of an infinitely wide network times a taper, kept or computed anew."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from ntk_nonlocal.architecture import Conv, Rbf, Serial
from ntk_nonlocal.kernels import nngp_kernel, patch_affinity
from ntk_nonlocal.kernels.lag import budget as memory

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
    kernel = patch_affinity(features, PATCH, bandwidth, WINDOW)
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
    kernel = patch_affinity(image, 3, 0.3, window, offset=0.02)
    np.testing.assert_allclose(kernel.as_matrix(), expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose(kernel @ columns, expected @ columns, rtol=0, atol=1e-12)


def test_products_diagonal_and_matrix_agree(features: np.ndarray) -> None:
    kernel = patch_affinity(features, PATCH, 0.3, WINDOW, offset=0.01)
    matrix = np.asarray(kernel.as_matrix())
    columns = np.random.default_rng(1).normal(size=(PIXELS, 3)).astype(np.float32)
    np.testing.assert_allclose(kernel @ columns, matrix @ columns, atol=1e-5)
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_allclose(kernel.diagonal(), np.diag(matrix))


def test_it_is_positive_semi_definite_within_its_window(features: np.ndarray) -> None:
    matrix = np.asarray(patch_affinity(features, 1, 0.8, WINDOW).as_matrix(), np.float64)
    assert np.linalg.eigvalsh(matrix)[0] > -1e-5
    cut = np.where(taper(HEIGHT, WIDTH, WINDOW) > 0, 1.0, 0.0)
    assert np.linalg.eigvalsh(cut)[0] < -0.1  # which a window without a taper is not


def test_the_offset_takes_noise_off_the_distances(features: np.ndarray) -> None:
    plain = np.asarray(patch_affinity(features, PATCH, 0.3, WINDOW).as_matrix())
    shifted = np.asarray(patch_affinity(features, PATCH, 0.3, WINDOW, offset=0.05).as_matrix())
    inside = taper(HEIGHT, WIDTH, WINDOW) > 0
    ratio = shifted[inside] / plain[inside]
    assert ratio.min() >= 1 - 1e-5 and ratio.max() == pytest.approx(np.exp(0.05 / 0.09), rel=1e-4)


def test_a_pair_is_stored_once_in_lines_without_frames(features: np.ndarray) -> None:
    """Row lags times column lags times pixels, a row of zeros below each plane, and one plane of zeros before them."""
    kernel = patch_affinity(features, PATCH, 0.3, WINDOW)
    assert kernel.kept is not None
    lines = np.asarray(kernel.kept).reshape(WINDOW, -1)
    assert lines.shape[1] == 2 * WINDOW * (HEIGHT + 1) * WIDTH
    matrix = np.asarray(kernel.as_matrix(), np.float64)
    assert lines.sum(dtype=np.float64) == pytest.approx(matrix.sum() / 2, rel=1e-6)


@pytest.mark.parametrize("window", [2, 4, 8, 100])
@pytest.mark.parametrize("with_gaps", [False, True])
def test_computed_anew_it_is_the_same(
    features: np.ndarray, window: int, with_gaps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = (np.arange(PIXELS).reshape(1, HEIGHT, WIDTH) % 5 > 0).astype(np.float32) if with_gaps else None
    columns = np.random.default_rng(1).normal(size=(PIXELS, 3)).astype(np.float32)
    kept = patch_affinity(features, PATCH, 0.3, window, precision=given)
    monkeypatch.setattr(memory, "budget", lambda bytes: 1000)
    anew = patch_affinity(features, PATCH, 0.3, window, precision=given)
    assert kept.kept is not None and anew.kept is None
    np.testing.assert_allclose(anew @ columns, kept @ columns, atol=1e-5)
    np.testing.assert_allclose(anew.rows([0, 9, 62]), np.asarray(kept.as_matrix())[[0, 9, 62]], atol=1e-6)


def test_what_is_missing_does_not_count_and_noise_is_the_unit(features: np.ndarray) -> None:
    """Against the definition, pair by pixel pair."""
    rng = np.random.default_rng(4)
    given = rng.uniform(0.5, 2, features.shape) * (rng.random(features.shape) > 0.6)
    kernel = patch_affinity(features, PATCH, 1.5, WINDOW, 0.1, precision=given.astype(np.float32), tapered=False)
    framed, sure = (np.pad(a, ((0, 0), (1, 1), (1, 1)), mode="reflect") for a in (features.astype(float), given))
    expected = np.zeros((PIXELS, PIXELS))
    for i, (a, b) in enumerate(np.ndindex(HEIGHT, WIDTH)):
        for j, (c, d) in enumerate(np.ndindex(HEIGHT, WIDTH)):
            here, there = (
                (slice(None), slice(a, a + 3), slice(b, b + 3)),
                (slice(None), slice(c, c + 3), slice(d, d + 3)),
            )
            both = (sure[here] > 0) & (sure[there] > 0)
            if both.any() and max(abs(a - c), abs(b - d)) < WINDOW:
                unit = 2 / (1 / sure[here][both] + 1 / sure[there][both])
                distance = np.mean(unit * (framed[here][both] - framed[there][both]) ** 2)
                expected[i, j] = np.exp(-max(distance - 0.1, 0) / 1.5**2)
    np.testing.assert_allclose(kernel.as_matrix(), expected, atol=1e-6)
    np.testing.assert_allclose(kernel @ np.eye(PIXELS, dtype=np.float32), expected, atol=1e-6)
    np.testing.assert_allclose(kernel.diagonal(), np.diag(expected))


def test_it_passes_through_jit_and_has_a_gradient(features: np.ndarray, x64: None) -> None:
    features = features.astype(np.float64)
    kernel = patch_affinity(features, PATCH, 0.3, WINDOW)
    columns = np.random.default_rng(1).normal(size=(PIXELS, 2))

    def energy(bandwidth: jax.Array) -> jax.Array:
        return jax.numpy.sum((dataclasses.replace(kernel, kept=None, bandwidth=bandwidth) @ columns) ** 2)

    slope = jax.jit(jax.grad(energy))(kernel.bandwidth)
    step = 1e-5
    assert slope == pytest.approx(float(energy(0.3 + step) - energy(0.3 - step)) / (2 * step), rel=1e-6)
    np.testing.assert_allclose(jax.jit(lambda op, v: op @ v)(kernel, columns), kernel @ columns, atol=1e-12)


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
        patch_affinity(np.zeros(shape, np.float32), patch, bandwidth, window, offset)
