"""What a pointwise nonlinearity does to the covariance of a pair of pixels.

The engine does not carry the covariance S of a pair but its distance to the mean variance, D = (q_i + q_j) / 2 - S.
For two pixels whose patches are nearly parallel S loses in float32 just what the angle between them needs, and D does
not: D comes from differences of pixels, is summed from non-negative terms, and is exactly zero for equal patches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, singledispatch
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntk_nonlocal.architecture import Erf, LeakyRelu, Nonlinearity, Rbf, Relu

PairOf = Callable[[Array], tuple[Array, Array]]


class Dual(NamedTuple):
    """The result of a nonlinearity: the new distance D' = (q'_i + q'_j) / 2 - E[phi(u) phi(v)], the covariance of the
    derivatives E[phi'(u) phi'(v)], the new variances (H, W), and whether E[phi(u) phi(v)] >= 0 for every pair."""

    difference: Array
    derivative: Array
    variance: Array
    nonnegative: bool


@singledispatch
def dual(layer: Nonlinearity, difference: Array, variance: Array, pair: PairOf, nonnegative: bool) -> Dual:
    """The nonlinearity's rule for the exact kernel; register one for a layer of your own.

    Args:
      difference: D = (q_i + q_j) / 2 - S_ij of the Gaussian input, any shape.
      variance: q, a table (H, W).
      pair: brings a table (H, W), or several (n, H, W), to both ends of the pairs: (left, right), broadcasting against
        ``difference``.
      nonnegative: whether S_ij >= 0 is known for every pair.
    """
    raise NotImplementedError(
        f"no exact-kernel rule for {type(layer).__name__}; register one with "
        f"ntk_nonlocal.kernels.dual.register({type(layer).__name__}), or use backend='neural-tangents'"
    )


@lru_cache
def _angle_polynomials(digits: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Coefficients of arccos(1 - e) / sqrt(e) and of (sin t - t cos t) / e^1.5, t = arccos(1 - e), on 0 <= e <= 1.

    Chebyshev interpolation of their power series, whose k-th term is at most 2^-k. The degree is that which leaves
    10^-digits.
    """
    orders = np.arange(70)
    ratio = np.cumprod(np.concatenate([[1.0], (2 * orders[1:] - 1) / (2 * orders[1:])]))  # binom(2k, k) / 4^k
    angle = math.sqrt(2.0) * ratio / ((2 * orders + 1) * 2.0**orders)
    series = (angle, angle / (orders + 1.5))
    degree = 6 if digits <= 7 else 17
    nodes = 0.5 + 0.5 * np.cos(np.pi * (np.arange(64) + 0.5) / 64)
    result = []
    for coefficients, less in zip(series, (0, 1), strict=True):
        values = np.polynomial.polynomial.polyval(nodes, coefficients)
        fit = np.polynomial.Chebyshev.fit(nodes, values, degree - less, domain=[0, 1])
        result.append(tuple(float(c) for c in fit.convert(kind=np.polynomial.Polynomial).coef))
    return result[0], result[1]


def _horner(coefficients: tuple[float, ...], x: Array) -> Array:
    total = jnp.full((), coefficients[-1], x.dtype)
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


def _safe_sqrt(x: Array) -> Array:
    """The square root with derivative zero at zero."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def root_and_inverse(variance: Array) -> tuple[Array, Array]:
    """The square root and its inverse, both zero at zero."""
    root = _safe_sqrt(variance)
    return root, jnp.where(root > 0, 1 / jnp.where(root > 0, root, 1), 0)


def _rectifier(difference: Array, variance: Array, pair: PairOf, nonnegative: bool) -> tuple[Array, Array]:
    """(D', derivative covariance) of max(x, 0): the arc-cosine kernels of order one and zero (Cho and Saul 2009).

    With n = sqrt(q_i q_j) and cos t = S / n: K = S / 2 + n (sin t - t cos t) / (2 pi), so that D' = D / 2 minus the
    same term; and n - S = D - (sqrt(q_i) - sqrt(q_j))^2 / 2 loses nothing for equal patches. For S < 0 both follow
    from pi - t.
    """
    (root_i, inverse_i, left), (root_j, inverse_j, right) = pair(jnp.stack([*root_and_inverse(variance), variance]))
    gap = difference - 0.5 * jnp.square(root_i - root_j)  # n - S
    # what rounding leaves for parallel patches would be an angle of the square root of that
    rounding = 4 * float(np.finfo(np.dtype(difference.dtype)).eps)
    gap = jnp.where(gap > rounding * difference, gap, 0)
    norm = root_i * root_j
    half = difference
    acute = None
    if not nonnegative:
        mean = 0.5 * (left + right)
        acute = difference <= mean
        opposite = 2 * norm - gap
        gap = jnp.where(acute, gap, jnp.where(opposite > rounding * norm, opposite, 0))
        half = jnp.where(acute, difference, mean)
    e = gap * (inverse_i * inverse_j)
    angle_polynomial, arc_polynomial = _angle_polynomials(7 if difference.dtype == jnp.float32 else 15)
    root_e = _safe_sqrt(e)
    turn = root_e * (_horner(angle_polynomial, e) * (0.5 / math.pi))
    new = 0.5 * half - (gap * root_e) * (_horner(arc_polynomial, e) * (0.5 / math.pi))
    derivative = 0.5 - turn
    if acute is not None:
        derivative = jnp.where(acute, derivative, turn)
    return new, derivative


@dual.register
def _(layer: Relu, difference: Array, variance: Array, pair: PairOf, nonnegative: bool) -> Dual:
    new, derivative = _rectifier(difference, variance, pair, nonnegative)
    return Dual(new, derivative, 0.5 * variance, True)


@dual.register
def _(layer: LeakyRelu, difference: Array, variance: Array, pair: PairOf, nonnegative: bool) -> Dual:
    new, derivative = _rectifier(difference, variance, pair, nonnegative)
    a, slope = (1 - layer.slope) ** 2, layer.slope
    return Dual(
        a * new + slope * difference,
        a * derivative + slope,
        (0.5 * a + slope) * variance,
        nonnegative and slope >= 0,
    )


@dual.register
def _(layer: Rbf, difference: Array, variance: Array, pair: PairOf, nonnegative: bool) -> Dual:
    exponent = (-2 * layer.gamma) * difference
    new = -jnp.expm1(exponent)
    return Dual(new, (2 * layer.gamma) * (1 - new), jnp.ones_like(variance), True)


@dual.register
def _(layer: Erf, difference: Array, variance: Array, pair: PairOf, nonnegative: bool) -> Dual:
    """K = 2 / pi arcsin(2 S / sqrt((1 + 2 q_i) (1 + 2 q_j))) (Williams 1997)."""
    left, right = pair(variance)
    twice = (left + right) - 2 * difference
    new_variance = (2 / math.pi) * jnp.arctan2(2 * variance, jnp.sqrt(1 + 4 * variance))
    new_left, new_right = pair(new_variance)
    product = (1 + 2 * left) * (1 + 2 * right)
    # product - twice^2 without cancellation for equal ends: (1 + 2 q)^2 - 4 q^2 = 1 + 4 q
    root = jnp.sqrt(jnp.maximum(product - twice * twice, 1))
    covariance = (2 / math.pi) * jnp.arctan2(twice, root)
    new = jnp.where(difference > 0, jnp.maximum(0.5 * (new_left + new_right) - covariance, 0), 0)
    return Dual(new, (4 / math.pi) / root, new_variance, nonnegative)
