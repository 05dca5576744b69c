"""Values of an image that are not those of a picture on a common scale: no data, offsets, cut ends, extreme numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntk_nonlocal.images import coded_as_none, middle_range

SPIKE = 1000.0  # times the range of all others: no value of the scene, and too large to be computed beside them
_FAR = 10.0  # times the range of the values, from zero
_LARGEST, _LEAST = 1e150, 1e-150  # of which squares are numbers


def no_data(image: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Where an image (H, W, C) has one of its two extreme values, more than once and far beyond all others, or a number
    that by custom stands for none: what programs write where there is no data. (Other single values are spikes.)"""
    found = np.zeros(image.shape, bool)
    there = np.broadcast_to(True if valid is None else valid, image.shape)
    for channel in range(image.shape[2]):
        values = image[:, :, channel]
        own = there[:, :, channel]
        if values.min() < 0:
            found[:, :, channel][own] = coded_as_none(values[own])
        for extreme in (np.max, np.min):
            left = values[own & ~found[:, :, channel]]
            value = extreme(left)
            others = left[left != value]
            if len(left) - len(others) < 2 or not len(others):
                continue
            bottom, top = (float(number) for number in middle_range(others))
            if top > bottom and max(value - top, bottom - value) > SPIKE * (top - bottom):
                found[:, :, channel] |= own & (values == value)
    return found


def origin(image: NDArray[Any]) -> NDArray[np.float64]:
    """Where the values of each channel begin, zero where that is not far from zero: the offset of temperatures and
    times is not to cost digits."""
    low, high = (np.asarray(end, np.float64) for end in (image.min(axis=(0, 1)), image.max(axis=(0, 1))))
    far = (high > low) & (np.maximum(low, -high) > _FAR * (high - low))
    found: NDArray[np.float64] = np.where(far, np.where(low > 0, low, high), 0.0)
    return found


def at_ends(image: NDArray[Any]) -> float:
    """The share of the values at 0 and at their largest, where they stop there; zero where some are negative."""
    if image.min() < 0:
        return 0.0
    return float(np.count_nonzero(image <= 0) + np.count_nonzero(image == image.max()) - 1) / image.size


def check_scale(image: NDArray[Any]) -> None:
    """Raises ValueError where squares of the values are no numbers of double precision."""
    largest = float(np.abs(image).max())
    if largest > _LARGEST or 0 < largest < _LEAST:
        raise ValueError(
            f"the largest value of an image lies in {_LEAST:g}..{_LARGEST:g}, got {largest:.3g}; divide it by that"
        )
