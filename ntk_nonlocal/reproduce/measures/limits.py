"""Finite networks against their infinite-width limit: the kernel at initialisation, and the outputs over training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np

from ntk_nonlocal.architecture import parse_architecture
from ntk_nonlocal.dynamics import trajectory
from ntk_nonlocal.images import crop
from ntk_nonlocal.kernels import standard_layer_weights
from ntk_nonlocal.linalg import relative_distance
from ntk_nonlocal.networks import FlaxNetwork, Params, empirical_kernel, to_flax, train

from ..pictures import Picture, Pictures
from ..workspace import Arrays, Workspace
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
class OutputDistance:
    """Outputs of finite networks against the theory's trajectory, at some steps.

    ``training``: "ntk" is gradient descent in the "ntk" parametrisation, "standard" that in the standard one with one
    step size for all layers, "adam" is Adam in the standard parametrisation with ``learning_rate``.
    """

    picture: Picture
    shape: tuple[int, int]
    architecture: str
    training: Literal["ntk", "standard", "adam"]
    width: int
    steps: tuple[int, ...]
    seed: int
    step_size: float = 1.0
    learning_rate: float = 1e-3


def output_distance(settings: OutputDistance, workspace: Workspace) -> Arrays:
    """|z_c(t) - z(t)| / |z(t)|, z the trajectory of the infinitely wide network from the same initial output.

    Returns:
      "distance" (steps,) to gradient descent with Theta; "nearest" (steps,), the distance to the nearest point of that
      whole trajectory, at any time; for "standard" also "weighted" (steps,), the distance to the path of
      the layer-weighted kernel.
    """
    x = _part(settings.picture, settings.shape, workspace.pictures)
    architecture = parse_architecture(settings.architecture)
    network = to_flax(architecture, settings.width, 3, "ntk" if settings.training == "ntk" else "standard")
    params = network.init(jax.random.key(settings.seed), x)
    start = network.apply(params, x)
    theory = trajectory(held_kernel(architecture, x), x, steps=(10**5,), start=start)
    path = np.asarray(theory.estimates(settings.steps, settings.step_size))
    arrays: Arrays = {}
    if settings.training == "standard":
        # The step size of Theta over the width; the weighted kernel's own largest eigenvalue keeps it stable.
        weights = standard_layer_weights(architecture, settings.width, x.shape[2])
        weighted = trajectory(
            held_kernel(architecture, x, layer_weights=weights), x, steps=settings.steps, start=start,
            step_size=settings.step_size,
        )  # fmt: skip
        rate = settings.step_size / (weighted.lambda_max * settings.width)
        outputs = _outputs(network, params, x, settings, "gd", rate)
        arrays["weighted"] = _distance(outputs, np.asarray(weighted.estimates(settings.steps, settings.step_size)))
    elif settings.training == "ntk":
        outputs = _outputs(network, params, x, settings, "gd", settings.step_size / theory.lambda_max)
    else:
        outputs = _outputs(network, params, x, settings, "adam", settings.learning_rate)
    times = np.unique(np.round(np.geomspace(1, 10**5, 120)).astype(int))
    whole = np.asarray(theory.estimates(times, settings.step_size))
    nearest = np.array([_distance(np.broadcast_to(output, whole.shape), whole).min() for output in outputs])
    return arrays | {"distance": _distance(outputs, path), "nearest": nearest}


def _outputs(
    network: FlaxNetwork, params: Params, x: FloatArray, settings: OutputDistance, optimizer: Any, rate: float
) -> FloatArray:
    result = train(
        network, x, x, optimizer=optimizer, learning_rate=rate, params=params, steps=max(settings.steps),
        keep_outputs=settings.steps,
    )  # fmt: skip
    return np.stack([result.outputs[step] for step in settings.steps])


def _distance(outputs: FloatArray, path: FloatArray) -> FloatArray:
    axes = (1, 2, 3)
    difference = np.square(outputs - path, dtype=np.float64).sum(axes)
    return np.asarray(np.sqrt(difference / np.square(path, dtype=np.float64).sum(axes)))


def _part(picture: Picture, shape: tuple[int, int], pictures: Pictures) -> FloatArray:
    return crop(pictures.noisy(picture), (shape[0], shape[1]))
