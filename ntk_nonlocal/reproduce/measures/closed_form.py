"""The infinitely wide network itself: its estimates over time, Nystrom's, and filter rows."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ntk_nonlocal.architecture import parse_architecture
from ntk_nonlocal.denoisers import nonlocal_means
from ntk_nonlocal.dynamics import trajectory
from ntk_nonlocal.images import psnr
from ntk_nonlocal.linalg import approximation_error, nystrom
from ntk_nonlocal.networks import noise_input
from ntk_nonlocal.operators import LinearOperator

from ..pictures import Picture, Pictures
from ..workspace import Arrays, Workspace
from .kernels import held_kernel

FloatArray = np.ndarray[Any, Any]


# Steps of a trajectory, evenly on a logarithmic scale, far beyond the best of any network.
BEYOND_THE_BEST = tuple(int(step) for step in np.unique(np.round(np.geomspace(1, 10**6, 61))))


@dataclass(frozen=True)
class Limit:
    """The exact kernel of an architecture on the noisy picture, on the clean one, or on iid noise."""

    picture: Picture
    architecture: str
    input: Literal["image", "clean", "noise"]
    kind: Literal["ntk", "nngp"] = "ntk"
    seed: int = 0
    noise_channels: int = 32
    noise_scale: float = 0.5

    def network_input(self, pictures: Pictures) -> FloatArray:
        """What the network is fed, shape (H, W, C)."""
        if self.input == "noise":
            size = (self.picture.size, self.picture.size)
            return noise_input(size, self.noise_channels, self.noise_scale, self.seed)
        return pictures.noisy(self.picture) if self.input == "image" else pictures.clean(self.picture)

    def kernel(self, pictures: Pictures) -> LinearOperator:
        """The kernel as an operator."""
        return held_kernel(parse_architecture(self.architecture), self.network_input(pictures), self.kind)


@dataclass(frozen=True)
class Theory:
    """Gradient descent with an exact kernel from zero, the mean over networks, at step size 1 / lambda_max."""

    limit: Limit
    steps: tuple[int, ...]
    max_products: int = 500


def theory(settings: Theory, workspace: Workspace) -> Arrays:
    """The estimates of an infinitely wide network.

    Returns:
      "steps", "psnr", "degrees_of_freedom" and its standard error "freedom_error", all (steps,); "output" at the best
      of the steps in half precision; "error" (steps,), the estimated relative errors of the estimates.
    """
    pictures = workspace.pictures
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the errors are stored
        path = trajectory(
            settings.limit.kernel(pictures), pictures.noisy(settings.limit.picture), steps=settings.steps, probes=5,
            tolerance=1e-3, max_products=settings.max_products,
        )  # fmt: skip
    estimates = np.asarray(path.estimates(settings.steps))
    quality = _psnr(estimates, pictures.clean(settings.limit.picture))
    freedom = path.degrees_of_freedom(settings.steps)
    return {
        "steps": np.asarray(settings.steps),
        "psnr": quality,
        "degrees_of_freedom": freedom.value,
        "freedom_error": freedom.standard_error,
        "output": estimates[int(quality.argmax())].astype(np.float16),
        "error": np.asarray(path.error_estimate(settings.steps), np.float32),
    }


def limit_quality(settings: Theory, workspace: Workspace) -> Arrays:
    """What :func:`theory` gives, of it "steps", "psnr" and "error" alone."""
    found = theory(settings, workspace)
    return {name: found[name] for name in ("steps", "psnr", "error")}


@dataclass(frozen=True)
class LowRank:
    """Gradient descent with a Nystrom approximation of a kernel, at .99 / lambda_max of the approximation itself."""

    limit: Limit
    rank: int
    sampling: Literal["columns", "gaussian"]
    steps: tuple[int, ...]
    seed: int = 0
    keep_output: bool = True


def low_rank(settings: LowRank, workspace: Workspace) -> Arrays:
    """The estimates of a Nystrom approximation.

    Returns:
      "steps" and "psnr" (steps,); "missing", the share of the trace that it misses, and "frobenius", its relative
      distance from the kernel, each (value, standard error); with ``keep_output`` "output" at the best of the steps.
    """
    pictures = workspace.pictures
    kernel = settings.limit.kernel(pictures)
    approximation = nystrom(kernel, settings.rank, settings.sampling, seed=settings.seed)
    estimates = np.asarray(
        approximation.gradient_descent(pictures.noisy(settings.limit.picture), settings.steps, step_size=0.99)
    )
    quality = _psnr(estimates, pictures.clean(settings.limit.picture))
    error = approximation_error(kernel, approximation)
    output = {"output": estimates[int(quality.argmax())].astype(np.float16)} if settings.keep_output else {}
    return output | {
        "steps": np.asarray(settings.steps),
        "psnr": quality,
        "missing": np.array([error.trace.value, error.trace.standard_error]),
        "frobenius": np.array([error.frobenius.value, error.frobenius.standard_error]),
    }


@dataclass(frozen=True)
class Rows:
    """Filter weights of some pixels, (row, column) each in parts of the picture's size."""

    limit: Limit
    pixels: tuple[tuple[float, float], ...]


def rows(settings: Rows, workspace: Workspace) -> Arrays:
    """Rows of a kernel beside those of non-local means (7x7 patches, the whole picture, h = 0.6 sigma).

    Returns:
      "kernel" and "nonlocal_means" (pixels, H, W), each row over its largest entry.
    """
    pictures, size = workspace.pictures, settings.limit.picture.size
    pixels = [int(row * size) * size + int(column * size) for row, column in settings.pixels]
    kernel = np.asarray(settings.limit.kernel(pictures).rows(np.asarray(pixels)))
    means = affinity_rows(settings.limit.picture, pictures, pixels)
    return {
        name: (values / np.abs(values).max(axis=1, keepdims=True)).reshape(-1, size, size).astype(np.float16)
        for name, values in (("kernel", kernel), ("nonlocal_means", means))
    }


def affinity_rows(picture: Picture, pictures: Pictures, pixels: Sequence[int], *, clean: bool = False) -> FloatArray:
    """What non-local means (7x7 patches, the whole picture, h = 0.6 sigma) weighs all pixels by, (pixels, H W)."""
    means = nonlocal_means(pictures.clean(picture) if clean else pictures.noisy(picture), sigma=picture.sigma)
    return np.asarray(means.rows(np.asarray(pixels)))


def _psnr(estimates: FloatArray, clean: FloatArray) -> FloatArray:
    return np.array([psnr(estimate, clean) for estimate in estimates])
