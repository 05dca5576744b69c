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
from jax import Array

from ntk_nonlocal.operators import static_field

from ..windowed import WindowedKernel, once, triangle
from .demand import Lags
from .kernel import BlockedKernel, evaluated_block
from .slices import margin_of


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class WindowedLagKernel(BlockedKernel, WindowedKernel):
    """The exact kernel times the triangle of half-width ``window``, stored as every windowed kernel is."""

    window: int = static_field(default=1)

    def block_values(self, index: Array) -> Array:
        (height, width), (_, across) = self.image_shape, self.reach
        rows, columns = Lags(0, self.block, self.block), Lags(-across, self.column_lags, 0)
        _, values = evaluated_block(self, index * self.block, rows, columns)
        gap = 2 * margin_of(self.architecture)
        # pairs to the left stand behind the gap, the others before it
        values = jnp.concatenate(
            [values[:, :height, :across, gap : gap + width], values[:, :height, across:, :width]], axis=2
        )
        row_lag, column_lag = index * self.block + np.arange(self.block), np.arange(-across, across + 1)
        row = triangle(row_lag, self.window, self.dtype)[:, None] * (np.arange(height) + row_lag[:, None] < height)
        end = np.arange(width) + column_lag[:, None]
        column = triangle(column_lag, self.window, self.dtype)[:, None] * ((end >= 0) & (end < width))
        weight = once(row_lag[:, None], column_lag, self.dtype)[:, None, :, None] * row[:, :, None, None] * column
        return self.lines((values * weight).swapaxes(1, 2))

    def swept_rows(self, pixels: Array) -> Array:
        return WindowedKernel.rows(self, pixels)


def window_fits(window: int, image_shape: tuple[int, int]) -> bool:
    """Whether a window is small enough for the lags on both sides not to meet round the torus."""
    return 2 * window - 1 <= image_shape[1] and window <= image_shape[0]
