"""Noise of cameras and microscopes: photons, amplified, and read.

y = gain * Poisson(photons) + offset + read * n. Its variance grows with its mean, var = gain * E[y] + (read^2 - gain *
offset). The generalised Anscombe transform makes it one,

    f(y) = 2 / gain * sqrt(gain (y - offset) + 3/8 gain^2 + read^2)    (below offset the tangent there),

and what is denoised there is taken back by the exact unbiased inverse, E[f(y)] -> E[y]: Makitalo & Foi, "Optimal
Inversion of the Generalized Anscombe Transformation for Poisson-Gaussian Noise" (IEEE TIP 2013), computed here by
summing over the distribution.

The tangent stands where the original has zero and no real root: below offset there is noise of reading alone, which is
even, and the root would make a long tail of it. Where the gain is small against it, all this becomes y / read: Gaussian
noise.

Blind, gain and read^2 - gain offset are a line through variances against means, as in Foi, Trimeche, Katkovnik &
Egiazarian (IEEE TIP 2008), of the quietest blocks of every brightness. An image cannot tell read from offset; that
needs a dark frame. It is taken for as little read noise as the image's lowest values allow. The variance does not
depend on which it is, only transform and inverse do, in the darkest parts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arrays import plain_array
from .noise import as_mask, flat_parts, masked_image

Values = NDArray[np.float64]

_BLOCK = 6
_STRIDE = 2
_MOST_BLOCKS = 200_000
_QUIET_SHARE = 0.25
_BINS = 24
_SMALLEST_SIDE = 16
_OTHER_NOISE = 1.5  # channels whose variance, against that of all, differs by this factor have noise of their own
_FEWEST_IN_BIN = 24
CLIPPED_SHARE = 0.05
_ROUNDS = 20
_ROUNDING = 1e-13  # of the largest value: constant blocks have such details
_LOWEST = 1e-3  # of the values of an image lie three standard deviations below their mean
_MANY_PHOTONS = 150.0  # beyond, the closed form of Makitalo & Foi is exact to 1e-4 photons
_GAUSSIAN = 37.0  # read noise, in photons: beyond, that form is exact to 0.003 of it without light, too


@dataclass(frozen=True)
class PoissonGaussian:
    """Noise of y = gain * Poisson(photons) + offset + read * n, in the units of the array (counts of whole numbers).

    Attributes:
      gain: what one photon adds, above zero; a number, or a sequence of one for each channel, as a white balance leaves
        it. So are the others.
      offset: what is read without light.
      read: standard deviation of the noise of reading, at least zero.

    Raises:
      ValueError: values outside these ranges, or sequences of several lengths.
    """

    gain: float | Sequence[float]
    offset: float | Sequence[float] = 0.0
    read: float | Sequence[float] = 0.0

    def __post_init__(self) -> None:
        arrays = [np.asarray(number) for number in (self.gain, self.offset, self.read)]
        if not all(a.dtype.kind in "iuf" and a.ndim < 2 and a.size > 0 and np.isfinite(a).all() for a in arrays):
            raise ValueError(
                "gain, offset and read are finite numbers, or sequences of one for each channel, got "
                f"{(self.gain, self.offset, self.read)}"
            )
        if len({a.size for a in arrays if a.ndim}) > 1:
            lengths = ", ".join(str(a.size) for a in arrays if a.ndim)
            raise ValueError(f"gain, offset and read by channel are for as many channels, got {lengths}")
        for name, array in zip(("gain", "offset", "read"), arrays, strict=True):
            object.__setattr__(self, name, tuple(map(float, array)) if array.ndim else float(array))
        if arrays[0].min() <= 0 or arrays[2].min() < 0:
            raise ValueError(f"gain is above zero and read at least zero, got gain={self.gain}, read={self.read}")

    @property
    def channels(self) -> int | None:
        """For how many it is given; None: it is the same in all of them."""
        numbers = (self.gain, self.offset, self.read)
        return next((len(number) for number in numbers if isinstance(number, Sequence)), None)

    def of_channels(self, count: int) -> tuple[PoissonGaussian, ...]:
        """One by one, in numbers.

        Raises:
          ValueError: it is given for another number of channels.
        """
        if self.channels not in (None, count):
            raise ValueError(
                f"the image has {count} channel{'s' * (count != 1)}, and gain, offset or read are given for "
                f"{self.channels}; give a number, or one for each channel"
            )
        columns = (np.broadcast_to(number, count) for number in (self.gain, self.offset, self.read))
        return tuple(PoissonGaussian(*map(float, numbers)) for numbers in zip(*columns, strict=True))

    @property
    def dark_variance(self) -> Any:
        """read^2 - gain * offset: the variance at E[y] = 0, all that an image says of read and offset. A number, or an
        array by channel."""
        gain, offset, read = self._numbers()
        found = read**2 - gain * offset
        return found if found.ndim else float(found)

    def scaled(self, factor: float) -> PoissonGaussian:
        """The noise of ``factor`` times the values."""
        return PoissonGaussian(*(np.multiply(factor, number) for number in (self.gain, self.offset, self.read)))  # type: ignore[arg-type]

    def variance(self, mean: ArrayLike) -> Values:
        """Of the noise where E[y] is ``mean``; by channel along its last axis, as below."""
        gain, offset, read = self._numbers()
        return np.maximum(gain * (np.asarray(mean, np.float64) - offset) + read**2, read**2)

    def stabilise(self, y: ArrayLike, zero: ArrayLike | None = None) -> Values:
        """f(y): noise of variance 1; f(y) - f(zero) where zero is given, with all its digits however small the gain.

        The quotient 2 (y - zero) / (r(y) + r(zero)) with r = gain / 2 * f has the limit (y - zero) / read.
        """
        values = np.asarray(y, np.float64)
        gain, offset, _ = self._numbers()
        start, slope = self._start(zero)
        lit = np.maximum(values, offset)
        found: Values = 2 * (lit - start) / (self._root(lit) + slope)
        found = found + np.minimum(values - offset, 0) / self._root(offset)
        return found if zero is not None else found + 2 * slope / gain

    def invert(self, stabilised: ArrayLike, zero: ArrayLike | None = None) -> Values:
        """E[y] where the mean of f(y), or of f(y) - f(zero), is ``stabilised``.

        Below the mean of f without light, where half of the estimates of a dark frame lie, the inverse goes on
        linearly, so that they keep their mean: estimates may lie below ``offset`` by what is left of the noise.
        """
        gain, offset, read = self._numbers()
        start, slope = self._start(zero)
        with np.errstate(over="ignore"):
            first = np.minimum(2 * slope / gain, 1e100)
        shifted = np.asarray(stabilised, np.float64) - (0 if zero is not None else first)
        wanted = shifted + first
        many = np.maximum(wanted, 2.0)
        root = math.sqrt(1.5)
        closed = root / 4 / many - 1.375 / many**2 + 0.625 * root / many**3 + 0.25
        found: Values = start + slope * shifted + gain * (closed + shifted**2 / 4)
        if gain.ndim == 0:
            return _with_few_photons(found, wanted, float(gain), float(offset), float(read))
        numbers = zip(np.moveaxis(found, -1, 0), np.moveaxis(wanted, -1, 0), gain, offset, read, strict=True)
        return np.stack([_with_few_photons(*channel) for channel in numbers], axis=-1)

    def _numbers(self) -> tuple[Values, Values, Values]:
        """gain, offset and read, of one shape, () or (C,)."""
        gain, offset, read = np.broadcast_arrays(
            *(np.asarray(n, np.float64) for n in (self.gain, self.offset, self.read))
        )
        return gain, offset, read

    def _root(self, y: Values) -> Values:
        """gain / 2 * f(y) from ``offset`` on."""
        gain, offset, read = self._numbers()
        found: Values = np.sqrt(np.maximum(gain * (y - offset) + 0.375 * gain**2 + read**2, 1e-300))
        return found

    def _start(self, zero: ArrayLike | None) -> tuple[Values, Values]:
        """``zero``, or offset where it is below or None, and gain / 2 * f there."""
        offset = self._numbers()[1]
        start = offset if zero is None else np.maximum(np.asarray(zero, np.float64), offset)
        return start, self._root(start)


def _with_few_photons(found: Values, wanted: Values, gain: float, offset: float, read: float) -> Values:
    """``found`` by the closed form, but where E[f] is ``wanted`` of few photons by the table."""
    if read > _GAUSSIAN * gain:
        return found
    means, photons = _expectations(round(read / gain, 6))
    few = np.interp(wanted, means, photons)
    below = (wanted - means[0]) * (photons[1] - photons[0]) / (means[1] - means[0])
    few = np.where(wanted < means[0], below, few)
    return np.where(wanted > means[-1], found, offset + gain * few)


@functools.lru_cache(maxsize=16)
def _expectations(read: float) -> tuple[Values, Values]:
    """E[f] for numbers of photons, both ascending; ``read`` in units of the gain."""
    photons = np.linspace(0, math.sqrt(_MANY_PHOTONS), 1500) ** 2
    counts = np.arange(int(_MANY_PHOTONS + 12 * math.sqrt(_MANY_PHOTONS) + 20))
    normal = np.linspace(-8, 8, 1601)
    weight = np.exp(-(normal**2) / 2)
    dark = math.sqrt(0.375 + read**2)
    seen = counts[:, None] + read * normal
    values = 2 * np.sqrt(np.maximum(seen, 0) + dark**2) + np.minimum(seen, 0) / dark
    of_counts = values @ (weight / weight.sum())
    factorials = np.cumsum(np.log(np.maximum(counts, 1)))
    logarithms = np.log(np.maximum(photons, 1e-300))[:, None] * counts - photons[:, None] - factorials
    means = np.exp(logarithms) @ of_counts
    return means, photons


def estimate_poisson_gaussian(noisy: ArrayLike, *, mask: ArrayLike | None = None) -> PoissonGaussian:
    """Gain and read^2 - gain * offset of an image's noise, as a :class:`PoissonGaussian` with these two.

    Read and offset cannot be told apart: what comes back has the least read noise that explains the lowest values, and
    the offset that gives the sum (negative where there was noise of reading), or, where no noise grows with the
    brightness, hardly any gain. By channel where the noise of channels differs by more than half of its variance.

    Args:
      noisy: shape (H, W) or (H, W, C), at least 16x16; values in any units, which are those of the answer.
      mask: as for :func:`ntk_nonlocal.images.estimate_sigma`.

    Raises:
      ValueError: an image without noise, too small, or of which the mask leaves too little.
    """
    given = np.asarray(plain_array("noisy", noisy))
    counts = float(np.iinfo(given.dtype).max) if given.dtype.kind == "u" else 1.0
    image = counts * masked_image(given, mask, dtype=np.float64)
    missing = ~as_mask(mask, image.shape) if mask is not None else np.zeros((1, 1, 1), bool)
    flat = flat_parts(image, missing)
    if flat is not None:
        missing = missing | flat
    exponent = math.frexp(float(np.abs(image).max()))[1]  # near 1 no square overflows; powers of two change no digit
    return _of_channels(np.ldexp(image, -exponent), np.broadcast_to(missing, image.shape)).scaled(2.0**exponent)


def _of_channels(image: Values, missing: NDArray[np.bool_]) -> PoissonGaussian:
    """One for all channels, or where they differ for each."""
    channels = [(image[:, :, [c]], missing[:, :, [c]]) for c in range(image.shape[2])]
    empty = [bool(np.ptp(values[~gone]) == 0) for values, gone in channels]
    varying = np.flatnonzero(np.logical_not(empty))
    joint = _fit(image, missing) if not len(varying) else _fit(image[:, :, varying], missing[:, :, varying])
    if len(varying) <= 1:
        return joint
    try:
        apart = [joint if alike else _fit(*channel) for channel, alike in zip(channels, empty, strict=True)]
    except ValueError:  # a channel without noise
        return joint
    middles = [values[~gone].mean() for values, gone in channels]
    ratios = [float(one.variance(y) / joint.variance(y)) for one, y in zip(apart, middles, strict=True)]
    told = [ratios[channel] for channel in varying]
    if max(told) < _OTHER_NOISE * min(told):
        return joint
    return PoissonGaussian(*([getattr(one, name) for one in apart] for name in ("gain", "offset", "read")))


def _fit(image: Values, missing: NDArray[np.bool_]) -> PoissonGaussian:
    """One for all channels."""
    if np.ptp(image[~missing]) == 0:
        raise ValueError("no noise was found, and no gain can be told; give noise=PoissonGaussian(...)")
    parts = [_blocks(image[:, :, c], missing[:, :, c]) for c in range(image.shape[2])]
    means, noise, texture = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    if len(means) < 2 * _FEWEST_IN_BIN:
        few = "the image is too small"
        if missing.any() and min(image.shape[:2]) >= _SMALLEST_SIDE:
            few = f"the mask leaves too few whole blocks of {_BLOCK}x{_BLOCK} pixels"
        raise ValueError(f"{few} for an estimate of gain and read noise; give noise=PoissonGaussian(...)")
    at, variance, weight = by_brightness(means, noise, texture)
    if not variance.max() > (_ROUNDING * float(np.abs(image).max())) ** 2:
        raise ValueError("no noise was found, and no gain can be told; give noise=PoissonGaussian(...)")
    gain, dark = line(at, variance, weight)
    return _with_read(gain, dark, float(np.quantile(image[~missing], _LOWEST)))


def _with_read(gain: float, dark: float, lowest: float) -> PoissonGaussian:
    """With the least read noise by which values as low as ``lowest`` are three standard deviations below offset."""
    below = max(-dark / gain - lowest, 0.0)  # offset + read^2 / gain - lowest, where read is still zero
    read = 1.5 * gain * (1 - math.sqrt(max(1 - below / (2.25 * gain), 0.0)))
    return PoissonGaussian(gain, (read**2 - dark) / gain, read)


@functools.cache
def _directions() -> tuple[Values, Values]:
    """The finest patterns of a block, and its coarse ones, as rows: cosines (DCT-II)."""
    frequency, place = np.meshgrid(np.arange(_BLOCK), np.arange(_BLOCK), indexing="ij")
    cosines = np.cos(np.pi * frequency * (2 * place + 1) / (2 * _BLOCK)) * math.sqrt(2 / _BLOCK)
    cosines[0] = 1 / math.sqrt(_BLOCK)
    patterns = np.einsum("ua,vb->uvab", cosines, cosines).reshape(_BLOCK**2, -1)
    order = np.add.outer(np.arange(_BLOCK), np.arange(_BLOCK)).reshape(-1)
    return patterns[order >= _BLOCK], patterns[(order > 0) & (order < _BLOCK - 1)]


def cut(values: NDArray[Any], most: int = _MOST_BLOCKS) -> NDArray[Any]:
    """The blocks of a channel (H, W) as rows, about so many at most."""
    from numpy.lib.stride_tricks import sliding_window_view

    stride = max(_STRIDE, math.ceil(math.sqrt(values.size / most)))
    return sliding_window_view(values, (_BLOCK, _BLOCK))[::stride, ::stride].reshape(-1, _BLOCK**2)


def energies(blocks: Values) -> tuple[Values, Values, Values]:
    """Means, energies of the finest details and of the coarse ones."""
    fine, coarse = _directions()
    return blocks.mean(axis=1), np.square(blocks @ fine.T).mean(axis=1), np.square(blocks @ coarse.T).sum(axis=1)


def _blocks(channel: Values, missing: NDArray[np.bool_]) -> tuple[Values, Values, Values]:
    """The same of every block that can be used."""
    if min(channel.shape) < _BLOCK:
        return np.empty(0), np.empty(0), np.empty(0)
    full = cut(channel == channel.max()).mean(axis=1) > CLIPPED_SHARE
    return energies(cut(channel)[~full & ~cut(missing).any(axis=1)])


def by_brightness(means: Values, noise: Values, texture: Values) -> tuple[Values, Values, Values]:
    """Brightness, variance in the quiet blocks there, and how much it counts."""
    order = np.argsort(means, kind="stable")
    bins = np.array_split(order, max(2, min(_BINS, len(order) // _FEWEST_IN_BIN)))
    found = []
    for members in bins:
        quiet = members[np.argsort(texture[members], kind="stable")[: max(8, int(_QUIET_SHARE * len(members)))]]
        found.append((means[quiet].mean(), noise[quiet].mean(), len(quiet)))
    at, variance, weight = np.array(found).T
    return at, variance, weight


def line(at: Values, variance: Values, weight: Values) -> tuple[float, float]:
    """gain > 0 and dark variance; points above the line, which texture lifts, count less. Some variance is above 0."""
    design = np.stack([at, np.ones_like(at)], axis=1)
    counted = weight.copy()
    # Most blocks of a drawing are constant; the noise of the others is then what there is.
    typical = max(float(np.median(variance)), 1e-3 * float(np.mean(variance)))
    fitted = np.full_like(variance, typical)
    least = 1e-6 * typical / max(float(np.ptp(at)), 1e-300)
    gain, dark = least, typical
    for _ in range(_ROUNDS):
        scale = np.sqrt(counted) / fitted
        gain, dark = np.linalg.lstsq(design * scale[:, None], variance * scale, rcond=None)[0]
        if gain <= least:
            gain, dark = least, float(np.average(variance, weights=counted / fitted**2))
        fitted = np.maximum(gain * at + dark, 0.05 * float(variance.mean()))
        excess = (variance - fitted) / fitted
        spread = max(float(np.median(np.abs(excess))) * 1.5, 1e-3)
        counted = weight / np.maximum(1, excess / spread) ** 2
    return float(gain), float(dark)
