"""Which mixture of several estimates has the least risk: Stein's estimate of it is quadratic in the weights.

For y = x + noise of standard deviation sigma and estimates r_m(y), the mixture z = sum_m a_m r_m has the unbiased risk
estimate (Stein 1981)

    |z - y|^2 - N sigma^2 + 2 sigma^2 sum_m a_m div r_m,

minimal at the solution of a linear system: the linear expansion of Blu & Luisier, "The SURE-LET approach to image
denoising" (IEEE TIP 2007), with the divergences by Monte Carlo (Ramani, Blu & Unser 2008). Mixing estimates is what a
last linear layer does to the outputs of several networks; splitting them into frequency bands first is a fixed
convolution.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

Small = NDArray[np.float64]

_LARGEST_CHANGE = 2.5
_RAISES = 6


def channel_transform(channels: int) -> Small:
    """An orthonormal change of channels, shape (C, C): the cosine transform (DCT-II).

    Its first row is the mean; for three channels the others are red - blue and red - 2 green + blue, the opponent
    colours in which the noise stays white and the image does not.
    """
    frequency, position = np.meshgrid(np.arange(channels), np.arange(channels), indexing="ij")
    matrix = np.cos(np.pi * frequency * (2 * position + 1) / (2 * channels)) * math.sqrt(2 / channels)
    matrix[0] = 1 / math.sqrt(channels)
    return np.asarray(matrix, np.float64)


@functools.partial(jax.jit, static_argnames="levels")
def bands(planes: Array, levels: int) -> Array:
    """Frequency bands that sum to the planes, finest first, shape (levels + 1, ..., H, W).

    Differences of binomial smoothings (1/4, 1/2, 1/4) with holes ("a trous"; Holschneider et al. 1989), mirrored at the
    border. Needs min(H, W) > 2^(levels - 1).
    """
    found = []
    for level in range(levels):
        smooth = _smooth(_smooth(planes, 2**level, -1), 2**level, -2)
        found.append(planes - smooth)
        planes = apart(smooth)
    return jnp.stack([*found, planes])


def apart(values: Array) -> Array:
    """The values, computed once and not again inside every expression that they enter."""
    kept: Array = jax.lax.optimization_barrier(values)
    return kept


def _smooth(planes: Array, hole: int, axis: int) -> Array:
    axis %= planes.ndim
    pads = [(hole, hole) if a == axis else (0, 0) for a in range(planes.ndim)]
    padded = apart(jnp.pad(planes, pads, mode="reflect"))
    size = planes.shape[axis]
    left, right = (jax.lax.slice_in_dim(padded, s, s + size, axis=axis) for s in (0, 2 * hole))
    return 0.25 * (left + right) + 0.5 * planes


@dataclass(frozen=True)
class Normal:
    """The quadratic |z - x|^2 of one plane as Stein estimates it: a' gram a - 2 a' target + energy.

    Attributes:
      gram: inner products of the M estimates, shape (M, M).
      target: their estimated inner products with the clean plane, shape (M,).
      energy: estimated energy of the clean plane.
      pixels: N.
      sigma: the noise level.
    """

    gram: Small
    target: Small
    energy: float
    pixels: int
    sigma: float

    @classmethod
    def of(
        cls,
        estimates: NDArray[Any],
        y: NDArray[Any],
        divergences: Small,
        sigma: float,
        deviation: NDArray[Any] | None = None,
    ) -> Normal:
        """From estimates (M, H, W) of one plane y (H, W), and the divergences of the estimates (M,).

        ``deviation``: the noise in units of sigma, shape (H, W), zero where there is no value.
        """
        rows = estimates.reshape(len(estimates), -1).astype(np.float64)
        plane = y.reshape(-1).astype(np.float64)
        pixels, noise = plane.size, plane.size * sigma**2
        if deviation is not None:
            spread = deviation.reshape(-1).astype(np.float64)
            there = spread > 0
            rows, plane = rows[:, there], plane[there]
            pixels, noise = max(plane.size, 1), float(spread @ spread) * sigma**2
        target = rows @ plane - sigma**2 * divergences
        return cls(rows @ rows.T, target, float(plane @ plane) - noise, pixels, sigma)

    def risk(self, weights: Small) -> float:
        """The estimated mean squared error of the mixture."""
        return float(weights @ self.gram @ weights - 2 * weights @ self.target + self.energy) / self.pixels

    def minimise(self, prior: Small, used: NDArray[np.intp], strength: float) -> Small:
        """The weights of least risk among estimates ``used``, drawn towards ``prior``.

        Where the risk comes out negative or a weight runs away, the image is not what sigma says (no noise, other
        noise, few pixels): the pull of the prior is then raised tenfold until neither happens.

        Args:
          prior: weights where nothing is known, shape (M,); zero outside ``used``.
          used: indices of the estimates that may take part.
          strength: in numbers of pixels: how much noise energy stands against a change of a weight by one.
        """
        gradient = (self.target - self.gram @ prior)[used]
        gram = self.gram[np.ix_(used, used)]
        for power in range(_RAISES):
            change = np.linalg.solve(gram + 10.0**power * strength * self.sigma**2 * np.eye(len(used)), gradient)
            weights = prior.copy()
            weights[used] += change
            if np.abs(change).max() <= _LARGEST_CHANGE and self.risk(weights) > 0:
                return weights
        return prior
