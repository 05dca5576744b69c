"""The kernel moves: alignment of the empirical tangent kernel with its initial value over training, by width."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ntk_nonlocal.plotting import BLUE, RED

from .drawing import LABELS, MARKERS, band, figure, plain_decades
from .experiment import Preset, Results, Verdict, setting
from .measures.training import KernelChange, Training, kernel_change
from .parts import Part
from .pictures import Picture, Pictures
from .statistics import mean

TITLE = "The tangent kernel during training: how far it moves, by optimiser and width"
_COLOURS = {"gd": BLUE, "adam": RED}


@dataclass(frozen=True)
class Config:
    """The autoencoder in the standard parametrisation, fed with the noisy image and with iid noise."""

    picture: Picture
    architecture: str
    widths: tuple[int, ...]
    seeds: int
    steps: tuple[int, ...]
    probes: int
    step_size: float = 0.5
    learning_rate: float = 1e-3


def configure(preset: Preset, pictures: Pictures) -> Config:
    """Quick: 32x32, 16 and 64 channels, 200 steps. Full: widths to 128, 3 draws. Paper: 64x64, widths to 512."""
    if preset == "quick":
        return Config(pictures.picture("smooth", 32), "autoencoder:levels=2", (16, 64), 2, (20, 200), 16)
    if preset == "full":
        picture, steps = pictures.picture("smooth", 32), (10, 50, 200, 1000)
        return Config(picture, "autoencoder:levels=2", (16, 64, 128), 3, steps, 32)
    picture = pictures.picture("smooth", 64)
    return Config(picture, "autoencoder:levels=3", (16, 64, 256, 512), 5, (10, 50, 200, 1000, 5000), 32)


def parts(config: Config) -> list[Part]:
    """One for every input, width, optimiser, repetition and number of steps."""
    found = []
    for width in config.widths:
        for optimizer in ("gd", "adam"):
            for seed in range(config.seeds):
                for steps in config.steps:
                    run = Training(
                        picture=config.picture,
                        architecture=config.architecture,
                        input="noise",
                        optimizer="gd" if optimizer == "gd" else "adam",
                        width=width,
                        steps=steps,
                        seed=seed,
                        step_size=config.step_size if optimizer == "gd" else None,
                        learning_rate=config.learning_rate if optimizer == "adam" else None,
                    )
                    name = f"kernel after {steps} steps of {optimizer}, width {width} seed {seed}"
                    found.append(Part(name, kernel_change, KernelChange(run, config.probes)))
    return found


def curves(results: Results, optimizer: str, width: int, array: str) -> tuple[list[int], list[list[float]]]:
    """Steps, and the values of an array of all repetitions at each."""
    found: dict[int, list[float]] = {}
    for part in results.select(optimizer=optimizer, width=width):
        found.setdefault(setting(part, "steps"), []).append(float(part[array][0]))
    return list(found), list(found.values())


def summarise(results: Results) -> list[Verdict]:
    """The kernel's alignment and distance after the last step, at the largest width."""
    widths = results.config["widths"]
    ends = {
        (optimizer, width): {
            array: mean(curves(results, optimizer, width, array)[1][-1]) for array in ("centred_alignment", "distance")
        }
        for optimizer in ("gd", "adam")
        for width in widths
    }
    wide, narrow, steps = max(widths), min(widths), max(results.config["steps"])
    gd, adam = ends["gd", wide], ends["adam", wide]
    shrinks = gd["distance"].value < ends["gd", narrow]["distance"].value
    return [
        Verdict(
            5,
            f"from iid noise: after {steps} steps Adam has turned the tangent kernel more than gradient descent",
            "Theta becomes Theta_t under Adam",
            f"at {wide} channels centred alignment with the initial kernel {adam['centred_alignment']} under Adam, "
            f"{gd['centred_alignment']} under gradient descent; relative distance {adam['distance']} "
            f"and {gd['distance']}",
            "holds" if adam["centred_alignment"].high < gd["centred_alignment"].low else "holds in part",
        ),
        Verdict(
            1,
            "under gradient descent the kernel moves less the wider the network",
            "it stays fixed in the limit",
            f"relative distance after {steps} steps {ends['gd', narrow]['distance']} at {narrow} channels, "
            f"{gd['distance']} at {wide}",
            "holds" if shrinks else "contradicted",
        ),
    ]


def draw(results: Results, folder: Path) -> list[str]:
    """Alignment and distance over the steps; bars from the least to the largest repetition."""
    panels = (("alignment", "alignment"), ("centred_alignment", "centred alignment"), ("distance", "relative distance"))
    with figure(folder, "kernel-change", (9.4, 3.6), 1, 3) as (drawn, axes):
        for axis, (array, label) in zip(axes[0], panels, strict=True):
            for optimizer, colour in _COLOURS.items():
                for index, width in enumerate(results.config["widths"]):
                    steps, values = curves(results, optimizer, width, array)
                    alpha = float(np.linspace(0.45, 1, len(results.config["widths"]))[index])
                    band(axis, steps, values, colour, marker=MARKERS[index], alpha=alpha,
                         label=f"{LABELS[optimizer]}, {width} channels")  # fmt: skip
            axis.set_xscale("log")
            axis.set_xticks(steps, [str(step) for step in steps])
            axis.minorticks_off()
            axis.set_xlabel("steps")
            axis.set_title(f"{label} with the initial kernel" if array != "distance" else f"{label} from it")
        plain_decades(axes[0, 2])
        drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return ["kernel-change"]
