"""Nothing is compiled twice: a second call with other values of the same shape takes the programs of the first.

Every compiled program takes dozens to hundreds of memory maps, and a process may have 65530 on Linux: a function that
compiles at every call is not slow alone, it ends long runs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ntk_nonlocal as nnl
from ntk_nonlocal.architecture import NAMED
from ntk_nonlocal.dynamics import monte_carlo_sure, sure
from ntk_nonlocal.kernels import patch_affinity
from ntk_nonlocal.linalg import alignment, approximation_error, flow_filter
from ntk_nonlocal.networks import weight_change
from ntk_nonlocal.operators import LinearOperator
from ntk_nonlocal.xla import free_programs, memory_maps

SIDE = 8
PIXELS = SIDE**2
PLAIN = nnl.Serial(nnl.Conv(3), nnl.Relu(), nnl.Conv(3, bias_std=0.1))
RESAMPLING = nnl.Serial(nnl.Conv(1), nnl.Relu(), nnl.Downsample(2, "average"), nnl.Upsample(2, "nearest"), nnl.Conv(1))
NETWORK = nnl.to_flax(PLAIN, width=4, out_channels=2)
ADAM = optax.adam(1e-3)
# What computes nothing by itself, or without JAX.
WITHOUT = {
    *("ArchitectureError", "DivergenceError", "LinearOperator", "__version__"),
    *("from_flax", "parse_architecture", "OPTIMIZERS", "parse_optimizer", "describe", "read_photo", "write_photo"),
}

Random = np.random.Generator
CASES: dict[str, Callable[[Random], Any]] = {}


def case(function: Callable[[Random], Any]) -> Callable[[Random], Any]:
    CASES[function.__name__] = function
    return function


def image(rng: Random, channels: int = 2, side: int = SIDE) -> np.ndarray[Any, Any]:
    return (0.4 + 0.2 * rng.random((side, side, channels))).astype(np.float32)


def number(rng: Random) -> float:
    return float(rng.uniform(0.05, 0.15))


def weights(rng: Random) -> Any:
    return NETWORK.init(jax.random.key(int(rng.integers(1000))), image(rng))


def everything(op: LinearOperator, rng: Random) -> None:
    """All that an operator offers."""
    columns = rng.random((op.shape[1], 2)).astype(np.float32)
    op @ columns, op @ columns[:, 0], op.rows(rng.integers(op.shape[0], size=2)), op.diagonal(), op.as_matrix()
    op.prepared() @ columns


@case
def tangent_kernel(rng: Random) -> None:
    everything(nnl.tangent_kernel(PLAIN, image(rng)), rng)


@case
def tangent_kernel_of_resampling(rng: Random) -> None:
    nnl.tangent_kernel(RESAMPLING, image(rng)) @ rng.random(PIXELS)


@case
def nngp_kernel(rng: Random) -> None:
    everything(nnl.nngp_kernel(nnl.vanilla_cnn(3), image(rng)), rng)


@case
def tangent_kernel_in_a_window(rng: Random) -> None:
    everything(nnl.tangent_kernel(PLAIN, image(rng), window=3), rng)


@case
def tangent_kernel_of_the_oracle(rng: Random) -> None:
    everything(nnl.tangent_kernel(PLAIN, image(rng), backend="neural-tangents"), rng)


@case
def standard_layer_weights(rng: Random) -> None:
    """Another width is another value of the same kernel."""
    factors = nnl.standard_layer_weights(PLAIN, width=int(rng.integers(8, 1000)), in_channels=2)
    nnl.tangent_kernel(PLAIN, image(rng), layer_weights=factors).as_matrix()
    nnl.tangent_kernel(RESAMPLING, image(rng), layer_weights=rng.random((2, 2))).as_matrix()
    nnl.tangent_kernel(nnl.vanilla_cnn(3), image(rng), layer_weights=rng.random((2, 2))).rows([3])


@case
def to_stax(rng: Random) -> None:
    from ntk_nonlocal.kernels.oracle.stax import exact_kernel

    exact_kernel(PLAIN, image(rng), jit=True)


@case
def to_flax(rng: Random) -> None:
    NETWORK.apply(weights(rng), image(rng))
    NETWORK.pre_activations(weights(rng), image(rng))


@case
def empirical_kernel(rng: Random) -> None:
    everything(nnl.empirical_kernel(NETWORK, weights(rng), image(rng)), rng)
    everything(nnl.empirical_kernel(NETWORK, weights(rng), image(rng), output=int(rng.integers(2))), rng)
    nnl.empirical_kernel(NETWORK, weights(rng), image(rng), layer_weights=rng.random((2, 2))) @ np.ones(PIXELS)


@case
def linearize(rng: Random) -> None:
    start = weights(rng)
    frozen = nnl.linearize(NETWORK, start)
    frozen.apply(frozen.init(jax.random.key(0), image(rng)), image(rng))


@case
def layer_kernels(rng: Random) -> None:
    for architecture in (PLAIN, RESAMPLING):
        for part in nnl.layer_kernels(architecture, image(rng)):
            part @ rng.random(PIXELS)


@case
def preconditioner(rng: Random) -> None:
    result = nnl.train(NETWORK, image(rng), image(rng), optimizer="adam", steps=1, params=weights(rng))
    nnl.empirical_kernel(NETWORK, result.params, image(rng), preconditioner=nnl.preconditioner(result)) @ np.ones(
        PIXELS
    )


@case
def operators(rng: Random) -> None:
    factor = rng.random((PIXELS, PIXELS)).astype(np.float32)
    dense = nnl.DenseOperator(jnp.asarray(factor @ factor.T), (SIDE, SIDE))
    everything(dense, rng)
    everything(nnl.ScaledOperator(dense, jnp.asarray(factor[0]), jnp.asarray(factor[1])), rng)
    alignment(dense, nnl.DenseOperator(jnp.asarray(factor), (SIDE, SIDE)), probes=3)


@case
def nystrom(rng: Random) -> None:
    kernel = nnl.tangent_kernel(PLAIN, image(rng))
    for sampling in ("columns", "gaussian"):
        low = nnl.nystrom(kernel, 9, sampling, seed=int(rng.integers(100)))
        everything(low, rng)
        low.gradient_descent(image(rng), [1, int(rng.integers(2, 100))], step_size=number(rng))
    approximation_error(kernel, low)


@case
def eigenpairs(rng: Random) -> None:
    nnl.eigenpairs(nnl.tangent_kernel(PLAIN, image(rng)), 5, seed=int(rng.integers(100)))


@case
def degrees_of_freedom(rng: Random) -> None:
    for largest in (0, PIXELS):
        nnl.degrees_of_freedom(nnl.tangent_kernel(PLAIN, image(rng)), [1, 10], number(rng), exact_up_to=largest)


@case
def gradient_descent(rng: Random) -> None:
    kernel = nnl.tangent_kernel(PLAIN, image(rng))
    nnl.gradient_descent(kernel, image(rng), [1, int(rng.integers(2, 100))], step_size=number(rng))
    nnl.gradient_descent(kernel, image(rng), [1, int(rng.integers(2, 100))], start=image(rng))


@case
def trajectory(rng: Random) -> None:
    found = nnl.trajectory(nnl.tangent_kernel(PLAIN, image(rng)), image(rng), steps=[1, 10], probes=3)
    found.estimates([1, int(rng.integers(2, 100))], number(rng))
    found.momentum([1, 2], number(rng), number(rng))
    found.filtered(flow_filter([number(rng), 3.0]))
    found.degrees_of_freedom([1, 10]), found.error_estimate([1, 10]), sure(found, [1, 10], number(rng))


@case
def nonlocal_means(rng: Random) -> None:
    for window in (None, 3):
        filtered = nnl.nonlocal_means(image(rng), 3, h=number(rng), window=window)
        filtered = nnl.nonlocal_means(image(rng), 3, sigma=number(rng), window=window)
        filtered.apply(image(rng)), filtered.weights(int(rng.integers(PIXELS)))
        everything(filtered, rng)
        everything(filtered.kernel, rng)


@case
def twicing(rng: Random) -> None:
    nnl.twicing(nnl.nonlocal_means(image(rng), 3, h=number(rng), window=3), image(rng), [1, 3])


@case
def windowed(rng: Random) -> None:
    everything(patch_affinity(image(rng).transpose(2, 0, 1), 3, number(rng), 3, number(rng)), rng)


@case
def denoise(rng: Random) -> None:
    nnl.denoise(image(rng, 3), number(rng), seed=int(rng.integers(100)))
    nnl.denoise(image(rng, 3), number(rng), fast=True)
    levels = rng.uniform(0.05, 0.15, (SIDE, SIDE))
    nnl.denoise(image(rng), levels, mask=np.arange(PIXELS).reshape(SIDE, SIDE) % 9 > 0)
    nnl.denoise(image(rng), noise=nnl.PoissonGaussian(number(rng), number(rng), number(rng)))
    nnl.denoise(image(rng, 3), number(rng), "nlm"), nnl.denoise(image(rng, 3), number(rng), "tv")


@case
def denoise_by_training(rng: Random) -> None:
    for method in ("gd", "adam"):
        options: Any = {"architecture": PLAIN, "width": 4, "steps": int(rng.integers(3, 9))}
        nnl.denoise(image(rng), number(rng), method, seed=int(rng.integers(100)), **options)


@case
def train(rng: Random) -> None:
    common: Any = {"steps": int(rng.integers(5, 9)), "keep_outputs": [1, int(rng.integers(2, 5))]}
    for optimizer in ("gd", "adam", ADAM):
        nnl.train(NETWORK, image(rng), image(rng), optimizer=optimizer, seed=int(rng.integers(100)), **common)
    changed = {"clean": image(rng), "layer_steps": "tangent"}
    nnl.train(NETWORK, image(rng), image(rng), step_size=number(rng), **changed, **common)
    nnl.train(NETWORK, image(rng), image(rng), optimizer="adam", learning_rate=0.1 * number(rng), **common)
    weight_change(NETWORK, weights(rng), weights(rng))


@case
def explore(rng: Random) -> None:
    nnl.explore(image(rng, 3, 16), sigma=number(rng), kernels=["nlm"])


@case
def images(rng: Random) -> None:
    first, second = image(rng, 3, 16), image(rng, 3, 16)
    nnl.psnr(first, second), nnl.ssim(first, second), nnl.estimate_sigma(first), nnl.crop(first, (8, 8))
    nnl.add_noise(first, number(rng), seed=int(rng.integers(100))), nnl.example_image(16)
    nnl.noise_input((SIDE, SIDE), 3, number(rng), int(rng.integers(100)))
    monte_carlo_sure(lambda y: (1 - number(rng)) * y[None], first, number(rng))


COVERED = {
    *CASES,
    *("DenseOperator", "ScaledOperator", "psnr", "ssim", "estimate_sigma", "crop", "add_noise", "example_image"),
    *("noise_input", "PoissonGaussian"),
}


@pytest.fixture(scope="module")
def compiled() -> Any:
    """The names of all programs that are compiled, as a list that grows."""
    names: list[str] = []

    def listen(event: str, seconds: float, **facts: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(str(facts.get("fun_name", "a program")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


def test_compilations_are_seen(compiled: list[str]) -> None:
    before = len(compiled)
    for _ in range(2):
        jax.jit(lambda x: x + 1)(np.ones(3))
    assert len(compiled) == before + 2


def test_every_public_name_is_called_below() -> None:
    classes = {name: getattr(nnl, name) for name in nnl.__all__ if isinstance(getattr(nnl, name), type)}
    layers = {name for name, one in classes.items() if issubclass(one, nnl.Layer)}
    missing = set(nnl.__all__) - layers - set(NAMED) - WITHOUT - COVERED
    assert not missing, f"add a case, or to WITHOUT where nothing is computed with JAX: {', '.join(sorted(missing))}"


@pytest.mark.parametrize("name", CASES)
def test_a_second_call_with_other_values_compiles_nothing(name: str, compiled: list[str]) -> None:
    CASES[name](np.random.default_rng(1))
    before = len(compiled)
    CASES[name](np.random.default_rng(2))
    assert compiled[before:] == []


@pytest.mark.skipif(memory_maps() is None, reason="this system does not count its memory maps")
def test_programs_are_freed_near_the_limit_and_compiled_again_when_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: list[str]
) -> None:
    op = nnl.tangent_kernel(nnl.vanilla_cnn(3), image(np.random.default_rng(0)))
    v = np.ones(PIXELS, np.float32)
    before = np.asarray(op @ v)
    found = memory_maps()
    assert found is not None and not free_programs()
    limit = tmp_path / "limit"
    limit.write_text(str(found[0]))
    monkeypatch.setattr("ntk_nonlocal.xla._LIMIT", limit)
    count = len(compiled)
    assert free_programs()
    left = memory_maps()
    assert left is not None and left[0] < found[0] - 100
    np.testing.assert_array_equal(op @ v, before)
    assert len(compiled) > count
