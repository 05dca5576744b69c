"""What an architecture is on images of a size: its layers, how far it sees, and what its kernel costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import singledispatch

import jax
import numpy as np

from ntk_nonlocal.architecture import (
    Branches,
    Chain,
    Conv,
    Downsample,
    Layer,
    Placed,
    Signal,
    Upsample,
    as_serial,
    convolutions,
    divisor,
    output_signal,
    walk,
)
from ntk_nonlocal.checks import told, whole
from ntk_nonlocal.kernels import LagKernel, memory_plans, tangent_kernel

from .finite import MOST_CHANNELS

_MOST_PIXELS = 2**20  # a side


@dataclass(frozen=True)
class Description:
    """An architecture on images of (H, W, C).

    Attributes:
      layers: (place, layer, (H, W) behind it) of every layer.
      receptive_field: the side in pixels of the square of the network input that one pixel of the output can depend on.
      divisor: what height and width must be divisible by.
      weights: parameters of a finite network of ``width`` channels with as many output channels as input channels.
      pair_layers: ordered pairs of pixels, summed over the convolutions: the cost of one evaluation of the kernel.
      memory: bytes by memory plan ("recompute", "keep", "matrix"; "matrix" alone behind reflected borders).
      seconds: what evaluating the kernel once takes on this machine, where it was measured.
    """

    architecture: Layer
    image_shape: tuple[int, int, int]
    width: int
    layers: tuple[tuple[str, Layer, tuple[int, int]], ...]
    receptive_field: int
    divisor: int
    weights: int
    pair_layers: int
    memory: dict[str, int]
    seconds: float | None

    def __str__(self) -> str:
        height, width, channels = self.image_shape
        names = [place for place, _, _ in self.layers]
        column = max(map(len, names), default=0)
        lines = [f"{place:<{column}}  {size[0]:>5}x{size[1]:<5} {layer!r}" for place, layer, size in self.layers]
        memory = ", ".join(f"{plan} {_bytes(count)}" for plan, count in self.memory.items())
        facts = {
            "images": f"{height}x{width} pixels, {channels} channels; sides divisible by {self.divisor}",
            "receptive field": f"{self.receptive_field}x{self.receptive_field} pixels",
            "weights": f"{self.weights:,} at width {self.width}",
            "kernel": f"{self.pair_layers:.3g} pair-layers",
            "memory": memory,
        }
        if self.seconds is not None:
            facts["time"] = f"{self.seconds:.3g} s for one evaluation on this machine"
        return "\n".join([*lines, "", *(f"{name:<16} {text}" for name, text in facts.items())])

    def as_dict(self) -> dict[str, object]:
        """The same as values for JSON."""
        return {
            "architecture": repr(self.architecture),
            "image_shape": list(self.image_shape),
            "width": self.width,
            "layers": [{"place": p, "layer": repr(layer), "size": list(size)} for p, layer, size in self.layers],
            "receptive_field": self.receptive_field,
            "divisor": self.divisor,
            "weights": self.weights,
            "pair_layers": self.pair_layers,
            "memory": self.memory,
            "seconds": self.seconds,
        }


def describe(
    architecture: Layer, image_shape: tuple[int, ...], width: int = 256, *, measure: bool = False
) -> Description:
    """Says what an architecture is on images of a size.

    Args:
      architecture: its description.
      image_shape: (H, W) or (H, W, C) of the network input; C is 3 where it is not given.
      width: channels of the finite network whose weights are counted.
      measure: time a part of the kernel on this machine, which compiles it first.

    Raises:
      TypeError: something that is no layer.
      ValueError: a size below one pixel, or one that does not fit (:class:`ArchitectureError`, naming the layer).
    """
    width = whole("width", width, 1, MOST_CHANNELS)
    shape = _shape(image_shape)
    size = shape[:2]
    end = output_signal(architecture, size)
    assert end.size is not None
    serial = as_serial(architecture)
    placed = list(walk(serial, Signal("raw", size=size)))
    behind = [item.layer.propagate(item.signal, item.position).size for item in placed]
    pairs = [
        int(np.prod(at)) ** 2
        for item, at in zip(placed, behind, strict=True)
        if isinstance(item.layer, Conv) and at is not None
    ]
    return Description(
        architecture,
        shape,
        width,
        tuple(
            (str(item.position), item.layer, at)
            for item, at in zip(placed, behind, strict=True)
            if at is not None and not item.layer.children
        ),
        _receptive_field(serial, placed),
        divisor(serial),
        _weights(serial, width, shape[2]),
        sum(pairs),
        memory_plans(serial, size),
        _seconds(architecture, shape) if measure else None,
    )


def _shape(image_shape: object) -> tuple[int, int, int]:
    sizes = tuple(image_shape) if isinstance(image_shape, tuple | list) else ()
    if len(sizes) not in (2, 3):
        raise ValueError(f"image_shape must be (H, W) or (H, W, C), got {told(image_shape)}")
    height, columns, channels = (*sizes, 3)[:3]
    return (
        whole("image_shape: the height", height, 1, _MOST_PIXELS),
        whole("image_shape: the width", columns, 1, _MOST_PIXELS),
        whole("image_shape: the channels", channels, 1, MOST_CHANNELS),
    )


def _weights(architecture: Layer, width: int, channels: int) -> int:
    total = 0
    for placed in convolutions(architecture):
        conv = placed.conv
        fan_in = channels if placed.fan_in_width is None else max(1, round(placed.fan_in_width * width))
        out = channels if placed.is_output else max(1, round(conv.channels * width))
        if conv.depthwise:
            fan_in, out = 1, fan_in
        total += conv.kernel_size**2 * fan_in * out + (out if conv.bias_std > 0 else 0)
    return total


def _seconds(architecture: Layer, shape: tuple[int, int, int]) -> float:
    """One evaluation of the kernel: a block of it, times their number."""
    image = np.random.default_rng(0).uniform(size=shape).astype(np.float32)
    op = tangent_kernel(architecture, image, memory_plan="recompute")
    if isinstance(op, LagKernel):
        block = jax.jit(lambda op: op.block_values(np.int32(0)))
        return _again(lambda: block(op)) * op.block_count
    return _again(lambda: tangent_kernel(architecture, image).as_matrix())  # held whole


def _again(compute: Callable[[], jax.Array]) -> float:
    """Seconds of the second time."""
    jax.block_until_ready(compute())
    start = time.perf_counter()
    jax.block_until_ready(compute())
    return time.perf_counter() - start


def _bytes(count: int) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.3g} {unit}" if count < 1000 else f"{count:.0f} {unit}"
        count /= 1024  # type: ignore[assignment]
    raise AssertionError


# --- how far a network sees ------------------------------------------------------------------------------------------

Span = tuple[int, int]  # first and last coordinate along an axis without ends


def _receptive_field(architecture: Layer, placed: Iterable[Placed]) -> int:
    """The largest number of input pixels along an axis behind one output pixel, over all places of the latter."""
    scales = [item.layer.propagate(item.signal, item.position).scale for item in placed]
    finest = max((scale.numerator * scale.denominator for scale in scales), default=1)
    spans = [support(architecture, (pixel, pixel)) for pixel in range(finest)]
    return max(high - low + 1 for low, high in spans)


@singledispatch
def support(layer: Layer, span: Span) -> Span:
    """The pixels of a layer's input that those of its output can depend on, along an axis; the same for most layers."""
    return span


@support.register
def _(layer: Conv, span: Span) -> Span:
    return layer.stride * span[0] - layer.reach, layer.stride * span[1] + layer.reach


@support.register
def _(layer: Downsample, span: Span) -> Span:
    return layer.factor * span[0], layer.factor * span[1] + (layer.factor - 1 if layer.method == "average" else 0)


@support.register
def _(layer: Upsample, span: Span) -> Span:
    factor = layer.factor
    if layer.method == "bilinear":
        low, high = ((2 * end + 1 - factor) // (2 * factor) for end in span)
        exact = (2 * span[1] + 1 - factor) % (2 * factor) == 0
        return low, high + (0 if exact else 1)
    return span[0] // factor, span[1] // factor


@support.register
def _(layer: Chain, span: Span) -> Span:
    for child in reversed(layer.children):
        span = support(child, span)
    return span


@support.register
def _(layer: Branches, span: Span) -> Span:
    spans = [support(child, span) for child in layer.children]
    return min(low for low, _ in spans), max(high for _, high in spans)
