"""How noisy is this image? A blind estimate of the standard deviation of white Gaussian noise.

Patches of a natural image lie near a low-dimensional subspace, white noise fills all dimensions alike, so that the
small eigenvalues of the patch covariance are the noise variance. Which of them belong to the noise is told by the rule
of Chen, Zhu and Heng, "An Efficient Statistical Method for Image Noise Level Estimation" (ICCV 2015, algorithm 1):
remove the largest until the mean of the rest is no larger than their median.

Two things are added. Fine texture leaks into those directions, so that they are measured on weakly textured patches, in
the spirit of Pyatykh, Hesser and Zheng (IEEE TIP 2013) and Liu, Tanaka and Okutomi (IEEE TIP 2013); but the patches are
chosen by their energy in the *removed* directions: white noise is independent between the two, so that choosing quiet
patches does not bias the estimate downwards. And directions found on one half of the image are measured on the other,
since the smallest eigenvalues of a sample are too small.

Most photographs were stored as JPEG, with colour at half the resolution: in colour directions there is then hardly
anything, noise included, while brightness keeps its noise. Where brightness is much noisier than the whole, it decides.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ntk_nonlocal.checks import seed as check_seed

from .arrays import as_image, as_noisy_image, check_sigma, plain_array

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

_LARGEST_PATCH = 6
_MOST_DIMENSIONS = 150
_MOST_PATCHES = 32768
_PATCHES_PER_DIMENSION = 8
_CLIPPED_SHARE = 0.05
_QUIET_SHARE = 0.1
_FEWEST_PATCHES = 64
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as in JPEG
_HIDDEN_COLOUR = 4.0  # brightness this many times as noisy as the whole; up to 3.4 in photographs that were never JPEG
_ENOUGH_PIXELS = 64 * 64  # of smaller images the two figures are too rough to be compared
# Beyond the middle of an image's values by more than what that spans: of a hot pixel, a cosmic ray, a code of no data.
_MIDDLE = (0.001, 0.999)
_MIDDLE_OF_ESTIMATES = (0.01, 0.99)  # a camera may have a hot pixel in 200
_NONE = (-2147483648.0, -99999.0, -32768.0, -32767.0, -9999.0, -999.0, -99.0)  # from the lowest, for several in one
_ROWS_AT_ONCE = 256
# A square of this side whose values are all the same is no picture with noise, but a border, a bar, a label ...
_FLAT_SIDE = 8
_REPEATED = 0.4  # ... unless elsewhere, too, so many pixels repeat their neighbour, as in drawings and screenshots
_AROUND = 2  # pixels on every side
_FEW_PIXELS = 32 * 32  # of smaller images every patch counts
_CHECKERS = 8  # the two halves of an image are the black and white fields of an 8x8 checkerboard


def add_noise(
    clean: Shaped[ArrayLike, "H W *C"], sigma: float, *, seed: int = 0
) -> Float[NDArray[Any], "H W channels"]:
    """The image with white Gaussian noise: y = x + sigma n, neither clipped nor rounded.

    n is ``numpy.random.default_rng(seed).normal(size=x.shape)``, so that everybody measures on the same noise.

    Args:
      clean: an image, see :func:`as_image`; (H, W) counts as (H, W, 1).
      sigma: standard deviation on the [0, 1] scale, 25/255 for instance.
      seed: a non-negative integer below 2^63.

    Returns:
      Shape (H, W, C), in the precision of the image.

    Raises:
      TypeError, ValueError: not an image, not a noise level, not a seed.
    """
    image = as_image(clean)
    level = check_sigma(sigma)
    noise = np.random.default_rng(check_seed(seed)).normal(size=image.shape) * level
    return (image + noise).astype(image.dtype)


@overload
def estimate_sigma(noisy: ArrayLike, *, mask: ArrayLike | None = None, by_channel: Literal[False] = False) -> float: ...
@overload
def estimate_sigma(noisy: ArrayLike, *, mask: ArrayLike | None = None, by_channel: Literal[True]) -> list[float]: ...
def estimate_sigma(
    noisy: Shaped[ArrayLike, "H W *C"], *, mask: ArrayLike | None = None, by_channel: bool = False
) -> float | list[float]:
    """The standard deviation of the noise in an image, one number for all channels, in the units of the image (those of
    [0, 1] for integers).

    Within 0.6/255 of the truth for white Gaussian noise of 5/255 to 50/255 on natural photographs of 256x256 and more
    (dense fine texture, such as fur, reads up to 1.1/255 too high in colour and 2.5/255 in grey). Deterministic.

    Behind JPEG compression within 2.5/255 of the truth from 10/255 to 25/255, at quality 85 and more (90 where colour
    is kept at full resolution).

    A few values far beyond all others, of hot pixels for instance, do not count, from 32x32 pixels on.

    Known failures: noise that is correlated between pixels (demosaicing, resizing, JPEG compression below quality 85)
    reads too low (``denoise`` without a sigma looks for it by itself), noise that differs over the picture, or grows
    with the brightness, as that of the quietest parts, noise that all three channels share (tinted grey, grain in the
    brightness alone) up to 1.7 times too high, from which denoising gains; in an image without noise, fine texture and
    grain read as noise (up to 3.2/255 in colour, 5.6/255 in grey and behind JPEG compression, 8/255 in a meadow, 14/255
    in strong colours behind JPEG); strong noise that was clipped to [0, 1] reads too low, by 1/255 to 3/255 at 50/255;
    images of 32x32 and less give a rough figure, and behind JPEG compression those below 64x64 next to nothing.

    Args:
      noisy: shape (H, W) or (H, W, C); uint8, uint16, or float on any scale.
      mask: shape (H, W), (H, W, 1) or (H, W, C), True where there is a value; what is not there does not count.
      by_channel: estimate every channel by itself, as if it were a grey image.

    Returns:
      sigma >= 0; exactly 0 for a constant image and for a single pixel. Constant channels do not count. A list of them
      by channel.

    Raises:
      ValueError, TypeError: not such an image (see :func:`ntk_nonlocal.images.as_noisy_image`).
    """
    image = masked_image(noisy, mask, dtype=np.float64)
    missing = ~as_mask(mask, image.shape) if mask is not None else np.zeros((1, 1, 1), bool)
    missing = np.broadcast_to(missing, image.shape)
    if by_channel:
        return [_of_channels(image[:, :, [c]], missing[:, :, [c]]) for c in range(image.shape[2])]
    return _of_channels(image, missing)


def _of_channels(given: NDArray[np.float64], missing: NDArray[np.bool_]) -> float:
    flat = flat_parts(given, missing)
    if flat is not None:
        missing = missing | flat
    outliers = outlying(given, missing, 1, _MIDDLE_OF_ESTIMATES)
    if outliers.any() and outliers[:, :, 0].size >= _FEW_PIXELS:
        given, missing = given.copy(), missing | outliers
        for channel in range(given.shape[2]):
            values = given[:, :, channel]
            values[outliers[:, :, channel]] = np.median(values[~outliers[:, :, channel]])
    image = _distinct_channels(given)
    if image.shape[2] == 0:
        return 0.0
    # Near 1, where no square overflows; powers of two change no digit.
    largest = float(np.abs(image).max())
    exponent = math.frexp(largest)[1] - 1
    found = _noise_of(np.ldexp(image, -exponent), np.asarray(missing.any(axis=2)))
    return min(float(np.ldexp(found, exponent)), largest)


def _noise_of(image: NDArray[np.float64], gone: NDArray[np.bool_]) -> float:
    channels = image.shape[2]
    # Clipped values stand at the smallest or largest value of their channel.
    clipped = (image == image.min(axis=(0, 1))) | (image == image.max(axis=(0, 1)))
    whole = _white_noise(image, clipped, gone)
    if channels != len(LUMA) or image.shape[0] * image.shape[1] < _ENOUGH_PIXELS:
        return whole
    brightness = _white_noise(image @ LUMA[:, None], clipped, gone) / float(np.linalg.norm(LUMA))
    return brightness if brightness > _HIDDEN_COLOUR * whole else whole


def middle_range(values: NDArray[Any], shares: tuple[float, float] = _MIDDLE) -> tuple[float, float]:
    """Between which of them the middle 99.8 % of some values lie, one at least left out at either end."""
    last = values.size - 1
    low, high = int(np.ceil(shares[0] * last)), int(np.floor(shares[1] * last))
    ordered = np.partition(values, (low, high), axis=None)
    return float(ordered[low]), float(ordered[high])


def coded_as_none(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values of a channel are a number that programs write for none, such as -9999, and lie farther below all
    others than these span."""
    found = np.zeros(values.shape, bool)
    if values.dtype.kind == "u" or not values.size or float(values.min()) > max(_NONE):
        return found
    for code in _NONE:
        if values.dtype.kind == "i" and code < np.iinfo(values.dtype).min:
            continue
        hits = values == values.dtype.type(code)
        if hits.any() and not hits.all():
            others = values[~hits & ~found]
            if others.size and float(others.min()) - code > np.ptp(np.array(middle_range(others), np.float64)):
                found |= hits
    return found


def flat_parts(image: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Which pixels of (H, W, C) belong to a square of one value where the rest of the image is noisy, (H, W, 1):
    borders and bars, which tell nothing of the noise. None where there are none, and in drawings and screenshots, of
    which much is flat."""
    from scipy.ndimage import maximum_filter, minimum_filter

    height, width = image.shape[:2]
    if min(height, width) < 2 * _FLAT_SIDE:
        return None
    across, down = np.zeros((height, width), bool), np.zeros((height, width), bool)
    for top in range(0, height, _ROWS_AT_ONCE):
        rows = image[top : top + _ROWS_AT_ONCE + 1]
        below = len(rows) - 1
        across[top : top + below + 1, :-1] = (rows[:, 1:] == rows[:, :-1]).all(axis=2)
        down[top : top + below] = (rows[1:] == rows[:-1]).all(axis=2)
    # a square is one where all pixels but those of the last row and column repeat both neighbours
    down &= across
    side = _FLAT_SIDE - 1
    corner = minimum_filter(down.view(np.uint8), side, origin=-(side // 2), mode="constant")
    if not corner.any():
        return None
    flat = maximum_filter(corner, _FLAT_SIDE, origin=_FLAT_SIDE // 2 - 1, mode="constant").view(bool)
    there = ~np.broadcast_to(missing, image.shape).any(axis=2)
    rest = there & ~flat
    if not (flat & there).any() or not rest.any() or across[rest].mean() > _REPEATED:
        return None
    return np.asarray(flat[:, :, None])


def outlying(
    image: NDArray[Any], missing: NDArray[np.bool_], reach: float, shares: tuple[float, float] = _MIDDLE
) -> NDArray[np.bool_]:
    """Which values of (H, W, C) lie beyond the middle of their channel (99.8 % of it, or what is between the
    ``shares``), and farther than ``reach`` times what these span. None where these are all the same."""
    found = np.zeros(image.shape, bool)
    gone = np.broadcast_to(missing, image.shape)
    for channel in range(image.shape[2]):
        values = image[:, :, channel]
        there = values[~gone[:, :, channel]]
        bottom, top = middle_range(there, shares) if there.size else (0.0, 0.0)
        if top > bottom:
            found[:, :, channel] = (values > top + reach * (top - bottom)) | (values < bottom - reach * (top - bottom))
    return found & ~gone


def neighbours_of(image: NDArray[Any], places: NDArray[np.bool_]) -> NDArray[Any]:
    """The image (H, W, C) with the values at these places, of its shape, replaced by medians of those around them."""
    found = image.copy()
    for row, column, channel in zip(*np.nonzero(places), strict=True):
        window = slice(max(row - _AROUND, 0), row + _AROUND + 1), slice(max(column - _AROUND, 0), column + _AROUND + 1)
        there = image[window][:, :, channel][~places[window][:, :, channel]]
        found[row, column, channel] = np.median(there) if there.size else np.median(image[:, :, channel])
    return found


def as_mask(mask: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which pixels of an image (H, W, C) have a value: shape (H, W, 1) or (H, W, C).

    Raises:
      ValueError: another shape, or nothing is there at all.
      TypeError: neither bool nor whole numbers 0 and 1.
    """
    array = np.asarray(mask)
    height, width, channels = shape
    if array.dtype.kind not in "b" and not (array.dtype.kind in "iu" and np.isin(array, (0, 1)).all()):
        raise TypeError(
            f"a mask is an array of bool, True where a pixel has a value, got {array.dtype}; take mask != 0"
        )
    if array.shape not in ((height, width), (height, width, 1), (height, width, channels)):
        raise ValueError(
            f"the mask of this image has shape ({height}, {width}) or ({height}, {width}, {channels}), "
            f"got {array.shape}"
        )
    found = array.astype(bool).reshape(height, width, -1)
    if not found.any(axis=(0, 1)).all():
        raise ValueError("the mask leaves no pixel; it is True where a pixel has a value")
    return found


def masked_image(noisy: ArrayLike, mask: ArrayLike | None, *, dtype: DTypeLike | None = None) -> NDArray[Any]:
    """A noisy image (H, W, C) of any scale, in which whatever the mask leaves out is the median of the rest.

    Raises:
      TypeError, ValueError: not an image, where the mask leaves it; see :func:`as_noisy_image`.
    """
    if mask is None:
        return as_noisy_image(noisy, dtype=dtype, data_range=None)
    data = np.array(plain_array("noisy", noisy))
    if data.ndim not in (2, 3):
        return as_noisy_image(data, dtype=dtype, data_range=None)
    image = data.reshape(*data.shape[:2], -1)
    valid = np.broadcast_to(as_mask(mask, image.shape), image.shape)
    for channel in range(image.shape[2]):
        there = valid[:, :, channel]
        middle = image[:, :, channel][there]
        image[~there, channel] = np.sort(middle)[len(middle) // 2]
    return as_noisy_image(image.reshape(data.shape), dtype=dtype, data_range=None)


def _white_noise(image: NDArray[np.float64], clipped: NDArray[np.bool_], gone: NDArray[np.bool_]) -> float:
    channels = image.shape[2]
    patches, first_half = _patches(image, clipped, gone)
    patches -= patches.mean(axis=0)
    halves = (patches[first_half], patches[~first_half])
    if min(map(len, halves)) < 2 * patches.shape[1]:
        return float(np.sqrt(_noise_variance(patches, patches, channels)))
    first, second = halves
    return float(np.sqrt((_noise_variance(first, second, channels) + _noise_variance(second, first, channels)) / 2))


def _noise_variance(learnt_on: NDArray[np.float64], patches: NDArray[np.float64], channels: int) -> float:
    """The energy per noise direction, found on one set of patches, over the quiet ones of another."""
    variances, directions = np.linalg.eigh(learnt_on.T @ learnt_on / len(learnt_on))  # ascending
    noise_dimensions = _noise_dimensions(variances)
    noise_energy = np.square(patches @ directions[:, :noise_dimensions]).mean(axis=1)
    # The mean of a channel over the patch is brightness, not texture.
    by_channel = patches.reshape(len(patches), channels, -1)
    texture = (by_channel - by_channel.mean(axis=2, keepdims=True)).reshape(patches.shape)
    texture_energy = np.square(texture @ directions[:, noise_dimensions:]).sum(axis=1)
    quietest_first = np.argsort(texture_energy, kind="stable")
    return float(noise_energy[quietest_first[: max(_FEWEST_PATCHES, int(_QUIET_SHARE * len(patches)))]].mean())


def _noise_dimensions(ascending: NDArray[np.float64]) -> int:
    """How many of the smallest eigenvalues have a mean no larger than their median (one at least)."""
    for count in range(len(ascending), 1, -1):
        if ascending[:count].mean() <= np.median(ascending[:count]):
            return count
    return 1


def _distinct_channels(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """The channels that are neither constant nor copies of an earlier one (a grey picture stored as RGB)."""
    kept: list[NDArray[np.float64]] = []
    for channel in np.moveaxis(image, 2, 0):
        if channel.min() < channel.max() and not any(np.array_equal(channel, other) for other in kept):
            kept.append(channel)
    return np.stack(kept, axis=2) if kept else np.empty((*image.shape[:2], 0))


def _patches(
    image: NDArray[np.float64], clipped: NDArray[np.bool_], gone: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Overlapping patches as rows, channel by channel, from a regular grid, and which belong to the first half.

    Where values were clipped, the noise is cut off: patches that hold more than a few such are left out, unless hardly
    any would be left.
    """
    height, width, channels = image.shape
    for size in range(_LARGEST_PATCH, 0, -1):
        rows, columns = min(size, height), min(size, width)
        positions = (height - rows + 1) * (width - columns + 1)
        dimensions = rows * columns * channels
        if gone.any():
            positions = int((~sliding_window_view(gone, (rows, columns)).any(axis=(2, 3))).sum())
        if dimensions <= _MOST_DIMENSIONS and positions >= _PATCHES_PER_DIMENSION * dimensions:
            break
    stride = int(np.ceil(np.sqrt(positions / _MOST_PATCHES)))
    stride += stride > 1 and stride % 2 == 0  # odd: no fixed phase against the 8x8 blocks of JPEG

    def windows(array: NDArray[np.generic]) -> NDArray[np.generic]:
        return sliding_window_view(array, (rows, columns), axis=(0, 1))[::stride, ::stride]

    usable = windows(clipped).mean(axis=(2, 3, 4)) <= _CLIPPED_SHARE
    whole = ~windows(gone).any(axis=(2, 3))
    usable &= whole
    if usable.sum() < max(_FEWEST_PATCHES, 2 * dimensions):
        usable = whole
    grid_rows, grid_columns = np.indices(usable.shape)
    checker_row = grid_rows * _CHECKERS // usable.shape[0]
    checker_column = grid_columns * _CHECKERS // usable.shape[1]
    first_half = (checker_row + checker_column) % 2 == 0
    patches = windows(image)[usable].reshape(-1, dimensions)
    return np.array(patches, dtype=np.float64), first_half[usable]
