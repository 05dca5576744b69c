"""One walk over an architecture, by which everything goes that looks at its layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .containers import Chain
from .layer import Layer, Path, Signal


@dataclass(frozen=True)
class Placed:
    """A layer where it stands.

    ``signal`` is what validation knows in front of it; ``before`` holds what is evaluated on the way to it (containers
    as a whole), each with its place; ``is_output`` says that its channels, where it sets them, are the architecture's.
    """

    layer: Layer
    position: Path
    signal: Signal
    before: tuple[tuple[Layer, Path], ...]
    is_output: bool


def walk(architecture: Layer, signal: Signal | None = None) -> Iterator[Placed]:
    """Every layer in the order in which all meanings visit them: a container, then its children (depth first).

    Args:
      architecture: any layer.
      signal: in front of it; None for a network input of any size.

    Raises:
      ArchitectureError: where the walk comes to a layer that cannot stand there.
    """
    return _walk(Placed(architecture, Path(), Signal(state="raw") if signal is None else signal, (), True))


def _walk(placed: Placed) -> Iterator[Placed]:
    yield placed
    layer, before = placed.layer, placed.before
    outputs = layer.output_children
    for index, (child, position, signal) in enumerate(layer.inside(placed.signal, placed.position)):
        yield from _walk(Placed(child, position, signal, before, placed.is_output and index in outputs))
        if isinstance(layer, Chain):
            before = (*before, (child, position))
