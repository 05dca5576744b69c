"""Functions of the user's own: what they are known by, and their kernels against quadrature over pairs in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntk_nonlocal as nnl
from ntk_nonlocal.architecture import Pointwise
from ntk_nonlocal.kernels import tangent_kernel
from ntk_nonlocal.kernels.lag.hermite import coefficients, enough, left_out, series, tolerance

SMOOTH = {
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
    "softplus": jax.nn.softplus,
    "sin": jnp.sin,
    "my own": lambda x: x * jnp.exp(-(x**2)) + 0.3,
}
VARIANCES = np.array([1e-4, 0.03, 0.5, 4.0])
# The rectangle rule in the two independent normal numbers behind a pair: exact to rounding for these functions.
GRID = np.arange(-9.6, 9.65, 0.12)
WEIGHT = np.exp(-(GRID**2) / 2) * 0.12 / np.sqrt(2 * np.pi)


def pair(tables: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Tables (..., 1, pixels) at both ends of all pairs."""
    return tables[..., 0, :, None], tables[..., 0, None, :]


def expectations(layer: Pointwise, rho: float) -> tuple[np.ndarray, np.ndarray]:
    """E[phi(u) phi(v)] and E[phi'(u) phi'(v)] for all pairs of variances."""
    root = np.sqrt(VARIANCES)
    second = rho * GRID[:, None] + np.sqrt(1 - rho**2) * GRID
    result = []
    for function in (layer, layer.derivative):
        left = np.asarray(function(jnp.asarray(root[:, None] * GRID))) * WEIGHT
        right = np.asarray(function(jnp.asarray(root[:, None, None] * second))) @ WEIGHT
        result.append(left @ right.T)
    return result[0], result[1]


@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, 1e-5), (np.float64, 1e-9)])
@pytest.mark.parametrize("name", SMOOTH)
def test_the_series_is_exact_for_variances_up_to_4(name: str, dtype: type, limit: float, x64: None) -> None:
    layer = Pointwise(SMOOTH[name])
    variance = jnp.asarray(VARIANCES[None], dtype)
    for terms in (64, 128, 512):
        table = coefficients(layer, variance, terms)
        count = enough(np.asarray(left_out(table)), tolerance(dtype))
        if count is not None:
            break
    assert count is not None
    table = table[:, :count]

    diagonal = [np.diag(values).max() for values in expectations(layer, 1.0)]
    variance_behind = np.diag(expectations(layer, 1.0)[0])
    root = np.sqrt(VARIANCES)
    for rho in (1.0, 1 - 1e-7, 0.9, 0.2, 0.0, -0.5, -1 + 1e-4, -1.0):
        distance = 0.5 * np.subtract.outer(root, root) ** 2 + (1 - rho) * np.outer(root, root)
        covariance, derivative = expectations(layer, rho)
        new, slope = series(table, jnp.asarray(distance, dtype), variance, pair, False, True)
        expected = 0.5 * np.add.outer(variance_behind, variance_behind) - covariance
        np.testing.assert_allclose(new, expected, rtol=0, atol=limit * diagonal[0])
        np.testing.assert_allclose(slope, derivative, rtol=0, atol=limit * diagonal[1])
        assert (np.asarray(new) >= 0).all()


def test_equal_pixels_have_no_distance() -> None:
    layer = Pointwise(jnp.tanh)
    variance = jnp.full((1, 3), 0.7)
    table = coefficients(layer, variance, 32)[:, :32]
    new, _ = series(table, jnp.zeros((3, 3)), variance, pair, False, True)
    assert not np.asarray(new).any()


def test_more_terms_are_taken_for_larger_variances(x64: None) -> None:
    layer = Pointwise(SMOOTH["gelu"])

    def terms(variance: float) -> int | None:
        return enough(np.asarray(left_out(coefficients(layer, jnp.full((1, 1), variance), 256))), 1e-9)

    counts = [terms(variance) for variance in (0.1, 0.5, 4.0, 10.0)]
    assert counts == sorted(counts) and counts[1] <= 24 and 80 <= counts[2] <= 110  # type: ignore[arg-type, operator]


BODY = (nnl.Conv(3, bias_std=0.1), Pointwise(SMOOTH["gelu"]), nnl.Downsample(2), nnl.Conv(1), Pointwise(jnp.tanh))
NETWORK = nnl.Serial(*BODY, nnl.Upsample(2), nnl.Conv(3), nnl.Relu(), nnl.Conv(1))


def image(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=shape)


def test_whole_networks_agree_with_neural_tangents(x64: None) -> None:
    pytest.importorskip("ntk_nonlocal.kernels.oracle.stax")
    x = image(4, 6, 2)
    found = np.asarray(tangent_kernel(NETWORK, x).as_matrix())
    expected = np.asarray(tangent_kernel(NETWORK, x, backend="neural-tangents").as_matrix())
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7 * expected.max())
    np.testing.assert_allclose(found, found.T, rtol=0, atol=1e-12 * found.max())
    assert np.linalg.eigvalsh(found).min() > -1e-12 * found.max() * len(found)


def test_it_works_inside_jit_and_has_a_gradient(x64: None) -> None:
    x, v = jnp.asarray(image(3, 4, 1)), jnp.arange(12.0)
    network = nnl.Serial(nnl.Conv(3), Pointwise(jax.nn.silu), nnl.Conv(1))

    def form(x: jax.Array) -> jax.Array:
        return v @ (tangent_kernel(network, x) @ v)

    value, slope = jax.jit(jax.value_and_grad(form))(x)
    assert value == pytest.approx(float(form(x)), rel=1e-9)
    step = jnp.zeros_like(x).at[1, 2, 0].set(1e-5)
    assert float(slope[1, 2, 0]) == pytest.approx(float(form(x + step) - form(x - step)) / 2e-5, rel=1e-6)
    assert np.isnan(jax.jit(form)(1e4 * x))  # too large for what is known of the image while tracing


@pytest.mark.parametrize("name", ["relu6", "elu", "abs"])
def test_kinks_are_refused_with_the_error_reached(name: str) -> None:
    function = {"relu6": jax.nn.relu6, "elu": lambda x: jnp.where(x > 0, x, jnp.exp(x / 3) - 1), "abs": jnp.abs}[name]
    network = nnl.Serial(nnl.Conv(3), Pointwise(function), nnl.Conv(1))
    with pytest.raises(ValueError, match=r"layer 1: the series of Pointwise.*leaves \d\.\de-\d\d.*kink"):
        tangent_kernel(network, image(2, 2, 1).astype(np.float32))


def test_what_it_computes_is_what_it_is() -> None:
    layers = [Pointwise(jax.nn.silu), Pointwise(jnp.tanh), Pointwise(lambda x: 3 * x), Pointwise(lambda x: x * 3.1)]
    layers += [Pointwise(lambda x: x * (3.1 + 1e-14)), Pointwise(lambda x: jnp.where(x > 0, x, 3 * x))]
    for scale in (1.5, 2.5):
        table = np.array([0.0, scale])
        layers.append(Pointwise(lambda x, table=table: x * table[1]))
    odd = jax.custom_jvp(lambda x: 3 * x)
    odd.defjvp(lambda x, t: (3 * x[0], 5 * t[0]))
    layers.append(Pointwise(odd))  # of the same values, with a derivative of its own
    assert len(set(layers)) == len({repr(layer) for layer in layers}) == len(layers)
    assert Pointwise(lambda x: 3 * x) == Pointwise(lambda y: 3 * y) == layers[2]
    assert repr(layers[1]).startswith("Pointwise(<tanh ")
    assert nnl.Serial(nnl.Conv(3), Pointwise(jnp.tanh)) == nnl.Serial(nnl.Conv(3), Pointwise(lambda x: jnp.tanh(x)))
    assert Pointwise(jnp.tanh) != nnl.Erf()


@pytest.mark.parametrize(
    "function", [3, lambda x: x > 0, lambda x: jnp.stack([x, x]), lambda x: x + 1j, np.sin, jax.nn.softmax, lambda: 3]
)
def test_what_is_no_function_of_one_real_number_is_refused(function: object) -> None:
    with pytest.raises(TypeError, match="Pointwise"):
        Pointwise(function)  # type: ignore[arg-type]


def test_finite_networks_apply_it_and_approach_its_kernel() -> None:
    x = image(4, 4, 3).astype(np.float32)
    architecture = nnl.Serial(nnl.Conv(1, 1.0), Pointwise(lambda x: x - jnp.mean(x) + jnp.sin(x)), nnl.Conv(1, 1.0))
    network = nnl.to_flax(architecture, width=1, out_channels=1)
    params = jax.tree.map(jnp.ones_like, network.init(jax.random.key(0), x[..., :1]))
    np.testing.assert_allclose(network.apply(params, x[..., :1]), np.sin(x[..., :1]), rtol=1e-5)  # each by itself

    architecture = nnl.Serial(nnl.Conv(3), Pointwise(jax.nn.gelu), nnl.Conv(1, 1.0))
    exact = np.asarray(tangent_kernel(architecture, x).as_matrix())
    distances = []
    for width in (64, 1024):
        network = nnl.to_flax(architecture, width=width, out_channels=1)
        keys = jax.random.split(jax.random.key(1), 4)
        kernels = [nnl.empirical_kernel(network, network.init(key, x), x).as_matrix() for key in keys]
        distances.append(np.mean([np.linalg.norm(kernel - exact) for kernel in kernels]) / np.linalg.norm(exact))
    assert distances[1] < 0.06 and 2.5 < distances[0] / distances[1] < 6.5  # width^-1/2: 4; ReLU: .045 over 8 seeds
