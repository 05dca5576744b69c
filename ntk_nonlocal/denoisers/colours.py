"""Between the channels of an image and planes whose noise is white, independent and of one level.

The noise of a picture need not be independent between its channels, nor equally strong. A grey picture stored as RGB
has one noise in three channels; a constant channel has none; channels that are mixtures of two sources, exactly or up
to rounding, have two. With the covariance S of the noise between channels, the planes are z = F y with F S F' = 1: in
an orthonormal frame of the whitened space whose first axis is the image's brightness, the next its opponent colours
(``channel_transform``, to which F reduces where S is a multiple of the identity). Directions without noise are no
planes: what the image holds there is kept as it is.

The given level is taken at its word unless the image contradicts it: in a direction in which the level promises noise,
and neither the finest nor the next octave holds a third of it even where the image is quietest, there is none. Then the
shape of S is measured in these quiet parts, and the given level is that of the noisiest channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .mixing import channel_transform
from .spectrum import Coarse

Small = NDArray[np.float64]

_BLOCK = 8
_ENOUGH_PIXELS = 2**22  # more do not tell more of the noise
_BANDS = 16  # of so many rows together
_QUIET_SHARE = 0.3  # of the blocks
_CLIPPED_SHARE = 0.05  # of a block's values, at the ends of the range
_FEWEST_BLOCKS = 4
_NO_NOISE = 0.1  # a variance, in units of the one that was promised
_SOME_NOISE = 0.25  # what the noisiest channel holds at least, or the level is wrong altogether


@dataclass(frozen=True)
class Colours:
    """Planes z = forward @ y, and back: y = back @ z + what the planes do not hold.

    Attributes:
      forward: shape (D, C), D planes of C channels.
      back: shape (C, D).
      sigma: the noise level of every plane.
      plain: whether the planes are the channels in opponent colours, nothing else.
      copies: for every channel the earlier one that it repeats, value for value, or its own index.
    """

    forward: Small
    back: Small
    sigma: float
    plain: bool
    copies: tuple[int, ...]

    @classmethod
    def opponent(cls, channels: int, sigma: float) -> Colours:
        """The channels, of independent noise ``sigma``, in opponent colours."""
        transform = channel_transform(channels)
        return cls(transform, transform.T, sigma, True, tuple(range(channels)))

    @classmethod
    def apart(cls, levels: Small) -> Colours:
        """Every channel by itself a plane, of the noise ``levels`` (C,); those without noise are none."""
        noisy = np.flatnonzero(levels > 0)
        level = float(np.sqrt(np.mean(np.square(levels[noisy]))))
        place = np.eye(len(levels))[noisy]
        scale = level / levels[noisy]
        return cls(scale[:, None] * place, place.T / scale, level, False, tuple(range(len(levels))))

    @classmethod
    def coarse(cls, image: NDArray[Any], noise: Coarse) -> Colours:
        """Opponent colours of an image (H, W, C), each by the level of its noise; those without noise are none."""
        noisy, levels = noise.planes
        place, scale = channel_transform(image.shape[2])[noisy], (noise.level / levels)[:, None]
        return cls(scale * place, (place / scale).T, noise.level, False, _copies(image))

    @property
    def shares(self) -> Small:
        """What an error of each plane adds to the mean squared error over the channels, shape (D,)."""
        found: Small = np.square(self.back).sum(axis=0) / len(self.back)
        return found

    def describe(self) -> str:
        """What was found about the channels, in words; empty where there is nothing to be said."""
        planes, channels = self.forward.shape
        if planes == channels:
            return ""
        return f"noise in {planes} of {channels} colour directions; the others hold none and are kept"

    def planes(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Of an image (H, W, C): shape (D, H, W)."""
        found: NDArray[np.float32] = np.einsum("dc,hwc->dhw", self.forward, image, optimize=True).astype(np.float32)
        return found

    def deviation(self, channels: NDArray[np.float32], levels: Small) -> NDArray[np.float32]:
        """The noise of the planes, in units of ``sigma`` (H, W, D), from that of channels, in units of ``levels``.

        What the planes' noise then has in common is not told; where channels differ from pixel to pixel, it is little.
        """
        variance = np.einsum("dc,hwc->hwd", np.square(self.forward * levels / self.sigma), np.square(channels))
        found: NDArray[np.float32] = np.sqrt(variance).astype(np.float32)
        return found

    def image(self, planes: NDArray[Any], original: NDArray[Any]) -> NDArray[np.float32]:
        """The image (H, W, C) with these planes (D, H, W) in the place of the original's."""
        found = np.einsum("cd,dhw->hwc", self.back, planes, optimize=True)
        if self.forward.shape[0] < self.forward.shape[1]:
            keep = np.eye(len(self.back)) - self.back @ self.forward
            found = found + np.einsum("ec,hwc->hwe", keep, original, optimize=True)
            for channel, earlier in enumerate(self.copies):
                found[:, :, channel] = found[:, :, earlier]
        result: NDArray[np.float32] = found.astype(np.float32)
        return result


def colours_of(image: NDArray[Any], levels: NDArray[np.float64], by_channel: bool) -> Colours:
    """The planes of an image (H, W, C), NaN where pixels are to be left out.

    Args:
      levels: the promised standard deviation of the noise in each channel, shape (C,), at least one above zero.
      by_channel: whether they were told apart by whoever gave them, or are one number for all.
    """
    channels = image.shape[2]
    level = float(np.sqrt(np.mean(np.square(levels[levels > 0]))))
    copies = _copies(image)
    varies = np.array([np.nanmin(image[:, :, c]) < np.nanmax(image[:, :, c]) for c in range(channels)])
    noisy = np.flatnonzero((levels > 0) & varies)
    if len(noisy) == 0:
        noisy = np.flatnonzero(levels > 0)
    covariance = _covariance(representative(image)[:, :, noisy], levels[noisy], by_channel)
    if covariance is None and len(noisy) == channels and np.ptp(levels) == 0:
        return Colours.opponent(channels, float(levels[0]))
    if covariance is None:
        covariance = np.diag(np.square(levels[noisy]))
    unit = levels[noisy] if by_channel else np.full(len(noisy), level)  # channels may be of different scales
    values, vectors = np.linalg.eigh(covariance / np.outer(unit, unit))
    kept = values > 1e-3 * values.max()
    whiten = level * (vectors[:, kept] / np.sqrt(values[kept])).T / unit
    back = unit[:, None] * (vectors[:, kept] * np.sqrt(values[kept])) / level
    frame = _frame(whiten @ channel_transform(len(noisy)).T)
    place = np.eye(channels)[noisy]
    return Colours(frame.T @ whiten @ place, place.T @ back @ frame, level, False, copies)


def representative(image: NDArray[Any]) -> NDArray[Any]:
    """Bands of rows, spread evenly, of an image of more than four million pixels, which tell its noise as well as all
    do; any other image, and one with values that are not finite in them, as it is."""
    height, width = image.shape[:2]
    rows = _ENOUGH_PIXELS // (_BANDS * width) // _BLOCK * _BLOCK
    if height * width <= _ENOUGH_PIXELS or rows == 0:
        return image
    starts = np.linspace(0, height - rows, _BANDS).astype(int) // _BLOCK * _BLOCK
    found: NDArray[Any] = np.concatenate([image[start : start + rows] for start in starts])
    return found if np.isfinite(found).all() else image


def _frame(directions: Small) -> Small:
    """An orthonormal frame, as columns, that follows the columns of (D, C) in their order, as far as they are new."""
    size, found = len(directions), np.zeros((len(directions), 0))
    for candidate in [*directions.T, *np.eye(size)]:
        rest = candidate - found @ (found.T @ candidate)
        rest -= found @ (found.T @ rest)
        if np.linalg.norm(rest) > 0.05 * np.linalg.norm(candidate) and found.shape[1] < size:
            found = np.column_stack([found, rest / np.linalg.norm(rest)])
    return found


def _copies(image: NDArray[Any]) -> tuple[int, ...]:
    found: list[int] = []
    for channel in range(image.shape[2]):
        own = image[:, :, channel]
        same = (c for c in range(channel) if found[c] == c and np.array_equal(own, image[:, :, c], equal_nan=True))
        found.append(next(same, channel))
    return tuple(found)


def share_noise(image: NDArray[Any], level: float) -> bool:
    """Whether the channels of an image, all of the noise ``level``, share some of it."""
    return _covariance(image, np.full(image.shape[2], level), False) is not None


def _covariance(image: NDArray[Any], levels: Small, by_channel: bool) -> Small | None:
    """The noise's covariance where the image contradicts independent noise of these levels, else None."""
    if image.shape[2] == 1:
        return None
    scaled = image / levels
    fine, coarse = quiet_covariance(scaled, 0), quiet_covariance(scaled, 1)
    if fine is None or coarse is None:  # no room: everything that the channels hold counts
        fine = coarse = np.atleast_2d(np.cov(scaled[np.isfinite(scaled).all(axis=2)].T))
    values, vectors = np.linalg.eigh(fine + coarse)
    silent = values < 2 * _NO_NOISE
    if not silent.any() or np.diag(fine).max() < _SOME_NOISE:
        return None
    project = vectors[:, ~silent] @ vectors[:, ~silent].T
    shape = project @ fine @ project
    largest = float(np.diag(shape).max())
    if not by_channel:
        found: Small = shape * (float(levels.max()) ** 2 / largest)
        return found
    deviations = np.sqrt(np.maximum(np.diag(shape), 1e-6 * largest))
    found = shape * np.outer(levels / deviations, levels / deviations)
    return found


def quiet_covariance(image: NDArray[Any], octave: int) -> Small | None:
    """The covariance between channels of an octave's details, in the quiet parts; white noise keeps its own.

    Details are differences along both axes, at distance 1 (octave 0), or at distance 2 of means over 2x2 pixels. None
    where there is no room.
    """
    array = np.asarray(image, np.float64)
    if octave:
        array = (array[:-1, :-1] + array[1:, :-1] + array[:-1, 1:] + array[1:, 1:]) / 2  # white noise of the same level
    step = 2**octave
    if min(array.shape[:2]) < _BLOCK + step:
        return None
    details = (array[step:, step:] - array[:-step, step:] - array[step:, :-step] + array[:-step, :-step]) / 2
    ends = (array == np.nanmin(array, (0, 1))) | (array == np.nanmax(array, (0, 1)))
    rows, columns = (length // _BLOCK for length in details.shape[:2])

    def blocks(values: NDArray[Any]) -> NDArray[Any]:
        cut = values[: rows * _BLOCK, : columns * _BLOCK]
        return cut.reshape(rows, _BLOCK, columns, _BLOCK, -1).swapaxes(1, 2).reshape(rows * columns, _BLOCK**2, -1)

    grouped = blocks(details)
    usable = (blocks(ends).mean(axis=(1, 2)) <= _CLIPPED_SHARE) & np.isfinite(grouped).all(axis=(1, 2))
    grouped = grouped[usable]
    if len(grouped) < _FEWEST_BLOCKS:
        return None
    energy = np.square(grouped).mean(axis=(1, 2))
    quiet = grouped[np.argsort(energy, kind="stable")[: max(_FEWEST_BLOCKS, int(_QUIET_SHARE * len(grouped)))]]
    found: Small = np.einsum("bpc,bpd->cd", quiet, quiet) / (quiet.shape[0] * quiet.shape[1])
    return found
