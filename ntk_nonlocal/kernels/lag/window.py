"""The exact kernel inside a search window, for images of any size.

``LagKernel`` with a window multiplies the full kernel by the triangle (1 - |t_y| / R)+ (1 - |t_x| / R)+ of the
displacement t. The triangle is positive definite, and so is the product (Schur); cutting the kernel off at R would
not be. Only lags |t| < R are computed, so time and memory grow linearly with the number of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntk_nonlocal.operators import static_field

from .axes import change_padding
from .demand import Lags
from .kernel import Block, BlockedKernel, evaluated_block, replicated, sum_blocks

# Columns of the window that one compiled sum covers.
_GROUP = 9


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class WindowKernel(BlockedKernel):
    """The kernel times the triangle of half-width ``window``, by row lags 0 .. window - 1 and column lags.

    A block holds K[lag, y, column lag, x + window - 1], zero outside the image.
    """

    window: int = static_field(default=1)

    @property
    def row_lags(self) -> int:
        return min(self.window, self.image_shape[0])

    def block_values(self, index: Array) -> Array:
        """K of the row lags index * block + (0 .. block - 1): (block, H, 2 window - 1, W + 2 window - 2)."""
        height, width = self.image_shape
        reach = self.window - 1
        start = index * self.block
        rows, columns = Lags(0, self.block, self.block), Lags(-reach, 2 * reach + 1, 0)
        slices, values = evaluated_block(self, start, rows, columns)
        gap = 2 * slices.rows.margin
        # pairs to the left stand behind the gap, the others before it
        values = jnp.concatenate(
            [values[:, :height, :reach, gap : gap + width], values[:, :height, reach:, :width]], axis=2
        )
        row_lag = start + np.arange(self.block)
        row = jnp.maximum(1 - row_lag / self.window, 0)[:, None] * (np.arange(height) + row_lag[:, None] < height)
        lag = np.arange(-reach, reach + 1)
        end = np.arange(width) + lag[:, None]
        column = (1 - np.abs(lag) / self.window)[:, None] * ((end >= 0) & (end < width))
        taper = row.astype(self.dtype)[:, :, None, None] * jnp.asarray(column, self.dtype)
        return change_padding(values * taper, (3,), reach) if reach else values * taper

    def _product(self, columns: Array) -> Array:
        return _product(self, replicated(self, columns))

    def swept_rows(self, pixels: Array) -> Array:
        return _rows(self, pixels)


@jax.jit
def _product(op: WindowKernel, columns: Array) -> Array:
    height, width = op.image_shape
    reach = op.window - 1
    # (rows, columns of V, pixels): a row of the kernel serves all columns of V while it is in the cache
    vectors = columns.reshape(height, width, -1).transpose(0, 2, 1)
    padded = jnp.pad(vectors, [(0, op.block_count * op.block + op.block), (0, 0), (reach, reach)])
    size = (height, vectors.shape[1], width)
    groups, rest = divmod(2 * reach + 1, _GROUP)
    zero = jnp.int32(0)

    def one_lag(block: Block, b: int, ahead: Array, behind: Array) -> tuple[Array, Array]:
        """Sums over the column lags of one row lag: to the pairs' left ends, and to their right ends."""

        def add(first: Any, count: int, sums: tuple[Array, Array]) -> tuple[Array, Array]:
            # every factor is sliced from the whole by itself: slices of a slice would be stored
            left, right = jnp.zeros(size, op.dtype), jnp.zeros(size, op.dtype)
            for k in range(count):
                lag = jnp.asarray(first + k, jnp.int32)
                left += block.line(b, lag, reach, width) * lax.dynamic_slice(ahead, (zero, zero, lag), size)
                # the right end x' = x + lag - reach: both factors are read at x' - lag + reach
                back = 2 * reach - lag
                right += block.line(b, lag, back, width) * lax.dynamic_slice(behind, (zero, zero, back), size)
            return sums[0] + left, sums[1] + right

        sums = (jnp.zeros(size, op.dtype), jnp.zeros(size, op.dtype))
        sums = lax.fori_loop(0, groups, lambda group, sums: add(group * _GROUP, _GROUP, sums), sums)
        return add(groups * _GROUP, rest, sums)

    def add(op: WindowKernel, padded: Array, out: Array, block: Block, index: Array) -> Array:
        for b in range(op.block):
            lag = index * op.block + b
            used = lag < op.row_lags
            ahead = lax.dynamic_slice_in_dim(padded, lag, height, 0)
            left, right = one_lag(block, b, ahead, padded[:height])
            out = out.at[:height].add(jnp.where(used, left, 0))
            moved = lax.dynamic_slice_in_dim(out, lag, height, 0) + jnp.where(used & (lag > 0), right, 0)
            out = lax.dynamic_update_slice_in_dim(out, moved, lag, 0)
        return out

    start = jnp.zeros((padded.shape[0], vectors.shape[1], width), vectors.dtype)
    out = sum_blocks(op, add, padded, start)
    return out[:height].transpose(0, 2, 1).reshape(height * width, -1)


@jax.jit
def _rows(op: WindowKernel, pixels: Array) -> Array:
    height, width = op.image_shape
    reach = op.window - 1
    lag = np.arange(-reach, reach + 1)

    def fill(op: WindowKernel, pixels: Array, out: Array, block: Block, index: Array) -> Array:
        values = block.values()
        y, x = pixels // width, pixels % width
        which = jnp.arange(len(pixels))[:, None]
        for b in range(op.block):
            row_lag = index * op.block + b
            used = row_lag < op.row_lags
            forward = values[b][y[:, None], lag + reach, x[:, None] + reach]
            out = out.at[which, jnp.minimum(y + row_lag, height)[:, None], x[:, None] + lag + reach].add(
                jnp.where(used, forward, 0)
            )
            above = y - row_lag
            backward = values[b][jnp.maximum(above, 0)[:, None], lag + reach, x[:, None] - lag + reach]
            counted = used & (row_lag > 0) & (above >= 0)[:, None]
            out = out.at[which, jnp.where(above >= 0, above, height)[:, None], x[:, None] - lag + reach].add(
                jnp.where(counted, backward, 0)
            )
        return out

    out = jnp.zeros((len(pixels), height + 1, width + 2 * reach), op.dtype)
    out = sum_blocks(op, fill, pixels, out)
    return out[:, :height, reach : reach + width].reshape(len(pixels), height * width)


def window_fits(window: int, image_shape: tuple[int, int]) -> bool:
    """Whether a window is small enough for the lags on both sides not to meet round the torus."""
    return 2 * window - 1 <= image_shape[1] and window <= image_shape[0]
