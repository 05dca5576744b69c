"""Which lags of a layer's input a block of lags of its output needs.

A block of the kernel starts at a lag that is known only when it runs, so that one compiled block serves all. What is
static is the number of lags at every resolution, and where they lie relative to the block's start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce, singledispatch
from typing import Any

import numpy as np

from ntk_nonlocal.architecture import Branches, Chain, Conv, Downsample, Layer, Upsample, convolutions

from .axes import LagAxis


@dataclass(frozen=True)
class Lags:
    """The lags mult * floor(start * scale) + low + step * (0 .. count - 1).

    ``start`` is the first lag of the block, in pixels of the output; ``aligned`` divides every start that occurs.
    """

    low: int
    count: int
    aligned: int
    scale: Fraction = Fraction(1)
    mult: int = 1
    step: int = 1

    @property
    def high(self) -> int:
        return self.low + self.step * (self.count - 1)

    def axis(self, start: Any, length: int, margin: int) -> LagAxis:
        base = (start * self.scale.numerator) // self.scale.denominator
        count = min(self.count, -(-length // self.step))
        return LagAxis(length, self.mult * base + self.low + self.step * np.arange(count), self.step, margin)

    def _slack(self, factor: int) -> int:
        """The largest possible T - factor * floor(T / factor) for T = floor(start * scale)."""
        return 0 if (self.aligned * self.scale / factor).denominator == 1 else factor - 1

    def contiguous(self) -> Lags:
        """These lags and all between them, with step and multiplier one."""
        if self.mult == 1:
            return self
        finer = replace(self, scale=self.scale * self.mult)
        low = self.low - finer._slack(self.mult)
        return replace(finer, low=low, count=self.high - low + 1, mult=1, step=1)

    def union(self, other: Lags) -> Lags:
        if self == other:
            return self
        one, two = self.contiguous(), other.contiguous()
        low, high = min(one.low, two.low), max(one.high, two.high)
        return replace(one, low=low, count=high - low + 1)


@dataclass(frozen=True)
class Extent:
    """What is wanted behind a layer: the lags of the rows and of the columns (None where these are dense), and by how
    many positions beyond the image's edges, continued as the next convolutions ("zero", "circular", "reflect") need it.

    ``stored`` says that the kernel behind every Downsample in front is stored (see ``stores``)."""

    rows: Lags | None
    columns: Lags | None
    pad: int = 0
    padding: str | None = None
    stored: bool = False

    def lags(self, function: Callable[[Lags], Lags]) -> Extent:
        """The extent with new lags and no padding."""
        rows, columns = (None if lags is None else function(lags) for lags in (self.rows, self.columns))
        return Extent(rows, columns, stored=self.stored)

    def union(self, other: Extent) -> Extent:
        rows, columns = (
            None if one is None or two is None else one.union(two)
            for one, two in ((self.rows, other.rows), (self.columns, other.columns))
        )
        if None not in (self.padding, other.padding) and self.padding != other.padding:
            return Extent(rows, columns, stored=self.stored)
        return Extent(rows, columns, max(self.pad, other.pad), self.padding or other.padding, self.stored)


# Beyond this many positions an array is rather padded again than computed further out.
_LARGEST_PAD = 8


@singledispatch
def needed(layer: Layer, extent: Extent) -> Extent:
    """The extent of the layer's input that an extent of its output needs; the same one for most layers."""
    return extent


@needed.register
def _(layer: Conv, extent: Extent) -> Extent:
    if layer.stride > 1:
        plain, keep = layer.stages
        return needed(plain, needed(keep, extent))
    if layer.reach == 0:
        return extent
    pad = computed_pad(layer, extent) + layer.reach
    return replace(extent, pad=pad, padding=layer.padding)


def computed_pad(layer: Conv, extent: Extent) -> int:
    """How far beyond the edges a convolution computes its output: as far as is wanted, or only up to the edges (always
    where they are reflected, for the output at a reflected pixel is not that of the reflected window)."""
    reach = layer.reach
    other = layer.padding == "reflect" or extent.padding not in (None, layer.padding)
    if reach and (other or extent.pad + reach > _LARGEST_PAD):
        return 0
    return extent.pad


@needed.register
def _(layer: Downsample, extent: Extent) -> Extent:
    if extent.stored:  # what lies in front is not looked at, and so not computed
        return extent.lags(lambda lags: replace(lags, count=1))
    factor = layer.factor

    def finer(lags: Lags) -> Lags:
        if layer.method == "stride":
            return replace(lags, low=factor * lags.low, mult=factor * lags.mult, step=factor * lags.step)
        here = lags.contiguous()
        result = replace(here, scale=here.scale * factor)
        low = factor * here.low - (factor - 1) - result._slack(factor)
        return replace(result, low=low, count=factor * here.high + factor - low)

    return extent.lags(finer)


@needed.register
def _(layer: Upsample, extent: Extent) -> Extent:
    factor = layer.factor

    def coarser(lags: Lags) -> Lags:
        here = lags.contiguous()
        top = here.high + here._slack(factor)
        if layer.method != "bilinear":
            low, high = here.low // factor, (top + factor - 1) // factor
        else:
            low, high = here.low // factor - 1, -(-top // factor) + 1
        return replace(here, scale=here.scale / factor, low=low, count=high - low + 1)

    return extent.lags(coarser)


def reflects(architecture: Layer) -> bool:
    """Whether a convolution reads reflected pixels, which mixes lags: the kernel is then held whole, see ``dense``."""
    return any(placed.conv.padding == "reflect" and placed.conv.reach for placed in convolutions(architecture))


def lowers(layer: Layer) -> bool:
    """Whether the kernel behind a layer is at a lower resolution, and so may be stored."""
    return isinstance(layer, Downsample) or (isinstance(layer, Conv) and layer.stride > 1)


@singledispatch
def wanted_inside(layer: Layer, extent: Extent) -> list[Extent]:
    """The extents wanted behind the children of a layer, for an extent of its output."""
    return []


@wanted_inside.register
def _(layer: Chain, extent: Extent) -> list[Extent]:
    wanted = [extent]
    for child in layer.children[:0:-1]:
        wanted.append(needed(child, wanted[-1]))
    return wanted[: len(layer.children)][::-1]


@wanted_inside.register
def _(layer: Branches, extent: Extent) -> list[Extent]:
    return [extent] * len(layer.children)


@needed.register
def _(layer: Chain, extent: Extent) -> Extent:
    return needed(layer.children[0], wanted_inside(layer, extent)[0]) if layer.children else extent


@needed.register
def _(layer: Branches, extent: Extent) -> Extent:
    wanted = map(needed, layer.children, wanted_inside(layer, extent))
    return reduce(Extent.union, wanted)
