"""Non-local means against its definition, and twicing against powers of its filter."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntk_nonlocal.denoisers import NonLocalFilter, nonlocal_means
from ntk_nonlocal.dynamics import gradient_descent, twicing

IMAGE = np.random.default_rng(0).random((7, 9, 2)).astype(np.float32)


def by_definition(patch_size: int, h: float, window: int | None, sigma: float | None) -> np.ndarray:
    """The affinity matrix, pixel pair by pixel pair."""
    margin = patch_size // 2
    padded = np.pad(IMAGE.astype(np.float64), ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    height, width = IMAGE.shape[:2]
    matrix = np.zeros((height * width, height * width))
    for i, (a, b) in enumerate(np.ndindex(height, width)):
        for j, (c, d) in enumerate(np.ndindex(height, width)):
            if window is None or max(abs(a - c), abs(b - d)) < window:
                first = padded[a : a + patch_size, b : b + patch_size]
                second = padded[c : c + patch_size, d : d + patch_size]
                distance = np.mean((first - second) ** 2) - 2 * (sigma or 0) ** 2
                matrix[i, j] = np.exp(-max(distance, 0) / h**2)
    return matrix


@pytest.mark.parametrize(
    "patch_size, window, sigma", [(3, None, None), (1, 1, None), (1, 3, 0.2), (5, 8, 0.1), (3, 100, None)]
)
def test_kernel_and_filter_follow_the_definition(patch_size: int, window: int | None, sigma: float | None) -> None:
    w = nonlocal_means(IMAGE, patch_size, 0.3, window, sigma)
    matrix = by_definition(patch_size, 0.3, window, sigma)
    normalised = matrix / matrix.sum(axis=1, keepdims=True)
    y = np.random.default_rng(1).random(IMAGE.shape).astype(np.float32)
    assert np.allclose(w.kernel @ np.eye(63), matrix, atol=1e-5)
    assert np.allclose(w.kernel.as_matrix(), matrix, atol=1e-5)
    assert np.allclose(w.kernel.diagonal(), 1)
    assert np.allclose(w.degrees, matrix.sum(axis=1), rtol=1e-5)
    assert np.allclose(w.apply(y), (normalised @ y.reshape(63, 2)).reshape(y.shape), atol=1e-5)
    assert np.allclose(w.weights(40), normalised[40].reshape(7, 9), atol=1e-5)


def test_constants_are_kept_and_h_comes_from_sigma() -> None:
    w = nonlocal_means(IMAGE, 3, sigma=0.1)
    assert float(w.kernel.bandwidth) == pytest.approx(0.06)
    assert np.allclose(w.apply(np.full((7, 9, 1), 0.4)), 0.4, atol=1e-6)
    assert float(w.weights(5).sum()) == pytest.approx(1, abs=1e-6)


def test_the_whole_image_gaussian_affinity_is_positive_semi_definite() -> None:
    with jax.enable_x64(True):
        kernel = nonlocal_means(IMAGE.astype(np.float64), 3, 0.3).kernel
        assert kernel.dtype == np.float64
        assert np.linalg.eigvalsh(np.asarray(kernel.as_matrix()))[0] > -1e-12


def test_it_removes_noise() -> None:
    clean = np.zeros((16, 16, 1), np.float32)
    clean[:, 8:] = 0.8
    noisy = clean + 0.1 * np.random.default_rng(0).normal(size=clean.shape).astype(np.float32)
    w = nonlocal_means(noisy, 5, sigma=0.1, window=8)
    assert np.mean((w.apply(noisy) - clean) ** 2) < 0.2 * np.mean((noisy - clean) ** 2)


def test_twicing_is_its_binomial_formula() -> None:
    w = nonlocal_means(IMAGE, 3, 0.3)
    matrix = np.asarray(w.as_matrix(), np.float64)
    y = IMAGE.reshape(63, 2).astype(np.float64)
    steps = [4, 0, 1, 4]
    expected = [y - np.linalg.matrix_power(np.eye(63) - matrix, t) @ y for t in steps]
    found = twicing(w, IMAGE, steps)
    assert found.shape == (4, 7, 9, 2)
    assert np.allclose(found.reshape(4, 63, 2), expected, atol=1e-5)
    assert np.allclose(found[2], w.apply(IMAGE), atol=1e-6)


def test_twicing_is_gradient_descent_with_the_normalised_kernel() -> None:
    """The link of the title: D^-1 K has the largest eigenvalue one, so that a step of size one is one twicing."""
    with jax.enable_x64(True):
        y = IMAGE.astype(np.float64)
        w = nonlocal_means(y, 3, 0.3)
        assert np.allclose(gradient_descent(w, y, [1, 2, 30]), twicing(w, y, [1, 2, 30]), atol=1e-8)


def test_its_operators_pass_through_jit() -> None:
    w = nonlocal_means(IMAGE, 3, 0.3, window=4)
    v = jnp.ones((63, 2))
    assert np.allclose(jax.jit(lambda op, u: op @ u)(w, v), v, atol=1e-6)


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "give h"),
        ({"h": 0.0}, "h must be"),
        ({"h": float("nan")}, "h must be"),
        ({"sigma": -1.0}, "sigma, in the units of y, must be"),
        ({"h": 0.1, "patch_size": 4}, "odd"),
        ({"h": 0.1, "patch_size": 15}, "too large"),
        ({"h": 0.1, "window": 0}, "window"),
        ({"h": 0.1, "y": IMAGE[..., 0]}, "shape"),
        ({"h": 0.1, "y": (255 * IMAGE).astype(np.uint8)}, "floating-point array, got uint8"),
        ({"h": 0.1, "y": IMAGE * np.nan}, "not finite"),
    ],
)
def test_bad_input_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nonlocal_means(**{"y": IMAGE, **options})


def test_twicing_refuses_other_images_and_steps() -> None:
    w: NonLocalFilter = nonlocal_means(IMAGE, 3, 0.3)
    with pytest.raises(ValueError, match="kernel's shape"):
        twicing(w, IMAGE[:3], [1])
    with pytest.raises(ValueError, match="steps"):
        twicing(w, IMAGE, [])
