"""How far optimizers leave the kernel regime, and how well they and the kernels that they make denoise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from ntk_nonlocal.architecture import convolutions
from ntk_nonlocal.networks import (
    DivergenceError,
    FlaxNetwork,
    Params,
    TrainingResult,
    empirical_kernel,
    parameters_at,
    relative_names,
)

from ..pictures import Pictures
from ..workspace import Arrays, Workspace
from .adapted import RECORD_EVERY, blind_psnr, closed_form, cosine, own_curve
from .joint import joint_kernel
from .training import Training, network_input, trained

FloatArray = np.ndarray[Any, Any]
MEASURED = (
    "best", "blind", "step", "rising", "seconds", "weights_moved", "weights_scale", "weights_turned", "kernel_scale",
    "kernel_turned", "kernel_error", "after", "after_blind", "after_rising", "after_error",
)  # fmt: skip


@dataclass(frozen=True)
class Regime:
    """Trainings by one optimizer, over ``draws``: each draws the noise, the weights and the network's input.

    Of ``rates`` (step sizes of gradient descent, else learning rates; none for an optimizer that finds its own) the one
    counts whose best PSNR is best in the mean over the draws. ``probes`` compare kernels, closed forms take
    ``max_products``.
    """

    training: Training
    rates: tuple[float, ...]
    draws: tuple[int, ...]
    probes: int
    max_products: int

    def run(self, draw: int, rate: float | None, steps: int | None = None) -> Training:
        """The training of one draw at one rate."""
        kind = "step_size" if self.training.optimizer in relative_names() else "learning_rate"
        picture = replace(self.training.picture, noise_seed=draw)
        own = replace(self.training, picture=picture, seed=draw, steps=steps or self.training.steps)
        return own if rate is None else replace(own, **{kind: rate})  # type: ignore[arg-type]


def regime(settings: Regime, workspace: Workspace) -> Arrays:
    """How far an optimizer moves the weights and the kernel up to its own best step, and how well both denoise.

    Returns:
      "tuned" (rates, draws), the best PSNR (NaN where training diverged); "rate"; and over the draws, (draws,) each
      (NaN where all rates diverged): "best", the best PSNR, at "step", "rising" where that is the last one; "blind",
      the PSNR where the residual's mean square has come down to sigma^2 (the last one where it does not, as in
      ``denoise``); "seconds" of the run up to the best step; of the hidden weights w "weights_moved", |w - w_0| /
      |w_0|, "weights_scale", |w| / |w_0|, and "weights_turned", 1 - cos(w, w_0); of the kernel K (mean over colours)
      "kernel_scale", |K| / |K_0|, and "kernel_turned", 1 - their centred alignment, with "kernel_error", its standard
      error by the probes; and of the closed form with the kernel (all colours) of that step "after", its best PSNR,
      "after_rising", "after_blind" and "after_error", its estimated relative error.
    """
    rates: tuple[float | None, ...] = settings.rates or (None,)
    curves = [[_curve(settings.run(draw, rate), workspace, str(rate)) for draw in settings.draws] for rate in rates]
    tuned = np.array([[np.max(curve["psnr"]) for curve in line] for line in curves])
    means = np.nan_to_num(tuned.mean(axis=1), nan=-np.inf)  # a rate that diverges once is out
    chosen, lost = int(means.argmax()), not np.isfinite(means).any()
    rate = rates[chosen]
    found = [
        dict.fromkeys(MEASURED, np.nan) if lost else _measured(settings, draw, rate, curve, workspace)
        for draw, curve in zip(settings.draws, curves[chosen], strict=True)
    ]
    return {
        "tuned": tuned,
        "rate": np.asarray(np.nan if rate is None else rate),
        **{name: np.array([one[name] for one in found], np.float64) for name in MEASURED},
    }


def _curve(run: Training, workspace: Workspace, label: str) -> Mapping[str, Any]:
    """PSNR and residual over a training, of NaN where it diverges."""
    try:
        return own_curve(_trained(run, workspace, label))
    except DivergenceError:
        return {"psnr": np.full(1, np.nan), "square": np.full(1, np.nan)}


def _trained(run: Training, workspace: Workspace, label: str) -> TrainingResult:
    """A training, whose checkpoints have a folder of their own."""
    own = replace(workspace, folder=workspace.folder / f"{label}-{run.seed}")
    return trained(run, own, RECORD_EVERY)


def _measured(
    settings: Regime, draw: int, rate: float | None, curve: Mapping[str, Any], workspace: Workspace
) -> dict[str, float]:
    """One draw at the chosen rate, run again up to its best step."""
    pictures, whole = workspace.pictures, settings.run(draw, rate)
    quality = np.asarray(curve["psnr"])
    step = min(RECORD_EVERY * (int(quality.argmax()) + 1), whole.steps)
    run = settings.run(draw, rate, step)
    best = _trained(run, workspace, "best")
    network, x = run.network(), network_input(run, pictures)
    y, clean = pictures.noisy(run.picture), pictures.clean(run.picture)
    after = closed_form(joint_kernel(network, best.params, x), y, clean, settings.max_products)
    filtered, stopped = np.asarray(after["psnr"]), blind_psnr(curve, run.picture.sigma)
    return {
        "best": quality.max(),
        "blind": quality[-1] if np.isnan(stopped) else stopped,
        "step": step,
        "rising": step == whole.steps,
        "seconds": best.seconds,
        **_weights(network, best.initial_params, best.params),
        **kernels_apart(network, best.initial_params, best.params, x, settings.probes),
        "after": filtered.max(),
        "after_blind": blind_psnr(after, run.picture.sigma),
        "after_rising": filtered.argmax() == len(filtered) - 1,
        "after_error": after["error"],
    }


def _weights(network: FlaxNetwork, initial: Params, params: Params) -> dict[str, float]:
    """Distance, scale and direction of the hidden kernels' weights."""
    placed = [one for one in convolutions(network.architecture) if one.fan_in_width is not None and not one.is_output]

    def flat(tree: Params) -> FloatArray:
        return np.concatenate([np.ravel(parameters_at(tree, one.position)["kernel"]) for one in placed])

    before, now = np.asarray(flat(initial), np.float64), np.asarray(flat(params), np.float64)
    size, other = np.linalg.norm(before), np.linalg.norm(now)
    return {
        "weights_moved": float(np.linalg.norm(now - before) / size),
        "weights_scale": float(other / size),
        "weights_turned": float(1 - now @ before / (size * other)),
    }


def kernels_apart(
    network: FlaxNetwork, initial: Params, params: Params, x: FloatArray, probes: int
) -> dict[str, float]:
    """Scale and direction of a network's kernel (mean over colours) at ``params``, beside that at ``initial``."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (x.shape[0] * x.shape[1], probes)).astype(np.float32)
    plain, centred = [], []
    for at in (initial, params):
        kernel = empirical_kernel(network, at, x)
        products = np.asarray(kernel @ np.concatenate([signs, np.ones_like(signs[:, :1])], axis=1), np.float64)
        plain.append(products[:, :-1])
        # H K H z = H (K z - mean(z) K 1), H = 1 - 11^T / d
        without = products[:, :-1] - products[:, -1:] * signs.mean(axis=0)
        centred.append(without - without.mean(axis=0))
    value, error = cosine(*centred)
    scale = np.linalg.norm(plain[1]) / np.linalg.norm(plain[0])
    return {"kernel_scale": float(scale), "kernel_turned": 1 - value, "kernel_error": error}


@dataclass(frozen=True)
class Initial:
    """What optimizers start from: the kernel of ``training``'s network, over ``draws`` as in :class:`Regime`."""

    training: Training
    draws: tuple[int, ...]
    probes: int
    max_products: int


def initial(settings: Initial, workspace: Workspace) -> Arrays:
    """The closed form with the initial kernel, and how far it is from that of other initial weights.

    Returns:
      over the draws, (draws,) each: "after", "after_blind", "after_rising" and "after_error" as of :func:`regime`;
      "kernel_scale", "kernel_turned" and "kernel_error" of another draw's weights on the same input.
    """
    found = []
    for draw in settings.draws:
        run = Regime(settings.training, (), settings.draws, settings.probes, settings.max_products).run(draw, None)
        found.append(_initial(run, settings, workspace.pictures))
    return {name: np.array([one[name] for one in found], np.float64) for name in found[0]}


def _initial(run: Training, settings: Initial, pictures: Pictures) -> dict[str, float]:
    network, x = run.network(), network_input(run, pictures)
    own, other = (network.init(jax.random.key(seed), x) for seed in (run.seed, run.seed + 500))
    curve = closed_form(
        joint_kernel(network, own, x), pictures.noisy(run.picture), pictures.clean(run.picture), settings.max_products
    )
    filtered = np.asarray(curve["psnr"])
    return {
        "after": filtered.max(),
        "after_blind": blind_psnr(curve, run.picture.sigma),
        "after_rising": filtered.argmax() == len(filtered) - 1,
        "after_error": curve["error"],
        **kernels_apart(network, own, other, x, settings.probes),
    }
