"""The affinity of non-local means within a search window, held in memory lag by lag.

A network with one sinusoidal hidden layer, ``Serial(Conv(k), Rbf(gamma), Conv(1, weight_std=1.0))``, of infinite width
has the kernel exp(-gamma w^2 / (C k^2) |p_i - p_j|^2) between the k x k patches p of its input (Rahimi & Recht 2007;
the ``nngp`` kernel, training of the last layer), which is the affinity of non-local means (Buades, Coll & Morel 2005).
Here it is kept for pairs at lags below R in both axes, tapered by (1 - |t_y| / R)(1 - |t_x| / R): the triangle is a
positive definite function, so that the tapered kernel is positive semi-definite (Schur product) where ``offset`` is 0.

The frame of the image is mirrored, so that patches at the border are whole: the network sees a mirrored margin, and its
output is cropped.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ntk_nonlocal.filters.combination import apart
from ntk_nonlocal.operators import KernelOperator, static_field


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class WindowedKernel(KernelOperator):
    """A symmetric kernel within a search window.

    Attributes:
      weights: K[i, i + t] for half of the lags t in the order of ``half_window``, shape (lags, H, W); zero where i + t
        lies outside the image.
      window: R, lags are below it in both axes.
    """

    weights: Array
    window: int = static_field()

    @property
    def image_shape(self) -> tuple[int, int]:  # type: ignore[override]
        height, width = self.weights.shape[-2:]
        return (int(height), int(width))

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return np.dtype(self.weights.dtype)

    def _product(self, columns: Array) -> Array:
        planes = columns.T.reshape(-1, *self.image_shape)
        product: Array = self.apply(planes).reshape(columns.shape[1], -1).T
        return product

    def apply(self, planes: Array) -> Array:
        """K on every plane, shape (C, H, W)."""
        product: Array = _product(self.weights, planes, self.window)
        return product

    def diagonal(self) -> Array:
        return self.weights[0].reshape(-1)


def half_window(window: int) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    """The lags (t_y, t_x) below ``window`` that begin with (0, 0) and hold one of every pair t, -t."""
    reach = window - 1
    lags = [(y, x) for y in range(reach + 1) for x in range(-reach, reach + 1) if y > 0 or x >= 0]
    return np.asarray(lags, np.int32)


def windowed_affinity(
    features: ArrayLike, patch_size: int, bandwidth: float, window: int, offset: float = 0.0
) -> WindowedKernel:
    """exp(-max(d - offset, 0) / bandwidth^2) times the taper, d the mean squared difference over a patch's samples.

    Args:
      features: what the network is fed, planes of shape (C, H, W).
      patch_size: k, odd, at most 2 min(H, W) - 1.
      bandwidth: on the scale of the features; gamma w^2 = 1 / bandwidth^2.
      window: R.
      offset: what noise adds to d on average (2 sigma^2 for a noisy image), taken off as non-local means does. Above
        zero the kernel is no longer that of a network and need not be positive semi-definite.

    Raises:
      ValueError: arguments outside their ranges.
    """
    planes = jnp.asarray(features)
    if planes.ndim != 3 or 0 in planes.shape:
        raise ValueError(f"features must have the shape (C, H, W), got {planes.shape}")
    if patch_size < 1 or patch_size % 2 == 0 or patch_size // 2 >= min(planes.shape[1:]):
        raise ValueError(f"patch_size must be odd, positive and fit into {planes.shape[1:]}, got {patch_size!r}")
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window!r}")
    if not (bandwidth > 0 and np.isfinite(bandwidth)) or not (offset >= 0 and np.isfinite(offset)):
        raise ValueError(f"bandwidth must be positive and offset not negative, got {bandwidth!r} and {offset!r}")
    return WindowedKernel(_affinity(planes, bandwidth, offset, patch_size, window), window)


@functools.partial(jax.jit, static_argnames=("patch_size", "window"))
def _affinity(planes: Array, bandwidth: Array, offset: Array, patch_size: int, window: int) -> Array:
    channels, height, width = planes.shape
    margin, reach = patch_size // 2, window - 1
    here = jnp.pad(planes, ((0, 0), (margin, margin), (margin, margin)), mode="reflect")
    around = jnp.pad(here, ((0, 0), (0, reach), (reach, reach)))
    inside = jnp.pad(jnp.ones((height, width), planes.dtype), ((0, reach), (reach, reach)))
    here, around, inside = apart(here), apart(around), apart(inside)
    scale = 1 / (channels * patch_size**2)

    def one(lag: Array) -> Array:
        row, column = lag[0], lag[1] + reach
        there = jax.lax.dynamic_slice(around, (0, row, column), here.shape)
        square = apart(jnp.sum((here - there) ** 2, axis=0))
        tall = apart(_window_sum(square, patch_size, 0))
        distance = scale * _window_sum(tall, patch_size, 1)
        taper = jnp.prod(1 - jnp.abs(lag) / window)
        affinity = taper.astype(planes.dtype) * jnp.exp(-jnp.maximum(distance - offset, 0) / bandwidth**2)
        return affinity * jax.lax.dynamic_slice(inside, (row, column), (height, width))

    weights: Array = jax.lax.map(one, jnp.asarray(half_window(window)))
    return weights


def _window_sum(values: Array, size: int, axis: int) -> Array:
    """Sums over ``size`` neighbours along an axis, where all of them exist."""
    count = values.shape[axis] - size + 1
    parts = [jax.lax.slice_in_dim(values, start, start + count, axis=axis) for start in range(size)]
    return functools.reduce(jnp.add, parts)


@functools.partial(jax.jit, static_argnames="window")
def _product(weights: Array, planes: Array, window: int) -> Array:
    (_, height, width), reach = planes.shape, window - 1
    around = jnp.pad(planes, ((0, 0), (0, reach), (reach, reach)))
    # Lag (0, 0) is met twice below, by both ends of its pair.
    total = jnp.zeros_like(around).at[:, :height, reach : reach + width].set(-weights[0] * planes)

    def add(total: Array, lag_and_weights: tuple[Array, Array]) -> tuple[Array, None]:
        lag, weight = lag_and_weights
        row, column = lag[0], lag[1] + reach
        there = jax.lax.dynamic_slice(around, (0, row, column), planes.shape)
        total = total.at[:, :height, reach : reach + width].add(weight * there)
        received = jax.lax.dynamic_slice(total, (0, row, column), planes.shape) + weight * planes
        return jax.lax.dynamic_update_slice(total, received, (0, row, column)), None

    total, _ = jax.lax.scan(add, total, (jnp.asarray(half_window(window)), weights))
    return total[:, :height, reach : reach + width]
