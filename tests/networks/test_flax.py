"""The finite networks: what every layer does, the two parametrisations, and rules from outside the package."""

from dataclasses import dataclass, replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntk_nonlocal.architecture import (
    ArchitectureError,
    Concat,
    Conv,
    Downsample,
    Erf,
    Layer,
    LeakyRelu,
    Nonlinearity,
    Rbf,
    Relu,
    Serial,
    Sum,
    Upsample,
    autoencoder,
    cnn,
    convolutions,
    unet,
    vanilla_cnn,
)
from ntk_nonlocal.kernels import standard_layer_weights
from ntk_nonlocal.networks import flax_rule, parameters_at, to_flax

KEY = jax.random.key(0)
EVERYTHING = Serial(
    Conv(3, bias_std=0.3),
    LeakyRelu(0.1),
    Concat(
        Serial(Downsample(2, "stride"), Conv(3, padding="circular"), Erf(), Upsample(2, "nearest")),
        Serial(Downsample(2), Conv(1), Rbf(0.5), Upsample(2)),
        Serial(),
    ),
    Sum(Conv(1), Serial(Conv(5, bias_std=0.2), Relu(), Conv(3))),
    Relu(),
    Conv(1, weight_std=1.0, bias_std=0.1),
)


def image(shape=(8, 12, 3), seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(size=shape), jnp.float32)


def alone(layer, x):
    """The layer's function, inside a network whose convolutions are the identity on one channel."""
    network = to_flax(Serial(Conv(1, 1.0), layer, Conv(1, 1.0)), width=1, out_channels=1)
    params = jax.tree.map(jnp.ones_like, network.init(KEY, x))
    return np.asarray(network.apply(params, x))


@pytest.mark.parametrize("padding", ["zero", "circular", "reflect"])
def test_conv_sums_over_its_window(padding):
    x = image((5, 7, 2))
    network = to_flax(Serial(Conv(3, weight_std=1.3, bias_std=0.7, padding=padding)), out_channels=4)
    params = network.init(KEY, x)
    kernel, bias = (np.asarray(params["layer_0"][name]) for name in ("kernel", "bias"))
    padded = np.pad(
        x, ((1, 1), (1, 1), (0, 0)), mode={"zero": "constant", "circular": "wrap", "reflect": "reflect"}[padding]
    )
    expected = np.zeros((5, 7, 4))
    for a in range(3):
        for b in range(3):
            expected += padded[a : a + 5, b : b + 7] @ kernel[a, b]
    expected = 1.3 / np.sqrt(9 * 2) * expected + 0.7 * bias
    np.testing.assert_allclose(network.apply(params, x), expected, atol=1e-5)


def interpolation(size, factor):
    """Rows of weights of linear interpolation between pixel centres, edges repeated."""
    weights = np.zeros((size * factor, size))
    for row in range(size * factor):
        centre = (row + 0.5) / factor - 0.5
        left = int(np.floor(centre))
        weights[row, max(left, 0)] += 1 - (centre - left)
        weights[row, min(left + 1, size - 1)] += centre - left
    return weights


@pytest.mark.parametrize("factor", [2, 3])
def test_upsample_interpolates_between_pixel_centres_or_repeats(factor):
    x = np.asarray(image((4, 6, 1)))
    rows, columns = interpolation(4, factor), interpolation(6, factor)
    np.testing.assert_allclose(alone(Upsample(factor), x)[..., 0], rows @ x[..., 0] @ columns.T, atol=1e-5)
    repeated = np.kron(x[..., 0], np.ones((factor, factor)))
    np.testing.assert_allclose(alone(Upsample(factor, "nearest"), x)[..., 0], repeated, atol=1e-6)


@pytest.mark.parametrize("factor", [2, 3])
def test_downsample_takes_the_mean_or_the_first_pixel(factor):
    x = np.asarray(image((6, 12, 1)))
    blocks = x.reshape(6 // factor, factor, 12 // factor, factor, 1)
    np.testing.assert_allclose(alone(Downsample(factor, "average"), x), blocks.mean((1, 3)), atol=1e-6)
    np.testing.assert_array_equal(alone(Downsample(factor, "stride"), x), blocks[:, 0, :, 0])


def test_nonlinearities():
    from math import erf

    x = image((6, 6, 1)) * 4 - 2
    values = np.asarray(x)
    expected = {
        Relu(): np.maximum(values, 0),
        LeakyRelu(0.2): np.where(values > 0, values, 0.2 * values),
        Erf(): np.vectorize(erf)(values),
        Rbf(0.7): np.sqrt(2) * np.sin(np.sqrt(1.4) * values + np.pi / 4),
    }
    for layer, result in expected.items():
        np.testing.assert_allclose(alone(layer, x), result, atol=1e-5, err_msg=repr(layer))


def test_concat_stacks_channels_and_sum_adds():
    x = image((4, 4, 1))
    branches = (Conv(1, 1.0), Serial(Conv(3, 1.0), Relu(), Conv(1, 1.0)))
    joined = to_flax(Serial(Sum(*branches)), width=5, out_channels=2)
    params = joined.init(KEY, x)
    parts = [
        to_flax(branch, width=5, out_channels=2).apply(inner, x)
        for branch, inner in zip(
            branches, ({"layer_0": params["layer_0"]["branch_0"]}, params["layer_0"]["branch_1"]), strict=True
        )
    ]
    np.testing.assert_allclose(joined.apply(params, x), parts[0] + parts[1], atol=1e-6)

    concat = to_flax(Serial(Conv(1), Relu(), Concat(Serial(), Conv(1), Conv(3)), Conv(1)), width=5)
    assert concat.init(KEY, x)["layer_3"]["kernel"].shape == (1, 1, 15, 3)


@pytest.mark.parametrize("architecture", [vanilla_cnn(3), cnn(2), autoencoder(2), unet(2), EVERYTHING])
def test_the_two_parametrisations_are_the_same_function_at_initialisation(architecture):
    x = image()
    ntk = to_flax(architecture, width=6, parameterization="ntk")
    standard = to_flax(architecture, width=6, parameterization="standard")
    out = ntk.apply(ntk.init(KEY, x), x)
    assert out.shape == (8, 12, 3)
    np.testing.assert_allclose(standard.apply(standard.init(KEY, x), x), out, rtol=1e-5, atol=1e-6)


def test_weights_have_the_declared_variance():
    x = image((4, 4, 3))
    architecture = Serial(Conv(3, weight_std=1.2, bias_std=0.4), Relu(), Conv(1, 1.0))
    params = to_flax(architecture, width=4000, parameterization="standard").init(KEY, x)
    assert np.std(params["layer_0"]["kernel"]) == pytest.approx(1.2 / np.sqrt(27), rel=0.02)
    assert np.std(params["layer_0"]["bias"]) == pytest.approx(0.4, rel=0.05)
    assert np.std(to_flax(architecture, width=4000).init(KEY, x)["layer_0"]["kernel"]) == pytest.approx(1, rel=0.02)


def test_parameters_are_named_by_position_and_follow_the_declared_fan_in():
    network = to_flax(EVERYTHING, width=6)
    params = network.init(KEY, image())
    placed_convs = convolutions(EVERYTHING)
    for placed in placed_convs:
        leaf = parameters_at(params, placed.position)
        fan_in = 3 if placed.fan_in_width is None else 6 * placed.fan_in_width
        assert leaf["kernel"].shape[:3] == (placed.conv.kernel_size, placed.conv.kernel_size, fan_in)
        assert leaf["kernel"].shape[3] == (3 if placed.is_output else 6)
        assert ("bias" in leaf) == (placed.conv.bias_std > 0)
    assert len(jax.tree.leaves(params)) == len(placed_convs) + sum(p.conv.bias_std > 0 for p in placed_convs)


def test_a_network_is_a_static_argument_and_parameters_follow_the_input_type():
    network = to_flax(cnn(1), width=4)
    assert hash(network) == hash(to_flax(cnn(1), width=4)) and network == to_flax(cnn(1), width=4)
    assert network != to_flax(cnn(1), width=4, parameterization="standard")
    with jax.enable_x64(True):
        params = network.init(KEY, np.zeros((4, 4, 3)))
        assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float64")}


@pytest.mark.parametrize("architecture", [cnn(2), unet(1), EVERYTHING])
def test_the_output_follows_from_the_last_pre_activations(architecture):
    """Behind the last nonlinearity stands one Conv(1): features and output determine each other."""
    x = image()
    network = to_flax(architecture, width=6)
    params = network.init(KEY, x)
    features = network.pre_activations(params, x)
    assert features.shape == (8, 12, 6)
    last = params[f"layer_{len(architecture.layers) - 1}"]
    expected = jax.nn.relu(features) @ last["kernel"][0, 0] / np.sqrt(6)
    if "bias" in last:
        expected += 0.1 * last["bias"]
    np.testing.assert_allclose(network.apply(params, x), expected, atol=1e-5)


def test_no_pre_activations_without_a_nonlinearity():
    network = to_flax(Serial(Conv(3)))
    with pytest.raises(ValueError, match="no nonlinearity"):
        network.pre_activations(network.init(KEY, image()), image())


def test_standard_layer_weights_count_the_fan_in():
    assert standard_layer_weights(vanilla_cnn(11)) == ((0.0, 0.0), (1.0, 0.0))
    finite = standard_layer_weights(vanilla_cnn(11), width=50, in_channels=3)
    np.testing.assert_allclose(finite, ((121 * 3 / 50 / 2, 0), (1, 0)))
    assert standard_layer_weights(unet(1, 3))[-2] == pytest.approx((9 * 2 / 2, 0))  # behind the Concat: 2 c channels
    with_bias = Serial(Conv(3, bias_std=0.5), Relu(), Conv(1))
    assert standard_layer_weights(with_bias)[0] == (0, 0)
    assert standard_layer_weights(with_bias, 10, 1)[0][1] == pytest.approx(1 / (0.25 * 10))
    with pytest.raises(ValueError, match="in_channels"):
        standard_layer_weights(cnn(1), width=8)


@dataclass(frozen=True)
class Square(Nonlinearity):
    pass


@dataclass(frozen=True)
class Gain(Layer):
    def propagate(self, signal, position):
        return replace(signal, state="activated")


def test_a_layer_from_outside_needs_a_rule_and_then_works():
    with pytest.raises(TypeError, match=r"layer 2, branch 1, layer 1: Square.*register"):
        to_flax(Serial(Conv(3), Relu(), Sum(Conv(1), Serial(Conv(1), Square(), Conv(1)))))

    class GainModule(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x * self.param("gain", nn.initializers.constant(2.0), (), x.dtype)

    @flax_rule.register
    def _(layer: Square, place):
        return jnp.square

    @flax_rule.register
    def _(layer: Gain, place):
        return GainModule(name=place.name)

    x = image((4, 4, 1))
    np.testing.assert_allclose(alone(Square(), x), np.asarray(x) ** 2, atol=1e-6)
    network = to_flax(Serial(Conv(1, 1.0), Relu(), Gain(), Conv(1, 1.0)), width=1, out_channels=1)
    params = network.init(KEY, x)
    assert float(params["layer_2"]["gain"]) == 2.0
    expected = 2 * jax.nn.relu(x * params["layer_0"]["kernel"][0, 0]) * params["layer_3"]["kernel"][0, 0]
    np.testing.assert_allclose(network.apply(params, x), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "width must be"),
        ({"width": 2.5}, "width must be"),
        ({"out_channels": -1}, "out_channels must be"),
        ({"parameterization": "mup"}, "parameterization must be"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        to_flax(cnn(1), **arguments)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((8, 8)), "shape"),
        (np.zeros((8, 8, 3), np.uint8), "uint8"),
        (np.zeros((0, 8, 3)), "shape"),
        (np.full((8, 8, 3), np.nan), "NaN"),
        (np.zeros((6, 8, 3)), "divisible"),
    ],
)
def test_bad_input(x, message):
    with pytest.raises(ValueError, match=message):
        to_flax(autoencoder(2)).init(KEY, x)


def test_an_architecture_without_output_channels_is_refused():
    with pytest.raises(ArchitectureError, match="end in a Conv"):
        to_flax(Serial(Conv(3), Relu()))


def test_pytorchs_scale_is_drawn_uniformly_with_the_variance_that_kernels_take():
    small = Serial(Conv(3, "pytorch"), Relu(), Conv(1, "pytorch"))
    x = np.random.default_rng(0).uniform(size=(4, 6, 2)).astype(np.float32)
    ours, number = (to_flax(a, 512, 1, "standard") for a in (small, Serial(Conv(3, (1 / 3) ** 0.5), Relu(), Conv(1))))
    kernel = np.asarray(ours.init(jax.random.key(0), x)["layer_0"]["kernel"])
    bound = (3 * 3 * 2) ** -0.5  # PyTorch's: uniform in +-1 / sqrt(fan-in)
    assert 0.98 * bound < np.abs(kernel).max() <= bound
    assert kernel.std() == pytest.approx(bound / 3**0.5, rel=0.02)
    normal = np.asarray(number.init(jax.random.key(0), x)["layer_0"]["kernel"])
    assert np.abs(normal).max() > 1.5 * bound and normal.std() == pytest.approx(kernel.std(), rel=0.03)


@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
def test_a_centered_network_starts_at_exactly_zero_and_has_the_same_derivative(parameterization):
    x = np.random.default_rng(0).uniform(size=(8, 8, 3)).astype(np.float32)
    plain = to_flax(autoencoder(levels=2), 16, 2, parameterization)
    centered = to_flax(autoencoder(levels=2), 16, 2, parameterization, centered=True)
    params = centered.init(jax.random.key(1), x)
    own = plain.init(jax.random.key(1), x)
    assert not np.asarray(centered.apply(params, x)).any()
    assert not np.asarray(jax.jit(centered.apply)(params, x)).any()
    moved = params | jax.tree.map(lambda p: 1.1 * p, own)
    expected = plain.apply(jax.tree.map(lambda p: 1.1 * p, own), x) - plain.apply(own, x)
    np.testing.assert_allclose(centered.apply(moved, x), expected, atol=1e-6)
    gradient = jax.grad(lambda p: jnp.sum(centered.apply(p, x) ** 2))(moved)
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient["start"]))
    assert all(leaf.any() for leaf in jax.tree.leaves({k: v for k, v in gradient.items() if k != "start"}))
    with pytest.raises(ValueError, match="hold its start"):
        centered.apply(own, x)
