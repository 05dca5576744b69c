"""Noise that neighbouring pixels share, as JPEG compression, demosaicing and resizing leave it: its spectrum.

Over all 8x8 blocks of a picture, the squares of their cosine coefficients in its quiet parts are the spectrum of its
noise (in the spirit of Ponomarenko, Lukin, Zriakhov, Kaarna & Astola, IGARSS 2007). White noise is independent between
the coefficients, so that blocks that are quiet in one half of them, the black fields of a checkerboard, do not tell the
other half's noise too low, and the other way round; noise that neighbours share is nearly so. What shading adds to the
lowest frequencies is told from the noise by a Gaussian through the next ones, S = exp(a - b i^2 - c j^2).

Texture has a spectrum as well. It differs from noise in that hardly two parts of a picture have the same: where the
quietest blocks hold less than the next ones do, it is not noise.

JPEG compression rounds the cosine coefficients of 8x8 blocks to multiples of a step, large at high frequencies: they
vanish there, on the grid of those blocks alone, and by that the grid is found. On it noise stays independent between
the coefficients, rounded as they are, so that the blocks of the grid are taken where there are enough of them. The
middle frequencies, whose steps are small, then tell how strong the noise was before compression. Measured, taking it
for white of that level removes more than its present spectrum does: what was rounded away is an error as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ntk_nonlocal.images import LUMA

from .mixing import channel_transform

Values = NDArray[np.float64]

_BLOCK = 8
_MOST_BLOCKS = 30_000
_FEWEST_BLOCKS = 1_000
_FEWEST_PIXELS = 128 * 128  # smaller parts of fur, grass or tissue are as even as noise
_CLIPPED_SHARE = 0.05  # of a block's values, at the ends of the range
_NEAR_END = 0.02  # of the range: as far compression moves what was clipped
_QUIET = (0.0, 0.1)  # shares of the blocks, quietest first
_QUIETEST, _NEXT = (0.0, 0.05), (0.1, 0.15)
_FARTHER = (0.2, 0.3)

_ROWS, _COLUMNS = np.indices((_BLOCK, _BLOCK))
_EVEN = (_ROWS + _COLUMNS) % 2 == 0
_RADIUS = np.hypot(_ROWS, _COLUMNS)
# The orthonormal cosine transform (type II), a row for each frequency.
_COSINES = np.cos(np.pi / _BLOCK * _ROWS * (_COLUMNS + 0.5)) * np.where(
    _ROWS > 0, np.sqrt(2 / _BLOCK), np.sqrt(1 / _BLOCK)
)
_LOW, _FITTED = _RADIUS < 2.5, (_RADIUS >= 2) & (_RADIUS < 4.5)
_MIDDLE, _HIGH = (_RADIUS >= 2.5) & (_RADIUS < 4.5), _RADIUS >= 6

# Standard deviations of the middle over the high frequencies: up to 1.2 in white noise of 10/255 and more.
_COARSER = 1.45
_MUCH_COARSER = 1.7
# By how much the next blocks may hold more than the quietest: in units of the noise's share of the picture's range, and
# at most.
_SURE, _MAYBE = (2.5, 0.08), (4.0, 0.2)
# The same for the second tenth of the blocks of JPEG over the first, and what the third may hold more. Of 19 pictures
# compressed at qualities of 30 to 85 none is taken for noisy by these, except one with noise.
_SURE_ON_GRID, _SURE_FARTHER = (2.5, 0.15), 0.2
_MAYBE_ON_GRID = 0.4  # compression leaves texture and noise the same spectrum, and hides noise from single pixels
# The middle frequencies' deviation over that of the noise before compression: rounding to steps adds to it.
_ROUNDED = 1.2
_STRONG = 0.3  # of the picture's range: fur fills it, noise hardly
_FAINT = 0.016  # of the picture's range: as strong are what compression itself leaves in quiet blocks
# The high frequencies of blocks on the grid of JPEG over those of others: .05 to .4 where it compressed, else .95.
_ON_GRID = 0.6
_REPEATED = 0.005  # less than the rounding of 8 bits leaves: pixels that were repeated
_GRID_BLOCKS, _GRID_ENOUGH = 1_500, 550
# What white noise of three channels leaves in their mean, in its units, where JPEG keeps its brightness alone (BT.601).
_BRIGHTNESS = np.sqrt(3 * np.square(LUMA).sum())
_NO_NOISE, _LEAST = 0.05, 0.5  # of the noisiest plane's level: what is no plane; what any plane is taken to have


@dataclass(frozen=True)
class Coarse:
    """Noise that is coarser than pixels.

    Attributes:
      spectra: variances of the cosine coefficients of 8x8 blocks in each plane of the opponent colours, (C, 8, 8).
      sure: whether it is noise for certain, not the texture of a picture that was enlarged.
      before_compression: the level of white noise before JPEG compression, None where nothing was compressed.
    """

    spectra: Values
    sure: bool
    before_compression: float | None = None

    @property
    def level(self) -> float:
        """The root mean square of the noise, behind JPEG compression of what it was before."""
        return float(np.sqrt(self.spectra.mean())) if self.before_compression is None else self.before_compression

    @property
    def correlation(self) -> float:
        """Between the noise of neighbouring pixels, mean of both directions."""
        power = self.spectra.sum(axis=0)
        cosine = np.cos(np.pi * (np.arange(_BLOCK) + 0.5) / _BLOCK)
        return float((cosine @ power).sum() + (power @ cosine).sum()) / (2 * float(power.sum()))

    @property
    def planes(self) -> tuple[NDArray[np.intp], Values]:
        """Which planes hold noise, and their levels: at least half of the largest, since JPEG hides that of colours."""
        levels = np.sqrt(self.spectra.mean(axis=(1, 2)))
        noisy = np.flatnonzero(levels > _NO_NOISE * levels.max())
        return noisy, np.maximum(levels[noisy], _LEAST * levels.max())


def coarse_noise(image: NDArray[Any]) -> Coarse | None:
    """The noise of an image (H, W, C), NaN where pixels are to be left out, if it is coarser than pixels.

    None where it is white, where there is none, and where there are too few pixels to tell.
    """
    channels = image.shape[2]
    if (
        image.shape[0] * image.shape[1] < _FEWEST_PIXELS
        or min(image.shape[:2]) < _BLOCK
        or not np.isfinite(image).any(axis=(0, 1)).all()
    ):
        return None
    planes = np.moveaxis(image @ channel_transform(channels).T, 2, 0)
    grid = _grid_of_compression(planes[0])
    usable = _usable(image, grid)
    if grid is not None and usable.sum() < _GRID_ENOUGH:
        grid, usable = None, _usable(image, None)
    if grid is None and usable.sum() < _FEWEST_BLOCKS:
        return None
    brightness = _powers(planes[0], usable, grid)
    quiet = _spectrum(brightness, _QUIET)
    middle, high = (float(np.sqrt(quiet[part].mean())) for part in (_MIDDLE, _HIGH))
    if not middle > _COARSER * high:
        return None
    copies = _one_source(image)
    low, top = np.nanquantile(planes[0], (0.01, 0.99)) / np.sqrt(1 if copies else channels)
    share = middle / max(float(top - low), middle)
    if grid is not None and share < _FAINT:
        return None

    def rise(first: tuple[float, float], second: tuple[float, float]) -> float:
        lower, upper = (_spectrum(brightness, part, 2)[_MIDDLE].mean() for part in (first, second))
        return float(np.sqrt(upper / lower)) - 1 if lower > 0 else np.inf

    def even(rise: float, limits: tuple[float, float]) -> bool:
        return rise < min(limits[0] * share, limits[1])

    near = rise(_QUIETEST, _NEXT)
    if grid is None:
        sure = even(near, _SURE)
        doubtful = even(near, _MAYBE) and middle > _MUCH_COARSER * high
    else:
        first, second = _QUIET, (_QUIET[1], 2 * _QUIET[1])
        sure = even(rise(first, second), _SURE_ON_GRID) and rise(_QUIETEST, _FARTHER) < _SURE_FARTHER
        doubtful = near < _MAYBE_ON_GRID
    sure = sure and share < _STRONG
    if not sure and not doubtful:
        return None
    colours = (_powers(plane, usable, grid) for plane in planes[1:])
    spectra = [quiet, *(_spectrum(powers, _QUIET) for powers in colours)]
    before = None
    if grid is not None:
        before = float(middle / (_ROUNDED * (np.sqrt(channels) if copies else _BRIGHTNESS if channels == 3 else 1)))
    return Coarse(np.stack([_without_shading(spectrum) for spectrum in spectra]), sure, before)


def coloured(white: NDArray[Any], spectra: Values) -> NDArray[np.float32]:
    """White noise (D, H, W) in the spectra (D, 8, 8) that each plane has, with its level as it is."""
    from scipy.fft import dctn, idctn

    axes = (1, 2)
    shape = np.stack([_at_frequencies(spectrum / spectrum.mean(), white.shape[1:]) for spectrum in spectra])
    shape /= shape.mean(axis=axes, keepdims=True)
    found = idctn(dctn(white, axes=axes, norm="ortho") * np.sqrt(shape), axes=axes, norm="ortho")
    return np.asarray(found, np.float32)


def _one_source(image: NDArray[Any]) -> bool:
    """Whether all channels are the same up to a thousandth of their contrast."""
    pixels = image[np.isfinite(image).all(axis=2)].astype(np.float64)
    values = np.linalg.eigvalsh(np.atleast_2d(np.cov(pixels.T)))
    return bool(values[:-1].sum() < 1e-3 * values[-1])


def _grid_of_compression(plane: NDArray[Any]) -> tuple[int, int] | None:
    """Where the blocks of JPEG begin, (row, column) below 8, if it compressed the plane strongly enough to be seen."""
    rows, columns = (np.arange(0, length - 2 * _BLOCK + 2, _BLOCK) for length in plane.shape)
    if not len(rows) or not len(columns):
        return None
    every = max(1, round(np.sqrt(len(rows) * len(columns) / _GRID_BLOCKS)))
    rows, columns = rows[::every], columns[::every]
    views = sliding_window_view(plane, (_BLOCK, _BLOCK))
    high = np.einsum("fi,gj->fgij", _COSINES, _COSINES)[_RADIUS >= 7].reshape(-1, _BLOCK * _BLOCK).T
    sizes = np.empty((_BLOCK, _BLOCK))
    for row, column in np.ndindex(_BLOCK, _BLOCK):
        blocks = views[np.ix_(rows + row, columns + column)].reshape(-1, _BLOCK * _BLOCK)
        found = blocks[np.isfinite(blocks).all(axis=1)] @ high
        sizes[row, column] = np.median(np.abs(found)) if len(found) else np.inf
    middle = np.median(sizes)
    if (
        not 1e-6 * np.nanmax(np.abs(plane)) < middle < np.inf
        or not _REPEATED * middle < sizes.min() < _ON_GRID * middle
    ):
        return None
    row, column = (int(place) for place in np.unravel_index(sizes.argmin(), sizes.shape))
    beside = [np.minimum((at - own) % _BLOCK, (own - at) % _BLOCK) for at, own in ((_ROWS, row), (_COLUMNS, column))]
    repeated = sizes[np.minimum(*beside) > 1] < _ON_GRID * middle  # pixels that were repeated: at several places
    return None if repeated.any() else (row, column)


def _windows(plane: NDArray[Any], grid: tuple[int, int] | None) -> NDArray[Any]:
    """8x8 blocks, shape (rows, columns, 8, 8): those of a grid, else some at regular distances."""
    if grid is not None:
        plane, least = plane[grid[0] :, grid[1] :], _BLOCK
    else:
        least = 1
    positions = (plane.shape[0] - _BLOCK + 1) * (plane.shape[1] - _BLOCK + 1) / least**2
    stride = least * int(np.ceil(np.sqrt(positions / _MOST_BLOCKS)))
    stride += stride % 2 == 0 and grid is None  # no fixed phase against the blocks of JPEG
    return sliding_window_view(plane, (_BLOCK, _BLOCK))[::stride, ::stride]


def _usable(image: NDArray[Any], grid: tuple[int, int] | None) -> NDArray[np.bool_]:
    """Which blocks are whole and hardly clipped, shape (rows, columns)."""
    low, high = np.nanmin(image, (0, 1)), np.nanmax(image, (0, 1))
    margin = 0 if grid is None else _NEAR_END * (high - low)
    ends = (image <= low + margin) | (image >= high - margin)
    gone = ~np.isfinite(image).all(axis=2)
    clipped = _windows(ends.mean(axis=2), grid).mean(axis=(2, 3))
    found: NDArray[np.bool_] = (clipped <= _CLIPPED_SHARE) & ~_windows(gone, grid).any(axis=(2, 3))
    return found


def _powers(plane: NDArray[Any], usable: NDArray[np.bool_], grid: tuple[int, int] | None) -> Values:
    """Squares of the blocks' cosine coefficients, shape (blocks, 8, 8)."""
    blocks = _windows(np.asarray(plane, np.float64), grid)[usable]
    found: Values = np.square(_COSINES @ blocks @ _COSINES.T)
    return found


def _spectrum(powers: Values, part: tuple[float, float], smallest: float = 1) -> Values:
    """The mean of that part of the blocks, quietest first, as frequencies from the ``smallest`` on tell."""
    found = np.zeros((_BLOCK, _BLOCK))
    first, last = (int(share * len(powers)) for share in part)
    for told in (_EVEN, ~_EVEN):
        order = np.argsort(powers[:, ~told & (smallest <= _RADIUS)].sum(axis=1), kind="stable")
        found[told] = powers[order[first:last]][:, told].mean(axis=0)
    return found


def _without_shading(spectrum: Values) -> Values:
    """With the lowest frequencies no higher than the next ones say."""
    if not (spectrum[_FITTED] > 0).all():
        return spectrum
    squares = np.stack([np.ones_like(_RADIUS), -(_ROWS**2), -(_COLUMNS**2)], axis=2)
    logarithms = np.log(spectrum[_FITTED])
    falls = np.maximum(np.linalg.lstsq(squares[_FITTED], logarithms, rcond=None)[0][1:], 0)
    height = float(np.mean(logarithms - squares[_FITTED][:, 1:] @ falls))
    fit = np.exp(height + squares[:, :, 1:] @ falls)
    found = np.where(_LOW, np.minimum(spectrum, fit), spectrum)
    found[0, 0] = fit[0, 0]
    return found


def _at_frequencies(spectrum: Values, shape: tuple[int, ...]) -> Values:
    """A spectrum (8, 8) at the frequencies of the cosine transform of a plane (H, W), linearly between its own."""
    found = spectrum
    for axis, length in enumerate(shape):
        place = np.minimum(np.arange(length) * (_BLOCK / length), _BLOCK - 1)
        first = np.minimum(place.astype(int), _BLOCK - 2)
        share = np.expand_dims(place - first, 1 - axis)
        found = (1 - share) * found.take(first, axis) + share * found.take(first + 1, axis)
    return found
