"""Does the noise of an image grow with its brightness, as that of photons does?

Told from the variances of the quietest blocks of every brightness, as gain and read noise are
(:mod:`ntk_nonlocal.images.poisson`): a line through them has to rise and to explain them. Texture lifts single blocks
off the line. Clipping at the ends of the range lowers the variance there; blocks that it touches do not count.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .poisson import CLIPPED_SHARE, Values, by_brightness, cut, energies, line

_MOST_BLOCKS = 20_000
_FEWEST_BLOCKS = 200
# White noise of 2 to 50 of 255, clipped or not, on 31 pictures in two sizes: never above 1.35, all limits being met;
# Poisson noise of 5 to 50 photons: three of four above 1.55, clipped to 8 bits half of them.
_GROWTH = 1.55
_OFF_LINE = (0.18, 0.42)  # relative, of half of the blocks' groups and of four fifths
_IN_ORDER = 0.6  # rank correlation of brightness and variance
_LEAST = 0.025  # standard deviation, of the range: less costs little, and texture looks like it


def noise_grows(image: NDArray[Any], valid: NDArray[np.bool_] | None) -> bool:
    """Whether it clearly does so in half of the channels of an image (H, W, C) or more."""
    there = np.broadcast_to(True if valid is None else valid, image.shape)
    scaled = np.ldexp(image.astype(np.float64), -math.frexp(float(np.abs(image).max()))[1])  # no square overflows
    grows = [_grows(scaled[:, :, c], ~there[:, :, c]) for c in range(image.shape[2])]
    return 2 * sum(grows) >= len(grows)


def _grows(channel: Values, missing: NDArray[np.bool_]) -> bool:
    found = growth(channel, missing)
    if found is None:
        return False
    ratio, half, most, order, level = found
    return ratio > _GROWTH and half < _OFF_LINE[0] and most < _OFF_LINE[1] and order > _IN_ORDER and level > _LEAST


def growth(channel: Values, missing: NDArray[np.bool_]) -> tuple[float, float, float, float, float] | None:
    """From the darkest tenth to the brightest the variance grows by this factor; how far half and four fifths of the
    variances are off the line, the rank correlation, and the noise in units of the range. None: it cannot be told."""
    values = np.unique(channel[~missing])
    if min(channel.shape) < 16 or len(values) < 4:
        return None
    usable = ~cut(missing, _MOST_BLOCKS).any(axis=1)
    for end, next_one in ((values[0], values[1]), (values[-1], values[-2])):
        share, beside = (cut(channel == value, _MOST_BLOCKS).mean(axis=1) for value in (end, next_one))
        usable &= share <= np.maximum(CLIPPED_SHARE, 2 * beside)
    if usable.sum() < _FEWEST_BLOCKS:
        return None
    at, variance, weight = by_brightness(*energies(cut(channel, _MOST_BLOCKS)[usable]))
    if np.ptp(at) == 0 or not np.median(variance) > 0:
        return None
    gain, dark = line(at, variance, weight)
    low, high = gain * np.quantile(at, [0.1, 0.9]) + dark
    fitted = gain * at + dark
    off = np.abs(variance / np.maximum(fitted, 0.05 * fitted.max()) - 1)
    order, places = np.argsort(np.argsort(np.stack([at, variance])))
    return (
        float(high / max(low, 0.02 * high)),
        float(np.median(off)),
        float(np.quantile(off, 0.8)),
        float(np.mean((order - order.mean()) * (places - places.mean())) / order.var()),
        float(np.sqrt(np.median(variance)) / (values[-1] - values[0])),
    )
