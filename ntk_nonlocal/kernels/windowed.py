"""A kernel within a search window: one way to store it and one product, whatever its values are.

Kept or evaluated are the values K[i, i + t] of half of the displacements t = (t_y, t_x): row lags t_y = 0 .. R - 1 and,
with each, all column lags |t_x| < R. Every value serves both ends of its pair,

    out[i] += K[i, i + t] V[i + t],    out[i + t] += K[i, i + t] V[i],

so that of t_y = 0 those with t_x < 0 are zero, and t = 0, whose ends are one pixel, is halved.

A row lag is ONE line of numbers: the planes of all its column lags, each with a row of zeros below it, and a plane of
zeros before them. Pixels are numbered through, so that i + t is further on by the number t_y W + t_x, and no plane
needs a frame: i + t is read at i - (t_y W + t_x), and where that lies before the plane, it meets the end of the plane
before, whose last t_y rows hold no pair and are zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh
from jax.typing import ArrayLike

from ntk_nonlocal.operators import static_field

from .blocks import Block, BlockedOperator, replicated, sum_blocks

# Lags of one compiled sum: fewer go through the sums more often, more take longer to compile.
_GROUP = 9


class WindowedKernel(BlockedOperator):
    """A symmetric kernel that vanishes beyond a window; a block holds the lines of its row lags.

    Subclasses are dataclasses with the fields of ``BlockedOperator`` and ``window``, R: lags are below it in both axes.
    """

    window: int

    @property
    def reach(self) -> tuple[int, int]:
        """The largest lags of rows and of columns."""
        height, width = self.image_shape
        return min(self.window, height) - 1, min(self.window, width) - 1

    @property
    def row_lags(self) -> int:
        return self.reach[0] + 1

    @property
    def column_lags(self) -> int:
        return 2 * self.reach[1] + 1

    def lines(self, planes: Array) -> Array:
        """The lines of planes (row lags, column lags, H, W) that are zero where i + t is no pixel."""
        return jnp.pad(planes, ((0, 0), (1, 0), (0, 1), (0, 0))).reshape(len(planes), -1)

    def start(self, column: Any) -> Any:
        """Where the plane of a column lag, counted from the smallest, begins in a line."""
        height, width = self.image_shape
        return (column + 1) * (height + 1) * width

    def kept_bytes(self) -> int:
        lines = self.block_count // (1 if self.mesh is None else self.mesh.size) * self.block
        return int(lines * self.start(self.column_lags) * self.dtype.itemsize)

    def _product(self, columns: Array) -> Array:
        return _product(self._values(), replicated(self, columns))

    def rows(self, pixels: ArrayLike) -> Array:
        return _rows(self._values(), replicated(self, jnp.asarray(self.check_pixels(pixels))))

    def _values(self) -> WindowedKernel:
        """What is kept, without what it was made of: kernels of one size share their compiled programs."""
        if self.kept is None:
            return self
        return _Kept(self.kept, self.image_shape, self.window, self.block, self.mesh)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class _Kept(WindowedKernel):
    """A windowed kernel by its values alone."""

    kept: Array
    image_shape: tuple[int, int] = static_field()
    window: int = static_field()
    block: int = static_field()
    mesh: Mesh | None = static_field()

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.kept.dtype)


def once(row_lag: Any, column_lag: Any, dtype: Any) -> Array:
    """What the value of a lag is stored with: every pair once, a pixel with itself half."""
    return jnp.where(row_lag > 0, 1, 0.5 * (1 + jnp.sign(column_lag))).astype(dtype)


def triangle(lag: Any, window: int, dtype: Any) -> Array:
    """1 - |t| / R, zero beyond: a positive definite taper."""
    return jnp.maximum(1 - jnp.abs(lag).astype(dtype) / window, 0)


@jax.jit
def _product(op: WindowedKernel, columns: Array) -> Array:
    (height, width), (down, across) = op.image_shape, op.reach
    # (rows, columns of V, pixels): a row of the kernel serves all columns of V while it is in the cache
    vectors = columns.reshape(height, width, -1).transpose(0, 2, 1)
    around = jnp.pad(vectors, ((down, down), (0, 0), (across, across)))

    def lags_of(block: Block) -> int:
        return block.stack.shape[1] * op.column_lags

    def sums_over(first: Array, size: int, block: Block, index: Array, around: Array) -> tuple[Array, Array]:
        """What the lags first + (0 .. size - 1) of a block, as far as there are such, give to pixels i, and i + t."""
        to_left, to_right = jnp.zeros(vectors.shape, op.dtype), jnp.zeros(vectors.shape, op.dtype)
        for place in (first + k for k in range(size)):
            there = (place < lags_of(block)).astype(op.dtype)
            line, column = jnp.int32(place // op.column_lags), jnp.int32(place % op.column_lags)
            row_lag, column_lag, start = index * op.block + line, column - across, op.start(column)

            def values(shift: Any, line: Array = line, start: Array = start, there: Array = there) -> Array:
                plane = lax.dynamic_slice(block.stack, (block.place, line, start - shift), (1, 1, height * width))
                return plane.reshape(height, 1, width) * there

            def moved(sign: int, row_lag: Array = row_lag, column_lag: Array = column_lag) -> Array:
                corner = (down + sign * row_lag, jnp.int32(0), across + sign * column_lag)
                return lax.dynamic_slice(around, corner, vectors.shape)

            to_left += values(jnp.int32(0)) * moved(1)
            to_right += values(row_lag * width + column_lag) * moved(-1)
        return to_left, to_right

    def add(op: WindowedKernel, around: Array, sums: tuple[Array, Array], block: Block, index: Array) -> Any:
        groups = -(-lags_of(block) // _GROUP)
        size = -(-lags_of(block) // groups)

        def group(number: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
            left, right = sums_over(number * size, size, block, index, around)
            return sums[0] + left, sums[1] + right

        return lax.fori_loop(0, groups, group, sums)

    zero = jnp.zeros(vectors.shape, op.dtype)
    to_left, to_right = sum_blocks(op, add, around, (zero, zero), join=True)
    return (to_left + to_right).transpose(0, 2, 1).reshape(height * width, -1)


@jax.jit
def _rows(op: WindowedKernel, pixels: Array) -> Array:
    (height, width), (down, across) = op.image_shape, op.reach
    y, x = pixels[:, None] // width, pixels[:, None] % width
    which = jnp.arange(len(pixels))[:, None]
    lags, starts = np.arange(-across, across + 1), op.start(np.arange(op.column_lags))

    def add(op: WindowedKernel, pixels: Array, out: Array, block: Block, index: Array) -> Array:
        values = block.values()
        for line in range(op.block):
            row_lag = index * op.block + line
            ahead = values[line][starts + pixels[:, None]]
            behind = values[line][starts + pixels[:, None] - (row_lag * width + lags)]
            out = out.at[which, y + down + row_lag, x + across + lags].add(ahead)
            # of row lags beyond the last all values are zero
            above = y + down - jnp.minimum(row_lag, down)
            out = out.at[which, above, x + across - lags].add(behind)
        return out

    out = jnp.zeros((len(pixels), height + 2 * down, width + 2 * across), op.dtype)
    out = sum_blocks(op, add, pixels, out)
    return out[:, down : down + height, across : across + width].reshape(len(pixels), height * width)
