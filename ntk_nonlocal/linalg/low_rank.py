"""Low-rank approximations K ~ Z Z^T of a kernel, and gradient descent with them in closed form.

Nystrom: K ~ K W (W^T K W)^+ W^T K. With W = columns of the identity, uniform random pixels, it is what Tachella, Tang &
Davies (2021) use; with a random subspace it is the randomised one-pass form. Both are computed by the shifted and
factored algorithm of Tropp, Yurtsever, Udell & Cevher ("Fixed-rank approximation of a positive-semidefinite matrix from
streaming data", 2017, algorithm 3), which does not invert ill-conditioned matrices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ntk_nonlocal.checks import choice, told, whole
from ntk_nonlocal.operators import LinearOperator, check_operator, static_field
from ntk_nonlocal.xla import by_value

from .functions import check_image, descent_filter
from .krylov import Estimate, probe_generator, random_columns, symmetric_form

if TYPE_CHECKING:
    from jaxtyping import Float, Real


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class LowRankOperator(LinearOperator):
    """The positive semi-definite kernel Z Z^T, Z of shape (H W, rank)."""

    factor: Array
    image_shape: tuple[int, int] = static_field()

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return np.dtype(self.factor.dtype)

    @property
    def rank(self) -> int:
        """Columns of the factor."""
        return int(self.factor.shape[1])

    def _product(self, columns: Array) -> Array:
        inner = jnp.matmul(self.factor.T, columns, precision="highest")
        return jnp.matmul(self.factor, inner, precision="highest")

    def rows(self, pixels: ArrayLike) -> Array:
        return jnp.matmul(self.factor[self.check_pixels(pixels)], self.factor.T, precision="highest")

    def diagonal(self) -> Array:
        return jnp.sum(self.factor**2, axis=1)

    def as_matrix(self) -> Array:
        return jnp.matmul(self.factor, self.factor.T, precision="highest")

    @by_value
    def gradient_descent(
        self,
        y: Real[ArrayLike, "H W C"],
        steps: Sequence[int] | ArrayLike,
        step_size: float = 1.0,
        start: Real[ArrayLike, "H W C"] | None = None,
        lambda_max: float | None = None,
    ) -> Float[Array, "S H W C"]:
        """Gradient descent with this kernel in closed form, shape (len(steps), H, W, C); no Krylov space.

        F_t = Z V h_t(L) V^T Z^T with Z^T Z = V L V^T and h_t(l) = (1 - (1 - eta l)^t) / l.

        Args:
          y: the noisy image, shape (H, W, C).
          steps: 0..10^6, in any order.
          step_size: in units of 1 / lambda_max, in (0, 2).
          start: the output before training; None is zero.
          lambda_max: what the step size is relative to; this kernel's own unless given. Give the exact kernel's one to
            compare both at the same step size.

        Raises:
          ValueError: wrong shapes, values that are not finite, or options outside their ranges.
        """
        spectral = descent_filter(steps, step_size)
        image = check_image(self, y, "y")
        begin = jnp.zeros_like(image) if start is None else check_image(self, start, "start")
        gram = np.asarray(jnp.matmul(self.factor.T, self.factor, precision="highest"), np.float64)
        values, vectors = np.linalg.eigh((gram + gram.T) / 2)
        unit = max(float(values[-1]), 0.0) if lambda_max is None else float(lambda_max)
        if not (math.isfinite(unit) and unit >= 0) or step_size * values[-1] >= 2 * unit > 0:
            raise ValueError(
                f"lambda_max must be finite and above {values[-1]:.6g} * step_size / 2, got {told(lambda_max)}"
            )
        if unit == 0:
            return jnp.tile(begin, (len(np.asarray(steps)), 1, 1, 1))
        x = np.maximum(values / unit, 1e-30)
        flat = (image - begin).reshape(self.shape[0], -1)
        seen = vectors.T @ np.asarray(jnp.matmul(self.factor.T, flat, precision="highest"), np.float64)
        inner = np.einsum("rn,sn,nc->rsc", vectors, spectral(x) / (x * unit), seen, optimize=True)
        moved = jnp.matmul(self.factor, jnp.asarray(inner.reshape(self.rank, -1), self.dtype), precision="highest")
        return begin + jnp.moveaxis(moved.reshape(*image.shape[:2], -1, image.shape[2]), 2, 0)


@by_value
def nystrom(
    op: LinearOperator, rank: int, sampling: Literal["columns", "gaussian"] = "columns", *, seed: int = 0
) -> LowRankOperator:
    """A Nystrom approximation of a positive semi-definite kernel.

    Args:
      op: the kernel; a ``ScaledOperator`` must be symmetric.
      rank: columns of the factor, 1..H W.
      sampling: "columns", the kernel's rows at uniformly drawn pixels; or "gaussian", one product with a random
        orthonormal block of ``rank`` columns, much more accurate at equal rank where the spectrum decays.
      seed: of the pixels or the block.

    Returns:
      Z Z^T as an operator. ``approximation_error`` says how far it is from the kernel.

    Raises:
      ValueError: a rank or sampling that does not exist, or a kernel that is not symmetric.
    """
    check_operator(op)
    pixels = op.shape[0]
    if isinstance(rank, bool) or not isinstance(rank, Integral) or not 1 <= rank <= pixels:
        raise ValueError(f"rank must be an integer in 1..{pixels}, the number of pixels, got {told(rank)}")
    choice("sampling", sampling, ("columns", "gaussian"))
    _require_symmetric(op)
    rng = probe_generator(seed)
    if sampling == "columns":
        chosen = rng.choice(pixels, rank, replace=False)
        block = jnp.zeros((pixels, rank), op.dtype).at[chosen, np.arange(rank)].set(1)
        sketch = op.rows(chosen).T
        core = sketch[chosen]
    else:
        block, _ = jnp.linalg.qr(jnp.asarray(rng.normal(size=(pixels, rank)), op.dtype))
        sketch = op @ block
        core = jnp.matmul(block.T, sketch, precision="highest")
    inner = np.asarray(core, np.float64)
    if not np.isfinite(inner).all():
        raise ValueError("the kernel has entries that are not finite; check the network input")
    inner = (inner + inner.T) / 2
    size = float(np.linalg.norm(inner, 2))
    if size == 0:
        return LowRankOperator(jnp.zeros((pixels, rank), op.dtype), op.image_shape)
    # The shift keeps the core positive definite in spite of rounding; it is taken off the eigenvalues again.
    shift = 4 * math.sqrt(rank) * float(np.finfo(op.dtype).eps) * size
    while True:
        try:
            lower = np.linalg.cholesky(inner + shift * np.eye(rank))
            break
        except np.linalg.LinAlgError:
            shift *= 10
            if shift > size:
                raise ValueError(
                    "the kernel is not positive semi-definite: a Nystrom approximation does not exist "
                    "(a search window needs a positive-definite taper)"
                ) from None
    factor = jnp.matmul(sketch + shift * block, jnp.asarray(np.linalg.inv(lower).T, op.dtype), precision="highest")
    gram = np.asarray(jnp.matmul(factor.T, factor, precision="highest"), np.float64)
    squares, vectors = np.linalg.eigh((gram + gram.T) / 2)
    kept = np.sqrt(np.clip(1 - shift / np.maximum(squares, shift), 0, 1))
    turned = jnp.asarray((vectors * kept)[:, ::-1], op.dtype)
    return LowRankOperator(jnp.matmul(factor, turned, precision="highest"), op.image_shape)


@dataclass(frozen=True)
class ApproximationError:
    """How far an approximation A is from a kernel K, with standard errors.

    Attributes:
      trace: tr(K - A) / tr K; for a Nystrom approximation the sum of the eigenvalues that it misses.
      frobenius: |K - A|_F / |K|_F.
    """

    trace: Estimate
    frobenius: Estimate


@by_value
def approximation_error(
    op: LinearOperator, approximation: LinearOperator, *, probes: int = 16, seed: int = 1
) -> ApproximationError:
    """Estimate the error from one product of each operator with random probes (Hutchinson 1990; Girard 1989).

    Raises:
      ValueError: fewer than two probes, or operators of different images.
    """
    check_operator(op)
    check_operator(approximation)
    whole("probes", probes, 2)
    if op.image_shape != approximation.image_shape:
        raise ValueError(f"the kernels belong to images of {op.image_shape} and {approximation.image_shape}")
    block = random_columns(probe_generator(seed), op.shape[0], probes, op.dtype)
    exact = op @ block
    missing = exact - approximation @ block
    trace = _ratio(jnp.sum(block * missing, axis=0), jnp.sum(block * exact, axis=0))
    square = _ratio(jnp.sum(missing**2, axis=0), jnp.sum(exact**2, axis=0))
    root = np.sqrt(square.value)
    frobenius = Estimate(root, np.divide(square.standard_error, 2 * root, out=np.zeros_like(root), where=root > 0))
    return ApproximationError(trace, frobenius)


def _ratio(above: Array, below: Array) -> Estimate:
    """Ratio of means and its standard error (delta method)."""
    top, bottom = np.asarray(above, np.float64), np.asarray(below, np.float64)
    mean = bottom.mean()
    if mean == 0:
        return Estimate(np.zeros(()), np.zeros(()))
    ratio = top.mean() / mean
    spread = np.std(top - ratio * bottom, ddof=1) / math.sqrt(len(top)) / abs(mean)
    return Estimate(np.asarray(ratio), np.asarray(spread))


def _require_symmetric(op: LinearOperator) -> None:
    if symmetric_form(op)[1] is not None:
        raise ValueError(
            "a Nystrom approximation needs a symmetric kernel, this scaled one has left != right; "
            "approximate the kernel inside and scale the result with ScaledOperator"
        )
