"""How strong the noise is, where: one number, one for each channel, a map; and which pixels have no value at all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ntk_nonlocal.images import check_sigma, estimate_sigma, flat_parts, middle_range

from .colours import quiet_covariance, representative, share_noise
from .spectrum import Coarse, coarse_noise

Sigma = float | NDArray[np.float64]

_LEAST_DEVIATION = 1e-3  # of a map, in units of its root mean square: what is told to be exact
_OTHER_LEVEL = 1.5  # channels whose quiet parts differ by this factor are estimated one by one
_TWO_VALUES = 0.95  # of a channel's values, at the ends of its range: a mask, no picture
_SMOOTH = 1e-8  # of the square of a channel's range, its variance in quiet parts: less is no noise
_ONE_SOURCE = 0.1  # of the noise's variance: less than this in a direction, content included, is no channel of its own


@dataclass(frozen=True)
class Levels:
    """The noise of an image (H, W, C).

    Attributes:
      sigma: as it was given or estimated.
      channels: root mean square of the noise in each channel, shape (C,).
      deviation: the noise in units of it, shape (H, W, 1) or (H, W, C), zero where there is no value; None: even.
      by_channel: whether channels were told apart.
      given: whether it was given.
      coarse: what is known of noise that is coarser than pixels, if an image shows such noise or may do so, or None.
    """

    sigma: Sigma
    channels: NDArray[np.float64]
    deviation: NDArray[np.float32] | None
    by_channel: bool
    given: bool
    coarse: Coarse | None = None

    @property
    def level(self) -> float:
        """The root mean square of the noise."""
        return root_mean_square(self.channels)

    def evenly(self) -> float:
        """The one number, for methods that know no other.

        Raises:
          ValueError: the noise is not even, or not everywhere.
        """
        if self.deviation is not None and not self.deviation.all():
            raise ValueError(
                "pixels without a value (NaN, nodata, or what a mask leaves out) are for method 'ntk'; take it, or "
                "fill them first"
            )
        if self.deviation is not None:
            raise ValueError("noise maps are for method 'ntk'; give one sigma, or one for each channel")
        return self.level


def root_mean_square(sigma: Sigma) -> float:
    """One number for a noise level, itself where it is one."""
    return float(sigma) if np.ndim(sigma) == 0 else float(np.sqrt(np.mean(np.square(sigma))))


def levels_of(image: NDArray[Any], sigma: ArrayLike | None, mask: NDArray[np.bool_] | None) -> Levels:
    """The noise of an image (H, W, C), given or estimated.

    Args:
      sigma: a number, or shape (C,), (H, W) or (H, W, C); None to estimate it.
      mask: shape (H, W, 1) or (H, W, C), False where there is no value; None: they are all there.

    Raises:
      TypeError, ValueError: not such a level; names the shapes that are.
    """
    coarse = None
    if sigma is None:
        known, coarse = estimated_levels(image, mask)
    else:
        known = _checked(sigma, image)
    array = np.asarray(known, np.float64)
    channels = image.shape[2]
    missing = None if mask is None or mask.all() else ~mask
    if array.ndim < 2 and missing is None:
        return Levels(known, np.broadcast_to(array, channels).copy(), None, array.ndim == 1, sigma is not None, coarse)
    spread = np.broadcast_to(array[:, :, None] if array.ndim == 2 else array, image.shape)
    there = np.ones(image.shape, bool) if missing is None else np.broadcast_to(~missing, image.shape)
    energy = np.square(spread).sum(axis=(0, 1), where=there) / np.maximum(there.sum(axis=(0, 1)), 1)
    by_channel = np.sqrt(energy)
    relative = spread / np.where(by_channel > 0, by_channel, 1)
    deviation = np.where(there, np.maximum(relative, _LEAST_DEVIATION), 0).astype(np.float32)
    if np.abs(deviation - deviation[:, :, :1]).max() < 1e-5:
        deviation = deviation[:, :, :1]
    apart = bool(np.ptp(by_channel) > 1e-9 * by_channel.max())
    return Levels(known, by_channel, deviation, apart, sigma is not None, coarse)


def _checked(sigma: ArrayLike, image: NDArray[Any]) -> Sigma:
    """A noise level that is zero or in proportion to the image; to one without contrast nothing is."""
    array = np.asarray(sigma)
    largest = math.inf if image.min() == image.max() else float(np.abs(image).max())
    if array.ndim == 0:
        return 0.0 if array.dtype.kind in "iuf" and array == 0 else check_sigma(cast(float, sigma), largest)
    height, width, channels = image.shape
    if array.dtype.kind not in "iuf" or array.shape not in ((channels,), (height, width), (height, width, channels)):
        raise ValueError(
            f"sigma is a number, or of shape ({channels},) by channel, ({height}, {width}) by pixel or ({height}, "
            f"{width}, {channels}) by both, got an array of {array.dtype} of shape {array.shape}"
        )
    array = array.astype(np.float64)
    if not np.isfinite(array).all() or array.min() < 0:
        raise ValueError("a map of noise levels holds finite numbers from 0; leave pixels without a level out by mask=")
    if array.any():
        check_sigma(root_mean_square(array), largest)
    return array


def estimated_levels(image: NDArray[Any], mask: NDArray[np.bool_] | None) -> tuple[Sigma, Coarse | None]:
    """The noise of an image: one number, or shape (C,) where its channels differ; and what is known of coarser noise.

    The latter is not None behind JPEG compression, demosaicing or resizing: noise that single pixels do not show. Where
    it is sure, the number is its level.
    """
    if mask is None:
        image = representative(image)
    flat = flat_parts(image, np.zeros((1, 1, 1), bool) if mask is None else ~mask)
    if flat is not None:
        mask = ~flat if mask is None else mask & ~flat
    if mask is not None and mask.shape[2] > 1:
        return _white_levels(image, mask), None
    coarse = coarse_noise(image if mask is None else np.where(mask, image, np.nan))
    if coarse is not None and coarse.sure:
        return coarse.level, coarse
    return _white_levels(image, mask), coarse


def _white_levels(image: NDArray[Any], mask: NDArray[np.bool_] | None) -> Sigma:
    """As far as single pixels show it: one number, or shape (C,) where channels differ."""
    channels = image.shape[2]
    if channels == 1:
        return estimate_sigma(image, mask=mask)
    seen = image if mask is None else np.where(mask, image, np.nan)
    least, most = (extreme(seen, axis=(0, 1)) for extreme in (np.nanmin, np.nanmax))
    varying = least < most
    if varying.any() and not varying.all():  # an empty channel tells nothing, and costs the others nothing
        others = _white_levels(
            image[:, :, varying], mask if mask is None or mask.shape[2] == 1 else mask[:, :, varying]
        )
        if np.ndim(others) == 0:
            return others
        found = np.zeros(channels)
        found[varying] = others
        return found
    ends = ((seen == least) | (seen == most)).sum(axis=(0, 1)) / np.isfinite(seen).sum(axis=(0, 1))
    noisy = (least == most) | (ends < _TWO_VALUES)
    quiet = quiet_covariance(seen[:, :, noisy], 0) if noisy.any() else None
    variance = np.zeros(channels)
    if quiet is not None:
        variance[noisy] = np.diag(quiet)
        spans = np.array([np.ptp(middle_range(seen[:, :, c][np.isfinite(seen[:, :, c])])) for c in range(channels)])
        noisy = (variance > 0) & (variance > _SMOOTH * np.square(spans))
    if not noisy.any() or (quiet is None and noisy.all()):
        return estimate_sigma(image, mask=mask)
    if ((least < most) & ~noisy).any():  # a gradient, a mask: it tells nothing of the noise of the others
        found = np.zeros(channels)
        found[noisy] = _white_levels(image[:, :, noisy], mask)
        return found
    joint = estimate_sigma(image, mask=mask)
    pixels = seen[np.isfinite(seen).all(axis=2)][:, noisy].astype(np.float64)
    content = np.linalg.eigvalsh(np.atleast_2d(np.cov(pixels.T)))
    differ = variance[noisy].max() > _OTHER_LEVEL**2 * variance[noisy].min()
    repeat = content.min() < _ONE_SOURCE * variance.max() or (joint > 0 and share_noise(seen[:, :, noisy], joint))
    if not (differ or repeat):
        return joint
    found = np.array(estimate_sigma(image, mask=mask, by_channel=True))
    distinct = found[noisy]
    if distinct.max() > _OTHER_LEVEL * distinct.min():
        return found
    return float(distinct.max()) if repeat else joint


def filled(values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any]:
    """Planes (C, H, W) with what is not valid, (1, H, W) or (C, H, W), drawn smoothly from its neighbourhood.

    Pull and push: means over ever larger squares of what there is, refined where nothing is (Gortler, Grzeszczuk,
    Szeliski & Cohen, "The Lumigraph", SIGGRAPH 1996).
    """
    if valid.all():
        return values
    weight = np.broadcast_to(valid, values.shape).astype(np.float64)
    return _filled(np.where(weight > 0, values, 0).astype(np.float64), weight).astype(values.dtype)


def _filled(values: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    height, width = values.shape[1:]
    if (height, width) == (1, 1) or (weight > 0).all():
        return values
    even = ((0, 0), (0, height % 2), (0, width % 2))
    shape = (len(values), -(-height // 2), 2, -(-width // 2), 2)
    total = np.pad(values * weight, even).reshape(shape).sum(axis=(2, 4))
    count = np.pad(weight, even).reshape(shape).sum(axis=(2, 4))
    coarse = _filled(total / np.maximum(count, 1e-12), np.minimum(count, 1))
    fine = coarse.repeat(2, axis=1).repeat(2, axis=2)
    padded = np.pad(fine, ((0, 0), (1, 1), (1, 1)), mode="edge")
    smooth = sum(
        padded[:, row : row + fine.shape[1], column : column + fine.shape[2]]
        * (2 - abs(row - 1))
        * (2 - abs(column - 1))
        for row in range(3)
        for column in range(3)
    )
    share = np.minimum(weight, 1)
    guess: NDArray[np.float64] = np.asarray(smooth)[:, :height, :width] / 16
    return share * values + (1 - share) * guess
