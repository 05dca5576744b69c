"""Spectral filters of a kernel, and a Krylov space seen through them.

A filter F(K) of a kernel is known by its eigenvalues F(x) over the kernel's, which are counted in units of the largest,
x = lambda / lambda_max. Gradient descent is the twicing iteration of Tachella, Tang & Davies (2021); traces come by
stochastic Lanczos quadrature (Ubaru, Chen & Saad 2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ntk_nonlocal.checks import told
from ntk_nonlocal.images import finite_jax
from ntk_nonlocal.operators import LinearOperator, check_operator

from .krylov import BlockKrylov, Estimate, Small

MAX_STEPS = 10**6

SpectralFilter = Callable[[Small], Small]
"""From eigenvalues over the largest one, shape (n,), to the filter's eigenvalues at S times, shape (S, n)."""

_SMALLEST = 1e-30  # eigenvalues are kept above, so that filter / eigenvalue is its limit at zero


def check_steps(steps: Sequence[int] | ArrayLike) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The steps as an integer array.

    Raises:
      ValueError: not a non-empty list of integers in 0..10^6.
    """
    array = np.asarray(steps) if np.iterable(steps) and not isinstance(steps, dict) else np.empty(0)
    if array.ndim != 1 or array.size == 0 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"steps must be a non-empty list of integers such as [1, 10, 100], got {told(steps)}")
    if array.min() < 0 or array.max() > MAX_STEPS:
        raise ValueError(f"steps must lie in 0..{MAX_STEPS}, got {int(array.min())}..{int(array.max())}")
    return array.astype(np.int64)


def check_step_size(step_size: float, limit: float = 2.0) -> float:
    """The step size (in units of 1 / lambda_max).

    Raises:
      ValueError: outside (0, limit), where the iteration would not converge.
    """
    if not isinstance(step_size, Real) or not 0 < step_size < limit:
        raise ValueError(
            f"step_size counts in units of 1 / lambda_max and must lie in (0, {limit:g}) to converge, got "
            f"{step_size!r}; 1.0 is a good choice"
        )
    return float(step_size)


def check_tolerance(op: LinearOperator, tolerance: float | None) -> float:
    """The relative tolerance, by default what the kernel's type allows.

    Raises:
      ValueError: outside (0, 1).
    """
    if tolerance is None:
        return 1e-10 if op.dtype == np.float64 else 1e-5
    if not isinstance(tolerance, Real) or not 0 < tolerance < 1:
        raise ValueError(f"tolerance must lie in (0, 1), got {told(tolerance)}")
    return float(tolerance)


def check_image(op: LinearOperator, image: ArrayLike, name: str) -> Array:
    """The image in the kernel's floating-point type.

    Raises:
      ValueError: not (H, W, C) with the kernel's H and W and at least one channel, or not finite.
    """
    check_operator(op)
    return finite_jax(name, image, (*op.image_shape, "C"), whose="the kernel's ", dtype=op.dtype)


def descent_filter(steps: Sequence[int] | ArrayLike, step_size: float = 1.0) -> SpectralFilter:
    """1 - (1 - step_size x)^t: gradient descent, the twicing iteration."""
    times = check_steps(steps)[:, None]
    eta = check_step_size(step_size)

    def evaluate(x: Small) -> Small:
        small = eta * x < 0.5
        with np.errstate(divide="ignore"):
            careful = -np.expm1(times * np.log1p(-np.where(small, eta * x, 0.0)))
            plain = 1 - np.power(1 - eta * np.where(small, 1.0, x), times)
        return np.where(small, careful, plain)

    return evaluate


def flow_filter(times: Sequence[float] | ArrayLike) -> SpectralFilter:
    """1 - exp(-t x): gradient flow, continuous time t in units of 1 / lambda_max (t steps of size 1 go as far).

    Raises:
      ValueError: not a non-empty list of finite times >= 0.
    """
    array = np.asarray(times, np.float64)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all() or array.min() < 0:
        raise ValueError(f"times must be a non-empty list of finite numbers >= 0, got {told(times)}")

    def evaluate(x: Small) -> Small:
        return -np.expm1(-array[:, None] * x)

    return evaluate


def momentum_filter(
    steps: Sequence[int] | ArrayLike, step_size: float = 1.0, momentum: float = 0.9, nesterov: bool = False
) -> SpectralFilter:
    """Gradient descent with constant momentum b, started at rest.

    Heavy ball (Polyak): z(t+1) = z(t) + eta K (y - z(t)) + b (z(t) - z(t-1)). Nesterov: the gradient is taken at
    z(t) + b (z(t) - z(t-1)). Both are polynomial filters, evaluated by powers of their 3 x 3 recurrences.

    Raises:
      ValueError: momentum outside [0, 1), or a step size at which the iteration would not converge.
    """
    times = check_steps(steps)
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must lie in [0, 1), got {told(momentum)}")
    eta = check_step_size(step_size, 2 * (1 + momentum) / (1 + 2 * momentum) if nesterov else 2 * (1 + momentum))

    def evaluate(x: Small) -> Small:
        keep = 1 - eta * x
        recurrence = np.zeros((len(x), 3, 3))  # of the state (F_t, F_(t-1), 1)
        recurrence[:, 0, 0] = (1 + momentum) * keep if nesterov else momentum + keep
        recurrence[:, 0, 1] = -momentum * keep if nesterov else -momentum
        recurrence[:, 0, 2] = eta * x
        recurrence[:, 1, 0] = recurrence[:, 2, 2] = 1
        result = np.zeros((len(times), len(x)))
        state, now = np.tile(np.array([0.0, 0.0, 1.0])[:, None], (len(x), 1, 1)), 0
        for index in np.argsort(times):
            state, now = np.linalg.matrix_power(recurrence, int(times[index]) - now) @ state, int(times[index])
            result[index] = state[:, 0, 0]
        return result

    return evaluate


@dataclass(frozen=True)
class KrylovSpectrum:
    """What filters see of a Krylov space whose start columns are an image's channels, then probes.

    Attributes:
      x: Ritz values over lambda_max, ascending, shape (n,).
      start: the start columns in Ritz vectors, shape (n, channels + probes).
      remainder: what the last product added beyond the space, per Ritz vector, over lambda_max.
      noise: norm of the rounding of the kernel's products over lambda_max.
      top_error: bound of the relative error of the largest Ritz value, min(r, r^2 / gap) (Parlett 1980, chapter 11).
    """

    x: Small
    start: Small
    remainder: Small
    noise: float
    lambda_max: float
    top_error: float

    @classmethod
    def of(cls, space: BlockKrylov, lambda_max: float | None) -> KrylovSpectrum:
        values, vectors = space.ritz()
        top = max(float(values.max(initial=0.0)), 0.0)
        epsilon = float(np.finfo(space.op.dtype).eps)
        if values.size and values[0] < -math.sqrt(epsilon) * max(abs(values[0]), top):
            raise ValueError(
                f"the kernel is not positive semi-definite: it has an eigenvalue below {values[0]:.3g}, its largest is "
                f"{top:.3g}; gradient descent with it diverges (a search window needs a positive-definite taper)"
            )
        unit = top if lambda_max is None else lambda_max
        x = np.maximum(values / unit, _SMALLEST) if unit > 0 else np.full_like(values, _SMALLEST)
        noise = max(space.noise, epsilon * top / math.sqrt(space.op.shape[0])) / unit if unit > 0 else 0.0
        start = vectors[: len(space.start)].T @ space.start if values.size else np.zeros((0, space.start.shape[1]))
        remainder = space.remainder @ vectors[space.last] / (unit or 1.0)
        return cls(x, start, remainder, noise, unit, _top_error(x, np.linalg.norm(remainder, axis=0)))

    def truncation(self, filters: Small, channels: int) -> Small:
        """Estimated |error| of the filtered channels for a finite space, at every time."""
        result: Small = np.sqrt(np.sum(self._defects(filters)[:, :, :channels] ** 2, axis=(1, 2)))
        return result

    def rounding(self, spectral: SpectralFilter, channels: int) -> Small:
        """Estimated |error| of the filtered channels for a kernel whose products are rounded, at every time."""
        change = np.abs(spectral(self.x + self.noise) - spectral(self.x))
        result: Small = np.sqrt(change**2 @ np.sum(self.start[:, :channels] ** 2, axis=1))
        return result

    def length(self, filters: Small, channels: int) -> Small:
        result: Small = np.sqrt(filters**2 @ np.sum(self.start[:, :channels] ** 2, axis=1))
        return result

    def traces(self, filters: Small, channels: int) -> Estimate:
        """tr F at every time from the probe columns (stochastic Lanczos quadrature)."""
        forms = filters @ self.start[:, channels:] ** 2
        count = forms.shape[1]
        spread = forms.std(axis=1, ddof=1) / math.sqrt(count) if count > 1 else np.full(len(forms), math.nan)
        return Estimate(forms.mean(axis=1), spread)

    def quadrature_excess(self, filters: Small, channels: int) -> float:
        """Error of ``traces`` for a finite space over a tenth of its random error.

        The quadrature's error goes with the square of the estimates' one.
        """
        defect = np.sum(self._defects(filters)[:, :, channels:] ** 2, axis=(1, 2)) / (self.start.shape[1] - channels)
        found = self.traces(filters, channels)
        room = 0.1 * found.standard_error + 1e-3 * found.value
        return float(np.max(np.divide(defect, room, out=np.zeros_like(room), where=room > 0), initial=0.0))

    def _defects(self, filters: Small) -> Small:
        """|remainder E^T h(T)| with h(x) = F(x) / x for every time and start column, shape (S, b, columns)."""
        result: Small = np.einsum("bn,sn,nc->sbc", self.remainder, filters / self.x, self.start, optimize=True)
        return result


def _top_error(values: Small, residuals: Small) -> float:
    if values.size == 0 or values[-1] <= _SMALLEST:
        return 0.0
    error = float(residuals[-1])
    gap = float(values[-1] - values[-2]) if len(values) > 1 else 0.0
    return min(error, error**2 / gap if gap > error else error) / float(values[-1])
