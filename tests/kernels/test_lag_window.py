"""The search window: the full kernel times a triangle that vanishes at the window's edge."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ntk_nonlocal.architecture import Conv, Downsample, Layer, Relu, Serial, Upsample
from ntk_nonlocal.kernels import tangent_kernel
from ntk_nonlocal.kernels.lag.window import WindowedLagKernel

PLAIN = Serial(Conv(3), Relu(), Conv(3, bias_std=0.2), Relu(), Conv(1))
CIRCULAR = Serial(Conv(3, padding="circular"), Relu(), Conv(1))
RESAMPLING = Serial(
    *(Conv(3), Relu(), Downsample(2, "average"), Conv(3), Relu()),
    *(Upsample(2, "bilinear"), Conv(3), Relu(), Conv(1)),
)
FULL_KERNELS: dict[Layer, np.ndarray] = {}


def image(height: int = 6, width: int = 8) -> np.ndarray:
    return np.random.default_rng(1).normal(0.4, 0.3, (height, width, 2))


def tapered(architecture: Layer, window: int) -> np.ndarray:
    """The full kernel times (1 - |t_y| / R)+ (1 - |t_x| / R)+."""
    if architecture not in FULL_KERNELS:
        FULL_KERNELS[architecture] = np.asarray(tangent_kernel(architecture, image(), backend="lag").as_matrix())
    rows, columns = (np.maximum(1 - abs(np.subtract.outer(np.arange(n), np.arange(n))) / window, 0) for n in (6, 8))
    return FULL_KERNELS[architecture] * np.kron(rows, columns)


@pytest.mark.parametrize(
    ("architecture", "window"),
    [(PLAIN, 1), (PLAIN, 3), (PLAIN, 6), (PLAIN, 20), (CIRCULAR, 3), (RESAMPLING, 2), (RESAMPLING, 4)],
    ids=["plain 1", "plain 3", "plain 6", "plain 20", "circular 3", "resampling 2", "resampling 4"],
)
def test_a_windowed_kernel_is_the_full_one_times_the_taper(architecture: Layer, window: int, x64: None) -> None:
    expected = tapered(architecture, window)
    op = tangent_kernel(architecture, image(), window=window)
    assert op.shape == (48, 48)
    close = {"rtol": 0, "atol": 1e-12 * expected.max()}
    vectors = np.random.default_rng(2).normal(size=(48, 3))
    np.testing.assert_allclose(op @ vectors, expected @ vectors, rtol=0, atol=1e-11 * expected.max())
    np.testing.assert_allclose(op.diagonal(), np.diag(expected), **close)
    if window in (3, 4, 20):
        matrix = np.asarray(op.as_matrix())
        np.testing.assert_allclose(matrix, expected, **close)
        assert np.linalg.eigvalsh(matrix).min() > -1e-12 * expected.max()


def test_small_windows_compute_only_the_lags_inside(x64: None) -> None:
    """The engine for windows is used, and what it keeps grows with the window, not with the image squared."""
    narrow, wide = (tangent_kernel(PLAIN, image(6, width), window=2) for width in (20, 40))
    assert isinstance(narrow, WindowedLagKernel)
    assert isinstance(wide, WindowedLagKernel)
    assert wide.kept_bytes() < 2.2 * narrow.kept_bytes()


@pytest.mark.parametrize("block", [1, 2, 3])
def test_every_block_size_and_kept_slices_give_the_same(block: int, x64: None) -> None:
    """Three row lags in blocks of one, two (one of them half empty) and three."""
    expected = tapered(PLAIN, 3)
    op = tangent_kernel(PLAIN, image(), window=3)
    assert isinstance(op, WindowedLagKernel)
    op = dataclasses.replace(op, block=block).prepared()
    close = {"rtol": 0, "atol": 1e-12 * expected.max()}
    np.testing.assert_allclose(op @ np.eye(48), expected, **close)
    np.testing.assert_allclose(op.rows([0, 7, 23, 47]), expected[[0, 7, 23, 47]], **close)


def test_the_taper_keeps_the_kernel_positive_where_a_cut_does_not() -> None:
    """Cutting the kernel off would make negative eigenvalues; this is what the taper is for."""
    full = np.asarray(tangent_kernel(PLAIN, image().astype(np.float32), backend="lag").as_matrix(), np.float64)
    rows, columns = (abs(np.subtract.outer(np.arange(n), np.arange(n))) < 3 for n in (6, 8))
    assert np.linalg.eigvalsh(full * np.kron(rows, columns)).min() < -1e-3 * full.max()
    tapered32 = np.asarray(tangent_kernel(PLAIN, image().astype(np.float32), window=3).as_matrix(), np.float64)
    assert np.linalg.eigvalsh(tapered32).min() > -1e-6 * full.max()
