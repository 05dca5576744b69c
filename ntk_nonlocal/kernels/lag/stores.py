"""The kernel behind every Downsample, computed once and stored.

A few lags of a decoder's output need many more of the encoder's, at the full resolution. Behind the first Downsample by
two the kernel is sixteen times smaller than in front of it: with it stored (half of it, by lag) no slice of an encoder
is evaluated twice. :class:`Stored` stands in the place of the Downsample and takes its slices from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntk_nonlocal.architecture import Concat, Downsample, Layer, Serial, Signal, Sum

from .axes import resample_image
from .demand import Extent, Lags, needed
from .slices import Plan, Slices, input_slices, lag_rule

Store = tuple[Array, Array | None]


@dataclass(frozen=True, repr=False)
class Stored(Layer):
    """A Downsample whose output is stored."""

    original: Downsample

    def propagate(self, signal: Signal, position: str) -> Signal:
        return self.original.propagate(signal, position)


def with_stores(layer: Layer) -> Layer:
    """The architecture with every Downsample taken from its store."""
    if isinstance(layer, Downsample):
        return Stored(layer)
    if isinstance(layer, Serial):
        return Serial(*map(with_stores, layer.layers))
    if isinstance(layer, Concat | Sum):
        return type(layer)(*map(with_stores, layer.branches))
    return layer


@needed.register
def _(layer: Stored, extent: Extent) -> Extent:
    # what lies in front is not looked at, and so not computed
    return extent.lags(lambda lags: replace(lags, count=1))


@lag_rule.register
def _(layer: Stored, slices: Slices, position: str, plan: Plan, extent: Extent) -> Slices:
    signal = layer.propagate(slices.signal, position)
    assert signal.size is not None
    rows, columns = plan.axes(extent, signal.size)
    left, right = rows.image_pairs()
    lag = (right - left) % rows.length
    stored = lag <= rows.length // 2
    place = jnp.where(stored, lag * rows.length + left, (rows.length - lag) * rows.length + right)

    def fetch(values: Array) -> Array:
        planes = jnp.take(values.reshape(-1, *values.shape[2:]), place, axis=0, mode="clip")
        return jnp.where(stored[:, :, None, None], planes, planes.swapaxes(2, 3))

    difference, tangent = plan.stores[position]
    fetched = replace(
        slices,
        difference=fetch(difference),
        tangent=None if tangent is None else fetch(tangent),
        variance=resample_image(slices.variance, layer.original) - plan.corrections[position],
        rows=rows,
        columns=columns,
        signal=signal,
        pad=0,
        padding=None,
        bordered=False,
    )
    return fetched.extend(extent.pad, extent.padding)


def paths(architecture: Serial) -> list[list[tuple[Layer, str]]]:
    """For every Downsample, in the order of evaluation, the layers on the way to it, each with its position."""

    def walk(layer: Layer, where: str, before: list[tuple[Layer, str]]) -> Iterator[list[tuple[Layer, str]]]:
        if isinstance(layer, Serial):
            for index, inner in enumerate(layer.layers):
                place = f"{where}, layer {index}" if where else f"layer {index}"
                yield from walk(inner, place, before)
                before = [*before, (inner, place)]
        elif isinstance(layer, Concat | Sum):
            for index, branch in enumerate(layer.branches):
                yield from walk(branch, f"{where}, branch {index}", before)
        elif isinstance(layer, Downsample):
            yield [*before, (layer, where)]

    return list(walk(architecture, "", []))


def path_extents(path: list[tuple[Layer, str]], lags: Lags) -> list[Extent]:
    """The extents in front of every layer of a path, and behind the last, for these lags of its output."""
    extents = [Extent(lags, None)]
    for layer, _ in reversed(path):
        extents.append(needed(layer, extents[-1]))
    return extents[::-1]


def stored_path(path: list[tuple[Layer, str]]) -> list[tuple[Layer, str]]:
    """A path to a Downsample, with those before it taken from their stores."""
    return [(with_stores(layer), place) for layer, place in path[:-1]] + path[-1:]


def fill_store(path: list[tuple[Layer, str]], image: Array, plan: Plan, height: int, block: int) -> Store:
    """The kernel behind a path: D and Theta of lags 0 .. h / 2, each (lags, h, w, w), ``block`` lags at a time.

    ``height`` is that of the path's output, ``plan`` an evaluation of the whole.
    """
    count = height // 2 + 1
    lags = Lags(0, block, block)
    # starts are counted at the resolution of the path's output
    extents = path_extents(stored_path(path), lags)

    def evaluate(start: Array) -> Store:
        here = replace(plan, start=start)
        slices = input_slices(image, extents[0], here)
        for (layer, place), extent in zip(stored_path(path), extents[1:], strict=True):
            slices = lag_rule(layer, slices, place, here, extent)
        pixel = np.arange(height)[None, :]
        place = slices.rows.place(pixel, (pixel + slices.rows.lags[:, None]) % height)
        compact = slices.map(lambda values: slices.rows.take(values, place, 0))
        return compact.difference, compact.tangent

    blocks = -(-count // block)
    difference, tangent = lax.map(evaluate, block * jnp.arange(blocks, dtype=jnp.int32))
    shape = (-1, *difference.shape[2:])
    return difference.reshape(shape), None if tangent is None else tangent.reshape(shape)


def store_elements(path: list[tuple[Layer, str]], size: tuple[int, int]) -> tuple[int, int]:
    """(elements of one stored array, the height of the path's output) for an image of ``size``."""
    signal = Signal(size=size)
    for layer, place in path:
        signal = layer.propagate(signal, place)
    assert signal.size is not None
    height, width = signal.size
    return (height // 2 + 1) * height * width * width, height


Stores = Mapping[str, Store]
