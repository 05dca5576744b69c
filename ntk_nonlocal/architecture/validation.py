"""Questions about a whole architecture: does it fit this image, where are its convolutions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ntk_nonlocal.checks import told

from .containers import Serial, Sum
from .layer import ArchitectureError, Layer, Path, Signal
from .layers import Conv
from .walk import walk


def output_signal(architecture: Layer, image_size: tuple[int, int]) -> Signal:
    """Validates ``architecture`` for an image of ``image_size`` (H, W) and returns the signal at its output.

    Raises:
      ArchitectureError: naming the layer by position, and what to do.
      TypeError: no architecture.
    """
    return as_serial(architecture).propagate(Signal(state="raw", size=image_size), Path())


def as_serial(architecture: Layer) -> Serial:
    """The architecture as one Serial, so that positions are named alike.

    Raises:
      TypeError: something that is no layer.
    """
    if not isinstance(architecture, Layer):
        advice = "; parse_architecture reads text" if isinstance(architecture, str) else ""
        raise TypeError(
            f"architecture must be built from layers, such as nnl.cnn(depth=3), got {told(architecture)}{advice}"
        )
    return architecture if isinstance(architecture, Serial) else Serial(architecture)


@dataclass(frozen=True)
class PlacedConv:
    """A convolution where it stands: ``position`` as in error messages; ``fan_in_width`` is its number of input
    channels in multiples of the width, None where it reads the network input; ``is_output`` for those whose
    channels are the network's output."""

    conv: Conv
    position: Path
    fan_in_width: float | None
    is_output: bool


def convolutions(architecture: Layer) -> tuple[PlacedConv, ...]:
    """All convolutions in the order in which every meaning visits them (depth first, branches left to right)."""
    return tuple(
        PlacedConv(
            placed.layer,
            placed.position,
            None if placed.signal.state == "raw" else placed.signal.channels,
            placed.is_output,
        )
        for placed in walk(as_serial(architecture))
        if isinstance(placed.layer, Conv)
    )


def divisor(architecture: Layer) -> int:
    """What height and width must be divisible by: the finest image whose every lower resolution has whole pixels."""
    scales = [placed.layer.propagate(placed.signal, placed.position).scale for placed in walk(as_serial(architecture))]
    return math.lcm(*(scale.denominator for scale in scales))


def check_network(architecture: Layer) -> None:
    """Raises unless the architecture can be a finite network: its output channels come from a Conv (or a Sum of
    some)."""
    signal = as_serial(architecture).propagate(Signal(state="raw"), Path())
    for placed in walk(as_serial(architecture)):
        passing = isinstance(placed.layer, Sum) and not all(c.sets_channels for c in placed.layer.children)
        if placed.is_output and passing:
            raise ArchitectureError(
                f"{placed.position}: {placed.layer!r} is the output and passes its input on, which has the width's "
                "channels; append Conv(1, weight_std=1.0) to the architecture"
            )
    if signal.state != "gaussian":
        raise ArchitectureError(
            f"the architecture must end in a Conv to have output channels, got {told(architecture)}; "
            "append Conv(1, weight_std=1.0)"
        )
