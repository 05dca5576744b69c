"""The kernel of any smooth function of one variable, from its Hermite coefficients.

With h_k the normalised Hermite polynomials, z standard normal and a_k(q) = E[phi(sqrt(q) z) h_k(z)],

    E[phi(u) phi(v)]   = sum_k a_k(q_i) a_k(q_j) rho^k              (Mehler; Daniely, Frostig and Singer 2016)
    D'                 = sum_k (a_k(q_i) - a_k(q_j))^2 / 2 + a_k(q_i) a_k(q_j) (1 - rho^k)
    E[phi'(u) phi'(v)] = sum_k b_k(q_i) b_k(q_j) rho^k,             b_k(q) = E[phi'(sqrt(q) z) h_k(z)]

for Gaussian u, v with variances q_i, q_j and correlation rho. The coefficients belong to pixels and not to pairs; they
are found once per image by Gaussian quadrature. Each pair costs a few operations a term. In 1 - rho^k nothing cancels:
from e = 1 - rho it follows by t_(k+1) = t_k + e (1 - t_k), a sum of terms of one sign, and for rho < 0 by parity.

What is left out is at most the sum of the squares of the coefficients left out (Cauchy and Schwarz): the error
estimate by which the number of terms is chosen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntk_nonlocal.architecture import Path, Pointwise

from .demand import Extent
from .duals import Dual, PairOf, root_and_inverse
from .slices import Plan, Slices, lag_rule, nonlinear_slices

logger = logging.getLogger(__name__)

_GROUP = 8  # terms of one step of the sum
FIRST, LAST = 32, 512  # numbers of terms that are tried, doubling
_TRACED_VARIANCE = 4.0  # what the terms suffice for where the image is not known


def tolerance(dtype: Any) -> float:
    """What the terms left out may amount to, relative to the largest variance."""
    return 1e-6 if np.dtype(dtype) == np.float32 else 1e-10


@lru_cache
def _quadrature(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes z_m of the Gaussian rule for the normal distribution, and the orthogonal matrix sqrt(w_m) h_k(z_m), whose
    first row are the roots of the weights: the eigenvectors of the Jacobi matrix (Golub and Welsch 1969)."""
    off = np.sqrt(np.arange(1.0, nodes))
    z, basis = np.linalg.eigh(np.diag(off, 1) + np.diag(off, -1))
    return z, basis * np.where(basis[0] < 0, -1, 1)


def coefficients(layer: Pointwise, variance: Array, terms: int) -> Array:
    """a_k and b_k, k < 2 terms, of every pixel of a table (h, w), by a rule of as many nodes: (2, 2 terms, h, w)."""
    z, basis = (jnp.asarray(values, variance.dtype) for values in _quadrature(2 * terms))
    root, _ = root_and_inverse(variance)
    u = root[..., None] * z
    values = jnp.stack([layer(u), layer.derivative(u)]) * basis[0]
    return jnp.einsum("nyxm,km->nkyx", values, basis, precision="highest")


def left_out(table: Array) -> Array:
    """For every number of terms, the sum of the squares left out, relative to the largest of all: (2, number)."""
    squares = jnp.square(table)
    tails = jnp.flip(jnp.cumsum(jnp.flip(squares, 1), 1), 1)
    largest = jnp.max(tails, axis=(2, 3))
    return largest / jnp.maximum(largest[:, :1], float(np.finfo(np.dtype(table.dtype)).tiny))


def enough(errors: np.ndarray, limit: float) -> int | None:
    """The smallest multiple of the group that leaves less than ``limit`` of both, None where half are not enough."""
    for terms in range(_GROUP, errors.shape[1] // 2 + 1, _GROUP):
        if (errors[:, terms] <= limit).all():
            return terms
    return None


def series(
    table: Array, difference: Array, variance: Array, pair: PairOf, nonnegative: bool, derivative: bool
) -> tuple[Array, Array]:
    """D' and E[phi' phi'] (zero unless ``derivative``) of pairs, from the coefficients (2, terms, h, w)."""
    (root_i, inverse_i), (root_j, inverse_j) = pair(jnp.stack(root_and_inverse(variance)))
    rounding = 4 * float(np.finfo(np.dtype(difference.dtype)).eps)
    gap = difference - 0.5 * jnp.square(root_i - root_j)  # sqrt(q_i q_j) - S
    e = jnp.where(gap > rounding * difference, gap, 0) * (inverse_i * inverse_j)
    negative = None
    if not nonnegative:
        negative = e > 1
        e = jnp.clip(jnp.where(negative, 2 - e, e), 0, 1)

    def odd(k: int, distance: Array) -> Array:
        """1 - rho^k from 1 - |rho|^k."""
        return distance if negative is None or k % 2 == 0 else jnp.where(negative, 2 - distance, distance)

    def add(sums: tuple[Array, Array, Array], group: Array) -> tuple[tuple[Array, Array, Array], None]:
        t, new, slope = sums
        for k in range(_GROUP):
            (a_i, b_i), (a_j, b_j) = pair(group[:, k])
            distance = odd(k, t)
            new = new + (0.5 * jnp.square(a_i - a_j) + (a_i * a_j) * distance)
            if derivative:
                slope = slope + (b_i * b_j) * (1 - distance)
            t = t + e * (1 - t)
        return (t, new, slope), None

    groups = table.reshape(2, -1, _GROUP, *table.shape[2:]).swapaxes(0, 1)
    nothing = jnp.zeros_like(e)
    (_, new, slope), _ = lax.scan(add, (nothing, nothing, nothing), groups)
    return jnp.maximum(new, 0), slope


@lag_rule.register
def _(layer: Pointwise, slices: Slices, position: Path, plan: Plan, extent: Extent) -> Slices:
    if plan.terms:
        plan.corrections[position] = coefficients(layer, slices.variance, plan.terms)
    # as many as are known, and half where the others are there to tell what is left out
    table = plan.corrections[position][:, : plan.terms or None]
    variance = jnp.sum(jnp.square(table[0]), axis=0)

    def effect(difference: Array, variance: Array, pair: PairOf, nonnegative: bool, derivative: bool) -> Dual:
        return Dual(*series(table, difference, variance, pair, nonnegative, derivative), variance, False)

    return nonlinear_slices(layer, slices, position, plan, effect, variance)


def fitted(
    find: Callable[[int], dict[Path, Array]], layers: Mapping[Path, Pointwise], image: Array
) -> dict[Path, Array]:
    """What ``find(terms)`` finds, with as many terms in every Pointwise layer as the error estimate asks for.

    Raises:
      ValueError: the most terms are not enough, with the error that they leave.
    """
    if not layers:
        return find(0)
    limit = tolerance(image.dtype)
    if isinstance(image, jax.core.Tracer):
        return _poisoned(find(_usual_terms(tuple(layers.values()), image.dtype)), layers, limit)
    terms = FIRST
    while True:
        tables = find(terms)
        errors = {position: np.asarray(left_out(tables[position])) for position in layers}
        counts = {position: enough(error, limit) for position, error in errors.items()}
        if None not in counts.values() or terms == LAST:
            break
        terms *= 2
    for position, count in counts.items():
        worst = float(errors[position][:, count or terms].max())
        if not worst <= limit:
            raise ValueError(
                f"{position}: the series of {layers[position]!r} leaves {worst:.1e} of the variance after {terms} "
                f"terms, at most {limit:.0e} may be left: it has a kink, or its input's variance is too large. Take "
                "Relu or LeakyRelu (LeakyRelu(-1) is the absolute value), a smooth function, or a smaller weight_std"
            )
        logger.info("%s: %r by %s terms, which leave %.1e", position, layers[position], count, worst)
    trimmed = {position: tables[position][:, :count] for position, count in counts.items()}
    return {**tables, **trimmed}


@lru_cache
def _usual_terms(layers: tuple[Pointwise, ...], dtype: Any) -> int:
    """Terms that are enough for variances up to 4, the most there are where none is."""
    with jax.ensure_compile_time_eval():
        usual = jnp.full((1, 1), _TRACED_VARIANCE, dtype)
        terms = FIRST
        while terms < LAST and any(
            enough(np.asarray(left_out(coefficients(layer, usual, terms))), tolerance(dtype)) is None
            for layer in layers
        ):
            terms *= 2
    return terms


def _poisoned(tables: dict[Path, Array], layers: Mapping[Path, Pointwise], limit: float) -> dict[Path, Array]:
    """Half of the coefficients; not a number where they turn out not to be enough."""
    result = dict(tables)
    for position in layers:
        terms = tables[position].shape[1] // 2
        error = jnp.max(left_out(tables[position])[:, terms])
        result[position] = jnp.where(error <= limit, tables[position][:, :terms], jnp.nan)
    return result
