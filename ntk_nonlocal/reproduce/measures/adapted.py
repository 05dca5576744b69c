"""Moved features: who does Adam's work, and what its kernel becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from ntk_nonlocal.architecture import parse_architecture
from ntk_nonlocal.images import psnr
from ntk_nonlocal.kernels import standard_layer_weights, tangent_kernel
from ntk_nonlocal.linalg import flow_filter
from ntk_nonlocal.networks import TrainingResult, empirical_kernel, linearize, preconditioner, train
from ntk_nonlocal.operators import LinearOperator

from ..pictures import Picture
from ..workspace import Arrays, Workspace
from .joint import joint_flow, joint_kernel
from .training import Training, network_input, trained

FloatArray = np.ndarray[Any, Any]
# In units of 1 / lambda_max; estimates are made for the last of them.
_TIMES = np.geomspace(1.0, 1e6, 80)
RECORD_EVERY = 5  # steps between the PSNR among which the best is looked for


@dataclass(frozen=True)
class Split:
    """A training by Adam, and the steps at which its Jacobian is frozen; closed forms take ``max_products``.

    With frozen features the same Adam is slower: it has ``linear_steps``.
    """

    training: Training
    at: tuple[int, ...]
    linear_steps: int
    max_products: int


def contributions(at: tuple[int, ...] | list[int]) -> list[str]:
    """The names of what is compared, in the order of :func:`split`."""
    last = max(at)
    return ["J0", "J0 from z0", f"J0 P{last}", "linearised Adam", *(f"J{step}" for step in at), f"J{last} P", "Adam"]


def split(settings: Split, workspace: Workspace) -> Arrays:
    """Adam, what it is made of, and closed forms: gradient flow from zero (or z0) with a kernel of all colours.

    Returns:
      "best" (n,), the best PSNR of everything in ``contributions``; "blind" (n,), its PSNR where its residual's mean
      square has come down to sigma^2 (Morozov 1966; NaN where it does not); "error" (n,), estimated relative errors of
      closed forms (0 for trainings); "rising" (n,), whether the best is the last.
    """
    run, pictures = settings.training, workspace.pictures
    picture = run.picture
    y, clean, x = pictures.noisy(picture), pictures.clean(picture), network_input(run, pictures)
    network, last = run.network(), max(settings.at)

    def adam(steps: int) -> TrainingResult:
        return trained(replace(run, steps=steps), workspace, RECORD_EVERY)

    results = {step: adam(step) for step in settings.at}
    whole = results[last] if last == run.steps else adam(run.steps)
    initial, divisor = whole.initial_params, preconditioner(results[last])
    frozen = train(
        linearize(network, initial), x, y, optimizer=run.optimizer, learning_rate=run.learning_rate,
        steps=settings.linear_steps, params=initial, clean=clean, record_every=RECORD_EVERY,
    )  # fmt: skip
    curves = [
        closed_form(joint_kernel(network, initial, x), y, clean, settings.max_products),
        closed_form(
            joint_kernel(network, initial, x), y, clean, settings.max_products, np.asarray(network.apply(initial, x))
        ),
        closed_form(joint_kernel(network, initial, x, divisor), y, clean, settings.max_products),
        own_curve(frozen),
    ]
    moved = [joint_kernel(network, found.params, x) for found in results.values()]
    moved.append(joint_kernel(network, results[last].params, x, divisor))
    curves += [closed_form(kernel, y, clean, settings.max_products) for kernel in moved]
    curves.append(own_curve(whole))
    quality = [np.asarray(curve["psnr"]) for curve in curves]
    return {
        "best": np.array([values.max() for values in quality]),
        "blind": np.array([blind_psnr(curve, picture.sigma) for curve in curves]),
        "error": np.array([curve["error"] for curve in curves]),
        "rising": np.array([values.argmax() == len(values) - 1 for values in quality]),
    }


def own_curve(result: TrainingResult) -> Mapping[str, Any]:
    """PSNR and mean square of the residual over a training, from its first step on."""
    history = result.history
    assert history.psnr is not None
    return {"psnr": history.psnr[1:], "square": 2 * history.loss[1:] / result.output.size, "error": 0.0}


def closed_form(
    kernel: LinearOperator, y: FloatArray, clean: FloatArray, max_products: int, start: FloatArray | None = None
) -> Mapping[str, Any]:
    """PSNR and mean square of the residual over gradient flow with a kernel of all colours."""
    outputs, path = joint_flow(kernel, y, _TIMES, max_products, start)
    quality = np.array([psnr(output, clean) for output in outputs])
    upto = _TIMES[: int(quality.argmax()) + 1]
    return {
        "psnr": quality,
        "square": np.mean((outputs - y) ** 2, axis=(1, 2, 3)),
        "error": float(path.error(flow_filter(upto)).max()),
    }


def blind_psnr(curve: Mapping[str, Any], sigma: float) -> float:
    """The PSNR at the first time at which the residual is as large as the noise."""
    reached = np.flatnonzero(np.asarray(curve["square"]) <= sigma**2)
    return float(curve["psnr"][reached[0]]) if len(reached) else np.nan


@dataclass(frozen=True)
class Likeness:
    """A training by Adam, looked at after the steps ``at``, and gradient descent as long; random ``probes``."""

    training: Training
    other: Picture
    at: tuple[int, ...]
    probes: int
    step_size: float = 0.5


FED = ("noise", "noisy", "clean", "estimate", "flipped", "other")


def observed(at: tuple[int, ...] | list[int]) -> list[str]:
    """The finite networks' kernels that :func:`likeness` looks at, in its order."""
    last = max(at)
    return ["initial", *(f"Adam {n}" for n in at), f"Adam {last} P", f"gradient descent {last}", "fed the picture"]


def likeness(settings: Likeness, workspace: Workspace) -> Arrays:
    """Centred alignment of a network's kernel (mean over colours) with exact kernels fed with different pictures.

    The exact kernel is that of the standard parametrisation's limit. "estimate" is Adam's output, "flipped" the noisy
    picture upside down and mirrored, "other" another noisy picture. "fed the picture" is what could be reached at this
    width: a network with fresh weights whose input is the noisy picture.

    Returns:
      "alignment" (kernels, FED) and "standard_error" of the probes, of the kernels in ``observed``; "among"
      (FED, FED), of the exact kernels with each other.
    """
    run, pictures = settings.training, workspace.pictures
    y, x, network = pictures.noisy(run.picture), network_input(run, pictures), run.network()
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (y.shape[0] * y.shape[1], settings.probes))
    probes = (signs - signs.mean(axis=0)).astype(np.float32)

    def product(kernel: LinearOperator) -> FloatArray:
        found = np.asarray(kernel @ probes, np.float64)
        return np.asarray(found - found.mean(axis=0))

    last = max(settings.at)
    results = [trained(replace(run, steps=step), workspace) for step in settings.at]
    descent = replace(run, optimizer="gd", steps=last, learning_rate=None, step_size=settings.step_size)
    kernels = [empirical_kernel(network, results[-1].initial_params, x)]
    kernels += [empirical_kernel(network, result.params, x) for result in results]
    kernels.append(empirical_kernel(network, results[-1].params, x, preconditioner=preconditioner(results[-1])))
    kernels.append(empirical_kernel(network, trained(descent, workspace).params, x))
    kernels.append(empirical_kernel(network, network.init(jax.random.key(run.seed), y), y))
    architecture = parse_architecture(run.architecture)
    weights = standard_layer_weights(architecture)
    fed = {
        "noise": x if run.input == "noise" else np.asarray(np.random.default_rng(1).normal(size=y.shape), np.float32),
        "noisy": y,
        "clean": pictures.clean(run.picture),
        "estimate": results[-1].output,
        "flipped": np.ascontiguousarray(y[::-1, ::-1]),
        "other": pictures.noisy(settings.other),
    }
    exact = []
    for name in FED:
        kernel = tangent_kernel(architecture, fed[name], layer_weights=weights, memory_plan="matrix")
        exact.append(product(kernel))
    ours = [product(kernel) for kernel in kernels]
    pairs = [[cosine(one, two) for two in exact] for one in ours]
    return {
        "alignment": np.array([[pair[0] for pair in line] for line in pairs]),
        "standard_error": np.array([[pair[1] for pair in line] for line in pairs]),
        "among": np.array([[cosine(one, two)[0] for two in exact] for one in exact]),
    }


def cosine(one: FloatArray, two: FloatArray) -> tuple[float, float]:
    """The cosine between two kernels from their products with the same probes, and its jackknife standard error."""
    sums = np.stack([(one * two).sum(axis=0), (one**2).sum(axis=0), (two**2).sum(axis=0)])
    total = sums.sum(axis=1)
    left = total[:, None] - sums
    values = left[0] / np.sqrt(left[1] * left[2])
    error = np.sqrt((len(values) - 1) * np.mean((values - values.mean()) ** 2))
    return float(total[0] / np.sqrt(total[1] * total[2])), float(error)
