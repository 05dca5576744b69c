"""Finite networks against their infinite-width limit: the kernel at initialisation, and the outputs over training."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np

from ntk_nonlocal.architecture import parse_architecture
from ntk_nonlocal.dynamics import trajectory
from ntk_nonlocal.images import crop, psnr
from ntk_nonlocal.kernels import standard_layer_weights
from ntk_nonlocal.linalg import relative_distance
from ntk_nonlocal.networks import (
    DivergenceError,
    Parameterization,
    empirical_kernel,
    noise_input,
    to_flax,
    train,
)
from ntk_nonlocal.operators import LinearOperator

from ..pictures import Picture, Pictures
from ..workspace import Arrays, Workspace
from .joint import joint_kernel
from .kernels import held_kernel

FloatArray = np.ndarray[Any, Any]


@dataclass(frozen=True)
class KernelDistance:
    """Empirical kernels at initialisation, of some widths and seeds, on a part of a noisy picture."""

    picture: Picture
    shape: tuple[int, int]
    architecture: str
    widths: tuple[int, ...]
    seeds: int


def kernel_distance(settings: KernelDistance, workspace: Workspace) -> Arrays:
    """|K_c - Theta| / |Theta| in the Frobenius norm, of the mean over the output channels' kernels.

    Returns:
      "distance" (widths, seeds).
    """
    x = _part(settings.picture, settings.shape, workspace.pictures)
    architecture = parse_architecture(settings.architecture)
    exact = held_kernel(architecture, x)
    rows = []
    for width in settings.widths:
        network = to_flax(architecture, width, 3, "ntk")
        draws = [network.init(jax.random.key(seed), x) for seed in range(settings.seeds)]
        rows.append([relative_distance(empirical_kernel(network, params, x), exact).value for params in draws])
    return {"distance": np.array(rows)}


@dataclass(frozen=True)
class Following:
    """One finite network trained by gradient descent, and what the theory says of that very network.

    ``parameterization`` "ntk" is compared with Theta, "standard" (one step size for all layers) with its layer-weighted
    kernel; ``step_size`` is relative to 1 / lambda_max of that kernel, the absolute step the same on both sides.
    """

    picture: Picture
    architecture: str
    input: Literal["image", "noise"]
    parameterization: Parameterization
    centered: bool
    width: int
    steps: tuple[int, ...]
    seed: int
    step_size: float = 0.5
    noise_channels: int = 32
    noise_scale: float = 0.5


def following(settings: Following, workspace: Workspace) -> Arrays:
    """A network's outputs beside those of the infinitely wide network that starts where it starts: zero where centered.

    Returns:
      (steps,) each: "psnr" of the network, "theory" of the theory from the same start, "from_zero" of the theory from
      zero, "linear" of the network with the kernel that it has at the start, over pixels and channels together, kept
      (the network linearised); "distance" and "linear_distance", |network - other| / |other| for the first and the
      last of these. NaN where training diverged. "start", the deviation of z0.
    """
    pictures, picture = workspace.pictures, settings.picture
    y, clean = pictures.noisy(picture), pictures.clean(picture)
    x = y
    if settings.input == "noise":
        size = (picture.size, picture.size)
        x = noise_input(size, settings.noise_channels, settings.noise_scale, settings.seed)
    architecture = parse_architecture(settings.architecture)
    network = to_flax(architecture, settings.width, 3, settings.parameterization, settings.centered)
    params = network.init(jax.random.key(settings.seed), x)
    start = np.asarray(network.apply(params, x))
    standard = settings.parameterization == "standard"
    weights = standard_layer_weights(architecture, settings.width, x.shape[2]) if standard else None
    kernel = held_kernel(architecture, x, layer_weights=weights)
    path = trajectory(kernel, y, steps=settings.steps, step_size=settings.step_size, start=start, tolerance=1e-3)
    theory = np.asarray(path.estimates(settings.steps, settings.step_size))
    zero = theory
    if not settings.centered:
        from_zero = trajectory(
            kernel, y, steps=settings.steps, step_size=settings.step_size, tolerance=1e-3, lambda_max=path.lambda_max,
            probes=0,
        )  # fmt: skip
        zero = np.asarray(from_zero.estimates(settings.steps, settings.step_size))
    rate = settings.step_size / path.lambda_max / (settings.width if standard else 1)
    own = joint_kernel(*network.plain(params), x)
    linear = _descent(own, y.reshape(len(y), -1, 1), start.reshape(len(y), -1, 1), settings.steps, rate)
    linear = linear.reshape(theory.shape)
    outputs = np.full_like(theory, np.nan)
    with contextlib.suppress(DivergenceError):
        result = train(
            network, x, y, learning_rate=rate, params=params, steps=max(settings.steps), keep_outputs=settings.steps
        )
        outputs = np.stack([result.outputs[step] for step in settings.steps])
    return {
        "psnr": _psnr(outputs, clean),
        "theory": _psnr(theory, clean),
        "from_zero": _psnr(zero, clean),
        "linear": _psnr(linear, clean),
        "distance": _distance(outputs, theory),
        "linear_distance": _distance(outputs, linear),
        "start": np.asarray(start.std()),
    }


def _descent(op: LinearOperator, y: FloatArray, start: FloatArray, steps: tuple[int, ...], rate: float) -> FloatArray:
    """Gradient descent at an absolute rate, (steps, H, W, C); NaN where it diverges."""
    step_size = 1.0
    for _ in range(2):  # the Krylov space is built for a step size, in units that it finds itself
        path = trajectory(op, y, steps=steps, step_size=step_size, start=start, tolerance=1e-3)
        needed = rate * path.lambda_max
        if needed <= step_size:
            break
        if needed >= 2:
            return np.full((len(steps), *y.shape), np.nan)
        step_size = needed
    return np.asarray(path.estimates(steps, needed))


def _psnr(outputs: FloatArray, clean: FloatArray) -> FloatArray:
    return np.array([psnr(output, clean) if np.isfinite(output).all() else np.nan for output in outputs])


def _distance(outputs: FloatArray, path: FloatArray) -> FloatArray:
    axes = (1, 2, 3)
    difference = np.square(outputs - path, dtype=np.float64).sum(axes)
    return np.asarray(np.sqrt(difference / np.square(path, dtype=np.float64).sum(axes)))


def _part(picture: Picture, shape: tuple[int, int], pictures: Pictures) -> FloatArray:
    return crop(pictures.noisy(picture), (shape[0], shape[1]))
