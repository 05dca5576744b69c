"""A filter in few numbers: some eigenpairs, and of the rest of the spectrum what it does on average at every pixel.

A kernel K with eigenvalues x (over the largest) and eigenvectors v has the filter F_t = I - (I - K / lambda_max)^t with
eigenvalues f_t(x) = 1 - (1 - x)^t. The leading pairs V are stored, quantised. Of the rest are known the ends low and
high of its spectrum and, for every pixel p, its weight R_p = 1 - Sum v_i[p]^2 and its mean eigenvalue a_p there. Now
f_t is concave and increasing: the rest's mean gain at a pixel lies between the chord of f_t over [low, high] at a_p and
f_t(a_p) (Jensen). With g_p, the middle of the two,

    F_t ~ V diag(f_t(x)) V^T + G^1/2 (I - V V^T) G^1/2,    G = diag(g_p), but R_p g_p in place of its diagonal:

a diagonal, where the spectrum is flat, and eigenpairs of what is left. Its error is E_pq = Sum_rest (f_t(x_i) - s)
v_i[p] v_i[q] + (s - sqrt(g_p g_q)) (I - V V^T)_pq for any s; the second part is known. A convex function of f_t stays
below its own chord: with (f - s)^2 this bounds the length of the first part's row, with |f - s| the diagonal of a
matrix that dominates it, hence by Cauchy and Schwarz every entry. The smallest bound counts; what quantisation does at
most is added. The page computes the same, in JavaScript.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]


def filtered(x: Floats | float, step: float) -> Floats:
    """1 - (1 - x)^step for x up to 1 and any real step >= 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(-np.expm1(step * np.log1p(-np.minimum(x, 1.0))))


@dataclass(frozen=True)
class StoredFilter:
    """What the page holds of one filter of a picture of H x W pixels and C channels; d = H W.

    Attributes:
      name: of the kernel.
      image_shape: (H, W, C).
      x: the stored eigenvalues over the largest, descending, shape (r,).
      levels: their eigenvectors as integers, shape (d, r); times ``grain`` (r,) they are unit vectors.
      middle, low, high: mean, lower and upper end of the rest of the spectrum, over the largest eigenvalue.
      weight, mean: R and a of every pixel (see the module), shape (d,).
      scale: the filter is diag(scale) F diag(1 / scale) with F as above, shape (d,); ones for symmetric kernels.
      times: (k, j): how much of each of the j ``layers`` is in the estimate at the k steps 10^(6 i / (k - 1)).
      layers: integers, shape (j, H W C); times ``layer_grain`` they add up to the estimate.
      risk: estimated mean squared error at these steps, shape (k,).
      psnr: in dB at these steps against the clean picture, shape (k,); empty without one.
    """

    name: str
    image_shape: tuple[int, int, int]
    x: Floats
    levels: Floats
    grain: Floats
    middle: float
    low: float
    high: float
    weight: Floats
    mean: Floats
    scale: Floats
    times: Floats
    layers: Floats
    layer_grain: float
    risk: Floats
    psnr: Floats

    @property
    def rank(self) -> int:
        """Number of stored eigenpairs."""
        return len(self.x)

    @property
    def steps(self) -> Floats:
        """The steps of ``times``, ``risk`` and ``psnr``; real numbers from 1 to 10^6."""
        return 10 ** np.linspace(0, 6, len(self.times))

    @property
    def best_step(self) -> int:
        """The whole step with the least estimated risk: where to stop without knowing the clean picture."""
        return round(float(self.steps[int(np.argmin(self.risk))]))

    def weights(self, row: int, column: int, step: float) -> Floats:
        """Row (row, column) of the filter after ``step`` steps, shape (H W,)."""
        pixel = self._pixel(row, column)
        known, overlap = self._products(pixel, step)
        low, high = self._gain(step)
        gain = (low + high) / 2
        root = np.sqrt(np.maximum(gain, 0))
        found = known - root * root[pixel] * overlap
        found[pixel] = known[pixel] + self.weight[pixel] * gain[pixel]
        return np.asarray(found * self.scale[pixel] / self.scale)

    def error(self, row: int, column: int, step: float) -> float:
        """The largest error of a weight in that row, over the row's largest |weight|; at least the true one."""
        pixel = self._pixel(row, column)
        known, overlap = self._products(pixel, step)
        low, high = self._gain(step)
        gain = (low + high) / 2
        root, local = np.sqrt(np.maximum(gain, 0)), gain[pixel]
        apart = root * root[pixel]
        beside = np.arange(len(gain)) != pixel
        ratio, steepest = self.scale[pixel] / self.scale, self.scale[pixel] / self.scale.min()
        common = float(filtered(self.middle, step))
        length = [np.sqrt(self._chord(_square(s), step, pixel)) * steepest for s in (local, common)]
        size = np.sqrt(self._chord(lambda f: np.abs(f - common), step))
        length[1] = min(length[1], size[pixel] * self.scale[pixel] * float(np.max(size / self.scale)))
        differences = [np.max(np.abs(apart - s) * np.abs(overlap) * ratio * beside) for s in (local, common)]
        rest = min(float(length[0] + differences[0]), float(length[1] + differences[1]))
        on_diagonal = float(self.weight[pixel] * (high[pixel] - low[pixel]) / 2)
        inexact = self._rounding(pixel, step)
        largest = float(np.abs(self.weights(row, column, step)).max())
        worst = max(rest, on_diagonal) + inexact * steepest
        sure = max(largest - worst, float(known[pixel] + self.weight[pixel] * low[pixel]) - inexact)
        return worst / min(largest, sure) if min(largest, sure) > 0 else float("inf")

    def estimate(self, step: float) -> Floats:
        """The denoised picture after ``step`` steps, shape (H, W, C), not clipped."""
        share = interpolation(len(self.times), step) @ self.times
        return np.asarray((share @ self.layers * self.layer_grain).reshape(self.image_shape))

    def eigenvector(self, index: int) -> Floats:
        """A stored eigenvector, shape (H W,)."""
        return np.asarray(self.levels[:, index] * self.grain[index])

    def _pixel(self, row: int, column: int) -> int:
        height, width, _ = self.image_shape
        if not (0 <= row < height and 0 <= column < width):
            raise ValueError(f"the picture has {height} rows and {width} columns, got row {row}, column {column}")
        return row * width + column

    def _products(self, pixel: int, step: float) -> tuple[Floats, Floats]:
        """The row of V diag(f_t) V^T and that of V V^T, shape (H W,)."""
        mine = self.levels[pixel] * self.grain**2
        both = self.levels.astype(np.float64) @ np.stack([mine * filtered(self.x, step), mine], axis=1)
        return both[:, 0], both[:, 1]

    def _gain(self, step: float) -> tuple[Floats, Floats]:
        """What the rest's mean gain at every pixel is at least and at most."""
        first, last, span = filtered(self.low, step), filtered(self.high, step), self.high - self.low
        place = (self.mean - self.low) / span if span > 0 else np.zeros_like(self.mean)
        low = first + place * (last - first)
        return low, np.maximum(low, filtered(self.mean, step))

    def _chord(self, function: Callable[[Floats], Floats], step: float, pixel: int | slice = slice(None)) -> Floats:
        """The largest sum over the rest, at every pixel, of a convex function of its gains."""
        first, last = filtered(self.low, step), filtered(self.high, step)
        ends = function(first), function(last)
        parts = []
        for gain in self._gain(step):
            share = np.clip((gain[pixel] - first) / (last - first), 0, 1) if last > first else 0 * gain[pixel]
            parts.append(self.weight[pixel] * (ends[0] + share * (ends[1] - ends[0])))
        return np.asarray(np.maximum(*parts))

    def _rounding(self, pixel: int, step: float) -> float:
        """What the quantisation of the eigenvectors does to a weight at most."""
        half = np.maximum(filtered(self.x, step), 0) * self.grain / 2
        sums = np.abs(self.levels) @ (half * self.grain)
        return float(sums[pixel] + sums.max() + np.sum(half * self.grain) / 2)


def _square(middle: float) -> Callable[[Floats], Floats]:
    return lambda gain: (gain - middle) ** 2


def interpolation(count: int, step: float) -> Floats:
    """Weights (count,) that interpolate cubically between the steps 10^(6 i / (count - 1)), in log(step)."""
    place = np.clip(np.log10(step) / 6, 0, 1) * (count - 1)
    first = int(np.clip(np.floor(place) - 1, 0, count - 4))
    weights = np.zeros(count)
    for i in range(4):
        others = [first + j for j in range(4) if j != i]
        weights[first + i] = np.prod([(place - j) / (first + i - j) for j in others])
    return weights
