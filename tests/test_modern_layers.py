"""Dilation, strides, zeros between pixels, normalisation, narrow layers: as finite networks, and by neural-tangents.

Their kernels to 50 digits are in ``tests/kernels/test_lag_layers.py``.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntk_nonlocal as nnl
from ntk_nonlocal.architecture import Concat, Conv, Downsample, Layer, Normalize, Relu, Serial, Sum, Upsample
from ntk_nonlocal.kernels import tangent_kernel
from ntk_nonlocal.operators import DenseOperator

STRIDED = Serial(
    *(Conv(3, bias_std=0.1, stride=2), Relu(), Upsample(2, "zero"), Conv(3), Relu()),
    *(Conv(3, padding="circular", stride=2), Relu(), Upsample(2), Conv(1)),
)
NORMALIZED = Serial(
    *(Conv(3, bias_std=0.1), Normalize(0.01), Relu()),
    *(Sum(Conv(3), Serial(Conv(1), Normalize(), Relu(), Conv(1))), Normalize(), Relu(), Conv(1)),
)
NARROW = Serial(
    *(Conv(3), Relu(), Concat(Serial(), Serial(Conv(3, channels=0.25), Relu())), Conv(1, channels=2), Relu()),
    *(Concat(Conv(3), Serial()), Conv(1)),
)


RESIDUAL = Serial(
    *(Conv(3), *(Sum(Serial(), Serial(Normalize(), Relu(), Conv(3, bias_std=0.1))) for _ in range(2))),
    *(Relu(), Conv(3), Sum(Normalize(), Serial(Relu(), Conv(1), Normalize(0.1))), Relu(), Conv(1)),
)
REFLECTED = Serial(
    *(Conv(3, padding="reflect"), Relu(), Downsample(2), Conv(3, padding="reflect", bias_std=0.1), Relu()),
    *(Upsample(2), Conv(5, padding="reflect"), Relu(), Conv(1)),
)

# a block of ConvNeXt: every channel by itself, normalised, then mixed
NEXT = Serial(
    *(Conv(3), Conv(3, 1.0, groups="depthwise"), Normalize(0.01), Conv(1), nnl.Pointwise(jax.nn.gelu)),
    *(Conv(1), Relu(), Conv(3, 0.9, groups="depthwise", bias_std=0.2), Conv(1)),
)


def image(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=shape)


@pytest.mark.parametrize(
    "architecture", [STRIDED, NORMALIZED, NARROW, RESIDUAL], ids=["strided", "normalized", "narrow", "residual"]
)
def test_neural_tangents_agrees(architecture: Layer, x64: None) -> None:
    pytest.importorskip("ntk_nonlocal.kernels.oracle.stax")
    x = image(4, 6, 2)
    found = np.asarray(tangent_kernel(architecture, x).as_matrix())
    expected = np.asarray(tangent_kernel(architecture, x, backend="neural-tangents").as_matrix())
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8 * expected.max())


def test_neural_tangents_has_no_dilation() -> None:
    pytest.importorskip("ntk_nonlocal.kernels.oracle.stax")
    with pytest.raises(NotImplementedError, match=r"layer 1: neural-tangents has no dilated convolution"):
        nnl.to_stax(Serial(Conv(1), Conv(3, dilation=2)))


def test_neural_tangents_does_not_reflect_borders() -> None:
    pytest.importorskip("ntk_nonlocal.kernels.oracle.stax")
    with pytest.raises(NotImplementedError, match=r"layer 0: neural-tangents does not reflect borders"):
        nnl.to_stax(REFLECTED)


def test_behind_reflected_borders_the_kernel_is_a_matrix() -> None:
    x = image(4, 6, 2).astype(np.float32)
    kernel = tangent_kernel(REFLECTED, x)
    assert isinstance(kernel, DenseOperator)
    matrix = np.asarray(kernel.as_matrix())
    parts = nnl.layer_kernels(REFLECTED, x)
    assert len(parts) == 4
    np.testing.assert_allclose(sum(np.asarray(part.as_matrix()) for part in parts), matrix, rtol=1e-5)
    rows, columns = (np.maximum(1 - abs(np.subtract.outer(range(n), range(n))) / 3, 0) for n in (4, 6))
    windowed = tangent_kernel(REFLECTED, x, window=3).as_matrix()
    np.testing.assert_allclose(windowed, matrix * np.kron(rows, columns), rtol=1e-5)
    assert nnl.describe(REFLECTED, (4, 6)).memory.keys() == {"matrix"}
    mesh = jax.make_mesh((1,), ("blocks",))
    with pytest.raises(ValueError, match=r'mesh: Conv\(padding="reflect"\) has its kernel held whole'):
        tangent_kernel(REFLECTED, x, mesh=mesh)
    with pytest.raises(
        ValueError, match=r"held whole, takes about .* GiB.*budget is 1.00 GiB; use a smaller image, another padding"
    ):
        tangent_kernel(REFLECTED, image(256, 256, 1).astype(np.float32), memory_budget=2**30)


def test_neural_tangents_has_no_depthwise_convolution() -> None:
    pytest.importorskip("ntk_nonlocal.kernels.oracle.stax")
    with pytest.raises(NotImplementedError, match=r"layer 1: neural-tangents has no depthwise convolution"):
        nnl.to_stax(NEXT)


def test_a_depthwise_convolution_filters_every_channel_by_itself() -> None:
    x = image(4, 5, 3).astype(np.float32)
    network = nnl.to_flax(NEXT, width=4, out_channels=2)
    params = network.init(jax.random.key(0), x)
    assert params["layer_1"]["kernel"].shape == (3, 3, 1, 4)
    found = nnl.to_flax(Serial(Conv(1), Conv(3, 1.2, groups="depthwise"), Conv(1, 1.0)), width=3, out_channels=3)
    eye = jnp.eye(3)[None, None] * np.sqrt(3)
    weights = {"layer_0": {"kernel": eye / 2**0.5}, "layer_2": {"kernel": eye}}
    kernel = np.asarray(jax.random.normal(jax.random.key(1), (3, 3, 1, 3)))
    padded = np.pad(x, [(1, 1), (1, 1), (0, 0)])
    expected = sum(padded[a : a + 4, b : b + 5] * kernel[a, b, 0] for a in range(3) for b in range(3)) * 1.2 / 3
    np.testing.assert_allclose(found.apply(weights | {"layer_1": {"kernel": kernel}}, x), expected, atol=1e-5)


@pytest.mark.parametrize("padding", ["zero", "circular", "reflect"])
@pytest.mark.parametrize(("dilation", "stride"), [(2, 1), (1, 2), (2, 3)])
def test_a_convolution_reads_pixels_apart_and_keeps_every_other(padding: str, dilation: int, stride: int) -> None:
    x = image(6, 12, 2).astype(np.float32)
    layer = Conv(3, 1.3, padding=padding, dilation=dilation, stride=stride)  # type: ignore[arg-type]
    network = nnl.to_flax(Serial(layer), out_channels=4)
    params = network.init(jax.random.key(0), x)
    kernel = np.asarray(params["layer_0"]["kernel"])
    mode = {"zero": "constant", "circular": "wrap", "reflect": "reflect"}[padding]
    padded = np.pad(x, [(dilation, dilation)] * 2 + [(0, 0)], mode=mode)  # type: ignore[call-overload]
    windows = [(a, b, padded[a * dilation :, b * dilation :][:6, :12]) for a in range(3) for b in range(3)]
    expected = sum(window @ kernel[a, b] for a, b, window in windows) * 1.3 / np.sqrt(9 * 2)
    np.testing.assert_allclose(network.apply(params, x), expected[::stride, ::stride], atol=1e-5)


def alone(layer: Layer, x: np.ndarray, channels: int) -> np.ndarray:
    """The layer's function, between convolutions that are the identity."""
    network = nnl.to_flax(Serial(Conv(1, 1.0), layer, Conv(1, 1.0)), width=channels, out_channels=channels)
    identity = jnp.eye(channels)[None, None] * np.sqrt(channels)
    params = jax.tree.map(lambda leaf: identity.astype(leaf.dtype), network.init(jax.random.key(0), x))
    return np.asarray(network.apply(params, x))


def test_zeros_follow_every_pixel() -> None:
    x = image(3, 4, 1).astype(np.float32)
    expected = np.kron(x[..., 0], [[1, 0], [0, 0]])
    np.testing.assert_allclose(alone(Upsample(2, "zero"), x, 1)[..., 0], expected, atol=1e-6)


def test_normalize_takes_mean_and_variance_of_the_channels() -> None:
    x = image(3, 4, 5).astype(np.float32)
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 0.1)
    np.testing.assert_allclose(alone(Normalize(0.1), x, 5), expected, atol=1e-5)


def test_a_sum_takes_equal_shares_however_they_are_written() -> None:
    sixths = Concat(*(Serial(Conv(3, channels=1 / 6), Relu()) for _ in range(6)))
    network = nnl.to_flax(Serial(Conv(3), Relu(), sixths, Sum(Serial(), Conv(3)), Conv(1)), width=9)
    x = image(4, 4, 1).astype(np.float32)
    with pytest.raises(
        ValueError, match=r"layer 3: the branches of Sum have 12, 9 channels at width 9.*all shares divide"
    ):
        network.init(jax.random.key(0), x)
    nnl.to_flax(network.architecture, width=12).init(jax.random.key(0), x)


def test_neural_tangents_says_which_sum_it_cannot_add() -> None:
    pytest.importorskip("ntk_nonlocal.kernels.oracle.stax")
    activated = Serial(Conv(3), Relu(), Sum(Serial(), Conv(3)), Conv(1))
    with pytest.raises(NotImplementedError, match=r"layer 2: neural-tangents adds branches that end in a convolution"):
        tangent_kernel(activated, image(4, 4, 1).astype(np.float32), backend="neural-tangents")


def test_a_positional_encoding_may_be_added_by_a_depthwise_convolution() -> None:
    with pytest.raises(nnl.ArchitectureError, match="put a Conv"):
        Serial(Conv(3), Sum(Serial(), Conv(3, groups="depthwise")), Relu())
    nnl.to_flax(Serial(Conv(3), Sum(Serial(), Conv(3, groups="depthwise")), Conv(1), Relu(), Conv(1)))


def test_narrow_layers_have_their_share_of_the_width() -> None:
    network = nnl.to_flax(NARROW, width=8, out_channels=3)
    params = network.init(jax.random.key(0), image(4, 4, 1).astype(np.float32))
    shapes = [leaf.shape[2:] for leaf in jax.tree.leaves(params)]
    assert sorted(shapes) == sorted([(1, 8), (8, 2), (10, 16), (16, 8), (24, 3)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "at_512"),
    [
        (NORMALIZED, 0.15),
        (
            Serial(
                Conv(3, dilation=2),
                Relu(),
                Conv(3, stride=2),
                Relu(),
                Upsample(2, "zero"),
                Conv(3, 2.0),
                Relu(),
                Conv(1),
            ),
            0.15,
        ),
        (REFLECTED, 0.1),  # over 8 seeds .44 at 32, .34 at 64, .26 at 128, .06 at 512
        (RESIDUAL, 0.15),
        (NEXT, 0.25),  # over 8 seeds .53 at 32, .35 at 128, .18 at 512
    ],
    ids=["normalized", "strided", "reflected", "residual", "ConvNeXt block"],
)
def test_finite_networks_approach_the_kernel_at_least_like_one_over_the_root_of_their_width(
    architecture: Layer, at_512: float
) -> None:
    x = image(4, 4, 3).astype(np.float32)
    exact = np.asarray(tangent_kernel(architecture, x).as_matrix())
    distances = []
    for width in (32, 512):
        network = nnl.to_flax(architecture, width=width, out_channels=1)
        kernels = [
            nnl.empirical_kernel(network, network.init(key, x), x).as_matrix()
            for key in jax.random.split(jax.random.key(1), 4)
        ]
        distances.append(np.mean([np.linalg.norm(kernel - exact) for kernel in kernels]) / np.linalg.norm(exact))
    # 4 by the root of the width; narrow networks are farther off by terms of higher order, which fall like the width
    assert distances[1] < at_512 and 2.4 < distances[0] / distances[1] < 16


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (lambda: Serial(Conv(1), Relu(), Normalize()), r"layer 2: Normalize\(\) behind a nonlinearity.*mean"),
        (lambda: nnl.to_flax(Serial(Normalize(), Conv(1))), r"layer 0: Normalize\(\) is applied to the network input"),
        (lambda: nnl.to_flax(Serial(Conv(1), Normalize())), r"must end in a Conv"),
        (
            lambda: Serial(Conv(1), Conv(3, groups="depthwise"), Relu()),
            r"layer 2: Relu.*depthwise Conv.*Conv\(1\)",
        ),
        (lambda: nnl.to_flax(Serial(Conv(3, groups="depthwise"), Conv(1))), r"layer 0.*applied to the network input"),
        (lambda: nnl.to_flax(Serial(Conv(3), Conv(3, groups="depthwise"))), r"must end in a Conv"),
        (lambda: Conv(3, groups="depthwise", channels=0.5), r"depthwise one keeps the channels"),
        (lambda: Sum(Conv(1), Conv(1, channels=0.5)), r"Sum have different numbers of channels \(1, 0.5"),
        (lambda: tangent_kernel(Conv(1, stride=3), image(4, 6, 1)), r"Conv\(1, stride=3\) needs.*divisible by 3"),
        (lambda: tangent_kernel(Conv(3, padding="circular", dilation=3), image(6, 9, 1)), r"at least 7x7.*got 6x9"),
        (lambda: tangent_kernel(Conv(5, padding="reflect"), image(2, 9, 1)), r"at least 3x3.*got 2x9"),
        (lambda: Conv(3, dilation=0), r"Conv: dilation must be an integer of at least 1, got 0"),
        (lambda: Conv(3, stride=1.5), r"Conv: stride must be an integer"),  # type: ignore[arg-type]
        (lambda: Conv(3, channels=0), r"Conv: channels, a share of the width, must be above 0"),
        (lambda: Normalize(0), r"Normalize: epsilon must be above 0"),
    ],
)
def test_what_has_no_limit_or_does_not_fit_is_refused(architecture: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        architecture()  # type: ignore[operator]


def test_a_stride_is_a_downsample_behind_a_convolution(x64: None) -> None:
    x = image(6, 6, 1)
    one = Serial(Conv(3, stride=2), Relu(), Conv(1))
    two = Serial(Conv(3), Downsample(2, "stride"), Relu(), Conv(1))
    found, expected = (tangent_kernel(architecture, x) for architecture in (one, two))
    assert len(found.stores) == len(expected.stores) == 1  # type: ignore[attr-defined]
    np.testing.assert_array_equal(found.as_matrix(), expected.as_matrix())
