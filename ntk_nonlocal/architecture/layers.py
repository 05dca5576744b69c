"""The layers an architecture is described with.

A layer here is a frozen, hashable, printable description and nothing else. What it means is registered
elsewhere, once for each meaning: in ``ntk_nonlocal.kernels.oracle.stax`` (the neural-tangents triple),
``ntk_nonlocal.networks.finite`` (the finite network) and ``ntk_nonlocal.kernels`` (the exact kernel).

What a layer does to the *signal* that validation follows (its resolution, its channels in multiples of the
width, and whether it is Gaussian in the infinite-width limit) is the method :meth:`Layer.propagate`.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, replace
from fractions import Fraction
from numbers import Real
from typing import Literal, TypeAlias

from ntk_nonlocal.checks import choice, whole

SQRT2 = math.sqrt(2.0)
# Named scales of the initial weights, as standard deviations times the root of the fan-in.
WEIGHT_STDS = {"he": SQRT2, "pytorch": math.sqrt(1 / 3)}
WeightStd: TypeAlias = float | Literal["he", "pytorch"]

State = Literal["unknown", "raw", "gaussian", "activated"]


@dataclass(frozen=True)
class Signal:
    """What validation knows of the values between two layers.

    ``state`` is "raw" for the network input, "gaussian" for the outputs of convolutions (Gaussian in the limit
    of infinite width), "activated" for everything else inside the network, and "unknown" while a block is
    validated on its own. ``scale`` is the resolution relative to the input of the block, ``channels`` counts
    in multiples of the width (None where the block's input is unknown), and ``size`` is (H, W) where an
    image size is given.
    """

    state: State = "unknown"
    scale: Fraction = Fraction(1)
    channels: int | None = None
    size: tuple[int, int] | None = None


class ArchitectureError(ValueError):
    """An architecture that has no infinite-width limit, or does not fit an image. Names the layer by position."""


class Layer:
    """Base of all layers. A new one is a frozen dataclass that derives from this or from :class:`Nonlinearity`."""

    def propagate(self, signal: Signal, position: str) -> Signal:
        """Returns the signal behind this layer; raises :class:`ArchitectureError` where it cannot stand there."""
        raise NotImplementedError(f"{type(self).__name__} must define propagate(signal, position)")

    def __repr__(self) -> str:
        """The call that builds this layer, defaults left out."""
        arguments = []
        for index, field in enumerate(dataclasses.fields(self)):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value == field.default:
                continue
            arguments.append(repr(value) if index == 0 else f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(arguments)})"

    def _repr_html_(self) -> str:
        """Nested lists of layers and branches, for notebooks."""
        inner = getattr(self, "layers", ()) or getattr(self, "branches", ())
        if not inner:
            return f"<code>{self!r}</code>"
        items = "".join(f"<li>{layer._repr_html_()}</li>" for layer in inner)
        kind = "ul" if hasattr(self, "branches") else 'ol start="0"'
        return f"{type(self).__name__}<{kind}>{items}</{kind[:2]}>"


class Nonlinearity(Layer):
    """Base of the pointwise nonlinearities; their input must be Gaussian in the limit, that is, come from a Conv."""

    def propagate(self, signal: Signal, position: str) -> Signal:
        if signal.state == "activated":
            raise ArchitectureError(
                f"{position}: {self!r} is applied to values that are not Gaussian in the infinite-width limit "
                "(two nonlinearities in a row, or a nonlinearity behind a Concat); put a Conv in front of it"
            )
        if signal.state == "raw":
            raise ArchitectureError(f"{position}: {self!r} is applied to the network input; put a Conv in front of it")
        return replace(signal, state="activated")


def _real(value: object, minimum: float, what: str, *, exclusive: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(float(value)):
        raise ValueError(f"{what} must be a finite number, got {value!r}")
    number = float(value)
    if number < minimum or (exclusive and number == minimum):
        raise ValueError(f"{what} must be {'above' if exclusive else 'at least'} {minimum:g}, got {value!r}")
    return number


def _weight_std(value: object) -> WeightStd:
    """A number above zero, or "pytorch"; "he" is a number, for its weights are normal as those of any number."""
    if isinstance(value, str):
        choice("Conv: weight_std", value, tuple(WEIGHT_STDS))
        return SQRT2 if value == "he" else "pytorch"
    return _real(value, 0.0, "Conv: weight_std", exclusive=True)


@dataclass(frozen=True, repr=False)
class Conv(Layer):
    """Convolution with an odd ``kernel_size`` x ``kernel_size`` filter, stride 1, same size.

    Weights have variance weight_std^2 / fan-in, biases bias_std^2. In the limit its covariance is
    weight_std^2 times the average over the filter's offsets of the input covariance, plus bias_std^2
    (Novak et al. 2019, Bayesian deep convolutional networks). Its width is the network's, or the number of output
    channels where it is the last.

    ``weight_std`` is a number (normal weights), "he" (sqrt(2), He et al. 2015) or "pytorch" (sqrt(1/3), uniform,
    what PyTorch's convolutions start from). Kernels know the variance alone. A layer of uniform weights that reads the
    network input, whose fan-in does not grow, is only nearly Gaussian.
    """

    kernel_size: int
    weight_std: WeightStd = SQRT2
    bias_std: float = 0.0
    padding: Literal["zero", "circular"] = "zero"

    def __post_init__(self) -> None:
        size = whole("Conv: kernel_size", self.kernel_size, 1)
        if size % 2 == 0:
            raise ValueError(f"Conv: kernel_size must be odd, got {size}; use {size - 1} or {size + 1}")
        object.__setattr__(self, "kernel_size", size)
        object.__setattr__(self, "weight_std", _weight_std(self.weight_std))
        object.__setattr__(self, "bias_std", _real(self.bias_std, 0.0, "Conv: bias_std"))
        choice("Conv: padding", self.padding, ("zero", "circular"))

    @property
    def std(self) -> float:
        """``weight_std`` as a number."""
        return WEIGHT_STDS[self.weight_std] if isinstance(self.weight_std, str) else self.weight_std

    @property
    def uniform(self) -> bool:
        """Whether weights are drawn uniformly and not from the normal distribution."""
        return self.weight_std == "pytorch"

    def propagate(self, signal: Signal, position: str) -> Signal:
        if self.padding == "circular" and signal.size is not None and min(signal.size) < self.kernel_size:
            raise ArchitectureError(
                f"{position}: {self!r} with circular padding needs at least {self.kernel_size}x{self.kernel_size} "
                f"pixels, got {signal.size[0]}x{signal.size[1]}; use a larger image, a smaller filter or zero padding"
            )
        return replace(signal, state="gaussian", channels=1)


@dataclass(frozen=True, repr=False)
class Relu(Nonlinearity):
    """max(x, 0); its kernel is the arc-cosine kernel of order one (Cho and Saul 2009)."""


@dataclass(frozen=True, repr=False)
class LeakyRelu(Nonlinearity):
    """x for x > 0, slope * x otherwise."""

    slope: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "slope", _real(self.slope, -math.inf, "LeakyRelu: slope"))


@dataclass(frozen=True, repr=False)
class Erf(Nonlinearity):
    """The error function (Williams 1997)."""


@dataclass(frozen=True, repr=False)
class Rbf(Nonlinearity):
    """sqrt(2) sin(sqrt(2 gamma) x + pi / 4), whose kernel is exp(-gamma (q_i + q_j - 2 S_ij)).

    Behind a k x k Conv with weight_std w this is exp(-gamma w^2 / (C k^2) |patch_i - patch_j|^2), the affinity of
    non-local means (Rahimi and Recht 2007 for the sinusoidal features).
    """

    gamma: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "gamma", _real(self.gamma, 0.0, "Rbf: gamma", exclusive=True))


@dataclass(frozen=True, repr=False)
class Downsample(Layer):
    """Lower resolution: the mean of every factor x factor block ("average") or its first pixel ("stride")."""

    factor: int = 2
    method: Literal["average", "stride"] = "average"

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", whole("Downsample: factor", self.factor, 2))
        choice("Downsample: method", self.method, ("average", "stride"))

    def propagate(self, signal: Signal, position: str) -> Signal:
        size = signal.size
        if size is not None:
            if size[0] % self.factor or size[1] % self.factor:
                raise ArchitectureError(
                    f"{position}: {self!r} needs a height and width divisible by {self.factor}, "
                    f"got {size[0]}x{size[1]} there; crop or pad the image"
                )
            size = (size[0] // self.factor, size[1] // self.factor)
        return replace(signal, scale=signal.scale / self.factor, size=size)


@dataclass(frozen=True, repr=False)
class Upsample(Layer):
    """Higher resolution by an integer factor: "bilinear" between pixel centres (half-pixel grid, edges repeated) or
    "nearest" (every pixel repeated)."""

    factor: int = 2
    method: Literal["bilinear", "nearest"] = "bilinear"

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", whole("Upsample: factor", self.factor, 2))
        choice("Upsample: method", self.method, ("bilinear", "nearest"))

    def propagate(self, signal: Signal, position: str) -> Signal:
        size = signal.size
        if size is not None:
            size = (size[0] * self.factor, size[1] * self.factor)
        return replace(signal, scale=signal.scale * self.factor, size=size)


def _layers(items: tuple[object, ...], owner: str) -> tuple[Layer, ...]:
    for index, item in enumerate(items):
        if not isinstance(item, Layer):
            raise TypeError(
                f"{owner}: argument {index} must be a layer such as Conv(3) or Relu(), got {item!r}; "
                f"write {owner}(a, b, ...), not a list"
            )
    return items  # type: ignore[return-value]


@dataclass(frozen=True, repr=False, init=False)
class Serial(Layer):
    """Layers one after another; nested ones count as one flat list, and ``Serial()`` is the identity.

    Raises:
      ArchitectureError: two nonlinearities in a row, a nonlinearity behind a Concat, or a Concat at the very start of
        the Serial with a branch that passes the raw input on.
    """

    layers: tuple[Layer, ...]

    def __init__(self, *layers: Layer) -> None:
        flat: list[Layer] = []
        for layer in _layers(layers, "Serial"):
            flat.extend(layer.layers if isinstance(layer, Serial) else (layer,))
        object.__setattr__(self, "layers", tuple(flat))
        first = next((i for i, layer in enumerate(flat) if not isinstance(layer, Downsample | Upsample)), None)
        if first is not None and isinstance(flat[first], Concat):
            flat[first].propagate(Signal(state="raw"), f"layer {first}")
        self.propagate(Signal(), "")

    def propagate(self, signal: Signal, position: str) -> Signal:
        for index, layer in enumerate(self.layers):
            signal = layer.propagate(signal, f"{position}, layer {index}" if position else f"layer {index}")
        return signal

    def __repr__(self) -> str:
        return f"Serial({', '.join(map(repr, self.layers))})"


class _Branches(Layer):
    """What Concat and Sum have in common."""

    branches: tuple[Layer, ...]

    def _check_number(self) -> None:
        if len(self.branches) < 2:
            raise ValueError(f"{type(self).__name__} needs at least two branches, got {len(self.branches)}")

    def _branch_signals(self, signal: Signal, position: str) -> list[Signal]:
        ends = [branch.propagate(signal, f"{position}, branch {index}") for index, branch in enumerate(self.branches)]
        if len({end.scale for end in ends}) > 1:
            scales = ", ".join(str(end.scale) for end in ends)
            raise ArchitectureError(
                f"{position}: the branches of {type(self).__name__} end in different resolutions "
                f"({scales} of its input); add Downsample or Upsample so that they agree"
            )
        return ends

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.branches))})"


@dataclass(frozen=True, repr=False, init=False)
class Concat(_Branches):
    """Concatenation of branches by channels (a skip connection where one branch is ``Serial()``).

    In the limit, covariance and tangent kernel are the means of the branches', weighted by their channels; a Concat
    that is itself a branch counts as its own branches.
    """

    branches: tuple[Layer, ...]

    def __init__(self, *branches: Layer) -> None:
        flat: list[Layer] = []
        for branch in _layers(branches, "Concat"):
            while isinstance(branch, Serial) and len(branch.layers) == 1:
                branch = branch.layers[0]
            flat.extend(branch.branches if isinstance(branch, Concat) else (branch,))
        object.__setattr__(self, "branches", tuple(flat))
        self._check_number()
        self.propagate(Signal(), "Concat")

    def propagate(self, signal: Signal, position: str) -> Signal:
        ends = self._branch_signals(signal, position)
        for index, end in enumerate(ends):
            if end.state == "raw":
                raise ArchitectureError(
                    f"{position}, branch {index}: passes the raw network input on, whose share vanishes as the width "
                    "grows; put a Conv into the branch or in front of the Concat"
                )
        counts = [end.channels for end in ends]
        channels = None if None in counts else sum(count for count in counts if count is not None)
        return replace(ends[0], state="activated", channels=channels)


@dataclass(frozen=True, repr=False, init=False)
class Sum(_Branches):
    """Sum of branches (a residual connection); each ends in a Conv, so that the terms are independent and Gaussian."""

    branches: tuple[Layer, ...]

    def __init__(self, *branches: Layer) -> None:
        object.__setattr__(self, "branches", _layers(branches, "Sum"))
        self._check_number()
        for index, branch in enumerate(self.branches):
            if not _ends_in_conv(branch):
                raise ArchitectureError(
                    f"Sum, branch {index}: must end in a Conv, got {branch!r}; append Conv(1) to it"
                )
        self.propagate(Signal(), "Sum")

    def propagate(self, signal: Signal, position: str) -> Signal:
        ends = self._branch_signals(signal, position)
        return replace(ends[0], state="gaussian", channels=1)


def _ends_in_conv(layer: Layer) -> bool:
    if isinstance(layer, Serial):
        return bool(layer.layers) and _ends_in_conv(layer.layers[-1])
    return isinstance(layer, Conv | Sum)
