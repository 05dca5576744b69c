"""tangent_kernel: the choices it offers, the operator it returns, and what it says of bad input."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from ntk_nonlocal.architecture import (
    ArchitectureError,
    Concat,
    Conv,
    Downsample,
    Nonlinearity,
    Relu,
    Serial,
    Upsample,
    autoencoder,
    convolutions,
    vanilla_cnn,
)
from ntk_nonlocal.kernels import Dual, dual, nngp_kernel, tangent_kernel
from ntk_nonlocal.kernels.lag import budget as memory_module
from ntk_nonlocal.kernels.lag.duals import PairOf
from ntk_nonlocal.kernels.lag.kernel import BlockedKernel
from ntk_nonlocal.operators import DenseOperator, LinearOperator

TWO = Serial(Conv(3), Relu(), Conv(3, bias_std=0.1), Relu(), Conv(1, weight_std=1.0))
ONE = Serial(Conv(3, bias_std=0.1), Relu(), Conv(3))
RESAMPLING = Serial(Conv(3), Relu(), Downsample(2), Upsample(2), Conv(1), Relu(), Conv(1))


def image(height: int = 5, width: int = 4, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(0.4, 0.3, (height, width, channels))


def lag_kernel(architecture: Any, x: np.ndarray, **settings: Any) -> BlockedKernel:
    op = tangent_kernel(architecture, x, backend="lag", **settings)
    assert isinstance(op, BlockedKernel)
    return op


# --- one kernel, however it is asked for -----------------------------------------------------------------------------


def assert_all_answers_agree(op: LinearOperator, matrix: np.ndarray) -> None:
    close = {"rtol": 0, "atol": 1e-12 * matrix.max()}
    np.testing.assert_allclose(op @ np.eye(len(matrix)), matrix, **close)
    np.testing.assert_allclose(op @ matrix[:, 3], matrix @ matrix[:, 3], rtol=0, atol=1e-11 * matrix.max() ** 2)
    np.testing.assert_allclose(op.rows([3, 0, len(matrix) - 1, 3]), matrix[[3, 0, -1, 3]], **close)
    np.testing.assert_allclose(op.diagonal(), np.diag(matrix), **close)


@pytest.mark.parametrize(("height", "blocks"), [(5, (1, 2)), (4, (2, 3))], ids=["odd", "even"])
def test_products_rows_and_diagonal_are_those_of_the_matrix(height: int, blocks: tuple[int, ...], x64: None) -> None:
    """For heights odd and even (the lag H / 2 is its own opposite), several block sizes, and slices kept or not."""
    whole = tangent_kernel(ONE, image(height), memory_plan="matrix")
    assert isinstance(whole, DenseOperator)
    matrix = np.asarray(whole.matrix)
    base = lag_kernel(ONE, image(height), memory_plan="keep")
    assert base.kept is not None
    assert_all_answers_agree(base, matrix)
    recomputing = dataclasses.replace(base, kept=None, block=blocks[0], memory_plan="recompute")
    assert recomputing.prepared() is recomputing
    assert_all_answers_agree(recomputing, matrix)
    np.testing.assert_allclose(
        dataclasses.replace(base, kept=None, block=blocks[1]) @ matrix, matrix @ matrix, rtol=1e-12
    )


def test_many_products_first_keep_what_memory_allows(x64: None) -> None:
    op = lag_kernel(TWO, image())
    ready = op.prepared()
    assert ready is not op
    np.testing.assert_allclose(ready.as_matrix(), op.as_matrix(), rtol=1e-12, atol=1e-14)
    poor = dataclasses.replace(op, budget=1)
    assert poor.prepared() is poor


def test_operators_pass_through_jit_and_vmap(x64: None) -> None:
    op = lag_kernel(TWO, image(), memory_plan="keep")
    matrix = np.asarray(op.as_matrix())
    vectors = np.random.default_rng(1).normal(size=(20, 3))
    close = {"rtol": 0, "atol": 1e-11 * matrix.max()}
    np.testing.assert_allclose(jax.jit(lambda op, v: op @ v)(op, vectors), matrix @ vectors, **close)
    mapped = jax.vmap(lambda v: op @ v, in_axes=1, out_axes=1)(vectors)
    np.testing.assert_allclose(mapped, matrix @ vectors, **close)
    recomputing = dataclasses.replace(op, kept=None)
    mapped = jax.jit(jax.vmap(lambda op, v: op @ v, in_axes=(None, 1), out_axes=1))(recomputing, vectors)
    np.testing.assert_allclose(mapped, matrix @ vectors, **close)
    leaves, structure = jax.tree.flatten(recomputing)
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    assert jax.tree.unflatten(structure, leaves).image_shape == (5, 4)


@pytest.mark.parametrize("window", [None, 2])
def test_the_kernel_is_differentiable_in_its_network_input(window: int | None, x64: None) -> None:
    """Against central differences, with pairs of equal patches (the diagonal, constant regions) left finite."""
    x = image(4, 4, 1)
    rng = np.random.default_rng(3)
    u, v, direction = rng.normal(size=16), rng.normal(size=16), rng.normal(size=x.shape)
    architecture = RESAMPLING if window is None else ONE

    @jax.jit
    @jax.value_and_grad
    def value_and_gradient(x: Array) -> Array:
        return jnp.dot(u, tangent_kernel(architecture, x, window=window, backend="lag") @ v)

    step = 1e-5
    above, below = (value_and_gradient(x + sign * step * direction)[0] for sign in (1, -1))
    gradient = value_and_gradient(x)[1]
    assert float(jnp.vdot(gradient, direction)) == pytest.approx(float(above - below) / (2 * step), rel=1e-6)
    for flat in (np.full_like(x, 0.5), np.zeros_like(x)):
        assert np.isfinite(value_and_gradient(flat)[1]).all()


# --- backends --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Square(Nonlinearity):
    """x^2, a layer from outside the package: E[u^2 v^2] = q_i q_j + 2 S^2, and 4 S for the derivatives."""


@dataclass(frozen=True, repr=False)
class Sine(Nonlinearity):
    """sin(x), which only neural-tangents is told about."""


@dual.register
def _(layer: Square, difference: Array, variance: Array, pair: PairOf, nonnegative: bool) -> Dual:
    left, right = pair(variance)
    covariance = 0.5 * (left + right) - difference
    # (q'_i + q'_j) / 2 - q_i q_j - 2 S^2 with q' = 3 q^2
    new = 1.5 * (left**2 + right**2) - left * right - 2 * covariance**2
    return Dual(new, 4 * covariance, 3 * variance**2, True)


def test_a_nonlinearity_from_outside_needs_one_rule(x64: None) -> None:
    x = image(3, 4)
    op = tangent_kernel(Serial(Conv(1, weight_std=1.0), Square(), Conv(1, weight_std=1.0)), x)
    s = np.einsum("yxc,zwc->yxzw", x, x).reshape(12, 12) / 2
    q = np.diag(s)
    nngp = np.outer(q, q) + 2 * s**2
    np.testing.assert_allclose(op.as_matrix(), nngp + s * 4 * s, rtol=1e-11, atol=1e-12)
    assert isinstance(op, BlockedKernel)


def test_auto_takes_the_engine_and_says_so_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "ntk_nonlocal"):
        op = nngp_kernel(autoencoder(1), np.ones((4, 6, 1), np.float32))
    assert isinstance(op, BlockedKernel)
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert "'lag'" in line
    assert "nngp" in line
    assert "4x6" in line


def test_auto_falls_back_to_neural_tangents_for_a_layer_without_a_rule(
    caplog: pytest.LogCaptureFixture, x64: None
) -> None:
    stax = pytest.importorskip("ntk_nonlocal.kernels.oracle.stax")
    stax.stax_rule.register(Sine, lambda layer, place: stax.neural_tangents.stax().Sin())
    architecture, x = Serial(Concat(Serial(Conv(1, weight_std=1.0), Sine()), Conv(3)), Conv(1)), image(3, 4)
    with caplog.at_level(logging.INFO, "ntk_nonlocal"):
        op = tangent_kernel(architecture, x)
    assert isinstance(op, DenseOperator)
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert "Sine" in line
    assert "neural-tangents" in line
    np.testing.assert_allclose(op.matrix, stax.exact_kernel(architecture, x).matrix, rtol=1e-12)
    with pytest.raises(NotImplementedError, match=r"Sine.*dual\.register\(Sine\).*neural-tangents"):
        tangent_kernel(architecture, x, backend="lag")
    with pytest.raises(ValueError, match=r"window, layer_weights and mesh need backend=\"lag\""):
        tangent_kernel(architecture, x, window=2)


# --- weighted layers -------------------------------------------------------------------------------------------------


def test_the_tangent_kernel_is_the_sum_of_what_each_convolution_contributes(x64: None) -> None:
    architecture, x = Serial(Conv(1, bias_std=0.3), Relu(), Conv(1, 1.1, 0.2)), image(3, 4)
    nothing, parts = (0.0, 0.0), []
    assert len(convolutions(architecture)) == 2
    for weights in (((1.0, 0.0), nothing), ((0.0, 1.0), nothing), (nothing, (1.0, 0.0)), (nothing, (0.0, 1.0))):
        parts.append(np.asarray(tangent_kernel(architecture, x, layer_weights=weights).as_matrix()))
    np.testing.assert_allclose(sum(parts), tangent_kernel(architecture, x).as_matrix(), rtol=1e-12)
    nngp = nngp_kernel(architecture, x).as_matrix()
    np.testing.assert_allclose(parts[2] + parts[3], nngp, rtol=1e-12)
    np.testing.assert_allclose(parts[3], 0.2**2, rtol=1e-12)
    weighted = tangent_kernel(architecture, x, layer_weights=((2.0, 0.5), (0.0, 3.0))).as_matrix()
    np.testing.assert_allclose(weighted, 2 * parts[0] + 0.5 * parts[1] + 3 * parts[3], rtol=1e-12)


def test_weighted_layers_agree_with_wide_finite_networks() -> None:
    from ntk_nonlocal.networks import empirical_kernel, to_flax

    x = image(3, 4).astype(np.float32)
    architecture = Serial(Conv(3, bias_std=0.3), Relu(), Concat(Conv(1), Serial(Conv(3, 1.2, 0.4), Relu())), Conv(1))
    weights = ((2.0, 5.0), (0.0, 0.0), (1.5, 3.0), (0.5, 0.0))
    expected = np.asarray(tangent_kernel(architecture, x, layer_weights=weights).as_matrix())
    network = to_flax(architecture, width=512, out_channels=1)
    draws = []
    for seed in range(24):
        params = network.init(jax.random.key(seed), x)
        draws.append(empirical_kernel(network, params, x, layer_weights=weights) @ np.eye(12, dtype=np.float32))
    np.testing.assert_allclose(np.mean(draws, axis=0), expected, rtol=0, atol=0.05 * expected.max())


# --- memory ----------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*arguments: object, **settings: object) -> None:
        raise AssertionError("computed something first")

    monkeypatch.setattr("ntk_nonlocal.kernels.exact.find_corrections", forbidden)
    advice = r"takes about 0\.\d+ GiB .*budget is 0\.00 GiB.*smaller image.*window.*memory_budget"
    with pytest.raises(ValueError, match=advice):
        tangent_kernel(autoencoder(2), np.zeros((64, 64, 3), np.float32), memory_budget=1_000_000)
    monkeypatch.setattr(memory_module, "available_memory", lambda: 2_000_000)
    with pytest.raises(ValueError, match=advice):
        tangent_kernel(autoencoder(2), np.zeros((64, 64, 3), np.float32))


def test_a_plan_that_does_not_fit_is_refused_with_its_estimate() -> None:
    x = np.zeros((32, 32, 1), np.float32)
    with pytest.raises(ValueError, match=r"keeping the slices takes about 0\.\d+ GiB"):
        tangent_kernel(vanilla_cnn(3), x, memory_plan="keep", memory_budget=2_000_000)
    with pytest.raises(ValueError, match=r"the matrix of the kernel takes about 0\.\d+ GiB.*products instead"):
        tangent_kernel(vanilla_cnn(3), x, memory_plan="matrix", memory_budget=2_000_000)


def test_a_smaller_budget_gives_smaller_blocks_and_the_same_kernel() -> None:
    x = image(12, 8, 1).astype(np.float32)
    rich, poor = lag_kernel(TWO, x), lag_kernel(TWO, x, memory_budget=100_000)
    assert poor.block < rich.block
    v = np.random.default_rng(1).normal(size=96).astype(np.float32)
    np.testing.assert_allclose(poor @ v, rich @ v, rtol=0, atol=1e-5 * float(abs(rich @ v).max()))


def test_the_estimate_is_printed_at_debug_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "ntk_nonlocal"):
        tangent_kernel(vanilla_cnn(3), image().astype(np.float32))
    assert any("GiB, the budget is" in record.getMessage() for record in caplog.records)


# --- bad input -------------------------------------------------------------------------------------------------------

GOOD = image(4, 6).astype(np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backend": "jax"}, "backend must be one of 'auto', 'lag', 'neural-tangents', got 'jax'"),
        ({"memory_plan": "disk"}, "memory_plan must be one of .*'keep'.* got 'disk'"),
        ({"window": 0}, "window must be an integer of at least 1, got 0"),
        ({"window": 2.5}, "window must be an integer of at least 1, got 2.5"),
        ({"window": True}, "window must be an integer of at least 1, got True"),
        ({"memory_budget": -1}, "memory_budget must be an integer of at least 1, got -1"),
        ({"memory_budget": 1e9}, "memory_budget must be an integer of at least 1"),
        ({"backend": "neural-tangents", "window": 3}, 'need backend="lag"'),
        ({"backend": "neural-tangents", "layer_weights": ((1.0, 1.0),) * 2}, 'need backend="lag"'),
        ({"layer_weights": ((1.0, 1.0),)}, "each of the 2 convolutions"),
        ({"layer_weights": ((1.0, -1.0), (1.0, 1.0))}, "finite and at least 0"),
        ({"network_input": np.where(GOOD > 0.5, np.nan, GOOD)}, "NaN or infinite"),
        ({"network_input": np.where(GOOD > 0.5, np.inf, GOOD)}, "NaN or infinite"),
        ({"network_input": GOOD[..., 0]}, r"shape \(H, W, C\).*got \(4, 6\).*network_input\[\.\.\., None\]"),
        ({"network_input": GOOD[None]}, r"got \(1, 4, 6, 2\)"),
        ({"network_input": GOOD[:, :0]}, "none of them zero"),
        ({"network_input": (255 * GOOD).astype(np.uint8)}, "floating-point array, got uint8.*255"),
        ({"network_input": GOOD > 0.5}, "floating-point array, got bool"),
        ({"network_input": GOOD.astype(complex)}, "complex"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], message: str) -> None:
    arguments = {"architecture": vanilla_cnn(3), "network_input": GOOD, **change}
    with pytest.raises(ValueError, match=message):
        tangent_kernel(**arguments)


def test_images_that_do_not_fit_the_architecture_are_named() -> None:
    with pytest.raises(ArchitectureError, match=r"layer 2: Downsample.*divisible by 2.*7x12.*crop or pad"):
        tangent_kernel(autoencoder(1), np.ones((7, 12, 1), np.float32))
    with pytest.raises(ArchitectureError, match="padding='circular' needs at least 5x5"):
        tangent_kernel(Serial(Conv(5, padding="circular"), Relu(), Conv(1)), np.ones((4, 6, 1), np.float32))
    with pytest.raises(TypeError, match=r"must be .* layer"):
        tangent_kernel("unet", GOOD)  # type: ignore[arg-type]


def test_vectors_and_pixels_that_do_not_fit_are_named() -> None:
    op = tangent_kernel(vanilla_cnn(3), GOOD)
    assert (op @ np.zeros((24, 0), np.float32)).shape == (24, 0)
    with pytest.raises(ValueError, match=r"4x6 image multiplies vectors of shape \(24,\)"):
        op @ np.zeros((4, 6), np.float32)
    with pytest.raises(ValueError, match=r"lie in 0\.\.23"):
        op.rows([24])
    with pytest.raises(ValueError, match="non-empty list of integers"):
        op.rows([0.5])


def test_float64_without_x64_is_computed_in_float32_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="computed in float32"):
        assert tangent_kernel(vanilla_cnn(3), image()).dtype == np.float32
