"""Adapters do what the package itself does, with the other packages' own classes; skipped where these are missing."""

from __future__ import annotations

import numpy as np
import pytest

import ntk_nonlocal as nnl
from ntk_nonlocal.adapters import deepinv_denoiser, from_scico, to_scico

CLEAN = nnl.crop(nnl.example_image(64), (16, 20)).astype("float32")
NOISY = np.asarray(nnl.add_noise(CLEAN, 0.1), np.float32)


def test_deepinv_denoisers_give_what_denoise_gives() -> None:
    torch = pytest.importorskip("torch", reason="deepinv needs torch")
    models = pytest.importorskip("deepinv.models", reason="deepinv is not installed")
    denoiser = deepinv_denoiser("tv")
    assert isinstance(denoiser, models.Denoiser)
    batch = torch.from_numpy(np.stack([NOISY, NOISY[::-1].copy()])).permute(0, 3, 1, 2)
    found = denoiser(batch, torch.tensor([0.1, 0.2]))
    assert found.shape == batch.shape and found.dtype == batch.dtype
    for number, sigma in enumerate((0.1, 0.2)):
        expected = nnl.denoise(batch[number].permute(1, 2, 0).numpy(), sigma, "tv").image
        np.testing.assert_allclose(found[number].permute(1, 2, 0).numpy(), expected, atol=1e-6)
    with pytest.raises(ValueError, match="each of the 2 pictures, got 3"):
        denoiser(batch, torch.tensor([0.1, 0.2, 0.3]))


def test_kernels_are_operators_of_scico_with_their_adjoints() -> None:
    linop = pytest.importorskip("scico.linop", reason="scico is not installed")
    kernel = nnl.tangent_kernel(nnl.vanilla_cnn(3), NOISY[:8, :10])
    operator = to_scico(kernel)
    assert isinstance(operator, linop.LinearOperator)
    picture = np.asarray(NOISY[:8, :10, 0])
    expected = np.asarray(kernel @ picture.reshape(-1)).reshape(8, 10)
    np.testing.assert_allclose(operator(picture), expected, rtol=1e-5)
    np.testing.assert_allclose(operator.adj(picture), expected, rtol=1e-5)


def test_operators_of_scico_compose_with_kernels() -> None:
    linop = pytest.importorskip("scico.linop", reason="scico is not installed")
    mask = np.asarray(np.random.default_rng(0).random((8, 10)) < 0.5, np.float32)
    measured = from_scico(linop.Diagonal(mask), is_symmetric=True)
    kernel = nnl.tangent_kernel(nnl.vanilla_cnn(3), NOISY[:8, :10])
    both = measured @ kernel @ measured.T
    vector = np.random.default_rng(1).normal(size=80).astype(np.float32)
    expected = mask.ravel() * np.asarray(kernel @ (mask.ravel() * vector))
    np.testing.assert_allclose(both @ vector, expected, rtol=1e-4, atol=1e-4)
    rectangular = from_scico(linop.Slice((slice(None, None, 2), slice(None)), (8, 10)))
    assert rectangular.shape == (40, 80)
    picture = vector.reshape(8, 10)
    np.testing.assert_allclose(rectangular @ vector, picture[::2].ravel())
    assert (rectangular.T @ np.ones(40, np.float32)).reshape(8, 10)[1].sum() == 0


def test_what_is_missing_or_wrong_is_named() -> None:
    with pytest.raises(ValueError, match="method must be one of"):
        deepinv_denoiser("ntkk")
    with pytest.raises(TypeError, match="an operator is needed"):
        to_scico(np.eye(4))
