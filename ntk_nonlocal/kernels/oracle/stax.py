"""An architecture as a neural-tangents triple, and its exact kernel from there: the oracle of this package.

The formulas are those of neural-tangents (Novak et al. 2020, Neural Tangents: fast and easy infinite neural networks in
Python) in the "ntk" parametrisation. Added here are subsampling (a layer without weights that keeps every n-th pixel),
resizing by a factor instead of to a size, and the order of the pixels: neural-tangents reverses the spatial axes of its
covariances with every convolution and marks that in ``Kernel.is_reversed``, which its own resizing does not look at.

A layer from outside the package brings its meaning with :data:`stax_rule`::

    @stax_rule.register
    def _(layer: MyLayer, place: Place) -> Triple:
        return neural_tangents.stax().Sin(a=layer.amplitude)
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial, singledispatch, wraps
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ntk_nonlocal.architecture import (
    Chain,
    Concat,
    Conv,
    Downsample,
    Erf,
    Layer,
    LeakyRelu,
    Normalize,
    Path,
    Pointwise,
    Rbf,
    Relu,
    Serial,
    Signal,
    Sum,
    Upsample,
    as_serial,
    convolutions,
    output_signal,
)
from ntk_nonlocal.checks import told, whole
from ntk_nonlocal.images import checked_input
from ntk_nonlocal.memory import available_memory
from ntk_nonlocal.operators import DenseOperator

from . import neural_tangents

Triple = tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]

# Peak memory over that of the largest covariance, measured on convolutional networks and autoencoders.
_COPIES_EAGER = 16
_COPIES_JIT = 9
# Points a side of its quadrature for a function of the user's own.
_QUADRATURE = 40
_MOST_PARTS = 2**16


def to_stax(architecture: Layer, width: int = 256, out_channels: int = 1) -> Triple:
    """The neural-tangents triple (init_fn, apply_fn, kernel_fn) of an architecture, in the "ntk" parametrisation.

    Images are batches (N, H, W, C). ``kernel_fn(x, None, "ntk")`` returns (N, N, H, H, W, W) after an even number of
    convolutions and (N, N, W, W, H, H) after an odd one: ask for the whole kernel and read ``is_reversed``, or use
    :func:`exact_kernel`. Compiled with ``jax.jit``, rounding leaves an error on the diagonal of the tangent kernel of
    rectified networks (up to 1e-4 of it in float32, 3e-9 in float64), which is not there when it is called as it is.

    Args:
      architecture: its description; it is not tied to an image size.
      width, out_channels: channels of the hidden layers and of the output of the finite network (``init_fn``,
        ``apply_fn``); the infinite-width kernel does not depend on them.

    Raises:
      ArchitectureError: an architecture without an infinite-width limit.
      NotImplementedError: a layer without a registered :data:`stax_rule`.
      ImportError: neural-tangents is not installed.
    """
    for name, value in (("width", width), ("out_channels", out_channels)):
        whole(name, value, 1)
    serial = as_serial(architecture)
    channels = {
        conv.position: int(out_channels) if conv.is_output else max(1, round(conv.conv.channels * width))
        for conv in convolutions(serial)
    }
    return stax_rule(serial, Place(Path(), channels))


def exact_kernel(
    architecture: Layer, network_input: ArrayLike, kind: Literal["ntk", "nngp"] = "ntk", *, jit: bool = False
) -> DenseOperator:
    """The exact infinite-width kernel over all pixel pairs of the network's output, computed by neural-tangents.

    Args:
      architecture: its description.
      network_input: floating-point array (H, W, C), any number of channels.
      kind: "ntk" (all layers trained) or "nngp" (the last layer trained).
      jit: compile the computation. That needs about half the memory; but fused operations leave an error on the
        diagonal of the tangent kernel of rectified networks (up to 1e-4 of it in float32, 3e-9 in float64), where the
        default is exact to rounding. (Off the diagonal, pixels whose patches are exact multiples of each other have an
        error of that size either way.)

    Returns:
      The kernel (H W, H W) of the output's pixels in row-major order; float64 for a float64 input where JAX has 64-bit
      types enabled, float32 otherwise.

    Raises:
      ArchitectureError: the architecture does not fit the image.
      ValueError: a wrong input or kind, or a kernel that does not fit into memory (checked before it is computed).
      NotImplementedError: a layer without a registered :data:`stax_rule`.
      ImportError: neural-tangents is not installed.

    Warns:
      UserWarning: a float64 input where JAX has no 64-bit types: the kernel is computed in float32.
    """
    if kind not in ("ntk", "nngp"):
        raise ValueError(f"kind must be 'ntk' or 'nngp', got {told(kind)}")
    x = checked_input(network_input)
    image_shape = output_signal(architecture, (x.shape[0], x.shape[1])).size
    assert image_shape is not None  # it was given
    serial = as_serial(architecture)
    matrix = functools.partial(_matrix, architecture=serial, kind=kind, image_shape=image_shape)
    with warnings.catch_warnings():
        # Whether the branches are independent is what the architecture's own validation has checked.
        warnings.filterwarnings("ignore", message="`FanIn` layers assume independent inputs")
        _check_memory(matrix, x, _COPIES_JIT if jit else _COPIES_EAGER)
        values = _compiled_matrix(x, serial, kind, image_shape) if jit else matrix(x)
        return DenseOperator(values, image_shape)


def _matrix(x: Array, architecture: Serial, kind: str, image_shape: tuple[int, int]) -> Array:
    # so wide that every layer has whole channels, whose numbers weight the branches of a Concat
    shares = [Fraction(conv.conv.channels).limit_denominator(_MOST_PARTS) for conv in convolutions(architecture)]
    _, _, kernel_fn = to_stax(architecture, width=math.lcm(*(share.denominator for share in shares)))
    return _pixel_matrix(kernel_fn(x[None], None, (kind, "is_reversed")), kind, image_shape).astype(x.dtype)


_compiled_matrix = jax.jit(_matrix, static_argnames=("architecture", "kind", "image_shape"))


def _pixel_matrix(kernel: Any, kind: str, image_shape: tuple[int, int]) -> Array:
    pixels = image_shape[0] * image_shape[1]
    values: Array = getattr(kernel, kind)
    if values.ndim == 0:  # the tangent kernel of a network without weights
        return jnp.broadcast_to(values, (pixels, pixels))
    order = (2, 0, 3, 1) if kernel.is_reversed else (0, 2, 1, 3)
    return values[0, 0].transpose(order).reshape(pixels, pixels)


# --- memory ----------------------------------------------------------------------------------------------------------


def _check_memory(function: Callable[[Array], Array], x: Array, copies: int) -> None:
    outputs = [out.aval for equation in jax.make_jaxpr(function)(x).eqns for out in equation.outvars]
    needed = copies * max((out.size * out.dtype.itemsize for out in outputs), default=0)
    available = available_memory()
    if available is not None and needed > available:
        raise ValueError(
            f"the kernel of a {x.shape[0]}x{x.shape[1]} image needs about {needed / 2**30:.1f} GiB with "
            f"neural-tangents, and {available / 2**30:.1f} GiB are free; use a smaller image or crop, or "
            'tangent_kernel(..., backend="lag"), which does not hold the matrix'
        )


# --- rules -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a layer stands: its position as in error messages, and the channels of every convolution by position."""

    position: Path
    channels_by_position: dict[Path, int]

    @property
    def channels(self) -> int:
        """Channels that a convolution here gives."""
        return self.channels_by_position[self.position]

    def children(self, layer: Layer) -> list[Triple]:
        """The triples of the layers that a container at this place is made of."""
        inside = layer.inside(Signal(), self.position)
        return [stax_rule(child, Place(where, self.channels_by_position)) for child, where, _ in inside]

    def branches(self, layer: Layer, fan_in: Triple) -> Triple:
        """The triple of a container at this place whose branches have one input, and are joined by ``fan_in``."""
        stax, triples = neural_tangents.stax(), self.children(layer)
        return stax.serial(stax.FanOut(len(triples)), stax.parallel(*triples), fan_in)


@singledispatch
def stax_rule(layer: Layer, place: Place) -> Triple:
    """The neural-tangents triple of ``layer`` at ``place``; one is registered for every type of layer."""
    raise NotImplementedError(
        f"{place.position}: {type(layer).__name__} has no meaning for neural-tangents; register one with "
        "@ntk_nonlocal.kernels.stax_rule.register"
    )


@stax_rule.register
def _(layer: Chain, place: Place) -> Triple:
    stax = neural_tangents.stax()
    return stax.serial(*place.children(layer)) if layer.children else stax.Identity()


@stax_rule.register
def _(layer: Concat, place: Place) -> Triple:
    return place.branches(layer, neural_tangents.stax().FanInConcat(-1))


@stax_rule.register
def _(layer: Sum, place: Place) -> Triple:
    init, apply, kernel = neural_tangents.stax().FanInSum()

    @wraps(kernel)
    def placed(*arguments: Any, **options: Any) -> Any:
        try:
            return kernel(*arguments, **options)
        except NotImplementedError:
            raise NotImplementedError(
                f"{place.position}: neural-tangents adds branches that end in a convolution, not all of {layer!r}"
            ) from None

    return place.branches(layer, (init, apply, placed))


@stax_rule.register
def _(layer: Conv, place: Place) -> Triple:
    stax = neural_tangents.stax()
    if layer.dilation > 1 and layer.kernel_size > 1:
        raise NotImplementedError(f"{place.position}: neural-tangents has no dilated convolution such as {layer!r}")
    if layer.depthwise:
        raise NotImplementedError(f"{place.position}: neural-tangents has no depthwise convolution such as {layer!r}")
    if layer.padding == "reflect" and layer.reach:
        raise NotImplementedError(f"{place.position}: neural-tangents does not reflect borders, as {layer!r} does")
    conv = stax.Conv(
        place.channels,
        (layer.kernel_size, layer.kernel_size),
        padding="CIRCULAR" if layer.padding == "circular" else "SAME",
        W_std=layer.std,
        b_std=layer.bias_std or None,
        parameterization="ntk",
    )
    return conv if layer.stride == 1 else stax.serial(conv, stax_rule(layer.stages[1], place))


@stax_rule.register
def _(layer: Normalize, place: Place) -> Triple:
    return neural_tangents.stax().LayerNorm(-1, layer.epsilon)


@stax_rule.register
def _(layer: Relu, place: Place) -> Triple:
    return neural_tangents.stax().Relu()


@stax_rule.register
def _(layer: LeakyRelu, place: Place) -> Triple:
    return neural_tangents.stax().LeakyRelu(layer.slope)


@stax_rule.register
def _(layer: Erf, place: Place) -> Triple:
    return neural_tangents.stax().Erf()


@stax_rule.register
def _(layer: Rbf, place: Place) -> Triple:
    return neural_tangents.stax().Rbf(layer.gamma)


@stax_rule.register
def _(layer: Pointwise, place: Place) -> Triple:
    """Its kernel is by quadrature in two dimensions (of so many points a side), for smooth functions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it is by quadrature, and that JAX differentiates it
        return neural_tangents.stax().ElementwiseNumerical(layer, _QUADRATURE, layer.derivative)


@stax_rule.register
def _(layer: Downsample, place: Place) -> Triple:
    stax, factor = neural_tangents.stax(), layer.factor
    if layer.method == "average":
        return stax.AvgPool((factor, factor), (factor, factor), padding="VALID")
    every = slice(None, None, factor)
    return linear_layer(lambda x: x[:, every, every], _on_space(lambda values: values[..., every, every, every, every]))


def _on_space(function: Callable[[Array], Array]) -> Callable[[Any], Any]:
    """What a function of the last four axes of a covariance, two of rows and two of columns, does to a kernel."""

    def change(kernel: Any) -> Any:
        parts = {name: getattr(kernel, name) for name in ("cov1", "cov2", "nngp", "ntk")}
        known = {name: part for name, part in parts.items() if part is not None and part.ndim}
        return kernel.replace(**{name: function(part) for name, part in known.items()})

    return change


@stax_rule.register
def _(layer: Upsample, place: Place) -> Triple:
    stax, factor, method = neural_tangents.stax(), layer.factor, layer.method
    if method == "zero":
        return linear_layer(partial(_spread, factor, (1, 2)), _on_space(partial(_spread, factor, (-4, -3, -2, -1))))

    def resize(shape: tuple[int, ...]) -> Triple:
        return stax.ImageResize((-1, factor * shape[1], factor * shape[2], -1), method)

    def change(kernel: Any) -> Any:
        # ImageResize takes the axes to be in order, whatever the kernel says of them.
        upright = kernel.reverse() if kernel.is_reversed else kernel
        return resize(kernel.shape1)[2](upright)

    return linear_layer(lambda x: resize(x.shape)[1]((), x), change)


def _spread(factor: int, axes: tuple[int, ...], values: Array) -> Array:
    """Zeros behind every entry along the axes."""
    shape, index = list(values.shape), [slice(None)] * values.ndim
    for axis in axes:
        shape[axis] *= factor
        index[axis] = slice(None, None, factor)
    return jnp.zeros(shape, values.dtype).at[tuple(index)].set(values)


def linear_layer(resample: Callable[[Array], Array], change: Callable[[Any], Any]) -> Triple:
    """A layer without weights: ``resample`` acts on images (N, H, W, C), ``change`` on full spatial kernels."""
    stax = neural_tangents.stax()

    def init_fn(rng: Array, input_shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[()]]:
        return jax.eval_shape(lambda: resample(jnp.zeros(input_shape))).shape, ()

    def apply_fn(params: tuple[()], inputs: Array, **kwargs: Any) -> Array:
        return resample(inputs)

    @stax.requires(  # type: ignore[untyped-decorator]
        batch_axis=0, channel_axis=-1, diagonal_spatial=stax.Diagonal(input=stax.Bool.NO)
    )
    def kernel_fn(kernel: Any, **kwargs: Any) -> Any:
        return change(kernel)

    def triple() -> Triple:
        return init_fn, apply_fn, kernel_fn

    return stax.layer(triple)()
