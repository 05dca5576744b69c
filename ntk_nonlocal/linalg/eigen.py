"""What is asked about a kernel's spectrum: largest eigenvalue, leading eigenpairs, degrees of freedom of its filters.

Eigenpairs are Rayleigh-Ritz pairs of a block Krylov space with a random start (Golub & Underwood 1977; Musco & Musco
2015 for its accuracy); degrees of freedom tr F_t, F_t = I - (I - eta K)^t, come by stochastic Lanczos quadrature
(Ubaru, Chen & Saad 2017) from one block of probes, for all steps at once.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ntk_nonlocal.checks import seed as check_seed
from ntk_nonlocal.checks import told, whole
from ntk_nonlocal.operators import LinearOperator, check_operator
from ntk_nonlocal.xla import by_value

from .functions import KrylovSpectrum, check_tolerance, descent_filter
from .krylov import BlockKrylov, Estimate, Progress, Small, grow, probe_generator, random_columns, symmetric_form


@dataclass(frozen=True, repr=False)
class Eigenpairs:
    """Leading eigenvalues and eigenvectors.

    Attributes:
      values: descending, shape (k,).
      vectors: unit vectors as columns, shape (H W, k), in the kernel's type.
      residuals: |K v - value v|, shape (k,) (for a scaled kernel, in the norm in which it is symmetric).
    """

    values: Small
    vectors: Array
    residuals: Small

    def __repr__(self) -> str:
        shown = ", ".join(f"{value:.4g}" for value in self.values[:4]) + (", ..." if len(self.values) > 4 else "")
        return (
            f"Eigenpairs({len(self.values)} of {len(self.vectors)}: {shown}; residuals to {self.residuals.max():.1e})"
        )


def largest_eigenvalue(
    op: LinearOperator, *, tolerance: float | None = None, seed: int = 0, max_products: int = 200
) -> float:
    """lambda_max of the kernel, to the given relative tolerance (1e-5 in float32, 1e-10 in float64 unless given)."""
    return float(eigenpairs(op, 1, tolerance=tolerance, seed=seed, block_size=4, max_products=max_products).values[0])


@by_value
def eigenpairs(
    op: LinearOperator,
    k: int,
    *,
    tolerance: float | None = None,
    seed: int = 0,
    block_size: int = 8,
    max_products: int = 200,
    progress: Progress | None = None,
) -> Eigenpairs:
    """The k largest eigenvalues of a kernel and their eigenvectors.

    Every product has ``block_size`` columns; an eigenvalue of higher multiplicity than that may be counted too few
    times.
    Memory: (products + 1) block_size H W numbers.

    Args:
      tolerance: of the residuals |K v - value v|, relative to the largest eigenvalue; 1e-5 in float32, 1e-10 in
        float64.
      max_products: where to give up; a RuntimeWarning then says which residuals were reached.

    Raises:
      ValueError: k outside 1..H W, or other options outside their ranges.
    """
    check_operator(op)
    pixels = op.shape[0]
    if isinstance(k, bool) or not isinstance(k, Integral) or not 1 <= k <= pixels:
        raise ValueError(f"k must be an integer in 1..{pixels}, the number of pixels, got {told(k)}")
    whole("block_size", block_size, 1)
    whole("max_products", max_products, 1)
    limit = check_tolerance(op, tolerance)
    symmetric, scale = symmetric_form(op)
    rng = probe_generator(seed)
    space = BlockKrylov(symmetric, random_columns(rng, pixels, min(block_size, pixels), op.dtype))

    def excess(current: BlockKrylov) -> float:
        if current.dimension < k:
            return math.inf
        values, vectors = current.ritz()
        size = max(limit * float(np.abs(values).max()), current.noise, 1e-300)
        return float(current.residuals(vectors[:, -k:]).max()) / size

    guess = min(max_products, math.ceil(min(2 * k / space.width + 10, pixels / space.width)))
    found: Small | None = None
    while True:
        done = grow(space, excess, max_products=max_products, guess=guess, progress=progress)
        values, vectors = space.ritz()
        if not done or not space.exhausted or space.dimension == pixels:
            break
        # An exhausted space is exact but may lack copies of multiple eigenvalues: go on until nothing changes.
        slack = limit * float(values[-1])
        if found is not None and len(found) == k and np.allclose(found, values[-k:], rtol=1e-3, atol=slack):
            break
        found = values[-k:]
        space.add_random(rng)
        if space.exhausted:
            break
    count = min(k, space.dimension)
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    residuals = space.residuals(vectors)
    if not done:
        warnings.warn(
            f"eigenpairs stopped after {space.products} products with residuals up to {residuals.max():.1e}, the "
            f"largest eigenvalue being {values[0]:.3g}; raise max_products or the tolerance",
            RuntimeWarning,
            stacklevel=3,
        )
    columns = space.combine(vectors)
    if scale is not None:
        columns = scale[:, None] * columns
        columns = columns / jnp.linalg.norm(columns, axis=0)
    return Eigenpairs(values, columns, residuals)


@by_value
def degrees_of_freedom(
    op: LinearOperator,
    steps: Sequence[int] | ArrayLike,
    step_size: float = 1.0,
    *,
    probes: int = 8,
    seed: int = 0,
    exact_up_to: int = 1024,
    max_products: int = 200,
    progress: Progress | None = None,
) -> Estimate:
    """tr F_t of gradient descent's filter after each step, from one set of products.

    Up to ``exact_up_to`` pixels from all eigenvalues of the matrix, with a standard error of zero; beyond, from random
    probes. ``trajectory(..., probes=8)`` gives the same from products that are made for the estimates anyway.

    Returns:
      Estimate with values and standard errors of shape (len(steps),).

    Raises:
      ValueError: steps or options outside their ranges.
    """
    spectral = descent_filter(steps, step_size)
    check_operator(op)
    whole("probes", probes, 2, 2**20)
    whole("exact_up_to", exact_up_to, 0)
    whole("max_products", max_products, 1)
    check_seed(seed)
    symmetric, _ = symmetric_form(op)
    if op.shape[0] <= exact_up_to:
        matrix = np.asarray(symmetric.as_matrix(), np.float64)
        values = np.maximum(np.linalg.eigvalsh((matrix + matrix.T) / 2), 0.0)
        traces = spectral(values / (values[-1] or 1.0)).sum(axis=1)
        return Estimate(traces, np.zeros_like(traces))
    space = BlockKrylov(symmetric, random_columns(probe_generator(seed), op.shape[0], probes, op.dtype))

    def excess(current: BlockKrylov) -> float:
        spectrum = KrylovSpectrum.of(current, None)
        return max(spectrum.quadrature_excess(spectral(spectrum.x), 0), spectrum.top_error / 1e-3)

    if not grow(space, excess, max_products=max_products, guess=min(max_products, 20), progress=progress):
        warnings.warn(
            f"degrees of freedom stopped after {space.products} products before the quadrature's error was small "
            "against its random one; raise max_products",
            RuntimeWarning,
            stacklevel=3,
        )
    spectrum = KrylovSpectrum.of(space, None)
    return spectrum.traces(spectral(spectrum.x), 0)
