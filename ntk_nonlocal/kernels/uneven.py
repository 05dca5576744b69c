"""The affinity of non-local means for noise that is not equally strong everywhere, and for pixels that are missing.

As ``windowed_affinity``, but every squared difference is measured in units of the noise of its two samples, 2 / (v_i +
v_j) with v the noise's variance, and a patch distance is the mean over the samples that both patches have. A pixel
without a value has the precision 1 / v = 0.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from .windowed import WindowedKernel, half_window


def uneven_affinity(
    features: ArrayLike, precision: ArrayLike, patch_size: int, bandwidth: float, window: int, offset: float = 0.0
) -> WindowedKernel:
    """exp(-max(d - offset, 0) / bandwidth^2) times the taper, d the mean of 2 |p_i - p_j|^2 / (v_i + v_j).

    Args:
      features: planes of shape (C, H, W).
      precision: 1 / v, shape (1, H, W) or (C, H, W); zero where a sample is missing.
      patch_size: odd, at most 2 min(H, W) - 1.
      bandwidth: in units of the noise.
      window: lags stay below it in both axes.
      offset: what noise adds to d on average, 2 for a noisy image.
    """
    planes, given = jnp.asarray(features), jnp.asarray(precision)
    return WindowedKernel(_affinity(planes, given, bandwidth, offset, patch_size, window), window)


@functools.partial(jax.jit, static_argnames=("patch_size", "window"))
def _affinity(planes: Array, precision: Array, bandwidth: Array, offset: Array, patch_size: int, window: int) -> Array:
    height, width = planes.shape[1:]
    margin, reach = patch_size // 2, window - 1

    def framed(values: Array) -> Array:
        mirrored = jnp.pad(values, ((0, 0), (margin, margin), (margin, margin)), mode="reflect")
        return jnp.pad(mirrored, ((0, 0), (reach, reach), (2 * reach, 2 * reach)))

    around, sure = framed(planes), framed(precision)
    inside = jnp.pad(jnp.ones((height, width), planes.dtype), ((reach, reach), (2 * reach, 2 * reach)))
    size = (height + reach, width + 2 * reach)
    larger = (size[0] + 2 * margin, size[1] + 2 * margin)
    tiny = jnp.asarray(1e-12, planes.dtype)

    def one(lag: Array) -> Array:
        row, column = lag[0], lag[1] + reach

        def pair(values: Array) -> tuple[Array, Array]:
            shape = (values.shape[0], *larger)
            return jax.lax.dynamic_slice(values, (0, 0, reach), shape), jax.lax.dynamic_slice(
                values, (jnp.int32(0), row, column), shape
            )

        (here, there), (sure_here, sure_there) = pair(around), pair(sure)
        both = (sure_here > 0) & (sure_there > 0)
        weight = jnp.where(both, 2 * sure_here * sure_there / jnp.maximum(sure_here + sure_there, tiny), 0)
        counted = jnp.broadcast_to(both, here.shape).sum(axis=0).astype(planes.dtype)
        total = _window_sum((weight * jnp.square(here - there)).sum(axis=0), patch_size)
        count = _window_sum(counted, patch_size)
        distance = total / jnp.maximum(count, 1)
        taper = jnp.prod(1 - jnp.abs(lag).astype(planes.dtype) / window)
        affinity = taper * jnp.exp(-jnp.maximum(distance - offset, 0) / bandwidth**2) * (count > 0)
        inner = inside[: size[0], reach : reach + size[1]] * jax.lax.dynamic_slice(inside, (row, column), size)
        return affinity * inner

    weights: Array = jax.lax.map(one, jnp.asarray(half_window(window)))
    return weights


def _window_sum(values: Array, size: int) -> Array:
    """Sums over size x size neighbours, where all of them exist."""
    for axis in (0, 1):
        count = values.shape[axis] - size + 1
        parts = [jax.lax.slice_in_dim(values, start, start + count, axis=axis) for start in range(size)]
        values = functools.reduce(jnp.add, parts)
    return values
