"""The affinity of non-local means within a search window: a windowed kernel of the patches of an image.

A network with one sinusoidal hidden layer, ``Serial(Conv(k), Rbf(gamma), Conv(1, weight_std=1.0))``, of infinite width
has the kernel exp(-gamma w^2 / (C k^2) |p_i - p_j|^2) between the k x k patches p of its input (Rahimi & Recht 2007;
``nngp_kernel``, training of the last layer), which is the affinity of non-local means (Buades, Coll & Morel 2005).
Tapered by (1 - |t_y| / R)(1 - |t_x| / R) it stays positive semi-definite within a window (the triangle is positive
definite, and so is the product, by Schur) where ``offset`` is 0.

Where the noise is not equally strong everywhere, every squared difference is measured in units of the noise of its two
samples, 2 / (v_i + v_j) with v the noise's variance, and a patch distance is the mean over the samples that both
patches have. A pixel without a value has the precision 1 / v = 0.

The frame of the image is mirrored, so that patches at the border are whole: the network sees a mirrored margin, and its
output is cropped.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from ntk_nonlocal.checks import told, whole
from ntk_nonlocal.images import finite_jax
from ntk_nonlocal.operators import static_field
from ntk_nonlocal.xla import alive, computed_once

from .blocks import all_values
from .lag import budget as memory
from .lag.patches import patch_distances
from .windowed import WindowedKernel, once, triangle

if TYPE_CHECKING:
    from jaxtyping import Float

_TINY = 1e-12  # a precision that divides by nothing


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class PatchAffinity(WindowedKernel):
    """exp(-max(d - offset, 0) / bandwidth^2) in a window, d the mean squared difference over the samples of a patch.

    Made by :func:`patch_affinity`. ``planes`` is the image (C, H, W); with ``precision``, (1, H, W) or (C, H, W), d is
    measured in units of the noise. ``tapered`` says whether the window is a triangle, or cuts off.
    """

    planes: Array
    precision: Array | None
    bandwidth: Array
    offset: Array
    kept: Array | None
    patch_size: int = static_field()
    window: int = static_field()
    tapered: bool = static_field()

    @property
    def image_shape(self) -> tuple[int, int]:  # type: ignore[override]
        height, width = self.planes.shape[1:]
        return int(height), int(width)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return np.dtype(self.planes.dtype)

    def block_values(self, index: Array) -> Array:
        framed = _framed(self, self.planes), None if self.precision is None else _framed(self, self.precision)
        planes: Array = lax.map(
            functools.partial(_plane, self, framed, index), jnp.arange(-1, self.column_lags, dtype=jnp.int32)
        )
        return planes.reshape(1, -1)

    def rows(self, pixels: ArrayLike) -> Array:
        indices = jnp.asarray(self.check_pixels(pixels))
        rows: Array = super().rows(pixels) if self.precision is not None else _rows(self, indices)
        return rows

    def diagonal(self) -> Array:
        if self.precision is None:
            return jnp.ones(self.shape[0], self.dtype)
        margin = self.patch_size // 2
        there = _mirrored(self.precision, margin).max(axis=0)
        there = lax.reduce_window(there, -jnp.inf, lax.max, (self.patch_size,) * 2, (1, 1), "VALID")
        return (there > 0).astype(self.dtype).reshape(-1)

    def __repr__(self) -> str:
        height, width = self.image_shape
        return (
            f"PatchAffinity({height}x{width} image, patch_size={self.patch_size}, window={self.window}, {self.dtype})"
        )


def patch_affinity(
    planes: Float[ArrayLike, "C H W"],
    patch_size: int,
    bandwidth: float,
    window: int,
    offset: float = 0.0,
    *,
    precision: Float[ArrayLike, "P H W"] | None = None,
    tapered: bool = True,
) -> PatchAffinity:
    """exp(-max(d - offset, 0) / bandwidth^2) within a window, d the mean squared difference over a patch's samples.

    Its values are kept where half of the free memory allows it (about 2 R^2 numbers a pixel), and computed anew in
    every product otherwise.

    Args:
      planes: what the network is fed, shape (C, H, W).
      patch_size: k, odd, at most 2 min(H, W) - 1.
      bandwidth: on the scale of the planes (in units of the noise with ``precision``); gamma w^2 = 1 / bandwidth^2.
      window: R, lags are below it in both axes.
      offset: what noise adds to d on average (2 sigma^2 for a noisy image, 2 with ``precision``), taken off as
        non-local means does. Above zero the kernel is no longer that of a network and need not be positive
        semi-definite.
      precision: 1 / v of the noise's variance v, shape (1, H, W) or (C, H, W); zero where a sample is missing.
      tapered: times (1 - |t_y| / R)(1 - |t_x| / R). Without, the window cuts off hard, and the kernel need not be
        positive semi-definite.

    Raises:
      ValueError: arguments outside their ranges.
    """
    image = finite_jax("planes", planes, ("C", "H", "W"), floats=True)
    given = None if precision is None else finite_jax("precision", precision, ("P", "H", "W"), floats=True)
    if whole("patch_size", patch_size, 1) % 2 == 0:
        raise ValueError(f"patch_size must be odd and positive, got {told(patch_size)}")
    if patch_size // 2 >= min(image.shape[1:]):
        raise ValueError(f"patch_size {patch_size} is too large to mirror a {image.shape[1]}x{image.shape[2]} image")
    whole("window", window, 1)
    if not (bandwidth > 0 and np.isfinite(bandwidth)) or not (offset >= 0 and np.isfinite(offset)):
        raise ValueError(
            f"bandwidth must be positive and offset not negative, got {told(bandwidth)} and {told(offset)}"
        )
    if given is not None and (given.shape[0] not in (1, image.shape[0]) or given.shape[1:] != image.shape[1:]):
        raise ValueError(f"precision must have the shape of planes {image.shape}, or one plane, got {given.shape}")
    op = PatchAffinity(
        planes=image,
        precision=None if given is None else given.astype(image.dtype),
        bandwidth=jnp.asarray(bandwidth, image.dtype),
        offset=jnp.asarray(offset, image.dtype),
        kept=None,
        patch_size=int(patch_size),
        window=int(window),
        tapered=tapered,
    )
    needed, free = op.kept_bytes(), memory.budget(None)
    memory.report("keeping the affinities", needed, free)
    return replace(op, kept=all_values(op)) if needed <= free else op


def _mirrored(planes: Array, margin: int) -> Array:
    return jnp.pad(planes, ((0, 0), (margin, margin), (margin, margin)), mode="reflect")


def _affinities(op: PatchAffinity, distance: Array) -> Array:
    return jnp.exp(-jnp.maximum(distance - op.offset, 0) / op.bandwidth**2)


def _weight(op: PatchAffinity, row_lag: Array, column_lag: Array) -> Array:
    """What the window makes of a lag."""
    if not op.tapered:
        return jnp.ones((), op.dtype)
    return triangle(row_lag, op.window, op.dtype) * triangle(column_lag, op.window, op.dtype)


def _framed(op: PatchAffinity, planes: Array) -> Array:
    """With the frames that patches and lags need."""
    down, across = op.reach
    return jnp.pad(_mirrored(planes, op.patch_size // 2), ((0, 0), (0, down + 1), (across, across)))


def _plane(op: PatchAffinity, framed: tuple[Array, Array | None], row_lag: Array, column: Array) -> Array:
    """The values of one lag as they are stored, shape (H + 1, W); zeros for column -1."""
    (height, width), across, margin = op.image_shape, op.reach[1], op.patch_size // 2
    (planes, precision), column_lag = framed, column - across

    def pair(around: Array) -> tuple[Array, Array]:
        shape = (len(around), height + 1 + 2 * margin, width + 2 * margin)
        here = lax.slice(around, (0, 0, across), (shape[0], shape[1], across + shape[2]))
        return here, lax.dynamic_slice(around, (jnp.int32(0), row_lag, column), shape)

    truth = alive(op.planes)

    def over_patches(values: Array) -> Array:
        if op.patch_size > 1:
            values = computed_once(lambda values: _window_sum(values, op.patch_size, 0), truth, values)
        return _window_sum(values, op.patch_size, 1)

    if precision is None:
        square = computed_once(
            lambda planes: sum(_square(*pair(planes[c : c + 1])) for c in range(len(planes))), truth, planes
        )
        values = _affinities(op, over_patches(square) / (len(op.planes) * op.patch_size**2))
    else:
        total, count = computed_once(
            lambda planes, given: _in_units(*pair(planes), *pair(given)), truth, planes, precision
        )
        total, count = over_patches(total), over_patches(count)
        values = _affinities(op, total / jnp.maximum(count, 1)) * (count > 0)
    rows = (jnp.arange(height + 1) + row_lag < height)[:, None]
    columns = jnp.arange(width) + column_lag
    weight = once(row_lag, column_lag, op.dtype) * _weight(op, row_lag, column_lag)
    there = (column >= 0) & rows & (columns >= 0) & (columns < width)
    return jnp.where(there, weight * values, 0)


def _square(here: Array, there: Array) -> Array:
    """Squared differences of one plane, (H, W)."""
    return jnp.square(here[0] - there[0])


def _in_units(here: Array, there: Array, sure_here: Array, sure_there: Array) -> tuple[Array, Array]:
    """Sum over the channels of the squared differences in units of the noise, and the number of differences, (H, W)."""
    both = (sure_here > 0) & (sure_there > 0)
    weight = jnp.where(both, 2 * sure_here * sure_there / jnp.maximum(sure_here + sure_there, _TINY), 0)
    counted = jnp.broadcast_to(both, here.shape).sum(axis=0).astype(here.dtype)
    return (weight * jnp.square(here - there)).sum(axis=0), counted


def _window_sum(values: Array, size: int, axis: int) -> Array:
    """Sums over ``size`` neighbours along an axis, where all of them exist."""
    count = values.shape[axis] - size + 1
    parts = [lax.slice_in_dim(values, start, start + count, axis=axis) for start in range(size)]
    return functools.reduce(jnp.add, parts)


@jax.jit
def _rows(op: PatchAffinity, pixels: Array) -> Array:
    """Directly from the patches, without looking at other pixels' pairs."""
    height, width = op.image_shape
    frame = _mirrored(op.planes, op.patch_size // 2).transpose(1, 2, 0)
    y, x = pixels // width, pixels % width
    distance = patch_distances(frame, y, x, op.patch_size) / (len(op.planes) * op.patch_size**2)
    row_lag, column_lag = jnp.arange(height) - y[:, None, None], jnp.arange(width) - x[:, None, None]
    row_lag = row_lag.swapaxes(1, 2)
    near = (jnp.abs(row_lag) < op.window) & (jnp.abs(column_lag) < op.window)
    rows = jnp.where(near, _weight(op, row_lag, column_lag) * _affinities(op, distance), 0)
    return rows.reshape(len(pixels), height * width)
