"""The exact kernel by neural-tangents against the layers' formulas, written once more in NumPy as whole matrices."""

from __future__ import annotations

import itertools
import math
import warnings
from dataclasses import dataclass
from functools import singledispatch

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
    unet,
    vanilla_cnn,
)
from ntk_nonlocal.kernels import to_stax
from ntk_nonlocal.kernels.oracle import neural_tangents
from ntk_nonlocal.kernels.oracle import stax as stax_module
from ntk_nonlocal.kernels.oracle.stax import Place, Triple, exact_kernel, stax_rule

H, W = 6, 12  # both divisible by 2 and 3, and not the same


def image(height: int = H, width: int = W, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(height + width).normal(0.5, 0.3, size=(height, width, channels))


# --- the formulas as matrices ----------------------------------------------------------------------------------------


@dataclass
class Dense:
    """Covariance and tangent kernel over the pixels of a (height, width) image, and channels per width."""

    covariance: np.ndarray
    tangent: np.ndarray
    size: tuple[int, int]
    channels: int = 1

    def mapped(self, rows: np.ndarray, columns: np.ndarray) -> Dense:
        """Both kernels as A K A^T for the linear map A = rows (x) columns over the image's axes."""
        a = np.kron(rows, columns)
        size = (len(rows), len(columns))
        return Dense(a @ self.covariance @ a.T, a @ self.tangent @ a.T, size, self.channels)


@singledispatch
def dense(layer: Layer, k: Dense) -> Dense:
    raise NotImplementedError(layer)


@dense.register
def _(layer: Serial, k: Dense) -> Dense:
    for inner in layer.layers:
        k = dense(inner, k)
    return k


@dense.register
def _(layer: Conv, k: Dense) -> Dense:
    covariance, tangent = np.zeros_like(k.covariance), np.zeros_like(k.tangent)
    half = layer.kernel_size // 2
    for offsets in itertools.product(range(-half, half + 1), repeat=2):
        moved = k.mapped(*(_shift(n, offset, layer.padding) for n, offset in zip(k.size, offsets, strict=True)))
        covariance += moved.covariance
        tangent += moved.tangent
    scale = layer.std**2 / layer.kernel_size**2
    covariance = scale * covariance + layer.bias_std**2
    return Dense(covariance, scale * tangent + covariance, k.size)


def _shift(n: int, offset: int, padding: str) -> np.ndarray:
    eye = np.eye(n)
    return np.roll(eye, offset, axis=1) if padding == "circular" else np.eye(n, k=offset)


def _pointwise(k: Dense, covariance: np.ndarray, derivative: np.ndarray) -> Dense:
    return Dense(covariance, k.tangent * derivative, k.size, k.channels)


@dense.register
def _(layer: Relu, k: Dense) -> Dense:
    return dense(LeakyRelu(0.0), k)


@dense.register
def _(layer: LeakyRelu, k: Dense) -> Dense:
    q = np.diag(k.covariance)
    norm = np.sqrt(np.outer(q, q))
    angle = np.arctan2(np.sqrt(np.maximum((norm - k.covariance) * (norm + k.covariance), 0)), k.covariance)
    np.fill_diagonal(angle, 0)
    a = layer.slope
    bend = (1 - a) ** 2 / (2 * np.pi)
    covariance = bend * norm * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) + a * k.covariance
    return _pointwise(k, covariance, bend * (np.pi - angle) + a)


@dense.register
def _(layer: Erf, k: Dense) -> Dense:
    s, q = k.covariance, np.diag(k.covariance)
    denominator = np.outer(1 + 2 * q, 1 + 2 * q)
    return _pointwise(
        k, 2 / np.pi * np.arcsin(2 * s / np.sqrt(denominator)), 4 / np.pi / np.sqrt(denominator - 4 * s**2)
    )


@dense.register
def _(layer: Rbf, k: Dense) -> Dense:
    q = np.diag(k.covariance)
    affinity = np.exp(-layer.gamma * (q[:, None] + q[None, :] - 2 * k.covariance))
    return _pointwise(k, affinity, 2 * layer.gamma * affinity)


@dense.register
def _(layer: Downsample, k: Dense) -> Dense:
    weights = np.eye(1, layer.factor) if layer.method == "stride" else np.full((1, layer.factor), 1 / layer.factor)
    return k.mapped(*(np.kron(np.eye(n // layer.factor), weights) for n in k.size))


@dense.register
def _(layer: Upsample, k: Dense) -> Dense:
    return k.mapped(*(_upsample(n, layer.factor, layer.method) for n in k.size))


def _upsample(n: int, factor: int, method: str) -> np.ndarray:
    if method == "nearest":
        return np.kron(np.eye(n), np.ones((factor, 1)))
    positions = (np.arange(n * factor) + 0.5) / factor - 0.5
    return np.stack([np.interp(positions, np.arange(n), basis) for basis in np.eye(n)], axis=1)


@dense.register
def _(layer: Concat, k: Dense) -> Dense:
    ends = [dense(branch, k) for branch in layer.branches]
    total = sum(end.channels for end in ends)
    covariance = sum(end.channels / total * end.covariance for end in ends)
    return Dense(covariance, sum(end.channels / total * end.tangent for end in ends), ends[0].size, total)


@dense.register
def _(layer: Sum, k: Dense) -> Dense:
    ends = [dense(branch, k) for branch in layer.branches]
    return Dense(sum(end.covariance for end in ends), sum(end.tangent for end in ends), ends[0].size)


def dense_kernels(architecture: Layer, x: np.ndarray) -> Dense:
    pixels = x.reshape(-1, x.shape[-1]).astype(np.float64)
    covariance = pixels @ pixels.T / x.shape[-1]
    return dense(architecture, Dense(covariance, np.zeros_like(covariance), x.shape[:2]))


def assert_kernels_agree(architecture: Layer, x: np.ndarray, tolerance: float, kinds: str = "ntk nngp") -> None:
    expected = dense_kernels(architecture, x)
    for kind in kinds.split():
        kernel = exact_kernel(architecture, x, kind)
        assert kernel.dtype == x.dtype
        assert kernel.image_shape == expected.size
        matrix = expected.tangent if kind == "ntk" else expected.covariance
        np.testing.assert_allclose(kernel.as_matrix(), matrix, rtol=0, atol=tolerance * np.diag(matrix).max())


# --- tests -----------------------------------------------------------------------------------------------------------


def arc_cosine_formula(x: np.ndarray, kernel_size: int, kind: str) -> np.ndarray:
    """|y_i| |y_j| / pi (sin phi + (pi - phi) cos phi) over zero-padded patches; "ntk" adds (pi - phi) cos phi."""
    half, (height, width, channels) = kernel_size // 2, x.shape
    padded = np.pad(x.astype(np.float64), ((half, half), (half, half), (0, 0)))
    patches = np.stack(
        [
            padded[row : row + kernel_size, column : column + kernel_size].ravel()
            for row in range(height)
            for column in range(width)
        ]
    )
    norms = np.linalg.norm(patches, axis=1)
    units = patches / np.where(norms == 0, 1, norms)[:, None]
    difference = np.linalg.norm(units[:, None] - units[None], axis=2)
    phi = 2 * np.arctan2(difference, np.linalg.norm(units[:, None] + units[None], axis=2))
    angular = np.sin(phi) + (2 if kind == "ntk" else 1) * (np.pi - phi) * np.cos(phi)
    return np.outer(norms, norms) / np.pi * angular / (channels * kernel_size**2)


@pytest.mark.parametrize("kind", ["nngp", "ntk"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-10)])
def test_one_hidden_layer_is_the_arc_cosine_formula_diagonal_included(
    kind: str, dtype: type, tolerance: float, request: pytest.FixtureRequest
) -> None:
    if dtype is np.float64:
        request.getfixturevalue("x64")
    for kernel_size, channels in ((3, 3), (5, 1)):
        x = image(7, 5, channels).astype(dtype)
        x[:3, :3] = 0  # with kernel_size 3, one whole patch (and its padding) is black
        kernel = exact_kernel(vanilla_cnn(kernel_size), x, kind)
        expected = arc_cosine_formula(x, kernel_size, kind)
        assert kernel.dtype == dtype
        np.testing.assert_allclose(kernel.as_matrix(), expected, rtol=0, atol=tolerance * expected.max())
        np.testing.assert_allclose(kernel.diagonal(), np.diag(expected), rtol=tolerance, atol=0)


ODD, EVEN = (Conv(3), Relu()), (Conv(3), Relu(), Conv(1, 1.2, 0.3), Relu())
END = (Conv(3), Relu(), Conv(1, weight_std=1.0))


@pytest.mark.parametrize("before", [ODD, EVEN, ()], ids=["odd", "even", "none"])
@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize(
    "layer",
    [Downsample(2, "average"), Downsample(2, "stride"), Upsample(2, "nearest"), Upsample(2, "bilinear")],
    ids=repr,
)
def test_resampling_maps_the_kernels_on_images_that_are_not_square(
    layer: Downsample | Upsample, factor: int, before: tuple[Layer, ...], x64: None
) -> None:
    resample = type(layer)(factor, layer.method)
    x = image() if isinstance(layer, Downsample) else image(2, 4)
    assert_kernels_agree(Serial(*before, resample, Conv(3)), x, 1e-10, "ntk" if before else "nngp")


SEVERAL = {
    "autoencoder": autoencoder(1, down="stride", up="nearest"),
    "unet": unet(1),
    "bias, leaky": Serial(Conv(3, 1.3, 0.2), LeakyRelu(0.2), Conv(3, bias_std=0.1), LeakyRelu(-0.5), Conv(1, 0.7, 0.4)),
    "circular": Serial(Conv(3, padding="circular"), Relu(), Conv(3, bias_std=0.5, padding="circular")),
    "erf": Serial(Conv(3), Erf(), Conv(3, 1.1), Erf(), Conv(1)),
    "rbf": Serial(Conv(3, weight_std=1.5), Rbf(0.7), Conv(1, weight_std=1.0)),
    "concat": Serial(Conv(3), Relu(), Concat(Serial(), Conv(3), Serial(Conv(1), Relu(), Conv(3))), *END),
    "sum": Serial(
        Conv(3), Relu(), Sum(Conv(3), Serial(Conv(1), Relu(), Conv(3, bias_std=0.2)), Conv(1)), Relu(), Conv(3)
    ),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_whole_networks_agree_with_the_formulas(name: str, x64: None) -> None:
    assert_kernels_agree(SEVERAL[name], image(4, 6, 2), 1e-10)


def test_float32_is_accurate_to_1e_5_of_the_diagonal() -> None:
    architecture = Serial(Conv(3), Relu(), Downsample(), Upsample(), Conv(3, bias_std=0.1))
    assert_kernels_agree(architecture, image(4, 6, 2).astype(np.float32), 1e-5)


def test_branches_of_concat_count_by_their_channels(x64: None) -> None:
    """One branch is three times as wide: 1:3 in the mean."""
    narrow = Serial(Conv(3), Relu())
    wide = Serial(Concat(Conv(1), Conv(3), Serial(Conv(3), Relu())), Upsample(2), Downsample(2))
    x = image(4, 6)
    kernels = [np.asarray(exact_kernel(part, x, "ntk").as_matrix()) for part in (narrow, wide, Concat(narrow, wide))]
    np.testing.assert_allclose(kernels[2], (kernels[0] + 3 * kernels[1]) / 4, rtol=1e-12)
    assert_kernels_agree(Serial(Concat(narrow, wide), *END), x, 1e-10)


def test_the_kernel_belongs_to_the_output_pixels_row_by_row(x64: None) -> None:
    """On an image that is black but for one pixel, a 1x1 network sees that pixel alone."""
    x = np.zeros((3, 5, 1))
    x[1, 3] = 2.0
    for depth in (1, 2, 3):
        kernel = exact_kernel(Serial(*[Conv(1, weight_std=1.0)] * depth), x, "nngp").as_matrix()
        assert kernel[1 * 5 + 3, 1 * 5 + 3] == pytest.approx(4.0)
        assert np.count_nonzero(np.asarray(kernel)) == 1
    assert exact_kernel(Serial(Conv(1), Upsample(2)), x, "nngp").image_shape == (6, 10)


def test_compiled_is_the_same_but_for_rounding() -> None:
    x = image(4, 6).astype(np.float32)
    eager, compiled = (exact_kernel(unet(1), x, jit=jit).as_matrix() for jit in (False, True))
    np.testing.assert_allclose(compiled, eager, rtol=0, atol=1e-3 * float(eager.max()))


def test_a_network_without_weights_has_no_tangent_kernel() -> None:
    kernel = exact_kernel(Downsample(), image().astype(np.float32), "ntk")
    assert kernel.shape == (18, 18)
    assert not np.asarray(kernel.as_matrix()).any()


@pytest.mark.parametrize(
    "architecture", [unet(1, down="stride", up="nearest"), SEVERAL["sum"], Serial(), Upsample(3)], ids=repr
)
def test_the_finite_network_of_the_triple_runs_on_any_size(architecture: Layer) -> None:
    init_fn, apply_fn, _ = to_stax(architecture, width=8, out_channels=2)
    scale = 3 if isinstance(architecture, Upsample) else 1
    channels = 2 if isinstance(architecture, Serial) and architecture.layers else 3
    for height, width in ((4, 6), (8, 2)):
        x = np.zeros((2, height, width, 3), np.float32)
        declared = []

        def run(x: jax.Array, declared: list[tuple[int, ...]] = declared) -> jax.Array:
            shape, params = init_fn(jax.random.key(0), x.shape)
            declared.append(tuple(shape))
            return apply_fn(params, x)

        output = jax.eval_shape(run, x)
        assert output.shape == declared[0] == (2, height * scale, width * scale, channels)


def test_the_finite_network_has_the_covariance_of_the_kernel() -> None:
    """Over many draws of a wide network, the outputs' second moments are the NNGP kernel."""
    x = image(2, 4).astype(np.float32)
    architecture = Serial(Conv(3), Relu(), Downsample(2, "stride"), Upsample(2), Conv(3), Relu(), Conv(1))
    init_fn, apply_fn, _ = to_stax(architecture, width=128, out_channels=256)

    @jax.jit
    def moments(key: jax.Array) -> jax.Array:
        output = apply_fn(init_fn(key, (1, *x.shape))[1], x[None]).reshape(8, 256)
        return output @ output.T / 256

    draws = jnp.stack([moments(key) for key in jax.random.split(jax.random.key(0), 40)])
    expected = exact_kernel(architecture, x, "nngp").as_matrix()
    error = draws.std(axis=0) / math.sqrt(40)
    bias = 0.03 * float(expected.max())  # of the finite width
    assert bool((abs(draws.mean(axis=0) - expected) < 5 * error + bias).all())
    assert float(error.max()) < 0.05 * float(expected.max())


# --- extension, and what users get wrong -----------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Sine(Nonlinearity):
    """sin(x), a layer from outside the package."""


def test_a_layer_from_outside_needs_a_rule_and_works_with_one(x64: None) -> None:
    architecture = Serial(Conv(3), Sine(), Conv(1))
    with pytest.raises(NotImplementedError, match=r"layer 1: Sine .*stax_rule\.register"):
        to_stax(architecture)

    @stax_rule.register
    def _(layer: Sine, place: Place) -> Triple:
        return neural_tangents.stax().Sin()

    s = dense_kernels(Conv(3), image(4, 6)).covariance
    q = np.diag(s)
    expected = 2 * np.exp(-(q[:, None] + q[None, :]) / 2) * np.sinh(s)
    np.testing.assert_allclose(exact_kernel(architecture, image(4, 6), "nngp").as_matrix(), expected, atol=1e-12)


def test_float64_without_x64_says_that_it_is_computed_in_float32() -> None:
    x = image(4, 6)
    with pytest.warns(UserWarning, match="computed in float32"):
        kernel = exact_kernel(vanilla_cnn(3), x)
    assert kernel.dtype == np.float32


def test_float32_input_stays_float32_and_nothing_warns(x64: None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert exact_kernel(unet(1), image(4, 6).astype(np.float32)).dtype == np.float32


def test_a_kernel_that_does_not_fit_into_memory_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"1024x1024 image needs about \d{4,}.* GiB .*smaller image or crop"):
        exact_kernel(vanilla_cnn(3), np.zeros((1024, 1024, 1), np.float32))
    monkeypatch.setattr(stax_module, "available_memory", lambda: 10_000)
    with pytest.raises(ValueError, match="6x12"):
        exact_kernel(vanilla_cnn(3), image().astype(np.float32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[..., 0], r"shape \(H, W, C\).*network_input\[\.\.\., None\]"),
        (lambda x: x[:0], "none of them zero"),
        (lambda x: (x * 255).astype(np.uint8), "floating-point array, got uint8.*255"),
        (lambda x: np.where(x > 0.5, np.nan, x), "NaN or infinite"),
        (lambda x: x.astype(complex), "complex"),
    ],
)
def test_bad_inputs_are_named(change: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        exact_kernel(vanilla_cnn(3), change(image().astype(np.float32)))  # type: ignore[operator]


def test_bad_arguments_are_named() -> None:
    x = image().astype(np.float32)
    with pytest.raises(ValueError, match="kind must be 'ntk' or 'nngp', got 'NTK'"):
        exact_kernel(vanilla_cnn(3), x, "NTK")  # type: ignore[arg-type]
    with pytest.raises(ArchitectureError, match=r"layer 2: Downsample.*divisible by 2.*7x12"):
        exact_kernel(autoencoder(1), np.ones((7, 12, 1), np.float32))
    with pytest.raises(TypeError, match="built from layers"):
        to_stax("unet")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="width must be an integer of at least 1, got 0"):
        to_stax(vanilla_cnn(3), width=0)
