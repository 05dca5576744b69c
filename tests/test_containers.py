"""Containers from outside the package: one brings the rules for what it does itself, and everything else follows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
import pytest

import ntk_nonlocal as nnl
from ntk_nonlocal.architecture import Branches, Chain, Concat, Layer, Path, Signal, convolutions, divisor
from ntk_nonlocal.denoisers import denoise
from ntk_nonlocal.kernels import LagKernel, branch_slices, combine, lag_rule, stax_rule, tangent_kernel
from ntk_nonlocal.kernels.lag.budget import layer_elements
from ntk_nonlocal.kernels.lag.demand import Lags
from ntk_nonlocal.networks import flax_rule, parameters_at, weight_change
from ntk_nonlocal.operators import LinearOperator


@dataclass(frozen=True)
class Repeat(Chain):
    """A block several times over, each time with weights of its own; a Chain that does nothing else needs no rules."""

    block: Layer
    times: int

    @property
    def children(self) -> tuple[Layer, ...]:
        return (self.block,) * self.times


@dataclass(frozen=True)
class Mean(Branches):
    """The mean of Gaussian branches."""

    branches: tuple[Layer, ...]

    def join(self, ends: list[Signal], position: Path) -> Signal:
        return replace(ends[0], state="gaussian", channels=1)


@lag_rule.register
def _(layer: Mean, slices: Any, position: Path, plan: Any, extent: Any) -> Any:
    ends = branch_slices(layer, slices, position, plan, extent)
    return combine(ends, [1 / len(ends) ** 2] * len(ends), layer.propagate(slices.signal, position))


@flax_rule.register
def _(layer: Mean, place: Any) -> Any:
    return place.branches(layer, lambda ends: sum(ends) / len(ends))


@stax_rule.register
def _(layer: Mean, place: Any) -> Any:
    from ntk_nonlocal.kernels.oracle.neural_tangents import stax
    from ntk_nonlocal.kernels.oracle.stax import linear_layer

    share = 1 / len(layer.branches)

    def scaled(kernel: Any) -> Any:
        names = ("cov1", "cov2", "nngp", "ntk")
        parts = {name: getattr(kernel, name) for name in names}
        return kernel.replace(**{k: part if part is None else share**2 * part for k, part in parts.items()})

    fan_in = stax().serial(stax().FanInSum(), linear_layer(lambda x: share * x, scaled))
    return place.branches(layer, fan_in)


STEP = nnl.Serial(nnl.Conv(3, bias_std=0.1), nnl.Relu())
DOWN = nnl.Serial(nnl.Downsample(2), nnl.Conv(1), nnl.Relu())
HOURGLASS = nnl.Serial(
    STEP, Mean((nnl.Conv(1), nnl.Serial(Repeat(DOWN, 2), nnl.Upsample(4), nnl.Conv(1)))), nnl.Relu(), nnl.Conv(1)
)
# the same by layers of the package: a mean of two is a sum of halves
HALF = nnl.Conv(1, 2**0.5 / 2)
SPELT_OUT = nnl.Serial(STEP, nnl.Sum(HALF, nnl.Serial(DOWN, DOWN, nnl.Upsample(4), HALF)), nnl.Relu(), nnl.Conv(1))


def image(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=shape)


def matrix(architecture: Layer, x: np.ndarray, **options: Any) -> np.ndarray:
    op: LinearOperator = tangent_kernel(architecture, x, **options)
    return np.asarray(op.as_matrix())


def test_its_kernel_is_that_of_the_same_network_spelt_out(x64: None) -> None:
    x = image(8, 4, 2)
    weights = [(float(index), 1.0) for index in range(len(convolutions(HOURGLASS)))]
    expected = matrix(SPELT_OUT, x, layer_weights=weights)
    found = tangent_kernel(HOURGLASS, x, layer_weights=weights)
    assert isinstance(found, LagKernel)
    assert {*found.stores} == {f"layer 2, branch 1, layer 0, layer {copy}, layer 0" for copy in (0, 1)}
    np.testing.assert_allclose(found.as_matrix(), expected, rtol=1e-12)


def test_neural_tangents_agrees(x64: None) -> None:
    pytest.importorskip("ntk_nonlocal.kernels.oracle.stax")
    x = image(4, 8, 2)
    expected = matrix(HOURGLASS, x, backend="neural-tangents")
    np.testing.assert_allclose(matrix(HOURGLASS, x), expected, rtol=0, atol=1e-8 * expected.max())


def test_its_memory_estimate_is_that_of_the_same_network_spelt_out() -> None:
    x = image(16, 16, 1).astype(np.float32)
    size, lags = (16, 16), Lags(0, 2, 2)
    for stored in (False, True):
        # a container of one layer after another is counted as what it holds
        assert layer_elements(HOURGLASS, size, lags, None, stored) == layer_elements(
            SPELT_OUT, size, lags, None, stored
        )
    for architecture in (HOURGLASS, SPELT_OUT):
        with pytest.raises(ValueError, match="memory budget"):
            tangent_kernel(architecture, x, memory_budget=1000)


def test_a_finite_network_of_it_is_the_mean_and_trains() -> None:
    x = image(8, 8, 1).astype(np.float32)
    branches = (nnl.Conv(1), nnl.Serial(nnl.Conv(3), nnl.Relu(), nnl.Conv(1)))
    mean = nnl.to_flax(nnl.Serial(Mean(branches)), width=4, out_channels=1)
    total = nnl.to_flax(nnl.Serial(nnl.Sum(*branches)), width=4, out_channels=1)
    params = mean.init(jax.random.key(0), x)
    np.testing.assert_allclose(mean.apply(params, x), total.apply(params, x) / 2, rtol=1e-5)

    network = nnl.to_flax(HOURGLASS, width=4, out_channels=1)
    params = network.init(jax.random.key(0), x)
    placed = convolutions(HOURGLASS)
    kernels = [parameters_at(params, conv.position)["kernel"] for conv in placed]
    assert [kernel.shape[-1] for kernel in kernels] == [4] * 5 + [1]
    assert placed[3].position.names == ("layer_2", "branch_1", "layer_0", "layer_1", "layer_1")
    result = nnl.train(network, x, x, steps=3)
    assert np.isfinite(result.history.loss).all()
    change = weight_change(network, params, result.params)
    assert len(change.layers) == 6


def test_a_denoiser_made_of_it_pads_the_image_until_it_fits() -> None:
    assert divisor(HOURGLASS) == 4
    noisy = image(9, 11, 1).astype(np.float32)
    result = denoise(noisy, 0.1, method="gd", architecture=HOURGLASS, width=2, steps=2)
    assert result.image.shape == noisy.shape


def test_missing_rules_and_misplaced_layers_are_named() -> None:
    @dataclass(frozen=True)
    class Product(Branches):
        branches: tuple[Layer, ...]

        def join(self, ends: list[Signal], position: Path) -> Signal:
            return replace(ends[0], state="activated")

    product = nnl.Serial(nnl.Conv(3), Product((nnl.Conv(1), nnl.Conv(3))), nnl.Conv(1))
    with pytest.raises(TypeError, match=r"layer 1: Product.*register"):
        nnl.to_flax(product)
    with pytest.raises(NotImplementedError, match=r"layer 1: .*Product"):
        tangent_kernel(product, image(4, 4, 1).astype(np.float32), backend="lag")
    with pytest.raises(nnl.ArchitectureError, match="layer 1, layer 1, layer 0"):
        nnl.Serial(nnl.Conv(3), Repeat(nnl.Serial(nnl.Relu()), 2))
    with pytest.raises(nnl.ArchitectureError, match=r"layer 0.*different resolutions.*1, 1/2"):
        nnl.Serial(Mean((nnl.Conv(1), nnl.Serial(nnl.Conv(1), nnl.Downsample(2)))))


def test_a_block_may_begin_with_a_skip(x64: None) -> None:
    """Where it stands decides whether that is the network's input, whose share would vanish."""
    skip = nnl.Serial(Concat(nnl.Serial(), STEP), nnl.Conv(1))
    x = image(4, 4, 1)
    inner = nnl.Serial(nnl.Conv(3), nnl.Relu(), skip)
    np.testing.assert_array_equal(matrix(inner, x), matrix(nnl.Serial(nnl.Conv(3), nnl.Relu(), *skip.layers), x))
    for use in (lambda: nnl.to_flax(skip), lambda: tangent_kernel(skip, x), lambda: nnl.to_stax(skip)):
        with pytest.raises(nnl.ArchitectureError, match=r"layer 0, branch 0.*raw network input"):
            use()
