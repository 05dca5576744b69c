"""The kernel behind every Downsample, computed once and stored.

A few lags of a decoder's output need many more of the encoder's, at the full resolution. Behind the first Downsample by
two the kernel is sixteen times smaller than in front of it: with it stored (half of it, by lag) no slice of an encoder
is evaluated twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntk_nonlocal.architecture import Conv, Layer, Path, Signal, walk

from .axes import LagAxis
from .demand import Extent, Lags, lowers, needed
from .slices import Plan, input_slices, lag_rule

Store = tuple[Array, Array | None]
Way = list[tuple[Layer, Path]]


def paths(architecture: Layer) -> list[Way]:
    """For every layer that lowers the resolution, in the order of evaluation, the layers on the way to it with their
    positions; a convolution with a stride counts as one without, and a Downsample."""
    ways = []
    for placed in walk(architecture):
        if lowers(placed.layer):
            parts = placed.layer.stages if isinstance(placed.layer, Conv) else (placed.layer,)
            ways.append([*placed.before, *((part, placed.position) for part in parts)])
    return ways


def path_extents(path: Way, lags: Lags) -> list[Extent]:
    """The extents in front of every layer of a path, and behind the last, for these lags of its output; what lies
    behind other Downsamples on the way is stored."""
    extents = [Extent(lags, None)]
    for layer, _ in reversed(path):
        extents.append(replace(needed(layer, extents[-1]), stored=True))
    return extents[::-1]


def fill_store(path: Way, image: Array, plan: Plan, height: int, block: int) -> Store:
    """The kernel behind a path: D and Theta of lags 0 .. h / 2, each (lags, h, w, w), ``block`` lags at a time.

    ``height`` is that of the path's output, ``plan`` an evaluation of the whole.
    """
    count = height // 2 + 1
    lags = Lags(0, block, block)
    # starts are counted at the resolution of the path's output
    extents = path_extents(path, lags)

    def evaluate(start: Array) -> Store:
        here = replace(plan, start=start)
        slices = input_slices(image, extents[0], here)
        for (layer, place), extent in zip(path, extents[1:], strict=True):
            slices = lag_rule(layer, slices, place, here, extent)
        rows, pixel = slices.rows, np.arange(height)[None, :]
        assert isinstance(rows, LagAxis)
        place = rows.place(pixel, (pixel + rows.lags[:, None]) % height)
        compact = slices.map(lambda values: rows.take(values, place, 0))
        return compact.difference, compact.tangent

    blocks = -(-count // block)
    difference, tangent = lax.map(evaluate, block * jnp.arange(blocks, dtype=jnp.int32))
    shape = (-1, *difference.shape[2:])
    return difference.reshape(shape), None if tangent is None else tangent.reshape(shape)


def store_elements(path: Way, size: tuple[int, int]) -> tuple[int, int]:
    """(elements of one stored array, the height of the path's output) for an image of ``size``."""
    signal = Signal(size=size)
    for layer, place in path:
        signal = layer.propagate(signal, place)
    assert signal.size is not None
    height, width = signal.size
    return (height // 2 + 1) * height * width * width, height


Stores = Mapping[Path, Store]
