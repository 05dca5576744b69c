"""Layers that are made of layers: one after another (``Chain``), or side by side on the same input (``Branches``).

Every meaning follows these two, so that a container of one's own needs rules for what it does itself and no more: that
stands behind its children. Where it adds nothing, as a Serial, it needs none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from ntk_nonlocal.checks import told

from .layer import ArchitectureError, Layer, Path, Signal
from .layers import Conv

# Shares of the width are compared as fractions of at most this denominator, for they may be sums of rounded ones.
_FINEST_SHARE = 10**6


class Chain(Layer):
    """Base of containers whose children follow one another. A new one defines ``children``."""

    label = "layer"

    @property
    def output_children(self) -> tuple[int, ...]:
        """The last child that sets its channels anew."""
        return tuple(i for i, child in enumerate(self.children) if child.sets_channels)[-1:]

    def inside(self, signal: Signal, position: Path) -> Iterator[tuple[Layer, Path, Signal]]:
        for index, child in enumerate(self.children):
            where = Path(position).inside(self.label, index)
            yield child, where, signal
            signal = child.propagate(signal, where)

    def propagate(self, signal: Signal, position: Path) -> Signal:
        for child, where, before in self.inside(signal, position):
            signal = child.propagate(before, where)
        return signal


class Branches(Layer):
    """Base of containers whose children have the same input. A new one defines ``branches`` and :meth:`join`.

    The branches that it adds or averages have equally many channels, and give its output theirs.
    """

    label = "branch"
    branches: tuple[Layer, ...]

    @property
    def children(self) -> tuple[Layer, ...]:
        return self.branches

    @property
    def output_children(self) -> tuple[int, ...]:
        return tuple(range(len(self.children)))

    def join(self, ends: list[Signal], position: Path) -> Signal:
        """The signal behind this layer, from those behind its branches (whose resolutions agree)."""
        raise NotImplementedError(f"{type(self).__name__} must define join(ends, position)")

    def inside(self, signal: Signal, position: Path) -> Iterator[tuple[Layer, Path, Signal]]:
        for index, child in enumerate(self.children):
            yield child, Path(position).inside(self.label, index), signal

    def propagate(self, signal: Signal, position: Path) -> Signal:
        ends = [child.propagate(signal, where) for child, where, _ in self.inside(signal, position)]
        if len({end.scale for end in ends}) > 1:
            scales = ", ".join(str(end.scale) for end in ends)
            raise ArchitectureError(
                f"{position}: the branches of {type(self).__name__} end in different resolutions "
                f"({scales} of its input); add Downsample or Upsample so that they agree"
            )
        return self.join(ends, position)

    def _check_number(self) -> None:
        if len(self.branches) < 2:
            raise ValueError(f"{type(self).__name__} needs at least two branches, got {len(self.branches)}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.branches))})"


def _layers(items: tuple[object, ...], owner: str) -> tuple[Layer, ...]:
    for index, item in enumerate(items):
        if not isinstance(item, Layer):
            raise TypeError(
                f"{owner}: argument {index} must be a layer such as Conv(3) or Relu(), got {told(item)}; "
                f"write {owner}(a, b, ...), not a list"
            )
    return items  # type: ignore[return-value]


@dataclass(frozen=True, repr=False, init=False)
class Serial(Chain):
    """Layers one after another; nested ones count as one flat list, and ``Serial()`` is the identity.

    Raises:
      ArchitectureError: two nonlinearities in a row, or a nonlinearity behind a Concat.
    """

    layers: tuple[Layer, ...]

    def __init__(self, *layers: Layer) -> None:
        flat: list[Layer] = []
        for layer in _layers(layers, "Serial"):
            flat.extend(layer.layers if isinstance(layer, Serial) else (layer,))
        object.__setattr__(self, "layers", tuple(flat))
        self.propagate(Signal(), Path())

    @property
    def children(self) -> tuple[Layer, ...]:
        return self.layers

    def __repr__(self) -> str:
        return f"Serial({', '.join(map(repr, self.layers))})"


@dataclass(frozen=True, repr=False, init=False)
class Concat(Branches):
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
        self.propagate(Signal(), Path("Concat"))

    @property
    def sets_channels(self) -> bool:
        return True

    @property
    def output_children(self) -> tuple[int, ...]:
        return ()

    def join(self, ends: list[Signal], position: Path) -> Signal:
        for index, end in enumerate(ends):
            if end.state == "raw":
                raise ArchitectureError(
                    f"{position.inside('branch', index)}: passes the raw network input on, whose share vanishes as the "
                    "width grows; put a Conv into the branch or in front of the Concat"
                )
        counts = [end.channels for end in ends]
        channels = None if None in counts else sum(count for count in counts if count is not None)
        return replace(ends[0], state="activated", channels=channels)


@dataclass(frozen=True, repr=False, init=False)
class Sum(Branches):
    """Sum of branches (a residual connection). Each ends in a Conv, so that the terms are independent; one may pass its
    input on instead, as ``Serial()`` does.

    In the limit covariance and tangent kernel are the sums of the branches'. Values passed on from behind a
    nonlinearity are not Gaussian, and neither is their sum: another Conv has to follow before the next nonlinearity.
    A branch may end in a Normalize or a depthwise Conv behind it.
    """

    branches: tuple[Layer, ...]

    def __init__(self, *branches: Layer) -> None:
        object.__setattr__(self, "branches", _layers(branches, "Sum"))
        self._check_number()
        for branch, where, unknown in self.inside(Signal(), Path("Sum")):
            if branch.propagate(unknown, where).state == "activated":
                raise ArchitectureError(
                    f"{where}: must end in a Conv, or pass its input on as Serial() does, got {told(branch)}; "
                    "append Conv(1) to it"
                )
        passing = [branch for branch in self.branches if _passes_on(branch)]
        if len(passing) > 1:
            raise ArchitectureError(
                f"Sum: {passing[0]!r} and {passing[1]!r} both pass the input on, and are not independent; put a Conv "
                "into all branches but one"
            )
        self.propagate(Signal(), Path("Sum"))

    def join(self, ends: list[Signal], position: Path) -> Signal:
        known = [Fraction(end.channels).limit_denominator(_FINEST_SHARE) for end in ends if end.channels is not None]
        if len(set(known)) > 1:
            counts = ", ".join("?" if end.channels is None else f"{end.channels:g}" for end in ends)
            raise ArchitectureError(
                f"{position}: the branches of Sum have different numbers of channels ({counts} times the width); give "
                "their last Conv the same channels"
            )
        for index, end in enumerate(ends):
            if end.state == "raw":
                raise ArchitectureError(
                    f"{position.inside('branch', index)}: adds the network input itself, whose channels are few; put a "
                    "Conv into the branch or in front of the Sum"
                )
        # what a branch may be besides Gaussian
        states = [end.state for end in ends]
        return replace(ends[0], state=next((s for s in ("unknown", "activated", "mixed") if s in states), "gaussian"))


def _passes_on(layer: Layer) -> bool:
    """Whether the output of a layer holds its input, or a function of it without weights of its own."""
    if isinstance(layer, Chain):
        return all(map(_passes_on, layer.children))
    if isinstance(layer, Branches):
        return any(map(_passes_on, layer.children))
    return not (isinstance(layer, Conv) or layer.sets_channels)
