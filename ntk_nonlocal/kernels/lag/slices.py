"""Slices of the exact kernel, and what every layer does to them.

A slice holds all pairs of pixels of some row lags (see ``axes``). Layer by layer it carries D = (q_i + q_j) / 2 - S,
where S is the covariance of the pre-activations and q its diagonal (see ``duals`` for why), and the tangent kernel
Theta of the layers so far (Jacot et al. 2018; for convolutions Arora et al. 2019, Novak et al. 2019):

    convolution   S' = s2 mean over the window of S + b2,  Theta' = s2 mean over the window of Theta + S'
    nonlinearity  S' = E[phi(u) phi(v)],                   Theta' = Theta * E[phi'(u) phi'(v)]
    resampling    S' = A S A^T,                            Theta' = A Theta A^T
    concatenation and sum: the branches' mean, weighted by channels, and sum

Arrays reach as far beyond the image's edges as the convolutions to come need. With zero padding, S and Theta are zero
for a pair that is not inside, and D is half the variance of the end that is; with circular or reflected padding the
image is continued.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntk_nonlocal.architecture import (
    ArchitectureError,
    Branches,
    Chain,
    Concat,
    Conv,
    Layer,
    Nonlinearity,
    Normalize,
    Path,
    Signal,
    Sum,
    convolutions,
)
from ntk_nonlocal.xla import computed_once

from .axes import Axis, DenseAxis, box_image, box_sum, change_padding
from .demand import Extent, Lags, computed_pad, needed, wanted_inside
from .duals import Dual, PairOf, dual, root_and_inverse


@dataclass(frozen=True, eq=False)
class Slices:
    """The pairs of some lags behind some layer.

    ``difference`` is D and ``tangent`` Theta (None while it is zero), both of shape (row lags, row positions, ...),
    reaching ``pad`` positions beyond the edges; ``variance`` is q as a table (h, w); ``signal`` is what validation
    knows there. ``bordered`` says that D and Theta have their values for pairs outside the image already.
    """

    difference: Array
    tangent: Array | None
    variance: Array
    rows: Axis
    columns: Axis
    signal: Signal
    pad: int = 0
    padding: str | None = None
    bordered: bool = False
    nonnegative: bool = False

    def pair(self, table: Array) -> tuple[Array, Array]:
        """A table (h, w), or several (n, h, w), at the left and at the right pixel of every pair, broadcasting; zero
        outside the image."""
        several = table.ndim - 2
        extended = jnp.pad(table, [(0, 0)] * several + [(0, 1), (0, 0)])
        left, right = (
            jnp.take(columns, rows, axis=several, mode="clip")
            for columns, rows in zip(
                self.columns.tables(extended, self.pad, self.padding),
                self.rows.ends(self.pad, self.padding),
                strict=True,
            )
        )
        return left, right

    def covariance(self) -> Array:
        left, right = self.pair(self.variance)
        return 0.5 * (left + right) - self.difference

    def values(self, kind: str) -> Array:
        """The kernel of this kind, "ntk" or "nngp"."""
        if kind == "nngp":
            return self.covariance()
        return jnp.zeros_like(self.difference) if self.tangent is None else self.tangent

    def map(self, function: Callable[[Array], Array], **changes: Any) -> Slices:
        """The same function on D and on Theta."""
        tangent = None if self.tangent is None else function(self.tangent)
        return replace(self, difference=function(self.difference), tangent=tangent, **changes)

    def border(self) -> Slices:
        """With the values that zero padding gives to pairs outside the image."""
        if self.bordered or self.pad == 0 or self.padding != "zero":
            return self
        inside = jnp.asarray(self.rows.valid(self.pad))[:, :, None, None] & self.columns.valid(self.pad)
        left, right = self.pair(self.variance)
        tangent = None if self.tangent is None else jnp.where(inside, self.tangent, 0)
        difference = jnp.where(inside, self.difference, 0.5 * (left + right))
        return replace(self, difference=difference, tangent=tangent, bordered=True)

    def restrict(self, rows: Axis, columns: Axis, extent: Extent) -> Slices:
        """Only the lags of the given axes, reaching as far beyond the edges as ``extent`` says."""

        def lags(values: Array) -> Array:
            values = self.rows.restrict(values, rows, 0)  # type: ignore[arg-type]
            return self.columns.restrict(values, columns, 2)  # type: ignore[arg-type]

        return self.map(lags, rows=rows, columns=columns).extend(extent.pad, extent.padding)

    def extend(self, pad: int, padding: str | None) -> Slices:
        axes = self.rows.position_axes(0) + self.columns.position_axes(2)
        if pad == self.pad and padding in (self.padding, None):
            return self
        if pad < self.pad and padding in (self.padding, None):
            return self.map(lambda values: change_padding(values, axes, pad - self.pad), pad=pad)
        inside = replace(self.extend(0, None), padding=None, bordered=False)
        if padding is not None and padding != "zero":

            def both(values: Array) -> Array:
                return self.columns.extend(self.rows.extend(values, pad, padding, 0), pad, padding, 2)

            return inside.map(both, pad=pad, padding=padding)
        return inside.map(lambda values: change_padding(values, axes, pad), pad=pad, padding=padding)


@dataclass
class Plan:
    """One evaluation: where the block starts, how the columns are stored, and what is known beforehand.

    ``corrections`` holds, for each resampling layer by position, the diagonal of A D A^T, and for each Pointwise layer
    its Hermite coefficients; an evaluation near the diagonal (columns by lag, with lag zero) finds it, the others need
    it. ``terms`` is the number of coefficients to find, 0 where they are known. ``weights`` multiplies the part of each
    convolution's (weights, biases) in the tangent kernel. ``alive`` is a traced truth, see :func:`separate`.
    ``stores`` holds the kernel behind each Downsample, see ``stores``.
    """

    start: Any
    margin: int
    tangent: bool
    alive: Array
    weights: Mapping[Path, tuple[Array, Array]] = field(default_factory=dict)
    corrections: dict[Path, Array] = field(default_factory=dict)
    find_corrections: bool = False
    terms: int = 0
    stores: Mapping[Path, tuple[Array, Array | None]] = field(default_factory=dict)

    def axes(self, extent: Extent, size: tuple[int, int]) -> tuple[Axis, Axis]:
        row_axis: Axis = DenseAxis(size[0])
        column_axis: Axis = DenseAxis(size[1])
        if extent.rows is not None:
            row_axis = extent.rows.axis(self.start, size[0], self.margin)
        if extent.columns is not None:
            column_axis = extent.columns.axis(0, size[1], self.margin)
        return row_axis, column_axis


def separate(slices: Slices, step: Callable[[Slices], Slices], plan: Plan) -> Slices:
    """``step(slices)``, computed once and stored, see ``separation``."""
    described: list[Slices] = []

    def run(difference: Array, tangent: Array | None) -> tuple[Array, Array | None]:
        result = step(replace(slices, difference=difference, tangent=tangent))
        described.append(result)
        return result.difference, result.tangent

    difference, tangent = computed_once(run, plan.alive, slices.difference, slices.tangent)
    return replace(described[-1], difference=difference, tangent=tangent)


def input_slices(image: Array, extent: Extent, plan: Plan) -> Slices:
    """The network input (H, W, C): D = |x_i - x_j|^2 / (2 C)."""
    height, width, channels = image.shape
    zero = jnp.zeros((), image.dtype)
    variance = jnp.mean(jnp.square(image), axis=-1)
    signal = Signal("raw", size=(height, width))
    axes = plan.axes(extent, (height, width))
    blank = Slices(zero, None, variance, *axes, signal, extent.pad, extent.padding, bordered=True)

    def step(before: Slices) -> Slices:
        total = zero
        for left, right in zip(*before.pair(jnp.moveaxis(image, -1, 0)), strict=True):
            total = total + jnp.square(left - right)
        return replace(before, difference=total * (0.5 / channels))

    return separate(blank, step, plan)


@singledispatch
def lag_rule(layer: Layer, slices: Slices, position: Path, plan: Plan, extent: Extent) -> Slices:
    """A layer's rule for the exact kernel; ``extent`` is what is wanted of its output.

    A new nonlinearity registers with :func:`ntk_nonlocal.kernels.dual` instead.
    """
    raise NotImplementedError(
        f"{position}: no exact-kernel rule for {type(layer).__name__}; register one with "
        f"ntk_nonlocal.kernels.lag_rule.register({type(layer).__name__}), or use backend='neural-tangents'"
    )


@lag_rule.register
def _(layer: Nonlinearity, slices: Slices, position: Path, plan: Plan, extent: Extent) -> Slices:
    def effect(difference: Array, variance: Array, pair: PairOf, nonnegative: bool, derivative: bool) -> Dual:
        return dual(layer, difference, variance, pair, nonnegative)

    nothing = jnp.zeros_like(slices.variance)
    variance = effect(nothing, slices.variance, lambda table: (table, table), slices.nonnegative, False).variance
    return nonlinear_slices(layer, slices, position, plan, effect, variance)


def nonlinear_slices(
    layer: Layer, slices: Slices, position: Path, plan: Plan, effect: Callable[..., Dual], variance: Array
) -> Slices:
    """The slices behind a nonlinearity of this ``effect`` on pairs, with these variances (h, w) behind it."""
    signal = layer.propagate(slices.signal, position)

    def step(before: Slices) -> Slices:
        derivative = before.tangent is not None
        result = effect(before.difference, before.variance, before.pair, before.nonnegative, derivative)
        tangent = None if before.tangent is None else before.tangent * result.derivative
        after = replace(before, difference=result.difference, tangent=tangent, bordered=False)
        after = replace(after, variance=variance, nonnegative=result.nonnegative, signal=signal)
        return after.border()

    return separate(slices, step, plan)


@lag_rule.register
def _(layer: Conv, slices: Slices, position: Path, plan: Plan, extent: Extent) -> Slices:
    if layer.stride > 1:
        plain, keep = layer.stages
        slices = lag_rule(plain, slices, position, plan, needed(keep, extent))
        return lag_rule(keep, slices, position, plan, extent)
    radius = layer.kernel_size // 2
    scale = layer.std**2 / layer.kernel_size**2
    variance = layer.std**2 * box_image(slices.variance, layer) + layer.bias_std**2
    signal = layer.propagate(slices.signal, position)
    if radius and not slices.bordered and slices.padding == "zero":
        slices = separate(slices, Slices.border, plan)
    pad = computed_pad(layer, extent) if radius else slices.pad
    if radius:
        along_rows = slices.rows.position_axes(0)
        along_columns = slices.columns.position_axes(2)

        def rows_first(before: Slices) -> Slices:
            return before.map(lambda values: box_sum(values, along_rows, radius, layer.dilation))

        # a small window's sum is faster in one go than through the memory twice
        slices = rows_first(slices) if radius == 1 else separate(slices, rows_first, plan)
        slices = slices.map(lambda values: box_sum(values, along_columns, radius, layer.dilation))
    result = slices.map(lambda values: values * jnp.asarray(scale, values.dtype))
    result = replace(result, variance=variance, signal=signal, pad=pad, bordered=False)
    if plan.tangent:
        weight, bias = plan.weights.get(position, (1.0, 1.0))
        own = weight * result.covariance() + (bias - weight) * layer.bias_std**2
        result = replace(result, tangent=own if result.tangent is None else own + result.tangent)
    return result.extend(extent.pad, extent.padding)


@lag_rule.register
def chain_slices(layer: Chain, slices: Slices, position: Path, plan: Plan, extent: Extent) -> Slices:
    """The slices behind a container's last child."""
    assert slices.signal.size is not None
    wanted = needed(layer, extent)
    slices = slices.restrict(*plan.axes(wanted, slices.signal.size), wanted)
    children = layer.inside(slices.signal, position)
    for (child, where, _), behind in zip(children, wanted_inside(layer, extent), strict=True):
        slices = lag_rule(child, slices, where, plan, behind)
    return slices


@lag_rule.register
def _(layer: Normalize, slices: Slices, position: Path, plan: Plan, extent: Extent) -> Slices:
    """With r = 1 / sqrt(q + epsilon): S' = r_i r_j S, and D' = (sqrt(q_i) r_i - sqrt(q_j) r_j)^2 / 2 + r_i r_j
    (sqrt(q_i q_j) - S), a sum of terms that are not negative."""
    signal = layer.propagate(slices.signal, position)
    variance = slices.variance / (slices.variance + layer.epsilon)

    def step(before: Slices) -> Slices:
        tables = jnp.stack([root_and_inverse(before.variance)[0], lax.rsqrt(before.variance + layer.epsilon)])
        (root_i, inverse_i), (root_j, inverse_j) = before.pair(tables)
        gap = before.difference - 0.5 * jnp.square(root_i - root_j)
        rounding = 4 * float(np.finfo(np.dtype(gap.dtype)).eps)
        gap = jnp.where(gap > rounding * before.difference, gap, 0)
        scale = inverse_i * inverse_j
        difference = 0.5 * jnp.square(root_i * inverse_i - root_j * inverse_j) + scale * gap
        tangent = None if before.tangent is None else scale * before.tangent
        after = replace(
            before, difference=difference, tangent=tangent, variance=variance, signal=signal, bordered=False
        )
        return after.border()

    return separate(slices, step, plan)


def branch_slices(layer: Branches, slices: Slices, position: Path, plan: Plan, extent: Extent) -> list[Slices]:
    """The slices behind every branch of a container."""
    assert slices.signal.size is not None
    ends = []
    branches = layer.inside(slices.signal, position)
    for (branch, where, _), behind in zip(branches, wanted_inside(layer, extent), strict=True):
        wanted = needed(branch, behind)
        start = slices.restrict(*plan.axes(wanted, slices.signal.size), wanted)
        ends.append(lag_rule(branch, start, where, plan, behind))
    return ends


def combine(ends: list[Slices], weights: list[float], signal: Signal) -> Slices:
    """The sum of the branches' slices, each times its weight; ``signal`` is what validation knows behind it."""

    def add(values: list[Array]) -> Array:
        total = weights[0] * values[0]
        for weight, value in zip(weights[1:], values[1:], strict=True):
            total = total + weight * value
        return total

    tangents = [end.tangent for end in ends]
    known = [jnp.zeros_like(ends[0].difference) if tangent is None else tangent for tangent in tangents]
    return replace(
        ends[0],
        difference=add([end.difference for end in ends]),
        tangent=None if all(tangent is None for tangent in tangents) else add(known),
        variance=add([end.variance for end in ends]),
        bordered=all(end.bordered for end in ends),
        nonnegative=all(end.nonnegative for end in ends),
        signal=signal,
    )


@lag_rule.register
def _(layer: Concat, slices: Slices, position: Path, plan: Plan, extent: Extent) -> Slices:
    ends = branch_slices(layer, slices, position, plan, extent)
    channels = [end.signal.channels for end in ends]
    if None in channels:
        raise ArchitectureError(f"{position}: the channels of {layer!r} are not known; put a Conv into each branch")
    total = sum(count for count in channels if count is not None)
    weights = [count / total for count in channels if count is not None]
    return combine(ends, weights, layer.propagate(slices.signal, position))


@lag_rule.register
def _(layer: Sum, slices: Slices, position: Path, plan: Plan, extent: Extent) -> Slices:
    ends = branch_slices(layer, slices, position, plan, extent)
    return combine(ends, [1.0] * len(ends), layer.propagate(slices.signal, position))


def diagonal_of(values: Array, slices: Slices) -> Array:
    """The pairs (i, i) as a table (h, w); the axes of the slices are both dense, or by lag and hold lag zero."""
    axes = (*slices.rows.position_axes(0), *slices.columns.position_axes(2))
    values = change_padding(values, axes, -slices.pad) if slices.pad else values
    if isinstance(slices.rows, DenseAxis) or isinstance(slices.columns, DenseAxis):
        return jnp.einsum("yyxx->yx", values)
    row, column = (axis.place(np.arange(axis.length), np.arange(axis.length)) for axis in (slices.rows, slices.columns))
    shape = values.shape
    return values.reshape(shape[0] * shape[1], shape[2] * shape[3])[row][:, column]


def margin_of(architecture: Layer) -> int:
    """The gap that keeps the two halves of a lag apart: the largest radius, and all radii of circular convolutions."""
    radii = [(item.conv.reach, item.conv.padding) for item in convolutions(architecture)]
    largest = max((radius for radius, _ in radii), default=0)
    return max(largest, sum(radius for radius, padding in radii if padding == "circular"))


def evaluate(
    architecture: Layer, image: Array, plan: Plan, rows: Lags | None, columns: Lags | None, stored: bool = False
) -> Slices:
    """The slices of the output at the given lags (None for all pairs of an axis, of the columns or of both), ``stored``
    with what lies behind every Downsample from its store."""
    wanted = Extent(rows, columns, stored=stored)
    extent = needed(architecture, wanted)
    return lag_rule(architecture, input_slices(image, extent, plan), Path(), plan, wanted)
