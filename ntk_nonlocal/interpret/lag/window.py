"""The exact kernel inside a search window, for images of any size.

``LagKernel`` with a window multiplies the full kernel by the triangle (1 - |t_y| / R)+ (1 - |t_x| / R)+ of the
displacement t. The triangle is positive definite, and so is the product (Schur); cutting the kernel off at R would
not be. Only lags |t| < R are computed, so time and memory grow linearly with the number of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ...operators import static_field
from .axes import change_padding
from .demand import Lags
from .kernel import BlockedKernel, evaluated_block, replicated, sum_blocks

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

    def block_values(self, index: Array, kept_index: Array) -> Array:
        """K of the row lags index * block + (0 .. block - 1): (block, H, 2 window - 1, W + 2 window - 2)."""
        if self.kept is not None:
            return lax.dynamic_index_in_dim(self.kept, kept_index, keepdims=False)
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
    vectors = columns.reshape(height, width, -1).transpose(2, 0, 1)
    padded = jnp.pad(vectors, [(0, 0), (0, op.block_count * op.block + op.block), (reach, reach)])
    count = 2 * reach + 1
    groups = -(-count // _GROUP)

    def one_lag(values: Array, ahead: Array, behind: Array) -> tuple[Array, Array]:
        """Sums over the column lags of one row lag: to the pairs' left ends, and to their right ends."""
        values = jnp.pad(values, [(0, 0), (0, groups * _GROUP - count), (0, 0)])
        ahead = jnp.pad(ahead, [(0, 0), (0, 0), (0, groups * _GROUP - count)])
        behind = jnp.pad(behind, [(0, 0), (0, 0), (groups * _GROUP - count, 0)])
        wide = jnp.pad(values, [(0, 0), (0, 0), (groups * _GROUP - count, 0)])

        def group(index: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
            first = index * _GROUP
            part = lax.dynamic_slice_in_dim(values, first, _GROUP, 1)
            shifted = lax.dynamic_slice_in_dim(ahead, first, width + _GROUP - 1, 2)
            left, right = sums
            for k in range(_GROUP):
                left = left + part[None, :, k, reach : reach + width] * shifted[:, :, k : k + width]
            # the right end x' = x + lag: read both factors at x' - lag
            back = groups * _GROUP - first - _GROUP
            part = lax.dynamic_slice(wide, (0, first, back), (height, _GROUP, width + _GROUP - 1))
            source = lax.dynamic_slice_in_dim(behind, back, width + _GROUP - 1, 2)
            for k in range(_GROUP):
                at = _GROUP - 1 - k
                right = right + part[None, :, k, at : at + width] * source[:, :, at : at + width]
            return left, right

        zero = jnp.zeros((vectors.shape[0], height, width), vectors.dtype)
        return lax.fori_loop(0, groups, group, (zero, zero))

    def add(op: WindowKernel, padded: Array, out: Array, values: Array, index: Array) -> Array:
        for b in range(op.block):
            lag = index * op.block + b
            used = lag < op.row_lags
            ahead = lax.dynamic_slice_in_dim(padded, lag, height, 1)
            left, right = one_lag(values[b], ahead, padded[:, :height])
            out = out.at[:, :height].add(jnp.where(used, left, 0))
            moved = lax.dynamic_slice_in_dim(out, lag, height, 1) + jnp.where(used & (lag > 0), right, 0)
            out = lax.dynamic_update_slice_in_dim(out, moved, lag, 1)
        return out

    start = jnp.zeros((vectors.shape[0], padded.shape[1], width), vectors.dtype)
    out = sum_blocks(op, add, padded, start)
    return out[:, :height].transpose(1, 2, 0).reshape(height * width, -1)


@jax.jit
def _rows(op: WindowKernel, pixels: Array) -> Array:
    height, width = op.image_shape
    reach = op.window - 1
    lag = np.arange(-reach, reach + 1)

    def fill(op: WindowKernel, pixels: Array, out: Array, values: Array, index: Array) -> Array:
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
