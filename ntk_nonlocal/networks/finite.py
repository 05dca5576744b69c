"""The finite network an architecture describes, as a Flax module of any width.

Two parametrisations of the same function (Lee et al. 2019, Wide neural networks of any depth; Sohl-Dickstein et al.
2020, On the infinite width limit of neural networks with a standard parameterization): "ntk" draws weights from
N(0, 1) and scales them by weight_std / sqrt(fan-in) in the forward pass, "standard" draws them from
N(0, weight_std^2 / fan-in), as practitioners do (uniform numbers of the same variance where weight_std is "pytorch").
For one key they agree at initialisation, but gradient descent moves them differently: in "ntk" it follows the tangent
kernel Theta, in "standard" a kernel in which every layer counts in proportion to its fan-in (``kernels.layers``),
unless every layer has its own step size
(:meth:`FlaxNetwork.tangent_steps`).

A centered network is f(theta) - f(theta_0): it starts at zero, as an infinitely wide one does on average, and has the
same tangent kernel. Its start theta_0 lies in the parameters under :data:`START`, apart from what is trained: the
output has no gradient there, and ``train``, kernels and weight changes leave it out (:meth:`FlaxNetwork.plain`).

A layer from outside the package brings its meaning with :data:`flax_rule`::

    @flax_rule.register
    def _(layer: MyLayer, place: Place):
        return lambda x: ...            # or flax.linen.Module(..., name=place.name), with parameters of its own

Arrays inside the network are (H, W, channels).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial, singledispatch
from typing import TYPE_CHECKING, Any, Literal, get_args

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from ntk_nonlocal.architecture import (
    Chain,
    Concat,
    Conv,
    Downsample,
    Erf,
    Layer,
    LeakyRelu,
    Nonlinearity,
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
    check_network,
    convolutions,
    output_signal,
    walk,
)
from ntk_nonlocal.checks import choice, told, whole
from ntk_nonlocal.images import finite_jax
from ntk_nonlocal.kernels import LayerWeights, check_layer_weights

from .convolution import convolve

if TYPE_CHECKING:
    from jaxtyping import Float

Parameterization = Literal["ntk", "standard"]
Params = dict[str, Any]

MOST_CHANNELS = 2**20
_HE = math.sqrt(2.0)
# Where the parameters of a centered network keep its start; layers are called "layer_0", "branch_1" and so on.
START = "start"


@dataclass(frozen=True)
class FlaxNetwork:
    """A finite network: frozen and hashable, so that it can be a static argument of ``jax.jit``.

    Made by :func:`to_flax`. Parameters are nested dictionaries named by the positions of the layers, for example
    ``params["layer_2"]["branch_1"]["layer_0"]["kernel"]`` of shape (k, k, input channels, output channels), and "bias"
    beside it where bias_std is above zero. Those of a centered network have the initial ones beside them, as
    ``params["start"]``.
    """

    architecture: Serial
    width: int
    out_channels: int
    parameterization: Parameterization
    centered: bool = False

    def init(self, key: Array, network_input: Float[ArrayLike, "H W C"]) -> Params:
        """Draws the parameters for inputs such as ``network_input`` (H, W, C), in its floating-point type.

        Raises:
          ValueError: an input that is not a finite image, or does not fit the architecture.
        """
        x = self.check_input(network_input)
        try:
            out = jax.eval_shape(lambda: _module(self).init_with_output(key, x)[0])
        except flax.errors.InvalidRngError:
            raise TypeError(f"key must be a random key, such as jax.random.key(0), got {key!r}") from None
        if out.shape[-1] != self.out_channels:
            raise ValueError(
                f"the network's output has {out.shape[-1]} channels instead of {self.out_channels}; "
                "let the architecture end in a Conv"
            )
        # Lazily: the forward pass is not computed.
        shape = jax.eval_shape(lambda: x)
        params: Params = _module(self).lazy_init(key, shape, mutable="params")["params"]
        return params | {START: jax.tree.map(jnp.copy, params)} if self.centered else params

    def apply(
        self,
        params: Params,
        network_input: Float[ArrayLike, "H W C"],
        *,
        reverse_mode: bool = False,
        in_loop: bool = False,
    ) -> Float[Array, "h w {self.out_channels}"]:
        """The network's output, (H, W, C) -> (H, W, out_channels).

        Args:
          params: from ``init``, or trained.
          network_input: the image that the network is fed.
          reverse_mode: on a CPU ``jax.grad`` and ``jax.vjp`` take the gradient with respect to the weights faster
            (``networks.convolution``); JAX then refuses its forward mode (``jax.jvp``, ``jax.jacfwd``).
          in_loop: inside a compiled loop or branch on a CPU (``jax.lax.while_loop``, ``cond``) it is faster.

        Raises:
          ValueError: an input that is not a finite image or does not fit, or parameters of another network.
        """
        network, trained = self.plain(params)
        out: Array = network._call(_apply, trained, network_input, bool(reverse_mode), bool(in_loop))
        if not self.centered:
            return out
        return out - lax.stop_gradient(network.apply(params[START], network_input))

    def pre_activations(self, params: Params, network_input: Float[ArrayLike, "H W C"]) -> Float[Array, "h w features"]:
        """The input of the last nonlinearity, (H, W, C) -> (H', W', width); what the paper's figure 5 looks at.

        Raises:
          ValueError: the architecture has no nonlinearity; or as for ``apply``.
        """
        if self.last_nonlinearity is None:
            raise ValueError(f"{self.architecture!r} has no nonlinearity, hence no pre-activations")
        network, trained = self.plain(params)
        features: Array = network._call(_pre_activations, trained, network_input)
        return features

    def plain(self, params: Params) -> tuple[FlaxNetwork, Params]:
        """The network before it is centered, and its parameters without the start: what training moves.

        Raises:
          TypeError: parameters that are no dictionary.
          ValueError: those of a centered network that have no start.
        """
        if not isinstance(params, dict):
            raise TypeError(f"params must be those of network.init(key, network_input), got {type(params).__name__}")
        if not self.centered:
            return self, params
        if START not in params:
            raise ValueError(
                f"params of a centered network hold its start as params[{START!r}], got {sorted(params)}; take those "
                "of network.init(key, network_input)"
            )
        return replace(self, centered=False), {name: leaf for name, leaf in params.items() if name != START}

    def _call(self, function: Callable[..., Any], params: Params, network_input: ArrayLike, *options: bool) -> Any:
        x = self.check_input(network_input)
        try:
            return function(self, params, x, *options)
        except flax.errors.FlaxError as error:
            raise ValueError(f"params do not belong to this network and input: {str(error).splitlines()[0]}") from None

    def tangent_steps(self, params: Params) -> Params:
        """Step sizes per parameter, relative to a common one, with which gradient descent follows Theta.

        The squared scales that the "ntk" parametrisation has in its forward pass and this one has not: 1 everywhere in
        the "ntk" parametrisation; weight_std^2 / fan-in and bias_std^2 in the standard one. The structure is that of
        ``params`` without the start, with one number each (``layer_steps`` of ``train``).
        """
        _, params = self.plain(params)
        steps: Params = jax.tree.map(lambda _: 1.0, params)
        if self.parameterization == "standard":
            for placed in convolutions(self.architecture):
                leaf = parameters_at(steps, placed.position)
                fan_in = math.prod(parameters_at(params, placed.position)["kernel"].shape[:3])
                leaf["kernel"] = placed.conv.std**2 / fan_in
                if "bias" in leaf:
                    leaf["bias"] = placed.conv.bias_std**2
        return steps

    def contribution_weights(self, params: Params, layer_weights: LayerWeights, others: float = 1.0) -> Params:
        """Spreads factors per convolution, in the order of ``convolutions``, over the parameters.

        A factor multiplies the convolution's contribution to Theta, whichever parameterization the network has:
        factors of one give Theta. Parameters of layers that are no convolutions take the factor ``others``.

        Raises:
          ValueError: not one (weight factor, bias factor), finite and at least zero, for every convolution.
        """
        placed_convs = convolutions(self.architecture)
        factors = check_layer_weights(layer_weights, placed_convs)
        steps = self.tangent_steps(params)
        weights: Params = jax.tree.map(lambda step: others * step, steps)
        for placed, (weight_factor, bias_factor) in zip(placed_convs, factors, strict=True):
            leaf, step = parameters_at(weights, placed.position), parameters_at(steps, placed.position)
            leaf["kernel"] = weight_factor * step["kernel"]
            if "bias" in leaf:
                leaf["bias"] = bias_factor * step["bias"]
        return weights

    @property
    def last_nonlinearity(self) -> Path | None:
        """Position of the last nonlinearity, None where there is none."""
        return _last_nonlinearity(self.architecture)

    def check_input(self, network_input: ArrayLike) -> Array:
        """The network input as an array, after checking it against the architecture.

        Raises:
          ValueError: not a finite floating-point array (H, W, C), or a size that does not fit the architecture.
        """
        x = finite_jax("network_input", network_input, floats=True)
        output_signal(self.architecture, (x.shape[0], x.shape[1]))
        return x


def to_flax(
    architecture: Layer,
    width: int = 256,
    out_channels: int = 3,
    parameterization: Parameterization = "ntk",
    centered: bool = False,
) -> FlaxNetwork:
    """The finite network of an architecture.

    Args:
      architecture: its description; it ends in a Conv (or a Sum).
      width: channels of every hidden layer (of every branch of a Concat).
      out_channels: channels of the output.
      parameterization: "ntk" (weights ~ N(0, 1), scaled in the forward pass) or "standard" (weights ~ N(0,
        weight_std^2 / fan-in)); the same function at initialisation for the same key. A Conv with
        bias_std = 0 has no bias.
      centered: the network's own initial output is subtracted: ``apply`` of what ``init`` gives is exactly zero.

    Raises:
      ValueError: a width or number of channels below one, an unknown parametrisation, or an architecture without output
        channels of its own.
      TypeError: something that is no layer, a layer without a rule, or ``centered`` that is neither True nor False.
    """
    for name, value in (("width", width), ("out_channels", out_channels)):
        whole(name, value, 1, MOST_CHANNELS)
    choice("parameterization", parameterization, get_args(Parameterization))
    if not isinstance(centered, bool):
        raise TypeError(f"centered must be True or False, got {told(centered)}")
    check_network(architecture)
    network = FlaxNetwork(as_serial(architecture), int(width), int(out_channels), parameterization, centered)
    for placed in walk(network.architecture):
        if flax_rule.dispatch(type(placed.layer)) is flax_rule.dispatch(object):
            raise TypeError(f"{placed.position}: {_missing_rule(placed.layer)}")
    return network


def parameters_at(tree: Params, position: str) -> Params:
    """The part of a parameter tree that belongs to the layer at ``position`` ("layer 3, branch 1, layer 0")."""
    for name in Path(position).names:
        tree = tree[name]
    return tree


def he_factors(architecture: Layer) -> tuple[float, ...]:
    """By how much every convolution's initial weights fall short of He's scale: sqrt(2), 1 where no Relu follows."""
    return tuple((1.0 if placed.is_output else _HE) / placed.conv.std for placed in convolutions(architecture))


@cache
def _last_nonlinearity(architecture: Serial) -> Path | None:
    found = [placed.position for placed in walk(architecture) if isinstance(placed.layer, Nonlinearity)]
    return found[-1] if found else None


@cache
def _output_positions(architecture: Serial) -> frozenset[Path]:
    return frozenset(placed.position for placed in convolutions(architecture) if placed.is_output)


# --- rules -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a layer stands in a network: what a rule may need to know."""

    network: FlaxNetwork
    position: Path
    reverse_mode: bool = False  # see FlaxNetwork.apply
    in_loop: bool = False

    def inside(self, layer: Layer) -> list[tuple[Layer, Place]]:
        """The layers that a container at this place is made of, with their places."""
        return [(child, replace(self, position=where)) for child, where, _ in layer.inside(Signal(), self.position)]

    @property
    def name(self) -> str | None:
        """The name of the layer's parameters within those of the layer around it; None for the whole."""
        return self.position.names[-1] if self.position else None

    def chain(self, layer: Layer) -> Rule:
        """The layers of a container at this place one after another."""
        return _Container(layer, self, name=self.name)

    def branches(self, layer: Layer, join: Callable[[list[Array]], Array]) -> Rule:
        """``join`` of what the layers of a container at this place make of its input."""
        return _Container(layer, self, join, name=self.name)

    def channels_of(self, conv: Conv) -> int:
        """Channels that a convolution here gives: its share of the width, or the network's output channels."""
        is_output = self.position in _output_positions(self.network.architecture)
        return self.network.out_channels if is_output else max(1, round(conv.channels * self.network.width))


Rule = Callable[[Array], Array]


def _missing_rule(layer: object) -> str:
    return (
        f"{type(layer).__name__} has no meaning as a finite network; register one with "
        "@ntk_nonlocal.networks.flax_rule.register"
    )


@singledispatch
def flax_rule(layer: Layer, place: Place) -> Rule:
    """The function (H, W, channels) -> (H', W', channels') that ``layer`` is at ``place``, registered per layer type.

    Called while the surrounding ``flax.linen`` module is applied; a layer with parameters returns a
    ``flax.linen.Module`` built with ``name=place.name``.
    """
    raise TypeError(_missing_rule(layer))


def _step(module: nn.Module, layer: Layer, place: Place, x: Array) -> Array:
    """Applies ``layer`` inside ``module``, and notes the input of the last nonlinearity."""
    if place.position == place.network.last_nonlinearity:
        module.sow("pre_activations", "last", x)
    return flax_rule(layer, place)(x)


class _Container(nn.Module):
    """Layers one after another or, where ``join`` is given, side by side."""

    layer: Layer
    place: Place
    join: Callable[[list[Array]], Array] | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        ends = []
        for child, place in self.place.inside(self.layer):
            end = _step(self, child, place, x)
            if self.join is None:
                x = end
            else:
                ends.append(end)
        return x if self.join is None else self.join(ends)


class _Conv(nn.Module):
    conv: Conv
    place: Place

    @nn.compact
    def __call__(self, x: Array) -> Array:
        size, channels, fan_in = self.conv.kernel_size, self.place.channels_of(self.conv), x.shape[-1]
        if self.conv.depthwise:
            channels, fan_in = fan_in, 1
        weight_scale = self.conv.std / math.sqrt(size**2 * fan_in)
        kernel = self._scaled("kernel", (size, size, fan_in, channels), weight_scale, x, self.conv.uniform)
        y = convolve(
            x,
            kernel,
            self.conv.padding,
            dilation=self.conv.dilation,
            stride=self.conv.stride,
            depthwise=self.conv.depthwise,
            reverse_mode=self.place.reverse_mode,
            in_loop=self.place.in_loop,
        )
        return y + self._scaled("bias", (channels,), self.conv.bias_std, x) if self.conv.bias_std > 0 else y

    def _scaled(self, name: str, shape: tuple[int, ...], scale: float, x: Array, uniform: bool = False) -> Array:
        """A parameter of standard deviation ``scale``, scaled here or where it is drawn."""
        if self.place.network.parameterization == "ntk":
            return self.param(name, lambda key: _draw(key, shape, x.dtype, uniform)) * scale
        return self.param(name, lambda key: _draw(key, shape, x.dtype, uniform) * scale)


def _draw(key: Array, shape: tuple[int, ...], dtype: Any, uniform: bool) -> Array:
    """Numbers of variance one, a power of two of them at a time: compiling for every shape would take seconds."""
    count = math.prod(shape)
    size = (1 << (count - 1).bit_length(),)
    if uniform:
        drawn = jax.random.uniform(key, size, dtype, minval=-math.sqrt(3), maxval=math.sqrt(3))
    else:
        drawn = jax.random.normal(key, size, dtype)
    return drawn[:count].reshape(shape)


@flax_rule.register
def _(layer: Chain, place: Place) -> Rule:
    return place.chain(layer)


@flax_rule.register
def _(layer: Concat, place: Place) -> Rule:
    return place.branches(layer, partial(jnp.concatenate, axis=-1))


@flax_rule.register
def _(layer: Sum, place: Place) -> Rule:
    def add(ends: list[Array]) -> Array:
        channels = [end.shape[-1] for end in ends]
        if len(set(channels)) > 1:
            raise ValueError(
                f"{place.position}: the branches of Sum have {', '.join(map(str, channels))} channels at width "
                f"{place.network.width}, for shares of it are rounded; take a width that all shares divide"
            )
        return sum(ends[1:], start=ends[0])

    return place.branches(layer, add)


@flax_rule.register
def _(layer: Conv, place: Place) -> Rule:
    return _Conv(layer, place, name=place.name)


@flax_rule.register
def _(layer: Relu, place: Place) -> Rule:
    return nn.relu


@flax_rule.register
def _(layer: LeakyRelu, place: Place) -> Rule:
    return lambda x: jnp.where(x > 0, x, layer.slope * x)


@flax_rule.register
def _(layer: Erf, place: Place) -> Rule:
    return lax.erf


@flax_rule.register
def _(layer: Rbf, place: Place) -> Rule:
    return lambda x: math.sqrt(2) * jnp.sin(math.sqrt(2 * layer.gamma) * x + math.pi / 4)


@flax_rule.register
def _(layer: Pointwise, place: Place) -> Rule:
    return layer


@flax_rule.register
def _(layer: Normalize, place: Place) -> Rule:
    def normalize(x: Array) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        return centred * lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + layer.epsilon)

    return normalize


@flax_rule.register
def _(layer: Downsample, place: Place) -> Rule:
    factor = layer.factor
    if layer.method == "stride":
        return lambda x: x[::factor, ::factor]
    return lambda x: x.reshape(x.shape[0] // factor, factor, x.shape[1] // factor, factor, -1).mean((1, 3))


@flax_rule.register
def _(layer: Upsample, place: Place) -> Rule:
    factor = layer.factor
    if layer.method == "zero":
        return lambda x: (
            jnp.zeros((x.shape[0] * factor, x.shape[1] * factor, x.shape[2]), x.dtype).at[::factor, ::factor].set(x)
        )
    if layer.method == "nearest":
        return lambda x: jnp.repeat(jnp.repeat(x, factor, axis=0), factor, axis=1)
    return lambda x: jax.image.resize(x, (x.shape[0] * factor, x.shape[1] * factor, x.shape[2]), "bilinear")


# --- the network as compiled functions -------------------------------------------------------------------------------


def _module(network: FlaxNetwork, reverse_mode: bool = False, in_loop: bool = False) -> _Container:
    return _Container(network.architecture, Place(network, Path(), reverse_mode, in_loop))


@partial(jax.jit, static_argnums=(0, 3, 4))
def _apply(network: FlaxNetwork, params: Params, x: Array, reverse_mode: bool, in_loop: bool) -> Any:
    return _module(network, reverse_mode, in_loop).apply({"params": params}, x)


@partial(jax.jit, static_argnums=0)
def _pre_activations(network: FlaxNetwork, params: Params, x: Array) -> Any:
    _, state = _module(network).apply({"params": params}, x, mutable=["pre_activations"])
    return jax.tree.leaves(state["pre_activations"])[0]
