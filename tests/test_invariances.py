"""Promises of the theory for random architectures, in float64: what a kernel and its filters cannot but do."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
from lag_reference import random_architecture

import ntk_nonlocal as nnl
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
