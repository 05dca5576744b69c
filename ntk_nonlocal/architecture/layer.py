"""What every layer is: a frozen, hashable, printable description, and what it does to the signal of validation.

What a layer means is registered elsewhere, once for each meaning: in ``ntk_nonlocal.kernels.oracle.stax`` (the
neural-tangents triple), ``ntk_nonlocal.networks.finite`` (the finite network) and ``ntk_nonlocal.kernels`` (the exact
kernel).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar, Literal

State = Literal["unknown", "raw", "gaussian", "normalized", "mixed", "activated"]


@dataclass(frozen=True)
class Signal:
    """What validation knows of the values between two layers.

    ``state`` is "raw" for the network input, "gaussian" for the outputs of convolutions (Gaussian in the limit
    of infinite width), "normalized" behind a Normalize (Gaussian too), "mixed" behind a
    depthwise Conv (of mean zero, not Gaussian), "activated" for everything else inside the
    network, and "unknown" while a block is validated on its own. ``scale`` is the resolution relative to the input of
    the block, ``channels`` counts in multiples of the width (None where the block's input is unknown), and ``size`` is
    (H, W) where an image size is given.
    """

    state: State = "unknown"
    scale: Fraction = Fraction(1)
    channels: float | None = None
    size: tuple[int, int] | None = None


class ArchitectureError(ValueError):
    """An architecture that has no infinite-width limit, or does not fit an image. Names the layer by position."""


class Path(str):
    """Where a layer stands, as error messages print it: "layer 3, branch 1, layer 0"; empty for the whole."""

    __slots__ = ()

    def inside(self, label: str, index: int) -> Path:
        """The place of the ``index``-th "layer" or "branch" of what stands here."""
        return Path(f"{self}, {label} {index}" if self else f"{label} {index}")

    @property
    def names(self) -> tuple[str, ...]:
        """The same for nested dictionaries: ("layer_3", "branch_1", "layer_0")."""
        return tuple(step.replace(" ", "_") for step in self.split(", ")) if self else ()


class Layer:
    """Base of all layers. A new one is a frozen dataclass that derives from this or from :class:`Nonlinearity`; one
    that is made of layers, from ``Chain`` or ``Branches``."""

    label: ClassVar[str] = "layer"  # what its children are called

    @property
    def children(self) -> tuple[Layer, ...]:
        """The layers this one is made of, in the order in which they are evaluated."""
        return ()

    @property
    def sets_channels(self) -> bool:
        """Whether the number of channels behind this layer does not depend on that in front of it."""
        return any(child.sets_channels for child in self.children)

    @property
    def output_children(self) -> tuple[int, ...]:
        """Indices of the children that give this layer's output its channels."""
        return ()

    def inside(self, signal: Signal, position: Path) -> Iterator[tuple[Layer, Path, Signal]]:
        """The children, each with its place and the signal in front of it."""
        return iter(())

    def propagate(self, signal: Signal, position: Path) -> Signal:
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
        if not self.children:
            return f"<code>{self!r}</code>"
        items = "".join(f"<li>{child._repr_html_()}</li>" for child in self.children)
        kind = "ul" if self.label == "branch" else 'ol start="0"'
        return f"{type(self).__name__}<{kind}>{items}</{kind[:2]}>"


class Nonlinearity(Layer):
    """Base of the pointwise nonlinearities; their input must be Gaussian in the limit, that is, come from a Conv."""

    def propagate(self, signal: Signal, position: Path) -> Signal:
        if signal.state == "mixed":
            raise ArchitectureError(
                f"{position}: {self!r} is applied to the output of a depthwise Conv, which is not Gaussian in the "
                "infinite-width limit, for no channels are added up there; put a Conv(1) between them"
            )
        if signal.state == "activated":
            raise ArchitectureError(
                f"{position}: {self!r} is applied to values that are not Gaussian in the infinite-width limit "
                "(two nonlinearities in a row, or a nonlinearity behind a Concat, or behind a Sum that passes such "
                "values on); put a Conv in front of it, or into that branch of the Sum"
            )
        if signal.state == "raw":
            raise ArchitectureError(f"{position}: {self!r} is applied to the network input; put a Conv in front of it")
        return replace(signal, state="activated")
