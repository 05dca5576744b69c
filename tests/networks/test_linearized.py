"""Frozen features: the expansion of a network in its parameters, and kernels behind a preconditioner."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntk_nonlocal as nnl
from ntk_nonlocal.networks import linearize

KEY = jax.random.key(0)
X = np.random.default_rng(0).random((4, 6, 2)).astype(np.float32)
Y = np.random.default_rng(1).random((4, 6, 2)).astype(np.float32)
ARCHITECTURE = nnl.Serial(nnl.Conv(3, bias_std=0.3), nnl.Relu(), nnl.Conv(3), nnl.Relu(), nnl.Conv(1))


def networks(*, centered: bool = False, parameterization: str = "standard"):
    network = nnl.to_flax(ARCHITECTURE, 5, 2, parameterization, centered=centered)
    return network, network.init(KEY, X)


def moved(params, size: float = 0.1):
    leaves, structure = jax.tree.flatten(params)
    rng = np.random.default_rng(2)
    shifted = [leaf + size * rng.normal(size=leaf.shape).astype(leaf.dtype) for leaf in leaves]
    return jax.tree.unflatten(structure, shifted)


@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
def test_it_is_the_expansion_of_the_network(parameterization):
    network, params = networks(parameterization=parameterization)
    frozen = linearize(network, params)
    np.testing.assert_allclose(frozen.apply(frozen.init(jax.random.key(9), X), X), network.apply(params, X), rtol=1e-6)
    jacobian = jax.jacobian(lambda p: network.apply(p, X))(params)
    other = moved(params)
    parts = jax.tree.map(lambda j, p, q: jnp.tensordot(j, p - q, axes=p.ndim), jacobian, other, params)
    expected = network.apply(params, X) + sum(jax.tree.leaves(parts))
    np.testing.assert_allclose(frozen.apply(other, X), expected, atol=2e-5)


def test_its_kernel_never_moves_and_is_the_networks_own():
    network, params = networks()
    frozen = linearize(network, params)
    own = np.asarray(nnl.empirical_kernel(network, params, X).as_matrix())
    for at in (params, moved(params, 1.0)):
        found = nnl.empirical_kernel(frozen, at, X).as_matrix()
        np.testing.assert_allclose(found, own, atol=1e-5 * own.max())


def test_training_it_is_gradient_descent_with_the_fixed_kernel(x64: None):
    network = nnl.to_flax(ARCHITECTURE, 5, 1, "ntk")
    x, y = X.astype(np.float64), Y[..., :1].astype(np.float64)
    params = network.init(KEY, x)
    frozen = linearize(network, params)
    result = nnl.train(frozen, x, y, steps=50, params=params, keep_outputs=[50], learning_rate=0.01)
    kernel = nnl.empirical_kernel(network, params, x)
    top = float(np.linalg.eigvalsh(kernel.as_matrix())[-1])
    expected = nnl.gradient_descent(
        kernel, y, [50], step_size=0.01 * top, start=np.asarray(network.apply(params, x)), lambda_max=top
    )
    np.testing.assert_allclose(result.outputs[50], expected[0], atol=1e-6)


def test_a_centered_network_stays_centered():
    network, params = networks(centered=True)
    frozen = linearize(network, params)
    at = frozen.init(KEY, X)
    assert not np.any(frozen.apply(at, X))
    plain, point = network.plain(params)
    other = moved(point)
    expected = linearize(plain, point).apply(other, X) - plain.apply(point, X)
    np.testing.assert_allclose(frozen.apply(other, X), expected, atol=1e-5)


def test_expansions_around_other_points_are_other_networks():
    network, params = networks()
    one, two, other = linearize(network, params), linearize(network, params), linearize(network, moved(params))
    assert one == two
    assert hash(one) == hash(two)
    assert one != other
    assert repr(one) != repr(other)
    changed = moved(params, 0.3)
    assert not np.allclose(one.apply(changed, X), other.apply(changed, X), atol=1e-3)


def test_a_checkpoint_of_another_expansion_is_refused(tmp_path):
    network, params = networks()
    nnl.train(linearize(network, params), X, Y, steps=2, learning_rate=1e-4, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="belongs to a run"):
        nnl.train(linearize(network, moved(params)), X, Y, steps=2, learning_rate=1e-4, checkpoint=tmp_path)


@pytest.mark.parametrize("output", ["mean", 1])
def test_a_preconditioner_divides_every_gradient(output):
    network, params = networks()
    weights = jax.tree.map(lambda leaf: jnp.abs(leaf) + 0.5, moved(params))
    jacobian = jax.jacobian(lambda p: network.apply(p, X))(params)
    scaled = jax.tree.map(lambda j, w: (j / jnp.sqrt(w)).reshape(24, 2, -1), jacobian, weights)
    rows = np.concatenate(jax.tree.leaves(scaled), axis=2)
    by_channel = [rows[:, o] @ rows[:, o].T for o in range(2)]
    expected = sum(by_channel) / 2 if output == "mean" else by_channel[output]
    op = nnl.empirical_kernel(network, params, X, output=output, preconditioner=weights)
    np.testing.assert_allclose(op.as_matrix(), expected, atol=2e-5 * expected.max())
    np.testing.assert_allclose(op.diagonal(), np.diag(expected), rtol=2e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: {}, "a tree of arrays like params"),
        (lambda p: jax.tree.map(lambda leaf: leaf[..., :1], p), "a tree of arrays like params"),
        (lambda p: jax.tree.map(jnp.zeros_like, p), "positive and finite everywhere, got 0 to 0"),
        (lambda p: jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), p), "positive and finite"),
    ],
)
def test_a_wrong_preconditioner_is_refused(change, message):
    network, params = networks()
    with pytest.raises(ValueError, match=message):
        nnl.empirical_kernel(network, params, X, preconditioner=change(params))


def test_what_cannot_be_linearised_is_said():
    network, params = networks()
    with pytest.raises(TypeError, match="network must come from to_flax"):
        linearize(ARCHITECTURE, params)
    with pytest.raises(TypeError, match="linearised already"):
        linearize(linearize(network, params), params)
    with pytest.raises(ValueError, match="NaN or infinite"):
        linearize(network, jax.tree.map(lambda leaf: leaf * jnp.nan, params))
    with pytest.raises(ValueError, match="do not belong to this linearised network"):
        linearize(network, params).apply({}, X)
