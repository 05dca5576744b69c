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

from ntk_nonlocal.images import finite_jax
from ntk_nonlocal.operators import LinearOperator, static_field
from ntk_nonlocal.xla import alive, computed_once

_GROUP = 9  # lags of one compiled sum


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class WindowedKernel(LinearOperator):
    """A symmetric kernel within a search window.

    Attributes:
      weights: K[i, i + t] for half of the lags t in the order of ``half_window``, shape (lags, H + R - 1, W + 2 R - 2):
        the image with a frame of R - 1 pixels above and on both sides; zero where i or i + t lies outside the image.
      window: R, lags are below it in both axes.
    """

    weights: Array
    window: int = static_field()

    @property
    def image_shape(self) -> tuple[int, int]:  # type: ignore[override]
        height, width = self.weights.shape[-2:]
        return (int(height) - self.window + 1, int(width) - 2 * self.window + 2)

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
        (height, width), reach = self.image_shape, self.window - 1
        return self.weights[0, reach:, reach : reach + width].reshape(height * width)


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
    planes = finite_jax("features", features, ("C", "H", "W"), floats=True)
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
    frame = jnp.pad(planes, ((0, 0), (margin, margin), (margin, margin)), mode="reflect")
    around = jnp.pad(frame, ((0, 0), (reach, reach), (2 * reach, 2 * reach)))
    inside = jnp.pad(jnp.ones((height, width), planes.dtype), ((reach, reach), (2 * reach, 2 * reach)))
    size = (height + reach, width + 2 * reach)
    scale, truth = 1 / (channels * patch_size**2), alive(planes)

    def one(lag: Array) -> Array:
        row, column = lag[0], lag[1] + reach

        def squares(around: Array) -> Array:
            shape = (1, size[0] + 2 * margin, size[1] + 2 * margin)
            total = jnp.zeros(shape[1:], planes.dtype)
            for channel in range(channels):
                here = jax.lax.dynamic_slice(around, (channel, 0, reach), shape)[0]
                there = jax.lax.dynamic_slice(around, (jnp.int32(channel), row, column), shape)[0]
                total += jnp.square(here - there)
            return total

        distance = computed_once(squares, truth, around)
        if margin:
            distance = computed_once(lambda values: _window_sum(values, patch_size, 0), truth, distance)
            distance = _window_sum(distance, patch_size, 1)
        taper = jnp.prod(1 - jnp.abs(lag).astype(planes.dtype) / window)
        affinity = taper * jnp.exp(-jnp.maximum(scale * distance - offset, 0) / bandwidth**2)
        pair = inside[: size[0], reach : reach + size[1]] * jax.lax.dynamic_slice(inside, (row, column), size)
        return affinity * pair

    weights: Array = jax.lax.map(one, jnp.asarray(half_window(window)))
    return weights


def _window_sum(values: Array, size: int, axis: int) -> Array:
    """Sums over ``size`` neighbours along an axis, where all of them exist."""
    count = values.shape[axis] - size + 1
    parts = [jax.lax.slice_in_dim(values, start, start + count, axis=axis) for start in range(size)]
    return functools.reduce(jnp.add, parts)


@functools.partial(jax.jit, static_argnames="window")
def _product(weights: Array, planes: Array, window: int) -> Array:
    (channels, height, width), reach = planes.shape, window - 1
    # (rows, planes, columns): a row of weights serves all planes while it is in the cache
    around = jnp.pad(planes.transpose(1, 0, 2), ((reach, reach), (0, 0), (reach, reach)))
    size = (height, channels, width)
    lags, zero = jnp.asarray(half_window(window)), jnp.int32(0)

    def weight(index: Array, row: Array, column: Array) -> Array:
        return jax.lax.dynamic_slice(weights, (index, row, column), (1, height, width))[0, :, None]

    def add(first: Array | int, count: int, sums: tuple[Array, Array]) -> tuple[Array, Array]:
        """The lags first + (0 .. count - 1): what pixels i and what pixels i + t receive."""
        given, taken = jnp.zeros(size, planes.dtype), jnp.zeros(size, planes.dtype)
        for place in range(count):
            index = jnp.asarray(first + place, jnp.int32)
            ahead, behind = reach + lags[index], reach - lags[index]
            centre = jnp.int32(reach)
            there = jax.lax.dynamic_slice(around, (ahead[0], zero, ahead[1]), size)
            given += weight(index, centre, centre) * there
            there = jax.lax.dynamic_slice(around, (behind[0], zero, behind[1]), size)
            taken += weight(index, behind[0], behind[1]) * there
        return sums[0] + given, sums[1] + taken

    groups, rest = divmod(len(weights), _GROUP)
    sums = (jnp.zeros(size, planes.dtype), jnp.zeros(size, planes.dtype))
    sums = jax.lax.fori_loop(0, groups, lambda group, sums: add(group * _GROUP, _GROUP, sums), sums)
    given, taken = add(groups * _GROUP, rest, sums)
    # lag (0, 0) is met twice above, by both ends of its pair
    own = weights[0, reach:, None, reach : reach + width] * around[reach : reach + height, :, reach : reach + width]
    return (given + taken - own).transpose(1, 0, 2)
