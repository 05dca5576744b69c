"""The layers that an architecture is made of, but for those that hold others (``containers``)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Real
from typing import Literal, TypeAlias, get_args

from ntk_nonlocal.checks import choice, told, whole

from .layer import ArchitectureError, Layer, Nonlinearity, Path, Signal

SQRT2 = math.sqrt(2.0)
# Named scales of the initial weights, as standard deviations times the root of the fan-in.
WEIGHT_STDS = {"he": SQRT2, "pytorch": math.sqrt(1 / 3)}
WeightStd: TypeAlias = float | Literal["he", "pytorch"]
# What a convolution reads beyond the image's edges, and how numpy.pad calls it.
Padding: TypeAlias = Literal["zero", "circular", "reflect"]
PAD_MODES: dict[str, str] = {"zero": "constant", "circular": "wrap", "reflect": "reflect"}


def _real(value: object, minimum: float, what: str, *, exclusive: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(float(value)):
        raise ValueError(f"{what} must be a finite number, got {told(value)}")
    number = float(value)
    if number < minimum or (exclusive and number == minimum):
        raise ValueError(f"{what} must be {'above' if exclusive else 'at least'} {minimum:g}, got {told(value)}")
    return number


def _weight_std(value: object) -> WeightStd:
    """A number above zero, or "pytorch"; "he" is a number, for its weights are normal as those of any number."""
    if isinstance(value, str):
        choice("Conv: weight_std", value, tuple(WEIGHT_STDS))
        return SQRT2 if value == "he" else "pytorch"
    return _real(value, 0.0, "Conv: weight_std", exclusive=True)


@dataclass(frozen=True, repr=False)
class Conv(Layer):
    """Convolution with an odd ``kernel_size`` x ``kernel_size`` filter, of the same size (divided by ``stride``).

    Weights have variance weight_std^2 / fan-in, biases bias_std^2. In the limit its covariance is
    weight_std^2 times the average over the filter's offsets of the input covariance, plus bias_std^2
    (Novak et al. 2019, Bayesian deep convolutional networks). Its width is the network's, or the number of output
    channels where it is the last.

    ``weight_std`` is a number (normal weights), "he" (sqrt(2), He et al. 2015) or "pytorch" (sqrt(1/3), uniform,
    what PyTorch's convolutions start from). Kernels know the variance alone. A layer of uniform weights that reads the
    network input, whose fan-in does not grow, is only nearly Gaussian.

    ``padding`` is what it reads beyond the edges: zeros, the image from its other side ("circular"), or reflected at
    the outermost pixels, which are not repeated ("reflect", as in deep image priors). Reflection mixes what the exact
    engine keeps apart: an architecture with such a layer has its kernel held whole, 3 GB or more for 96x96 pixels.

    ``dilation`` is the distance of the pixels that the filter reads. ``stride`` keeps every stride-th row and column,
    from the first one on: as ``Downsample(stride, "stride")`` behind it. ``channels`` is how many there are, as a share
    of the width (4 / 128 for a narrow skip); the last convolutions give the network's output channels whatever it says.

    ``groups="depthwise"`` filters every channel by itself, with a fan-in of kernel_size^2. Its covariances are those of
    any Conv, but no sum over channels makes it Gaussian: another Conv has to follow before a nonlinearity.
    """

    kernel_size: int
    weight_std: WeightStd = SQRT2
    bias_std: float = 0.0
    padding: Padding = "zero"
    dilation: int = 1
    stride: int = 1
    channels: float = 1
    groups: Literal["all", "depthwise"] = "all"

    def __post_init__(self) -> None:
        size = whole("Conv: kernel_size", self.kernel_size, 1)
        if size % 2 == 0:
            raise ValueError(f"Conv: kernel_size must be odd, got {size}; use {size - 1} or {size + 1}")
        object.__setattr__(self, "kernel_size", size)
        object.__setattr__(self, "weight_std", _weight_std(self.weight_std))
        object.__setattr__(self, "bias_std", _real(self.bias_std, 0.0, "Conv: bias_std"))
        choice("Conv: padding", self.padding, get_args(Padding))
        object.__setattr__(self, "dilation", whole("Conv: dilation", self.dilation, 1))
        object.__setattr__(self, "stride", whole("Conv: stride", self.stride, 1))
        channels = _real(self.channels, 0.0, "Conv: channels, a share of the width,", exclusive=True)
        object.__setattr__(self, "channels", 1 if channels == 1 else channels)
        choice("Conv: groups", self.groups, ("all", "depthwise"))
        if self.depthwise and self.channels != 1:
            raise ValueError(f"Conv: a depthwise one keeps the channels that come in, got channels={self.channels!r}")

    @property
    def reach(self) -> int:
        """How far its outermost pixels are from its centre."""
        return self.dilation * (self.kernel_size // 2)

    @property
    def stages(self) -> tuple[Conv, Downsample]:
        """A convolution with a stride as one without, and what keeps every stride-th pixel."""
        return replace(self, stride=1), Downsample(self.stride, "stride")

    @property
    def std(self) -> float:
        """``weight_std`` as a number."""
        return WEIGHT_STDS[self.weight_std] if isinstance(self.weight_std, str) else self.weight_std

    @property
    def uniform(self) -> bool:
        """Whether weights are drawn uniformly and not from the normal distribution."""
        return self.weight_std == "pytorch"

    @property
    def depthwise(self) -> bool:
        """Whether every channel is filtered by itself."""
        return self.groups == "depthwise"

    @property
    def sets_channels(self) -> bool:
        return not self.depthwise

    def propagate(self, signal: Signal, position: Path) -> Signal:
        extent = {"zero": 0, "circular": 2 * self.reach + 1, "reflect": self.reach + 1}[self.padding]
        if signal.size is not None and min(signal.size) < extent:
            raise ArchitectureError(
                f"{position}: {self!r} with padding={self.padding!r} needs at least {extent}x{extent} "
                f"pixels, got {signal.size[0]}x{signal.size[1]}; use a larger image, a smaller filter or zero padding"
            )
        if self.depthwise and signal.state == "raw":
            raise ArchitectureError(
                f"{position}: {self!r} is applied to the network input, whose channels are few; put a Conv in front"
            )
        behind = replace(signal, state="gaussian", channels=self.channels)
        if self.depthwise:
            behind = replace(signal, state="mixed")
        return behind if self.stride == 1 else _coarser(self, self.stride, behind, position)


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
        if str(self.method) == "max":
            raise ValueError(
                "Downsample: method must be one of 'average', 'stride', got 'max': the maximum of correlated Gaussians "
                "has no covariance in closed form"
            )
        choice("Downsample: method", self.method, ("average", "stride"))

    def propagate(self, signal: Signal, position: Path) -> Signal:
        return _coarser(self, self.factor, signal, position)


def _coarser(layer: Layer, factor: int, signal: Signal, position: Path) -> Signal:
    size = signal.size
    if size is not None:
        if size[0] % factor or size[1] % factor:
            raise ArchitectureError(
                f"{position}: {layer!r} needs a height and width divisible by {factor}, "
                f"got {size[0]}x{size[1]} there; crop or pad the image"
            )
        size = (size[0] // factor, size[1] // factor)
    return replace(signal, scale=signal.scale / factor, size=size)


@dataclass(frozen=True, repr=False)
class Upsample(Layer):
    """Higher resolution by an integer factor: "bilinear" between pixel centres (half-pixel grid, edges repeated),
    "nearest" (every pixel repeated) or "zero" (every pixel followed by zeros in both directions: with a Conv behind it
    a transposed convolution)."""

    factor: int = 2
    method: Literal["bilinear", "nearest", "zero"] = "bilinear"

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", whole("Upsample: factor", self.factor, 2))
        choice("Upsample: method", self.method, ("bilinear", "nearest", "zero"))

    def propagate(self, signal: Signal, position: Path) -> Signal:
        size = signal.size
        if size is not None:
            size = (size[0] * self.factor, size[1] * self.factor)
        return replace(signal, scale=signal.scale * self.factor, size=size)


@dataclass(frozen=True, repr=False)
class Normalize(Layer):
    """Every pixel divided by the standard deviation of its channels, their mean taken off: (x - mean) / sqrt(var +
    epsilon), LayerNorm over the channels without weights of its own.

    Behind a Conv or Sum the channels have the mean zero in the limit, and the variance is the pixel's: covariance
    S / sqrt((q_i + epsilon) (q_j + epsilon)), and the tangent kernel likewise. Behind a nonlinearity their mean counts
    as well, which the covariance of pixels does not tell; it is refused there. So are finite networks that end in one,
    whose channels are few there (and those that end in a depthwise Conv).
    """

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", _real(self.epsilon, 0.0, "Normalize: epsilon", exclusive=True))

    def propagate(self, signal: Signal, position: Path) -> Signal:
        if signal.state == "activated":
            raise ArchitectureError(
                f"{position}: {self!r} behind a nonlinearity, a Concat or a Sum that passes such values on has no "
                "limit that follows from covariances alone, for the mean over the channels counts; put it behind a "
                "Conv, or a Sum of such"
            )
        if signal.state == "raw":
            raise ArchitectureError(
                f"{position}: {self!r} is applied to the network input, whose channels are few; put a Conv in front"
            )
        return signal if signal.state == "mixed" else replace(signal, state="normalized")
