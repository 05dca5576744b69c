"""The parts of the table: what they are, by their settings, what they reached, and their means over noise draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from .drawing import LABELS, network_name
from .experiment import Results, setting
from .measures.training import Training
from .parts import Measured
from .pictures import Picture, Role
from .statistics import Interval, mean

INPUTS = ("image", "noise")
ROLES: tuple[Role, Role] = ("smooth", "texture")
WEIGHTS = {"pytorch": "PyTorch's weights"}
WIDTH = 64  # channels, but of quick
LEVELS = 3  # of the autoencoder, at most
SLOW = 0.1  # of Adam's rate
SHOWN = (("autoencoder", "adam"), ("autoencoder", "gd"), ("vanilla_cnn", "gd"))
STEP_SIZE, RATE = 0.5, 1e-3  # of gradient descent, in 1 / lambda_max; of Adam


def is_slow(run: Measured) -> bool:
    """Whether Adam ran at a tenth of the others' rate."""
    rate = setting(run, "learning_rate")
    return rate is not None and rate < RATE / 2


def _levels(architecture: str) -> str:
    return architecture.partition("levels=")[2].partition(",")[0]


def is_deep(run: Measured) -> bool:
    """Whether an autoencoder has more levels than the table's own."""
    architecture = str(setting(run, "architecture"))
    return architecture.startswith("autoencoder") and int(_levels(architecture) or 0) > LEVELS


def is_stated(part: Measured) -> bool:
    """Whether a part was made as those of this table are, whatever its initial weights; what its settings do not name
    is so."""
    allowed: dict[str, tuple[object, ...]] = {
        "sigma": (Picture.sigma,),
        "width": (WIDTH,),
        "parameterization": (Training.parameterization,),
        "centered": (Training.centered,),
        "noise_channels": (Training.noise_channels,),
        "noise_scale": (Training.noise_scale,),
        "step_size": (STEP_SIZE,),
        "learning_rate": (RATE, SLOW * RATE),
    }
    return all(setting(part, name) in (None, *values) for name, values in allowed.items())


def best(part: Measured) -> float:
    """PSNR at the best step, chosen with the clean picture; NaN where training diverged."""
    return float(np.max(part["psnr"]))


def last(part: Measured) -> float:
    """PSNR after the last step."""
    return float(part["psnr"][-1])


def passed(part: Measured) -> bool:
    """Whether the best step is not among the last tenth; not so where training diverged."""
    return bool(np.isfinite(best(part)) and part["steps"][np.argmax(part["psnr"])] < 0.9 * part["steps"][-1])


def runs(results: Results, picture: str, architecture: str, source: str, optimizer: str) -> list[Measured]:
    """The repetitions of a cell of the table, those that did not diverge."""
    where = {"name": picture, "architecture": architecture, "input": source, "optimizer": optimizer}
    return [run for run in results.select("training", **where) if np.isfinite(best(run))]


def over_draws(values: Mapping[int, Sequence[float]]) -> Interval:
    """The mean over noise draws of the means over the seeds within each; with one draw the mean over its seeds."""
    means = [float(np.mean(found)) for found in values.values()]
    return mean(means) if len(means) > 1 else mean(next(iter(values.values()), ()))


def beside(found: Iterable[Measured], rival: Mapping[int, float]) -> dict[int, list[float]]:
    """Best PSNR of runs minus a rival's on the same noise, by noise draw; draws without the rival are left out."""
    differences: dict[int, list[float]] = {}
    for run in found:
        draw = setting(run, "noise_seed")
        if draw in rival:
            differences.setdefault(draw, []).append(best(run) - rival[draw])
    return differences


def simple(results: Results, picture: str, name: str) -> dict[int, float]:
    """PSNR of a simple filter, by noise draw."""
    found = results.select("baselines", name=picture)
    return {setting(part, "noise_seed"): float(part[name]) for part in found if name in part.arrays}


def called(run: Measured) -> str:
    """What a sentence calls a network and how it was trained."""
    architecture, _, scale = setting(run, "architecture").partition(",weight_std=")
    name, source = network_name(architecture), LABELS[setting(run, "input")]
    if run.kind == "limit_quality":
        return f"the closed form of the {name} from {source}"
    weights = f" with {WEIGHTS.get(scale, scale)}" if scale else ""
    weights += f", {SLOW:g} of the rate" if is_slow(run) else ""
    return f"{name} by {LABELS[setting(run, 'optimizer')]} from {source}{weights}"


def tops(found: Sequence[Measured]) -> dict[int, float]:
    """Best PSNR by noise draw, the mean over the runs within each."""
    values = beside(found, dict.fromkeys((setting(run, "noise_seed") for run in found), 0.0))
    return {draw: float(np.mean(bests)) for draw, bests in values.items()}


def mean_of(found: Mapping[int, float]) -> float:
    """The mean over noise draws."""
    return float(np.mean(list(found.values())))
