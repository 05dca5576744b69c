"""Promises of the theory for random architectures, in float64: what a kernel and its filters cannot but do."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lag_reference import random_architecture

import ntk_nonlocal as nnl
from ntk_nonlocal import dynamics
from ntk_nonlocal.architecture import (
    Concat,
    Conv,
    Downsample,
    Layer,
    LeakyRelu,
    Relu,
    Serial,
    Sum,
    convolutions,
    output_signal,
)
from ntk_nonlocal.denoisers import METHODS

SIZE = (6, 6)
SEEDS = (0, 2, 5)


def _symmetric(layer: Layer) -> Layer:
    """ReLU in place of other nonlinearities and no biases, so that f(a x) = a f(x) for a > 0; and means of blocks
    instead of their first pixels, which a flip would change."""
    if isinstance(layer, Serial):
        return Serial(*(_symmetric(inner) for inner in layer.layers))
    if isinstance(layer, Concat | Sum):
        return type(layer)(*(_symmetric(branch) for branch in layer.branches))
    if isinstance(layer, Conv):
        return dataclasses.replace(layer, bias_std=0.0)
    if isinstance(layer, Downsample):
        return dataclasses.replace(layer, method="average")
    return Relu() if isinstance(layer, nnl.Nonlinearity) and not isinstance(layer, LeakyRelu) else layer


def _architecture(seed: int) -> Layer:
    return _symmetric(random_architecture(seed, SIZE))


def _image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=(*SIZE, 3))


def _matrix(architecture: Layer, image: np.ndarray) -> np.ndarray:
    return np.asarray(nnl.tangent_kernel(architecture, image, backend="lag").as_matrix())


@functools.cache
def _kernel(seed: int) -> np.ndarray:
    return _matrix(_architecture(seed), _image(seed))


def _output_size(seed: int) -> tuple[int, int]:
    size = output_signal(_architecture(seed), SIZE).size
    assert size is not None
    return size


@pytest.mark.parametrize("seed", SEEDS)
def test_kernels_of_random_architectures_keep_their_symmetries(seed: int, x64: None) -> None:
    architecture, image, kernel = _architecture(seed), _image(seed), _kernel(seed)
    close = {"rtol": 0, "atol": 1e-11 * kernel.max()}
    np.testing.assert_allclose(kernel, kernel.T, **close)
    assert np.linalg.eigvalsh(kernel).min() > -1e-12 * kernel.max() * len(kernel)
    np.testing.assert_allclose(_matrix(architecture, 2.5 * image) / 2.5**2, kernel, **close)
    np.testing.assert_allclose(_matrix(architecture, image[:, :, [1, 2, 0]]), kernel, **close)
    pixels = np.arange(len(kernel)).reshape(_output_size(seed))
    for move in (lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: a.swapaxes(0, 1)):
        order = move(pixels).ravel()
        np.testing.assert_allclose(_matrix(architecture, move(image)), kernel[np.ix_(order, order)], **close)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step_size", [0.3, 1.0, 1.99])
def test_residuals_never_grow_at_allowed_step_sizes(seed: int, step_size: float, x64: None) -> None:
    size = _output_size(seed)
    y = np.random.default_rng(seed).normal(size=(*size, 2))
    steps = [0, 1, 2, 3, 5, 10, 30, 100, 1000]
    estimates = np.asarray(nnl.gradient_descent(nnl.DenseOperator(_kernel(seed), size), y, steps, step_size))
    residuals = np.linalg.norm((estimates - y).reshape(len(steps), -1), axis=1)
    assert (np.diff(residuals) <= 1e-9 * residuals[0]).all()
    assert residuals[0] == pytest.approx(np.linalg.norm(y))


def test_the_random_architectures_are_of_several_kinds() -> None:
    """Otherwise the tests above would say little."""
    architectures = [_architecture(seed) for seed in SEEDS]
    assert len(set(map(repr, architectures))) == len(SEEDS)
    assert max(len(convolutions(one)) for one in architectures) >= 4


# --- scale: f(a y, a sigma) = a f(y, sigma) --------------------------------------------------------------------------

CLEAN = nnl.crop(nnl.example_image(256), 24, center=(64, 112))
NOISY = nnl.add_noise(CLEAN, 25 / 255)
FACTORS = (1e-6, 1e-3, 255.0, 1e6)
SMALL: dict[str, dict[str, object]] = {
    "ntk": {"fast": True},
    **{method: {"width": 4, "steps": 8, "architecture": nnl.autoencoder(levels=1)} for method in ("gd", "adam")},
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sigma", [25 / 255, None])
@pytest.mark.parametrize("method", [name for name in METHODS if name != "bm3d"])
def test_denoise_does_not_know_the_scale(method: str, sigma: float | None, dtype: str) -> None:
    options = SMALL.get(method, {})
    expected = nnl.denoise(NOISY.astype(dtype), sigma, method, **options)
    for factor in FACTORS:
        given_sigma = None if sigma is None else factor * sigma
        found = nnl.denoise((factor * NOISY).astype(dtype), given_sigma, method, **options)
        assert found.image.dtype == dtype
        np.testing.assert_allclose(found.image / factor, expected.image, rtol=0, atol=1e-4)
        assert found.sigma == pytest.approx(factor * expected.sigma, rel=1e-5)
        assert found.step == expected.step and found.settings["clipped"] == expected.settings["clipped"]
        if expected.risk is not None:
            assert found.risk == pytest.approx(factor**2 * expected.risk, rel=1e-3)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(st.floats(1e-6, 1e6), st.integers(0, 10**6), st.sampled_from([1, 3]), st.sampled_from(["float32", "float64"]))
def test_blind_estimates_grow_with_the_image(factor: float, seed: int, channels: int, dtype: str) -> None:
    image = np.random.default_rng(seed).normal(0.5, 0.1, (16, 16, channels)).astype(dtype)
    expected = nnl.estimate_sigma(image)
    assert nnl.estimate_sigma((factor * image).astype(dtype)) == pytest.approx(factor * expected, rel=1e-4)


@pytest.mark.parametrize("factor", [1e-300, 1e-40, 1e40, 1e300])
def test_blind_estimates_of_any_finite_image(factor: float) -> None:
    expected = nnl.estimate_sigma(NOISY)
    assert nnl.estimate_sigma(factor * NOISY) == pytest.approx(factor * expected, rel=1e-9)


@pytest.mark.parametrize("factor", FACTORS)
def test_what_is_computed_in_closed_form_does_not_know_the_scale(factor: float, x64: None) -> None:
    """A kernel of a y is a^2 times that of y, which step sizes relative to its largest eigenvalue do not see."""

    def answers(a: float) -> dict[str, object]:
        y = a * NOISY[:8, :8]
        kernel, similar = nnl.tangent_kernel(nnl.vanilla_cnn(3), y), nnl.nonlocal_means(y, 3, sigma=0.1 * a)
        built = nnl.trajectory(kernel, y, steps=[1, 100], probes=3)
        _, risk = dynamics.monte_carlo_sure(lambda v: similar.apply(v)[None], y, 0.1 * a)
        return {
            "gradient_descent": nnl.gradient_descent(kernel, y, [1, 100]) / a,
            "momentum": built.momentum([10]) / a,
            "eigenpairs": nnl.eigenpairs(kernel, 3).values / a**2,
            "nystrom": nnl.nystrom(kernel, 20).gradient_descent(y, [10]) / a,
            "degrees_of_freedom": nnl.degrees_of_freedom(kernel, [10]).value,
            "sure": dynamics.sure(built, [1, 100], 0.1 * a).values / a**2,
            "monte_carlo_sure": risk.values / a**2,
            "weights": similar.as_matrix(),
            "filter by h": nnl.nonlocal_means(y, 3, h=0.1 * a, window=3).apply(y) / a,
            "twicing": nnl.twicing(similar, y, [1, 3]) / a,
        }

    expected = answers(1.0)
    for name, found in answers(factor).items():
        wanted = np.asarray(expected[name])
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9 * np.abs(wanted).max(), err_msg=name)


def test_integers_are_on_the_scale_of_their_type() -> None:
    levels = np.rint(255 * np.clip(NOISY, 0, 1)).astype(np.uint8)
    deep = levels.astype(np.uint16) * 257  # 65535 / 255
    assert nnl.estimate_sigma(levels) == nnl.estimate_sigma(levels / 255) == nnl.estimate_sigma(deep)
    np.testing.assert_array_equal(nnl.denoise(levels, 0.1, "tv").image, nnl.denoise(levels / 255, 0.1, "tv").image)
