"""Gradient descent on finite networks approaches the theory's trajectory as the width grows; Adam does not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ntk_nonlocal.plotting import BLUE, ORANGE, PINK, RED, SKY

from .drawing import MARKERS, band, figure, log_widths, plain_decades
from .experiment import Preset, Results, Verdict, setting
from .measures.limits import OutputDistance, output_distance
from .parts import Part
from .pictures import Picture, Pictures
from .statistics import mean, slope

TITLE = "Dynamics: trained outputs against the fixed filter's trajectory"
_RUNS = {
    "ntk": ("distance", "gradient descent, ntk parametrisation, to Theta", BLUE, "-"),
    "weighted": ("weighted", "gradient descent, standard, to its layer-weighted kernel", SKY, "--"),
    "standard": ("distance", "gradient descent, standard, to Theta", PINK, ":"),
    "adam": ("distance", "Adam, standard, to Theta at the same step", RED, "-"),
    "nearest": ("nearest", "Adam, standard, to Theta at any time", ORANGE, "--"),
}


@dataclass(frozen=True)
class Config:
    """Architectures fed with the noisy image, over widths, repetitions and steps."""

    picture: Picture
    shape: tuple[int, int]
    architectures: tuple[str, ...]
    widths: tuple[int, ...]
    seeds: int
    steps: tuple[int, ...]


def configure(preset: Preset, pictures: Pictures) -> Config:
    """Quick: 16x16, widths to 256, 100 steps. Full: widths to 256, 1000 steps, 3 draws. Paper: 512, 5."""
    architectures = ("vanilla_cnn:kernel_size=5", "autoencoder:levels=2")
    if preset == "quick":
        return Config(pictures.picture("smooth", 32), (16, 16), architectures, (16, 64, 256), 2, (1, 10, 100))
    widths, seeds = ((16, 32, 64, 128, 256), 3) if preset == "full" else ((16, 32, 64, 128, 256, 512), 5)
    return Config(
        pictures.picture("smooth", 32), (16, 16), architectures, widths, seeds, (1, 3, 10, 30, 100, 300, 1000)
    )


def parts(config: Config) -> list[Part]:
    """One for every architecture, training, width and repetition."""
    return [
        Part(
            f"outputs of {architecture} {training} width {width} seed {seed}",
            output_distance,
            OutputDistance(config.picture, config.shape, architecture, training, width, config.steps, seed),
        )
        for architecture in config.architectures
        for width in config.widths
        for training in ("ntk", "standard", "adam")
        for seed in range(config.seeds)
    ]


def distances(results: Results, architecture: str, run: str) -> dict[int, np.ndarray]:
    """Distances (repetitions, steps) for every width; ``run`` is a key of the figure's legend."""
    training = {"weighted": "standard", "nearest": "adam"}.get(run, run)
    found: dict[int, list[np.ndarray]] = {}
    for part in results.select(architecture=architecture, training=training):
        found.setdefault(setting(part, "width"), []).append(part[_RUNS[run][0]])
    return {width: np.stack(values) for width, values in sorted(found.items())}


def summarise(results: Results) -> list[Verdict]:
    """Slopes in the width at a late step, and when the fixed filter stops being a good description."""
    verdicts = []
    steps = np.asarray(results.config["steps"])
    late = int(np.flatnonzero(steps <= 100)[-1])
    for architecture in results.config["architectures"]:
        ntk, standard = (distances(results, architecture, run) for run in ("ntk", "standard"))
        widest = max(ntk)
        fitted = slope({width: values[:, late] for width, values in ntk.items()})
        far = [f"{value:.3f} after {step}" for step, value in zip(steps, ntk[widest].mean(axis=0), strict=True)]
        verdicts.append(
            Verdict(
                1,
                f"{architecture}: gradient descent's output approaches the theory's as the width grows",
                "distance -> 0",
                f"after {steps[late]} steps distance {mean(ntk[widest][:, late].tolist())} at {widest} channels, "
                f"~ channels^{fitted}",
                "holds" if fitted.high < -0.25 else ("holds in part" if fitted.high < 0 else "contradicted"),
                f"At {widest} channels the distance is " + ", ".join(far) + ".",
            )
        )
        verdicts.append(_adam_verdict(results, architecture, int(steps[late]), late))
        weighted = distances(results, architecture, "weighted")[widest][:, late].mean()
        theta = standard[widest][:, late].mean()
        verdicts.append(
            Verdict(
                2,
                f"{architecture}: in the standard parametrisation with one step size gradient descent follows a "
                "layer-weighted kernel instead of Theta",
                "for one hidden layer its limit is the printed arc-cosine formula",
                f"after {steps[late]} steps at {widest} channels {weighted:.3f} from the weighted kernel's trajectory, "
                f"{theta:.3f} from that of Theta",
                "holds" if weighted < 0.9 * theta else ("undecided" if weighted < 1.1 * theta else "contradicted"),
                "Where all hidden layers have the same fan-in the two kernels hardly differ but for the first layer.",
            )
        )
    return verdicts


def _adam_verdict(results: Results, architecture: str, step: int, late: int) -> Verdict:
    gd, adam, near = (
        {width: values[:, late] for width, values in distances(results, architecture, run).items()}
        for run in ("ntk", "adam", "nearest")
    )
    widest = max(gd)
    fitted, gap, own = slope(adam), mean(adam[widest]), mean(gd[widest])
    apart = gap.low > 2 * own.high
    return Verdict(
        5,
        f"{architecture}: Adam's output does not approach the fixed filter's trajectory as the width grows",
        "it does not",
        f"after {step} steps {gap} away at {widest} channels, ~ channels^{fitted} (gradient descent: {own.value:.2f}, "
        f"~ channels^{slope(gd)})",
        "holds" if apart and fitted.high > -0.25 else "undecided",
        f"The nearest point of the trajectory, whenever it comes, is {near[widest].mean():.2f} away: both end in the "
        "noisy image.",
    )


def draw(results: Results, folder: Path) -> list[str]:
    """Distances over the width after a late step, and over the steps at the largest width."""
    architectures, steps = results.config["architectures"], list(results.config["steps"])
    late = int(np.flatnonzero(np.asarray(steps) <= 100)[-1])
    with figure(folder, "dynamics", (9.2, 3.4 * len(architectures)), len(architectures), 2) as (drawn, axes):
        for row, architecture in zip(axes, architectures, strict=True):
            for index, (run, (_, label, colour, line)) in enumerate(_RUNS.items()):
                found = distances(results, architecture, run)
                style = {"ls": line, "marker": MARKERS[index], "label": label}
                band(row[0], list(found), [values[:, late] for values in found.values()], colour, **style)
                band(row[1], steps, found[max(found)].T, colour, **style)
            log_widths(row[0], list(found))
            row[1].set_xscale("log")
            row[1].set_xlabel("steps")
            row[0].set_title(f"{architecture}, after {steps[late]} steps")
            row[1].set_title(f"{architecture}, {max(found)} channels")
            for axis in row:
                plain_decades(axis)
                axis.set_ylabel("relative distance of outputs")
        drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return ["dynamics"]
