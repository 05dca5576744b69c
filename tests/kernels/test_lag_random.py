"""Random architectures on the exact-kernel engine, against neural-tangents, and the symmetries of the problem."""

from __future__ import annotations

import numpy as np
import pytest
from lag_reference import modern_architecture, random_architecture, reference

from ntk_nonlocal.architecture import autoencoder, unet
from ntk_nonlocal.kernels import nngp_kernel, tangent_kernel

SIZE = (6, 12)


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(height * width).normal(0.4, 0.3, (height, width, channels))


def matrix(architecture: object, x: np.ndarray, kind: str = "ntk") -> np.ndarray:
    kernel = nngp_kernel if kind == "nngp" else tangent_kernel
    return np.asarray(kernel(architecture, x, backend="lag").as_matrix())  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [1, 3, 7])
def test_random_architectures_agree_with_neural_tangents(seed: int, x64: None) -> None:
    """To 1e-8 of the diagonal, which is what neural-tangents has for interpolated patches, and with the formulas."""
    stax = pytest.importorskip("ntk_nonlocal.kernels.oracle.stax")
    architecture, x = random_architecture(seed, SIZE), noise(*SIZE, 1)
    kernel = matrix(architecture, x)
    largest = np.diag(kernel).max()
    exact = reference(architecture, x)["ntk"]
    np.testing.assert_allclose(kernel, exact, rtol=0, atol=1e-11 * largest)
    np.testing.assert_allclose(kernel, stax.exact_kernel(architecture, x).as_matrix(), rtol=0, atol=1e-8 * largest)
    np.testing.assert_allclose(kernel, kernel.T, rtol=0, atol=1e-13 * largest)
    assert np.linalg.eigvalsh(kernel).min() > -1e-12 * largest * len(kernel)


@pytest.mark.parametrize("seed", [2, 9, 18])
def test_random_architectures_of_newer_layers_agree_with_the_formulas(seed: int, x64: None) -> None:
    architecture, x = modern_architecture(seed, SIZE), noise(*SIZE, 1)
    kernel, exact = matrix(architecture, x), reference(architecture, x)["ntk"]
    # of the series at most 1e-10 of the variance is left out, layer by layer
    np.testing.assert_allclose(kernel, exact, rtol=0, atol=1e-8 * np.diag(exact).max())
    assert np.linalg.eigvalsh(kernel).min() > -1e-12 * np.diag(exact).max() * len(kernel)


def test_the_nngp_kernel_agrees_with_neural_tangents_to_the_last_digits(x64: None) -> None:
    stax = pytest.importorskip("ntk_nonlocal.kernels.oracle.stax")
    x = noise(4, 8)
    kernel = matrix(autoencoder(1), x, "nngp")
    expected = stax.exact_kernel(autoencoder(1), x, "nngp").as_matrix()
    np.testing.assert_allclose(kernel, expected, rtol=0, atol=1e-12 * kernel.max())


def test_the_engine_is_nearer_to_the_truth_than_neural_tangents_where_patches_are_parallel(x64: None) -> None:
    stax = pytest.importorskip("ntk_nonlocal.kernels.oracle.stax")
    x = np.outer(np.arange(1.0, 5.0), np.ones(6))[..., None] * np.array([0.1, 0.2])  # parallel pixels
    architecture = autoencoder(1, kernel_size=1)
    exact = reference(architecture, x)["ntk"]
    oracle = np.asarray(stax.exact_kernel(architecture, x, jit=True).as_matrix())
    errors = [abs(kernel - exact).max() / exact.max() for kernel in (matrix(architecture, x), oracle)]
    assert errors[0] < 1e-10
    assert errors[0] <= errors[1] < 1e-7


def test_symmetries_of_the_image_are_symmetries_of_the_kernel(x64: None) -> None:
    """Flips and the transpose move the pixels, colours may be permuted, and without biases a ReLU network is
    homogeneous."""
    architecture, x = unet(1), noise(4, 6)
    height, width = x.shape[:2]
    pixels = np.arange(height * width).reshape(height, width)
    kernel = matrix(architecture, x)
    close = {"rtol": 0, "atol": 1e-12 * kernel.max()}
    for move in (lambda a: a[::-1], lambda a: a[:, ::-1]):
        order = move(pixels).ravel()
        np.testing.assert_allclose(matrix(architecture, move(x)), kernel[np.ix_(order, order)], **close)
    order = pixels.T.ravel()
    transposed = matrix(architecture, x.transpose(1, 0, 2))
    np.testing.assert_allclose(transposed, kernel[np.ix_(order, order)], **close)
    np.testing.assert_allclose(matrix(architecture, x[:, :, [2, 0, 1]]), kernel, **close)
    np.testing.assert_allclose(matrix(architecture, 3 * x) / 9, kernel, **close)
    assert np.linalg.eigvalsh(kernel).min() > -1e-12 * kernel.max()
