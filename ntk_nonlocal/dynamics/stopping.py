"""When to stop, without a clean image: Stein's unbiased risk estimate (SURE, Stein 1981).

For y = x + noise of standard deviation sigma and an estimate z(y) of N = H W C numbers, the mean squared error
|z - x|^2 / N has the unbiased estimate

    |z - y|^2 / N - sigma^2 + 2 sigma^2 div z(y) / N.

For z_t = F_t y with a filter that does not depend on the noise, the same for every channel, div z_t / N is
tr F_t / (H W): the degrees of freedom, which come cheaply with the trajectory (``sure``). A kernel built from y itself
changes with the noise, and that part of the divergence is left out: the filter fits the noise it has seen, so that the
cheap estimate lies below the true error, little at early steps and by more than the error itself near the best step and
after it, where it can become negative. ``monte_carlo_sure`` (Ramani, Blu & Unser 2008) perturbs y and runs the whole
denoiser again, kernel included; it has no such bias, at the price of a second run per probe. Use the cheap form for
kernels of something else than y: of a first estimate (nearly), or of another image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ntk_nonlocal.checks import told
from ntk_nonlocal.images import check_sigma, finite_array
from ntk_nonlocal.linalg import Estimate, Small, SpectralFilter, check_steps, descent_filter, probe_generator

from .trajectories import Trajectory

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Risk:
    """Estimated mean squared errors.

    Attributes:
      values: shape (S,); noise can make them slightly negative.
      standard_error: of the random probes alone, shape (S,).
      degrees_of_freedom: the divergence per channel, div z / C, shape (S,).
    """

    values: Small
    standard_error: Small
    degrees_of_freedom: Small


def sure(
    trajectory: Trajectory,
    steps: Sequence[int] | ArrayLike,
    sigma: float,
    step_size: float = 1.0,
    *,
    degrees_of_freedom: Estimate | None = None,
) -> Risk:
    """Risk of gradient descent's estimates by the degrees of freedom of its filter.

    Unbiased for a kernel that does not depend on the noise of y; see the module for the bias where it does.

    Args:
      trajectory: made with probes >= 2, unless ``degrees_of_freedom`` is given.
      steps: numbers of steps, shape (S,).
      sigma: noise standard deviation, in the units of y.
      step_size: in units of 1 / lambda_max.
      degrees_of_freedom: tr F_t at these steps, from ``spectrum.degrees_of_freedom``.

    Raises:
      ValueError: sigma that is not positive or larger than all values of y, or a trajectory without probes.
    """
    return filter_sure(trajectory, descent_filter(steps, step_size), sigma, traces=degrees_of_freedom)


def filter_sure(
    trajectory: Trajectory, spectral: SpectralFilter, sigma: float, *, traces: Estimate | None = None
) -> Risk:
    """The same for any spectral filter, such as ``flow_filter`` or ``momentum_filter``."""
    _check_sigma(sigma, trajectory.target)
    energy = trajectory.residual_energy(spectral)
    found = trajectory.traces(spectral) if traces is None else traces
    if found.value.shape != energy.shape[:1]:
        raise ValueError(f"got degrees of freedom at {found.value.shape} steps for estimates at {energy.shape[:1]}")
    pixels = trajectory.pixels
    values = energy.sum(axis=1) / (pixels * energy.shape[1]) + sigma**2 * (2 * found.value / pixels - 1)
    return Risk(values, 2 * sigma**2 * found.standard_error / pixels, found.value)


def monte_carlo_sure(
    denoiser: Callable[[np.ndarray[Any, Any]], ArrayLike],
    y: Float[ArrayLike, "H W C"],
    sigma: float,
    *,
    epsilon: float | None = None,
    probes: int = 1,
    seed: int = 0,
) -> tuple[Float[np.ndarray[Any, Any], "S H W C"], Risk]:
    """Risk of any denoiser, its kernel's own dependence on the noisy image included.

    The divergence is (b . (f(y + epsilon b) - f(y))) / epsilon for random b, Ramani, Blu & Unser 2008, equation 14.

    Args:
      denoiser: from a noisy image (H, W, C) to estimates (S, H, W, C), one or more. It must be deterministic: fix its
        seeds.
      y: the noisy image, shape (H, W, C).
      sigma: noise standard deviation, in the units of y.
      epsilon: size of the perturbation; 0.1 sigma unless given. Small against sigma, large against rounding and jumps.
      probes: runs beyond the first; from two on there is a standard error (else it is NaN).
      seed: of the perturbations.

    Returns:
      The estimates of the first run, shape (S, H, W, C), and their risks.

    Raises:
      ValueError: options outside their ranges, or a denoiser that does not return (S, H, W, C).
    """
    image = np.asarray(finite_array("y", y, floats=True))
    _check_sigma(sigma, image)
    size = 0.1 * sigma if epsilon is None else float(epsilon)
    if not 0 < size < math.inf:
        raise ValueError(f"epsilon must be a positive number, got {told(epsilon)}")
    if probes < 1:
        raise ValueError(f"probes must be at least 1, got {told(probes)}")
    estimates = _run(denoiser, image)
    rng = probe_generator(seed)
    divergences = []
    for _ in range(probes):
        direction = rng.normal(size=image.shape)
        moved = _run(denoiser, (image + size * direction).astype(image.dtype)).astype(np.float64) - estimates
        divergences.append(np.tensordot(moved, direction, axes=3) / size)
    found = np.stack(divergences)
    spread = found.std(axis=0, ddof=1) / math.sqrt(probes) if probes > 1 else np.full(found.shape[1], math.nan)
    residual = np.mean((estimates.astype(np.float64) - image) ** 2, axis=(1, 2, 3))
    values = residual + sigma**2 * (2 * found.mean(axis=0) / image.size - 1)
    return estimates, Risk(values, 2 * sigma**2 * spread / image.size, found.mean(axis=0) / image.shape[2])


def choose_step(steps: Sequence[int] | ArrayLike, risk: Risk) -> int:
    """The step with the least risk; the earliest one where several share it.

    Raises:
      ValueError: other numbers of steps and risks, or risks that are not finite.
    """
    times = check_steps(steps)
    if times.shape != risk.values.shape:
        raise ValueError(f"got {len(times)} steps for {len(risk.values)} risks")
    if not np.isfinite(risk.values).all():
        raise ValueError("the risks are not finite; sigma or the estimates are wrong")
    best = times[risk.values <= risk.values.min()]
    return int(best.min())


def _run(denoiser: Callable[[np.ndarray[Any, Any]], ArrayLike], image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    estimates = np.asarray(jnp.asarray(denoiser(image)))
    if estimates.ndim != 4 or estimates.shape[1:] != image.shape:
        raise ValueError(f"the denoiser must return estimates of shape (S, *{image.shape}), got {estimates.shape}")
    return estimates


def _check_sigma(sigma: float, y: ArrayLike) -> None:
    check_sigma(sigma, float(np.abs(np.asarray(y)).max()) or math.inf)
