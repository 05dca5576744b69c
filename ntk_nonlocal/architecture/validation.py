"""Questions about a whole architecture: does it fit this image, where are its convolutions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .layers import ArchitectureError, Concat, Conv, Layer, Serial, Signal, Sum


def output_signal(architecture: Layer, image_size: tuple[int, int]) -> Signal:
    """Validates ``architecture`` for an image of ``image_size`` (H, W) and returns the signal at its output.

    Raises:
      ArchitectureError: naming the layer by position, and what to do.
    """
    if not isinstance(architecture, Layer):
        raise TypeError(f"architecture must be built from layers, such as nnl.cnn(depth=3), got {architecture!r}")
    return as_serial(architecture).propagate(Signal(state="raw", size=image_size), "")


def as_serial(architecture: Layer) -> Serial:
    """The architecture as one Serial, so that positions are named alike."""
    return architecture if isinstance(architecture, Serial) else Serial(architecture)


@dataclass(frozen=True)
class PlacedConv:
    """A convolution where it stands: ``position`` as in error messages; ``fan_in_width`` is its number of input
    channels in multiples of the width, None where it reads the network input; ``is_output`` for those whose
    channels are the network's output."""

    conv: Conv
    position: str
    fan_in_width: int | None
    is_output: bool


def convolutions(architecture: Layer) -> tuple[PlacedConv, ...]:
    """All convolutions in the order in which every meaning visits them (depth first, branches left to right)."""
    return tuple(_walk(as_serial(architecture), Signal(state="raw"), "", True))


def _walk(layer: Layer, signal: Signal, position: str, is_output: bool) -> Iterator[PlacedConv]:
    if isinstance(layer, Conv):
        yield PlacedConv(layer, position, None if signal.state == "raw" else signal.channels, is_output)
    elif isinstance(layer, Serial):
        last = _last_conv_index(layer)
        for index, inner in enumerate(layer.layers):
            where = f"{position}, layer {index}" if position else f"layer {index}"
            yield from _walk(inner, signal, where, is_output and index == last)
            signal = inner.propagate(signal, where)
    elif isinstance(layer, Concat | Sum):
        for index, branch in enumerate(layer.branches):
            yield from _walk(branch, signal, f"{position}, branch {index}", is_output and isinstance(layer, Sum))


def _last_conv_index(serial: Serial) -> int | None:
    """Index of the layer whose channels are those of the Serial's output, if it sets them anew."""
    for index in reversed(range(len(serial.layers))):
        if isinstance(serial.layers[index], Conv | Sum | Concat):
            return index
    return None


def check_network(architecture: Layer) -> None:
    """Raises unless the architecture can be a finite network: its output channels come from a Conv (or a Sum)."""
    signal = as_serial(architecture).propagate(Signal(state="raw"), "")
    if signal.state != "gaussian":
        raise ArchitectureError(
            f"the architecture must end in a Conv to have output channels, got {architecture!r}; "
            "append Conv(1, weight_std=1.0)"
        )
