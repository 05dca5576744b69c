"""The tangent kernel of finite networks: against explicit Jacobians, the exact limit, and its layer weights."""

from dataclasses import replace
from importlib.util import find_spec

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntk_nonlocal.architecture import (
    Concat,
    Conv,
    Downsample,
    Erf,
    Relu,
    Serial,
    Sum,
    Upsample,
    autoencoder,
    cnn,
    unet,
    vanilla_cnn,
)
from ntk_nonlocal.kernels import standard_layer_weights
from ntk_nonlocal.kernels.oracle.stax import exact_kernel
from ntk_nonlocal.networks import empirical_kernel, to_flax
from ntk_nonlocal.networks.empirical import largest_eigenvalue

KEY = jax.random.key(1)
RICH = Serial(
    Conv(3, bias_std=0.3),
    Relu(),
    Concat(Serial(), Serial(Conv(3, bias_std=0.2), Relu())),
    Sum(Conv(1), Serial(Conv(3), Relu(), Conv(3, weight_std=0.8, bias_std=0.1))),
)


def image(shape=(4, 6, 2), seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(size=shape), jnp.float32)


def jacobians(network, params, x):
    """One (H W, output channels, size) array per parameter."""
    tree = jax.jacobian(lambda p: network.apply(p, x))(params)
    count = x.shape[0] * x.shape[1]
    return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(count, network.out_channels, -1), tree)


def gram(tree, weights, channel):
    parts = jax.tree.map(lambda j, w: w * j[:, channel] @ j[:, channel].T, tree, weights)
    return sum(jax.tree.leaves(parts))


@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
def test_operator_is_the_product_of_jacobians(parameterization):
    x = image()
    network = to_flax(RICH, width=5, out_channels=2, parameterization=parameterization)
    params = network.init(KEY, x)
    tree = jacobians(network, params, x)
    ones = jax.tree.map(lambda _: 1.0, params)
    matrices = [gram(tree, ones, channel) for channel in (0, 1)]
    v = np.random.default_rng(1).normal(size=(24, 24)).astype(np.float32)

    for output, expected in ((0, matrices[0]), (1, matrices[1]), ("mean", sum(matrices) / 2)):
        op = empirical_kernel(network, params, x, output=output)
        scale = np.abs(expected).max()
        assert op.shape == (24, 24) and op.image_shape == (4, 6)
        np.testing.assert_allclose(op @ v, expected @ v, atol=1e-5 * scale)
        np.testing.assert_allclose(op.as_matrix(), expected, atol=1e-5 * scale)
        np.testing.assert_allclose(op.diagonal(), np.diag(expected), atol=1e-5 * scale)


def test_columns_in_chunks_and_under_jit_give_the_same():
    x = image()
    network = to_flax(cnn(1), width=4)
    op = empirical_kernel(network, network.init(KEY, x), x)
    v = np.random.default_rng(1).normal(size=(24, 5)).astype(np.float32)
    chunked = replace(op, columns_at_once=2)
    np.testing.assert_allclose(chunked @ v, op @ v, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(chunked.diagonal(), op.diagonal(), rtol=1e-5)
    np.testing.assert_allclose(op.rows([3, 20]), (op @ np.eye(24, dtype=np.float32)[:, [3, 20]]).T, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(lambda k, u: k @ u)(op, v), op @ v, rtol=1e-5, atol=1e-5)


def test_trained_parameters_have_their_own_kernel():
    x = image()
    network = to_flax(cnn(1), width=4)
    params = network.init(KEY, x)
    moved = jax.tree.map(lambda leaf: leaf + 0.5, params)
    expected = gram(jacobians(network, moved, x), jax.tree.map(lambda _: 1.0, params), 0)
    op = empirical_kernel(network, moved, x, output=0)
    np.testing.assert_allclose(op.as_matrix(), expected, rtol=1e-4, atol=1e-5)


# what training the last of two convolutions alone follows: the NNGP kernel
LAST_OF_TWO = ((0.0, 0.0), (1.0, 1.0))


def test_nngp_is_the_covariance_of_the_last_features():
    x = image()
    for parameterization in ("ntk", "standard"):
        network = to_flax(Serial(Conv(3), Relu(), Conv(1, 1.5, bias_std=0.4)), 7, 2, parameterization)
        params = network.init(KEY, x)
        features = np.asarray(jax.nn.relu(network.pre_activations(params, x))).reshape(24, 7)
        expected = 1.5**2 * features @ features.T / 7 + 0.4**2
        op = empirical_kernel(network, params, x, layer_weights=LAST_OF_TWO)
        np.testing.assert_allclose(op.as_matrix(), expected, rtol=1e-4)


@pytest.mark.parametrize("architecture", [vanilla_cnn(3), unet(1), RICH])
def test_standard_gradient_descent_follows_the_layer_weighted_kernel(architecture):
    """J J^T / c of the standard parametrisation IS the weighted sum of the "ntk" one's layers, at any width."""
    x = image()
    ntk, standard = (to_flax(architecture, 6, 2, p) for p in ("ntk", "standard"))
    weights = standard_layer_weights(architecture, width=6, in_channels=2)
    params, standard_params = ntk.init(KEY, x), standard.init(KEY, x)
    own = np.asarray(empirical_kernel(standard, standard_params, x).as_matrix()) / 6
    scale = np.abs(own).max()
    weighted = empirical_kernel(ntk, params, x, layer_weights=weights)
    np.testing.assert_allclose(weighted.as_matrix(), own, atol=1e-5 * scale)
    weighted_standard = empirical_kernel(standard, standard_params, x, layer_weights=weights)
    np.testing.assert_allclose(weighted_standard.as_matrix(), own, atol=1e-5 * scale)


def test_steps_per_layer_recover_theta_in_the_standard_parametrisation():
    x = image()
    ntk, standard = (to_flax(RICH, 6, 2, p) for p in ("ntk", "standard"))
    standard_params = standard.init(KEY, x)
    theta = np.asarray(empirical_kernel(ntk, ntk.init(KEY, x), x, output=0).as_matrix())
    recovered = gram(jacobians(standard, standard_params, x), standard.tangent_steps(standard_params), 0)
    np.testing.assert_allclose(recovered, theta, atol=1e-5 * np.abs(theta).max())
    ones = ((1.0, 1.0),) * 5
    op = empirical_kernel(standard, standard_params, x, output=0, layer_weights=ones)
    np.testing.assert_allclose(op.as_matrix(), theta, atol=1e-5 * np.abs(theta).max())


def arc_cosine_kernels(x, kernel_size):
    """NNGP and tangent kernel of vanilla_cnn, from patches (published_results, claim 2)."""
    reach = kernel_size // 2
    height, width, channels = x.shape
    padded = np.pad(np.asarray(x, float), ((reach, reach), (reach, reach), (0, 0)))
    patches = np.stack(
        [padded[a : a + kernel_size, b : b + kernel_size].ravel() for a in range(height) for b in range(width)]
    )
    norms = np.linalg.norm(patches, axis=1)
    product = np.outer(norms, norms)
    phi = np.arccos(np.clip(patches @ patches.T / product, -1, 1))
    scale = product / (np.pi * kernel_size**2 * channels)
    nngp = scale * (np.sin(phi) + (np.pi - phi) * np.cos(phi))
    return nngp, nngp + scale * (np.pi - phi) * np.cos(phi)


@pytest.mark.slow
def test_mean_kernel_tends_to_the_exact_one_with_width():
    x = image((6, 5, 2))
    nngp, ntk = arc_cosine_kernels(x, 3)

    def distance(width, seeds=4):
        network = to_flax(vanilla_cnn(3), width=width)
        ops = [empirical_kernel(network, network.init(jax.random.key(s), x), x) for s in range(seeds)]
        mean = sum(np.asarray(op.as_matrix()) for op in ops) / seeds
        return np.linalg.norm(mean - ntk) / np.linalg.norm(ntk)

    narrow, wide = distance(64), distance(4096)
    assert wide < 0.02  # 1 / sqrt(4 * 4096) = 0.008 up to a constant
    assert 3 < narrow / wide < 20  # sqrt(64) = 8

    network = to_flax(vanilla_cnn(3), width=4096)
    params = network.init(KEY, x)
    last = np.asarray(empirical_kernel(network, params, x, layer_weights=LAST_OF_TWO).as_matrix())
    assert np.linalg.norm(last - nngp) < 0.05 * np.linalg.norm(nngp)
    limit = empirical_kernel(network, params, x, layer_weights=standard_layer_weights(vanilla_cnn(3))).as_matrix()
    np.testing.assert_allclose(limit, last, rtol=1e-4)  # the published formula is the standard one's limit


MIXED = Serial(
    Conv(3, bias_std=0.3),
    Relu(),
    Concat(Serial(), Serial(Downsample(2), Conv(3), Relu(), Upsample(2))),
    Sum(Conv(1), Serial(Conv(3), Relu(), Conv(1))),
    Erf(),
    Conv(1, weight_std=1.0, bias_std=0.2),
)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("neural_tangents") is None, reason="the exact kernel here comes from neural-tangents")
@pytest.mark.parametrize("architecture", [autoencoder(1), unet(1, down="stride", up="nearest"), MIXED])
def test_deep_networks_tend_to_the_exact_kernel_of_neural_tangents(architecture):
    """Also at H != W, and for the rule of Concat (its branches carry the width each)."""
    x = image((4, 6, 2))
    exact = np.asarray(exact_kernel(architecture, x).as_matrix())
    distances = []
    for width in (16, 256):
        network = to_flax(architecture, width=width, out_channels=1)
        kernels = [empirical_kernel(network, network.init(jax.random.key(s), x), x).as_matrix() for s in range(24)]
        distances.append(np.linalg.norm(sum(map(np.asarray, kernels)) / 24 - exact) / np.linalg.norm(exact))
    assert distances[1] < 0.1
    assert distances[0] / distances[1] > 2  # 4 in the limit


def test_largest_eigenvalue_is_that_of_the_kernel_over_all_channels():
    x = image()
    network = to_flax(RICH, 5, 2, "standard")
    params = network.init(KEY, x)
    steps = network.tangent_steps(params)
    parts = jax.tree.map(lambda j, s: s * j.reshape(48, -1) @ j.reshape(48, -1).T, jacobians(network, params, x), steps)
    expected = np.linalg.eigvalsh(sum(jax.tree.leaves(parts)))[-1]
    assert largest_eigenvalue(network, params, x, steps, tolerance=1e-5) == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output": 3}, "channel in 0..2"),
        ({"output": "sum"}, "'mean' or a channel"),
        ({"layer_weights": ((1.0, 1.0),)}, "each of the 2 convolutions"),
        ({"layer_weights": ((1.0, 1.0), (-1.0, 0.0))}, "at least 0"),
    ],
)
def test_bad_arguments(arguments, message):
    x = image()
    network = to_flax(cnn(1), width=4)
    with pytest.raises(ValueError, match=message):
        empirical_kernel(network, network.init(KEY, x), x, **arguments)


def test_parameters_of_another_network_are_refused():
    x = image()
    params = to_flax(cnn(1), width=5).init(KEY, x)
    with pytest.raises(ValueError, match="do not belong"):
        empirical_kernel(to_flax(cnn(1), width=4), params, x)
