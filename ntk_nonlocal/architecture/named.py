"""The architectures of the paper by name, and their spelling on the command line.

``weight_std`` of all of them is the scale of the initial weights: "he", sqrt(2) in front of every Relu and 1 in the
output layer, which has none behind it; or one for all layers, "pytorch" or a number (see ``Conv``).
"""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Callable
from typing import Any, Literal

from ntk_nonlocal.checks import nearest, told, whole

from .containers import Concat, Serial
from .layer import Layer
from .layers import WEIGHT_STDS, Conv, Downsample, LeakyRelu, Padding, Relu, Upsample, WeightStd

DownMethod = Literal["average", "stride"]
UpMethod = Literal["bilinear", "nearest", "zero"]

_MOST_LAYERS = 1000
_DIP_WIDTH, _DIP_SLOPE = 128, 0.2  # channels of the network as it was published
_MOST_LEVELS = 20  # an image of a million pixels a side


def vanilla_cnn(kernel_size: int = 11, weight_std: WeightStd = "he") -> Serial:
    """One hidden layer: Conv(kernel_size), Relu, Conv(1). The paper's non-local filter (its section 4)."""
    return Serial(Conv(kernel_size, weight_std), Relu(), _output(weight_std))


def cnn(depth: int = 3, kernel_size: int = 3, weight_std: WeightStd = "he") -> Serial:
    """``depth`` times (Conv, Relu), then Conv(1)."""
    depth = whole("cnn: depth", depth, 1, _MOST_LAYERS)
    step = (Conv(kernel_size, weight_std), Relu())
    return Serial(*[layer for _ in range(depth) for layer in step], _output(weight_std))


def autoencoder(
    levels: int = 3,
    kernel_size: int = 3,
    down: DownMethod = "average",
    up: UpMethod = "bilinear",
    weight_std: WeightStd = "he",
) -> Serial:
    """Conv, Relu; ``levels`` times (Downsample, Conv, Relu); as often (Upsample, Conv, Relu); Conv(1).

    Needs a height and width divisible by 2^levels.
    """
    levels = whole("autoencoder: levels", levels, 1, _MOST_LEVELS)
    step = (Conv(kernel_size, weight_std), Relu())
    encoder = [layer for _ in range(levels) for layer in (Downsample(2, down), *step)]
    decoder = [layer for _ in range(levels) for layer in (Upsample(2, up), *step)]
    return Serial(*step, *encoder, *decoder, _output(weight_std))


def unet(
    levels: int = 3,
    kernel_size: int = 3,
    down: DownMethod = "average",
    up: UpMethod = "bilinear",
    weight_std: WeightStd = "he",
) -> Serial:
    """The autoencoder with every Upsample followed by a Concat with the encoder's output of that resolution.

    Needs a height and width divisible by 2^levels.
    """
    levels = whole("unet: levels", levels, 1, _MOST_LEVELS)
    step = (Conv(kernel_size, weight_std), Relu())

    def below(remaining: int) -> tuple[Layer, ...]:
        if remaining == 0:
            return ()
        branch = Serial(Downsample(2, down), *step, *below(remaining - 1), Upsample(2, up))
        return (Concat(Serial(), branch), *step)

    return Serial(*step, *below(levels), _output(weight_std))


def dip(levels: int = 5, skip: int = 4, weight_std: WeightStd = "he", padding: Padding = "zero") -> Serial:
    """The network of the deep image prior (Ulyanov, Vedaldi and Lempitsky 2018), as far as it has a limit.

    ``levels`` times: a narrow skip of ``skip`` channels per 128 (none for 0) beside two convolutions, the first with
    stride 2, what lies below, and bilinear upsampling; then Conv(3) and Conv(1); LeakyRelu(0.2) behind each. What was
    replaced: batch normalisation by weights of He's scale for this nonlinearity (that is what "he" means here), the
    sigmoid at the output by nothing, and reflected borders by zeros unless ``padding`` is "reflect" (then the kernel is
    held whole, see ``Conv``). Needs a height and width divisible by 2^levels.
    """
    levels = whole("dip: levels", levels, 1, _MOST_LEVELS)
    skip = whole("dip: skip", skip, 0, _DIP_WIDTH)
    std = math.sqrt(2 / (1 + _DIP_SLOPE**2)) if weight_std == "he" else weight_std

    def step(kernel_size: int, stride: int = 1, channels: float = 1) -> tuple[Layer, Layer]:
        conv = Conv(kernel_size, std, padding=padding, stride=stride, channels=channels)
        return conv, LeakyRelu(_DIP_SLOPE)

    def level(remaining: int) -> tuple[Layer, ...]:
        if remaining == 0:
            return ()
        below = Serial(*step(3, stride=2), *step(3), *level(remaining - 1), Upsample(2))
        joined = Concat(Serial(*step(1, channels=skip / _DIP_WIDTH)), below) if skip else below
        return (joined, *step(3), *step(1))

    return Serial(*level(levels), _output(weight_std))


def _output(weight_std: WeightStd) -> Conv:
    return Conv(1, 1.0 if weight_std == "he" else weight_std)


NAMED: dict[str, Callable[..., Serial]] = {
    "vanilla_cnn": vanilla_cnn,
    "cnn": cnn,
    "autoencoder": autoencoder,
    "unet": unet,
    "dip": dip,
}


def parse_architecture(text: str) -> Serial:
    """Builds a named architecture from NAME or NAME:key=value,..., as on the command line.

    Raises:
      TypeError: not text.
      ValueError: an unknown name or key (with the nearest known one) or a value that does not fit.
    """
    if not isinstance(text, str):
        raise TypeError(f"an architecture is spelt as text such as 'cnn:depth=3', got {text!r}")
    name, _, tail = text.strip().partition(":")
    name = name.strip().replace("-", "_")
    if name not in NAMED:
        raise ValueError(f"unknown architecture {name!r}{nearest(name, NAMED)}; known: {', '.join(NAMED)}")
    builder = NAMED[name]
    hints = typing.get_type_hints(builder)
    known = list(inspect.signature(builder).parameters)
    arguments: dict[str, Any] = {}
    for item in filter(None, (part.strip() for part in tail.split(","))):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not value:
            raise ValueError(f"architecture {text!r}: expected key=value, got {item!r}; keys: {', '.join(known)}")
        if key not in known:
            raise ValueError(f"{name} has no {key!r}{nearest(key, known)}; keys: {', '.join(known)}")
        if key in arguments:
            raise ValueError(f"architecture {text!r}: {key} is given twice")
        if hints[key] in (int, float):
            try:
                arguments[key] = hints[key](value)
            except ValueError:
                kind = "an integer" if hints[key] is int else "a number"
                raise ValueError(f"{name}: {key} must be {kind}, got {told(value)}") from None
        elif key == "weight_std" and value not in WEIGHT_STDS:
            try:
                arguments[key] = float(value)
            except ValueError:
                raise ValueError(
                    f"{name}: weight_std must be a number, {' or '.join(map(repr, WEIGHT_STDS))}, got {told(value)}"
                ) from None
        else:
            arguments[key] = value
    return builder(**arguments)
