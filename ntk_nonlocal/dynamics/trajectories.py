"""The whole trajectory of an infinitely wide network's training, from one Krylov space per image.

Gradient descent on 1/2 |z - y|^2 moves the output of an infinitely wide network by the fixed filter K (Tachella, Tang &
Davies 2021, the twicing iteration): z(t+1) = z(t) + eta K (y - z(t)), hence

    z(t) = z(0) + F_t (y - z(0)),    F_t = I - (I - eta K)^t.

Every F_t (y - z(0)) is approximated in one block Krylov space Q, T = Q^T K Q by Q F_t(T) Q^T (y - z(0)), for all asked
steps and colour channels at once; so is any other filter of the same kernel (gradient flow, momentum). Its error
satisfies the iteration with the defect eta N B E^T (I - eta T)^s at step s, so for step sizes up to 1 and a single
column |B E^T h_t(T) Q^T (y - z(0))| with h_t(x) = F_t(x) / x bounds it (the defect keeps its sign, and I - eta K does
not expand); for blocks the same number is an estimate. It ends the growth of the space. Filters are evaluated in
float64.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ntk_nonlocal.checks import positive, told, whole
from ntk_nonlocal.linalg import (
    BlockKrylov,
    Estimate,
    KrylovSpectrum,
    Progress,
    Small,
    SpectralFilter,
    check_image,
    check_step_size,
    check_steps,
    check_tolerance,
    descent_filter,
    flow_filter,
    grow,
    momentum_filter,
    probe_generator,
    random_columns,
    symmetric_form,
)
from ntk_nonlocal.operators import LinearOperator
from ntk_nonlocal.xla import by_value

if TYPE_CHECKING:
    from jaxtyping import Float, Float64, Real


class Trajectory:
    """A kernel's Krylov space for one image: estimates at any step, by any filter, without further products.

    Attributes:
      lambda_max: the eigenvalue that step sizes are relative to (the largest Ritz value, unless it was given).
      converged: whether the error estimate at the steps it was made for came down to the tolerance.
    """

    def __init__(
        self,
        space: BlockKrylov,
        spectrum: KrylovSpectrum,
        *,
        target: Array,
        start: Array | None,
        scale: Array | None,
        converged: bool,
        tolerance: float,
    ) -> None:
        self._space, self._spectrum = space, spectrum
        self._target, self._start, self._scale = target, start, scale
        self.converged, self.tolerance, self.lambda_max = converged, tolerance, spectrum.lambda_max

    @property
    def products(self) -> int:
        """Products with the kernel that were made, each with ``width`` columns (channels and probes)."""
        return self._space.products

    @property
    def width(self) -> int:
        return self._space.width

    @property
    def dimension(self) -> int:
        """Dimension of the Krylov space."""
        return self._space.dimension

    @property
    def eigenvalues(self) -> Small:
        """Ritz values, descending: the largest are eigenvalues of the kernel, all describe what y sees of it."""
        return self._spectrum.x[::-1] * self.lambda_max

    @property
    def pixels(self) -> int:
        """H W."""
        return self._space.op.shape[0]

    @property
    def target(self) -> Array:
        """y, shape (H, W, C)."""
        return self._target

    @property
    def _channels(self) -> int:
        return int(self._target.shape[2])

    def estimates(self, steps: Sequence[int] | ArrayLike, step_size: float = 1.0) -> Float[Array, "S H W C"]:
        """z(t) after each step of gradient descent, shape (len(steps), H, W, C).

        Raises:
          ValueError: see ``check_steps`` and ``check_step_size``.
        """
        return self.filtered(descent_filter(steps, step_size))

    def flow(self, times: Sequence[float] | ArrayLike) -> Float[Array, "S H W C"]:
        """Gradient flow at the given times, in units of 1 / lambda_max, shape (len(times), H, W, C)."""
        return self.filtered(flow_filter(times))

    def momentum(
        self,
        steps: Sequence[int] | ArrayLike,
        step_size: float = 1.0,
        momentum: float = 0.9,
        nesterov: bool = False,
    ) -> Float[Array, "S H W C"]:
        """Gradient descent with momentum (see ``momentum_filter``), shape (len(steps), H, W, C)."""
        return self.filtered(momentum_filter(steps, step_size, momentum, nesterov))

    def filtered(self, spectral: SpectralFilter) -> Float[Array, "S H W C"]:
        """z = start + F (y - start) for any filter F of the kernel with F(0) = 0, shape (S, H, W, C)."""
        filters = self._evaluate(spectral)
        moved = self._images(filters)
        return moved if self._start is None else self._start + moved

    def error(self, spectral: SpectralFilter) -> Float64[Small, " S"]:
        """Estimated error relative to |z| (|y| or |start|, the larger, where a start was given), shape (S,).

        It holds what the finite Krylov space leaves out and what the rounding of the kernel's products does to the
        filter: in float32 the smallest eigenvalues are known to about 1e-7 lambda_max, so that very late
        steps may not be known to many digits.
        """
        sizes = self._sizes(self._spectrum, self._evaluate(spectral))
        total = self._spectrum.truncation(self._evaluate(spectral), self._channels)
        total = total + self._spectrum.rounding(spectral, self._channels)
        return np.divide(total, sizes, out=np.zeros_like(total), where=sizes > 0)

    def error_estimate(self, steps: Sequence[int] | ArrayLike, step_size: float = 1.0) -> Float64[Small, " S"]:
        """Estimated relative error of ``estimates`` at each step, shape (len(steps),); see ``error``."""
        return self.error(descent_filter(steps, step_size))

    def residual_energy(self, spectral: SpectralFilter) -> Float64[Small, "S C"]:
        """|z - y|^2 of every channel, shape (S, C)."""
        filters = self._evaluate(spectral)
        if self._scale is None:
            energy: Small = (1 - filters) ** 2 @ self._spectrum.start[:, : self._channels] ** 2
            return energy
        parts = []
        for row in filters:
            left = np.asarray(self._images(1 - row[None]), np.float64)
            parts.append(np.sum(left**2, axis=(0, 1, 2)))
        return np.stack(parts)

    def traces(self, spectral: SpectralFilter) -> Estimate:
        """tr F with its standard error, shape (S,), from the probes that shared the products.

        Raises:
          ValueError: fewer than two probes.
        """
        probes = self._spectrum.start.shape[1] - self._channels
        if probes < 2:
            raise ValueError(f"degrees of freedom need at least 2 probes, this trajectory has {probes}; use probes=8")
        return self._spectrum.traces(self._evaluate(spectral), self._channels)

    def degrees_of_freedom(self, steps: Sequence[int] | ArrayLike, step_size: float = 1.0) -> Estimate:
        """tr F_t at each step of gradient descent (see ``traces``)."""
        return self.traces(descent_filter(steps, step_size))

    def _evaluate(self, spectral: SpectralFilter) -> Small:
        return spectral(self._spectrum.x)

    def _sizes(self, spectrum: KrylovSpectrum, filters: Small) -> Small:
        """What errors are relative to."""
        if self._start is None:
            return spectrum.length(filters, self._channels)
        return np.full(len(filters), float(jnp.maximum(jnp.linalg.norm(self._start), jnp.linalg.norm(self._target))))

    def _images(self, filters: Small) -> Array:
        """Q F Q^T (y - start), shape (S, H, W, C)."""
        height, width, channels = self._target.shape
        _, vectors = self._space.ritz()
        weighted = filters[:, :, None] * self._spectrum.start[None, :, :channels]
        coefficients = np.einsum("mn,snc->msc", vectors, weighted, optimize=True)
        columns = self._space.combine(coefficients.reshape(len(vectors), len(filters) * channels))
        if self._scale is not None:
            columns = self._scale[:, None] * columns
        return jnp.moveaxis(columns.reshape(height, width, len(filters), channels), 2, 0)

    def __repr__(self) -> str:
        height, width, channels = self._target.shape
        return (
            f"Trajectory({height}x{width}x{channels} image, dimension {self.dimension} from {self.products} products, "
            f"lambda_max {self.lambda_max:.4g}, {'converged' if self.converged else 'not converged'} "
            f"to {self.tolerance:.1g})"
        )


@by_value
def trajectory(
    op: LinearOperator,
    y: Real[ArrayLike, "H W C"],
    *,
    steps: Sequence[int] | ArrayLike = (1, 10, 100),
    step_size: float = 1.0,
    start: Real[ArrayLike, "H W C"] | None = None,
    probes: int = 1,
    seed: int = 0,
    tolerance: float | None = None,
    max_products: int = 500,
    lambda_max: float | None = None,
    progress: Progress | None = None,
) -> Trajectory:
    """Build the Krylov space from which gradient descent on ``y`` is evaluated at the given steps, and at earlier ones.

    One product per Lanczos step, with C + probes columns; the space ends when the estimated error at every step is
    below the tolerance, or below what the rounding of the products does anyway.
    Memory: (products + 1) * (C + probes) * H W numbers.

    Args:
      op: the kernel; symmetric, or a ``ScaledOperator`` similar to a symmetric one (D^-1 K and K D^-1 too).
      y: the noisy image, shape (H, W, C).
      steps: numbers of gradient-descent steps, 0..10^6, in any order.
      step_size: in units of 1 / lambda_max, in (0, 2).
      start: the output before training, shape (H, W, C); None is zero.
      probes: random columns that share the products. One makes lambda_max reliable for every y; from two on they give
        the degrees of freedom with a standard error. May be zero where lambda_max is given.
      seed: of the probes.
      tolerance: relative error of the estimates; 1e-5 in float32, 1e-10 in float64 unless given. For a scaled kernel
        that is not symmetric it is measured in the norm in which the kernel is.
      max_products: where to give up; a RuntimeWarning then says what was reached.
      lambda_max: the eigenvalue that the step size is relative to, where it is known; else it is computed on the way.
      progress: called after every product with (done, estimated total).

    Raises:
      ValueError: wrong shapes, values that are not finite, or options outside their ranges.
    """
    times, eta = check_steps(steps), check_step_size(step_size)
    image = check_image(op, y, "y")
    begin = None if start is None else check_image(op, start, "start")
    limit = _check_options(op, probes, tolerance, max_products, lambda_max)
    symmetric, scale = symmetric_form(op)
    channels = image.shape[2]
    columns = (image if begin is None else image - begin).reshape(-1, channels)
    if scale is not None:
        columns = columns / scale[:, None]
    random = random_columns(probe_generator(seed), op.shape[0], probes, op.dtype)
    space = BlockKrylov(symmetric, jnp.concatenate([columns, random], axis=1))
    spectral = descent_filter(np.unique(times), eta)

    def build(current: BlockKrylov, spectrum: KrylovSpectrum, converged: bool) -> Trajectory:
        return Trajectory(
            current, spectrum, target=image, start=begin, scale=scale, converged=converged, tolerance=limit
        )

    def excess(current: BlockKrylov) -> float:
        spectrum = KrylovSpectrum.of(current, lambda_max)
        if eta * spectrum.x.max(initial=0.0) >= 2:
            top = spectrum.x[-1] * spectrum.lambda_max
            raise ValueError(f"lambda_max={lambda_max} is too small: the kernel has an eigenvalue {top:.6g}")
        return _excess(build(current, spectrum, False), spectral, probes, lambda_max is None)

    late = max(int(times.max()), 1) * eta
    guess = min(math.sqrt(2 * late * math.log(2 / limit)), op.shape[0] / max(space.width, 1), max_products)
    done = grow(space, excess, max_products=max_products, guess=math.ceil(guess), progress=progress)
    spectrum = KrylovSpectrum.of(space, lambda_max)
    result = build(space, spectrum, done)
    if not done:
        worst = float(result.error(spectral).max())
        warnings.warn(
            f"gradient descent stopped after {space.products} products with an estimated relative error of {worst:.1e} "
            f"instead of {limit:.1e}; raise max_products, ask for fewer steps or a larger tolerance",
            RuntimeWarning,
            stacklevel=3,
        )
    return result


def _excess(trial: Trajectory, spectral: SpectralFilter, probes: int, need_top: bool) -> float:
    """The largest ratio of an error estimate to what is allowed."""
    spectrum, channels = trial._spectrum, trial._channels
    filters = trial._evaluate(spectral)
    allowed = np.maximum(trial.tolerance * trial._sizes(spectrum, filters), spectrum.rounding(spectral, channels))
    missing = spectrum.truncation(filters, channels)
    ratio = float(np.max(np.divide(missing, allowed, out=np.zeros_like(missing), where=missing > 0), initial=0.0))
    if need_top:
        ratio = max(ratio, spectrum.top_error / max(trial.tolerance, spectrum.noise))
    if probes > 1:
        ratio = max(ratio, spectrum.quadrature_excess(filters, channels))
    return ratio


def _check_options(
    op: LinearOperator, probes: int, tolerance: float | None, max_products: int, lambda_max: float | None
) -> float:
    if lambda_max is not None:
        positive("lambda_max", lambda_max)
    if whole("probes", probes, 0, 2**20) == 0 and lambda_max is None:
        raise ValueError(f"probes must be at least 1 (0 only where lambda_max is given), got {told(probes)}")
    whole("max_products", max_products, 1)
    return check_tolerance(op, tolerance)


@by_value
def gradient_descent(
    op: LinearOperator,
    y: Real[ArrayLike, "H W C"],
    steps: Sequence[int] | ArrayLike = (1, 10, 100),
    step_size: float = 1.0,
    start: Real[ArrayLike, "H W C"] | None = None,
    *,
    seed: int = 0,
    tolerance: float | None = None,
    max_products: int = 500,
    lambda_max: float | None = None,
    progress: Progress | None = None,
) -> Float[Array, "S H W C"]:
    """Estimates z(t) of gradient descent z(t+1) = z(t) + eta K (y - z(t)), eta = step_size / lambda_max, z(0) = start
    or 0.

    All steps (0..10^6, any order) come from one Krylov space; ``trajectory`` gives that, with its arguments described
    there, and other filters, error estimates and degrees of freedom from it.

    Returns:
      Array of shape (len(steps), H, W, C), in the kernel's floating-point type.

    Raises:
      ValueError: wrong shapes, values that are not finite, steps or step sizes outside their ranges.
    """
    built = trajectory(
        op,
        y,
        steps=steps,
        step_size=step_size,
        start=start,
        seed=seed,
        tolerance=tolerance,
        max_products=max_products,
        lambda_max=lambda_max,
        progress=progress,
    )
    return built.estimates(steps, step_size)
