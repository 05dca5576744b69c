"""Pairs of pixel coordinates along one axis of an image, and the linear maps of the layers on them.

The exact kernel couples a pixel i with a pixel j. Each spatial axis stores its pairs (i, j) in one of two ways:

* :class:`LagAxis`: by lag t = j - i and position. Lags are taken modulo the length n, so that the pairs of lag t and of
  lag t - n share one array of n positions (a torus); a gap of 2 ``margin`` positions separates them, so that a
  convolution never mixes them. A convolution acts inside one lag, resampling on a few neighbouring ones.
* :class:`DenseAxis`: all n x n pairs, as two array axes. Resampling is a matrix on both.

The arrays are (row lags, row positions, column lags or left columns, column positions or right columns). The kernel's
blocks take the rows by lag and the columns densely; near the diagonal and inside a search window both go by lag. Where
borders are reflected, which mixes lags, both are dense.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntk_nonlocal.architecture import PAD_MODES, Conv, Downsample, Upsample

R = TypeVar("R")
Index = Any  # an integer array: numpy where the lags are static, traced otherwise


@dataclass(frozen=True, eq=False)
class LagAxis:
    """Pairs of coordinates of an axis of ``length``, by lag (first array axis) and position (second).

    ``lags`` are the lags modulo ``length``, first + step * (0, 1, ...); ``margin`` is the largest radius of a
    convolution that acts on them.
    """

    length: int
    lags: Index
    step: int
    margin: int

    @property
    def positions(self) -> int:
        return self.length + 2 * self.margin

    def pairs(self, pad: int = 0) -> tuple[Index, Index]:
        """(i, j) at every lag and position, -pad <= position < positions + pad. Outside the image where not a pair."""
        return _pairs(self.lags, self.length, self.margin, pad)

    def valid(self, pad: int) -> Index:
        left, right = self.pairs(pad)
        return (left >= 0) & (left < self.length) & (right >= 0) & (right < self.length)

    def same(self, pad: int) -> Index:
        """Where the left coordinate is the right one."""
        left, right = self.pairs(pad)
        return left == right

    def on_grid(self, factor: int, pad: int) -> Index:
        """Where both coordinates, taken round the edges, are multiples of ``factor``."""
        left, right = self.image_pairs(pad)
        return (left % factor == 0) & (right % factor == 0)

    def place(self, left: Index, right: Index) -> Index:
        """The flat index (lag, position) at which the pair (left, right) of the image is stored."""
        return _place(self.lags, left, right, self.length, self.step, self.margin)

    def image_pairs(self, pad: int = 0) -> tuple[Index, Index]:
        """As :meth:`pairs`, taken round the image's edges (circular padding)."""
        return self.ends(pad, "circular")

    def take(self, values: Array, index: Index, axis: int) -> Array:
        """Elements of ``values``, whose axes ``axis`` and ``axis + 1`` are this one's, at flat indices (lags,
        positions)."""
        shape = values.shape
        flat = values.reshape(*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])
        return jnp.take(flat, index.reshape(-1), axis=axis, mode="clip").reshape(
            *shape[:axis], *index.shape, *shape[axis + 2 :]
        )

    def ends(self, pad: int, padding: str | None) -> tuple[Index, Index]:
        """The coordinates to look up in a table with one more, zero entry, see :func:`continued`."""
        return _ends(self.lags, self.length, self.margin, pad, padding)

    def tables(self, table: Array, pad: int, padding: str | None) -> tuple[Array, Array]:
        """``table`` (..., this axis) at the left and the right coordinate; continued, or zero, outside the image."""
        extended = jnp.pad(table, [(0, 0)] * (table.ndim - 1) + [(0, 1)])
        left, right = (jnp.take(extended, end, axis=-1, mode="clip") for end in self.ends(pad, padding))
        return left, right

    def extend(self, values: Array, pad: int, padding: str, axis: int) -> Array:
        """``values`` (without padding) continued by ``pad`` positions, "circular" alone."""
        assert padding == "circular", padding
        return self.take(values, self.place(*self.image_pairs(pad)), axis)

    def position_axes(self, axis: int) -> tuple[int, ...]:
        """The array axes along which a convolution's window moves."""
        return (axis + 1,)

    def restrict(self, values: Array, target: LagAxis, axis: int) -> Array:
        """The slices of the lags that ``target`` has, in its order."""
        if target is self or self._same_lags(target):
            return values
        index = ((target.lags - self.lags[0]) % self.length) // self.step
        return jnp.take(values, index, axis=axis, mode="clip")

    def _same_lags(self, other: LagAxis) -> bool:
        static = isinstance(self.lags, np.ndarray) and isinstance(other.lags, np.ndarray)
        return static and np.array_equal(self.lags, other.lags)

    def resample(self, values: Array, layer: Downsample | Upsample, target: LagAxis, pad: int, axis: int) -> Array:
        """The layer on both ends of every pair, at the pairs of ``target`` continued by ``pad`` round the edges."""
        left, right = target.image_pairs(pad)
        left_taps, right_taps = (_taps(layer, end, self.length) for end in (left, right))
        total = None
        for i, left_weight in left_taps:
            for j, right_weight in right_taps:
                weight = jnp.asarray(left_weight * right_weight, values.dtype)
                if weight.ndim:
                    weight = weight.reshape(weight.shape + (1,) * (values.ndim - axis - 2))
                term = weight * self.take(values, self.place(i, j), axis)
                total = term if total is None else total + term
        assert total is not None
        return total


def _traced_once(function: Callable[..., R], *static: int) -> Callable[..., R]:
    """A function of indices: in numpy where all of them are known, and otherwise one call in what is traced."""
    compiled = jax.jit(function, static_argnums=static)

    def chosen(*values: Any) -> R:
        traced = any(isinstance(value, Array) for value in values)
        return (compiled if traced else function)(*values)

    return chosen


def _lag_pairs(lags: Index, length: int, margin: int, pad: int) -> tuple[Index, Index]:
    position = np.arange(-pad, length + 2 * margin + pad)[None, :]
    lag = lags[:, None] % length
    wrapped = position >= length - lag + margin
    left = position - 2 * margin * wrapped
    return left, left + lag - length * wrapped


def _lag_ends(lags: Index, length: int, margin: int, pad: int, padding: str | None) -> tuple[Index, Index]:
    left, right = (continued(end, length, padding) for end in _lag_pairs(lags, length, margin, pad))
    return left, right


def _lag_place(lags: Index, left: Index, right: Index, length: int, step: int, margin: int) -> Index:
    module = np if isinstance(left, np.ndarray) and isinstance(lags, np.ndarray) else jnp
    lag = ((right - left - lags[0]) % length) // step
    lag = module.minimum(lag, len(lags) - 1)  # only for positions that hold no pair
    return lag * (length + 2 * margin) + left + 2 * margin * (right < left)


_pairs = _traced_once(_lag_pairs, 1, 2, 3)
_ends = _traced_once(_lag_ends, 1, 2, 3, 4)
_place = _traced_once(_lag_place, 3, 4, 5)


@dataclass(frozen=True)
class DenseAxis:
    """All pairs of coordinates of an axis of ``length``: the left one on one array axis, the right one on the next."""

    length: int

    def valid(self, pad: int) -> Index:
        inside = (np.arange(-pad, self.length + pad) >= 0) & (np.arange(-pad, self.length + pad) < self.length)
        return inside[:, None] & inside[None, :]

    def same(self, pad: int) -> Index:
        return np.eye(self.length + 2 * pad, dtype=bool)

    def on_grid(self, factor: int, pad: int) -> Index:
        on = np.arange(-pad, self.length + pad) % self.length % factor == 0
        return on[:, None] & on[None, :]

    def ends(self, pad: int, padding: str | None) -> tuple[Index, Index]:
        index = continued(np.arange(-pad, self.length + pad), self.length, padding)
        return index[:, None], index[None, :]

    def tables(self, table: Array, pad: int, padding: str | None) -> tuple[Array, Array]:
        padded = jnp.pad(table, [(0, 0)] * (table.ndim - 1) + [(pad, pad)], mode=PAD_MODES[padding or "zero"])
        return padded[..., :, None], padded[..., None, :]

    def extend(self, values: Array, pad: int, padding: str, axis: int) -> Array:
        index = continued(np.arange(-pad, self.length + pad), self.length, padding)
        return jnp.take(jnp.take(values, index, axis=axis), index, axis=axis + 1)

    def position_axes(self, axis: int) -> tuple[int, ...]:
        return (axis, axis + 1)

    def restrict(self, values: Array, target: DenseAxis, axis: int) -> Array:
        return values

    def resample(self, values: Array, layer: Downsample | Upsample, target: DenseAxis, pad: int, axis: int) -> Array:
        matrix = resampling_matrix(layer, self.length)
        places = np.arange(-pad, len(matrix) + pad) % len(matrix)
        total = None
        for source, weight in _taps(layer, places, self.length):
            column = jnp.asarray(np.broadcast_to(weight, source.shape), values.dtype)
            column = column.reshape(-1, *[1] * (values.ndim - axis - 1))
            term = column * jnp.take(values, source, axis=axis, mode="clip")
            total = term if total is None else total + term
        assert total is not None
        right = jnp.asarray(matrix[places], values.dtype)
        result = lax.dot_general(total, right, (((axis + 1,), (1,)), ((), ())), precision="highest")
        return jnp.moveaxis(result, -1, axis + 1)


Axis = LagAxis | DenseAxis


def continued(position: Index, length: int, padding: str | None) -> Index:
    """The coordinate that stands at any position: round the edges ("circular"), reflected at the outermost pixels
    ("reflect"), or ``length`` for zeros."""
    module = np if isinstance(position, np.ndarray) else jnp
    if padding == "circular":
        return position % length
    if padding == "reflect":
        period = max(2 * (length - 1), 1)
        return module.minimum(position % period, -position % period)
    return module.where((position >= 0) & (position < length), position, length)


def _taps(layer: Downsample | Upsample, target: Index, source_length: int) -> list[tuple[Index, Any]]:
    """(source coordinate, weight) of every tap, for output coordinates ``target`` of one axis."""
    factor = layer.factor
    if isinstance(layer, Downsample):
        count = factor if layer.method == "average" else 1
        return [(factor * target + tap, 1.0 / count) for tap in range(count)]
    if layer.method == "nearest":
        return [(target // factor, 1.0)]
    if layer.method == "zero":
        return [(target // factor, 1.0 * (target % factor == 0))]
    # half-pixel centres; past the first and last centre the edge is repeated
    module = np if isinstance(target, np.ndarray) else jnp
    twice = 2 * target + 1 - factor
    lower = twice // (2 * factor)
    share = (twice - lower * 2 * factor) / (2.0 * factor)
    ends = (module.clip(lower, 0, source_length - 1), module.clip(lower + 1, 0, source_length - 1))
    return [(ends[0], 1.0 - share), (ends[1], share)]


def resampling_matrix(layer: Downsample | Upsample, length: int) -> np.ndarray:
    """The layer along one axis of ``length`` pixels as a matrix, shape (output length, length)."""
    out = length * layer.factor if isinstance(layer, Upsample) else length // layer.factor
    matrix = np.zeros((out, length))
    for source, weight in _taps(layer, np.arange(out), length):
        np.add.at(matrix, (np.arange(out), source), weight)
    return matrix


def resample_image(table: Array, layer: Downsample | Upsample) -> Array:
    """The layer on a table (H, W)."""
    rows = jnp.asarray(resampling_matrix(layer, table.shape[0]), table.dtype)
    columns = jnp.asarray(resampling_matrix(layer, table.shape[1]), table.dtype)
    return jnp.einsum("ay,yx,bx->ab", rows, table, columns, precision="highest")


def box_image(table: Array, layer: Conv) -> Array:
    """The mean of a table (H, W) over the filter's window."""
    radius = layer.kernel_size // 2
    padded = jnp.pad(table, layer.reach, mode=PAD_MODES[layer.padding])
    summed = box_sum(box_sum(padded, (0,), radius, layer.dilation), (1,), radius, layer.dilation)
    return summed / layer.kernel_size**2


def change_padding(values: Array, axes: tuple[int, ...], change: int) -> Array:
    """Zeros added (or, for a negative change, entries removed) at both ends of the axes."""
    if change < 0:
        index = [slice(-change, change) if axis in axes else slice(None) for axis in range(values.ndim)]
        return values[tuple(index)]
    return jnp.pad(values, [(change, change) if axis in axes else (0, 0) for axis in range(values.ndim)])


def box_sum(values: Array, axes: tuple[int, ...], radius: int, apart: int = 1) -> Array:
    """Sums over 2 radius + 1 neighbours, so far ``apart``, along the diagonal of ``axes``; each axis becomes 2 radius
    ``apart`` shorter."""
    length = 2 * radius + 1
    sizes = {axis: values.shape[axis] - apart * (length - 1) for axis in axes}

    def window(array: Array, start: int, drop: int) -> Array:
        index = [slice(None)] * array.ndim
        for axis in axes:
            index[axis] = slice(apart * start, apart * start + sizes[axis] + apart * (length - 1 - drop))
        return array[tuple(index)]

    if length <= 5:
        total = window(values, 0, length - 1)
        for shift in range(1, length):
            total = total + window(values, shift, length - 1)
        return total
    # from the sums of 1, 2, 4, ... neighbours, by the binary digits of the length
    parts, covered, power = [], 0, values
    for digit in range(math.ceil(math.log2(length + 1))):
        size = 1 << digit
        if length & size:
            parts.append(window(power, covered, length - 1))
            covered += size
        if 2 * size <= length:
            power = window(power, 0, 2 * size - 1) + window(power, size, 2 * size - 1)
    return reduce(add, parts)
