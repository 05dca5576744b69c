"""Resampling in the exact kernel: computed, or taken from the store behind a Downsample (``stores``)."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntk_nonlocal.architecture import Downsample, Layer, Path, Upsample

from .axes import LagAxis, resample_image
from .demand import Extent, lowers
from .slices import Plan, Slices, diagonal_of, lag_rule


@lag_rule.register(Downsample)
@lag_rule.register(Upsample)
def _(layer: Downsample | Upsample, slices: Slices, position: Path, plan: Plan, extent: Extent) -> Slices:
    """A D A^T is the difference of averages, and less than their distance by its own diagonal, the correction."""
    if extent.stored and isinstance(layer, Downsample):
        return fetched(layer, slices, position, plan, extent)
    if extent.padding == "reflect" and extent.pad:
        up_to_the_edges = replace(extent, pad=0, padding=None)
        return lag_rule(layer, slices, position, plan, up_to_the_edges).extend(extent.pad, extent.padding)
    signal = layer.propagate(slices.signal, position)
    assert signal.size is not None
    rows, columns = plan.axes(extent, signal.size)

    def resample(values: Array) -> Array:
        if isinstance(layer, Downsample):  # the smaller arrays go through the rows
            values = slices.columns.resample(values, layer, columns, extent.pad, 2)  # type: ignore[arg-type]
            return slices.rows.resample(values, layer, rows, extent.pad, 0)  # type: ignore[arg-type]
        values = slices.rows.resample(values, layer, rows, extent.pad, 0)  # type: ignore[arg-type]
        return slices.columns.resample(values, layer, columns, extent.pad, 2)  # type: ignore[arg-type]

    result = slices.map(
        resample, rows=rows, columns=columns, signal=signal, pad=extent.pad, padding=extent.padding, bordered=False
    )
    if isinstance(layer, Upsample) and layer.method == "zero":
        return _between_zeros(layer, slices, result, extent.pad)
    if plan.find_corrections:
        plan.corrections[position] = diagonal_of(result.difference, result)
    correction = plan.corrections[position]
    left, right = result.pair(correction)
    # an angle is the square root of what is left here: nothing may be left of what cancels, on the diagonal and for
    # pixels with equal patches
    same = jnp.asarray(rows.same(extent.pad))[:, :, None, None] & columns.same(extent.pad)
    inside = 0.5 * (left + right)
    difference = result.difference - inside
    rounding = 8 * float(np.finfo(np.dtype(difference.dtype)).eps) * inside
    difference = jnp.where(same | (difference <= rounding), 0, difference)
    variance = resample_image(slices.variance, layer) - correction
    return replace(result, difference=difference, variance=variance)


def _between_zeros(layer: Upsample, before: Slices, after: Slices, pad: int) -> Slices:
    """With D as it was where both pixels have a value, and half the variance of the one that has where one has none."""
    variance = resample_image(before.variance, layer)
    after = replace(after, variance=variance)
    left, right = after.pair(variance)
    rows, columns = (axis.on_grid(layer.factor, pad) for axis in (after.rows, after.columns))
    both = jnp.asarray(rows)[:, :, None, None] & columns
    return replace(after, difference=jnp.where(both, after.difference, 0.5 * (left + right)))


def needs_correction(layer: Layer) -> bool:
    """Whether this is a layer of a kind that corrections belong to."""
    return lowers(layer) or isinstance(layer, Upsample)


def fetched(layer: Downsample, slices: Slices, position: Path, plan: Plan, extent: Extent) -> Slices:
    """The slices behind a Downsample, from its store."""
    signal = layer.propagate(slices.signal, position)
    assert signal.size is not None
    rows, columns = plan.axes(extent, signal.size)
    assert isinstance(rows, LagAxis)
    left, right = rows.image_pairs()
    lag = (right - left) % rows.length
    stored = lag <= rows.length // 2
    place = jnp.where(stored, lag * rows.length + left, (rows.length - lag) * rows.length + right)

    def fetch(values: Array) -> Array:
        planes = jnp.take(values.reshape(-1, *values.shape[2:]), place, axis=0, mode="clip")
        return jnp.where(stored[:, :, None, None], planes, planes.swapaxes(2, 3))

    difference, tangent = plan.stores[position]
    found = replace(
        slices,
        difference=fetch(difference),
        tangent=None if tangent is None else fetch(tangent),
        variance=resample_image(slices.variance, layer) - plan.corrections[position],
        rows=rows,
        columns=columns,
        signal=signal,
        pad=0,
        padding=None,
        bordered=False,
    )
    return found.extend(extent.pad, extent.padding)
