"""The kernel moves: direction and scale of the empirical tangent kernel over training, by optimiser and width."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ntk_nonlocal.plotting import BLUE, RED

from .drawing import LABELS, MARKERS, band, figure, plain_decades
from .experiment import Outcome, Preset, Results, Verdict, setting
from .measures.training import KernelChange, Training, kernel_change
from .parts import Part
from .pictures import Picture, Pictures
from .statistics import mean, slope

TITLE = "The tangent kernel during training: its direction and its scale, by optimiser and width"
_COLOURS = {"gd": BLUE, "adam": RED}


@dataclass(frozen=True)
class Config:
    """The autoencoder in the standard parametrisation, fed with iid noise; both optimisers' rates fall like 1 / width.

    ``learning_rate`` is Adam's at ``scaled_from`` channels.
    """

    picture: Picture
    architecture: str
    widths: tuple[int, ...]
    seeds: int
    steps: tuple[int, ...]
    probes: int
    step_size: float = 0.5
    learning_rate: float = 1e-3
    scaled_from: int = 64


def configure(preset: Preset, pictures: Pictures) -> Config:
    """64x64 crops. Quick: 16 and 64 channels, 200 steps, 2 draws. Full: widths to 128, 1000 steps, 5. Paper: to 512."""
    picture = pictures.picture("smooth", 64)
    if preset == "quick":
        return Config(picture, "autoencoder:levels=2", (16, 64), 2, (200,), 8)
    if preset == "full":
        return Config(picture, "autoencoder:levels=2", (16, 32, 64, 128), 5, (50, 1000), 16)
    return Config(picture, "autoencoder:levels=3", (16, 64, 256, 512), 5, (50, 1000, 5000), 32)


def parts(config: Config) -> list[Part]:
    """One for every width, optimiser, repetition and number of steps."""
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
                        learning_rate=config.learning_rate * config.scaled_from / width
                        if optimizer == "adam"
                        else None,
                    )
                    name = f"kernel after {steps} steps of {optimizer}, width {width} seed {seed}"
                    found.append(Part(name, kernel_change, KernelChange(run, config.probes)))
    return found


def curves(results: Results, optimizer: str, width: int, array: str) -> tuple[list[int], list[list[float]]]:
    """Steps, and the values of an array of all repetitions at each."""
    found: dict[int, list[float]] = {}
    for part in results.select(optimizer=optimizer, width=width):
        found.setdefault(setting(part, "steps"), []).append(float(np.atleast_1d(part[array])[0]))
    return list(found), list(found.values())


def summarise(results: Results) -> list[Verdict]:
    """Direction and scale apart, at the largest width after the last step; and the direction over the widths."""
    config = results.config
    widths, steps = config["widths"], max(config["steps"])
    wide = max(widths)

    def end(optimizer: str, width: int, array: str) -> list[float]:
        return curves(results, optimizer, width, array)[1][-1]

    turned = {o: mean([1 - value for value in end(o, wide, "centred_alignment")]) for o in ("gd", "adam")}
    scales, moved = ({o: mean(end(o, wide, array)) for o in ("gd", "adam")} for array in ("scale", "distance"))
    outcome: Outcome = "undecided"
    if turned["adam"].low > turned["gd"].high:
        outcome = "holds"
    elif turned["adam"].high < turned["gd"].low:
        outcome = "contradicted"
    side, name = config["picture"]["size"], config["picture"]["name"]
    tried = (
        f"{side}x{side} of {name}, {config['architecture']}, {config['seeds']} seeds, rates ~ 1/channels, {steps} steps"
    )
    verdicts = [
        Verdict(
            5,
            "fed with iid noise Adam turns the tangent kernel more than gradient descent does",
            "Theta becomes Theta_t under Adam",
            f"at {wide} channels 1 - centred alignment with the initial kernel {turned['adam']} under Adam, "
            f"{turned['gd']} under gradient descent; its norm became {scales['adam']} and {scales['gd']} times what it "
            f"was, its relative distance, scale included, {moved['adam']} and {moved['gd']}",
            outcome,
            f"The direction is judged, at equal steps, scale and distance are given: a kernel that only grows is the "
            f"same filter with another step "
            f"({tried}; "
            "more seeds or steps would change it).",
            "deciding",
            f"turned by {turned['adam'].value:.2f} under Adam, {turned['gd'].value:.2f} under gradient descent",
        )
    ]
    direction = slope({w: np.abs(1 - np.asarray(end("gd", w, "centred_alignment"))) for w in widths})
    distance = slope({w: end("gd", w, "distance") for w in widths})
    verdicts.append(
        Verdict(
            1,
            "under gradient descent the kernel turns less the wider the network",
            "it stays fixed in the limit",
            f"1 - centred alignment ~ channels^{direction}, relative distance (scale included) ~ "
            f"channels^{distance}, over "
            f"{min(widths)} to {wide} channels",
            "holds" if direction.high < 0 else ("contradicted" if direction.low > 0 else "undecided"),
            f"Holds where the interval of the first exponent lies below 0 ({tried}; wider networks would change it).",
        )
    )
    return verdicts


def draw(results: Results, folder: Path) -> list[str]:
    """Direction and scale over the widths, after the last step."""
    panels = (
        ("centred_alignment", "1 - centred alignment"),
        ("distance", "relative distance"),
        ("scale", "growth of its norm"),
    )
    steps = max(results.config["steps"])
    with figure(folder, "kernel-change", (9.4, 3.4), 1, 3) as (drawn, axes):
        for axis, (array, label) in zip(axes[0], panels, strict=True):
            for index, (optimizer, colour) in enumerate(_COLOURS.items()):
                for late, number in enumerate(results.config["steps"]):
                    values = []
                    for width in results.config["widths"]:
                        found = np.asarray(curves(results, optimizer, width, array)[1][late])
                        values.append(np.abs(1 - found) if array == "centred_alignment" else found)
                    style = "-" if number == steps else ":"
                    label_ = f"{LABELS[optimizer]}, {number} steps"
                    band(axis, results.config["widths"], values, colour, ls=style, marker=MARKERS[index], label=label_)
            axis.set_xscale("log", base=2)
            axis.set_xticks(results.config["widths"], [str(width) for width in results.config["widths"]])
            axis.set_xlabel("channels")
            axis.set_title(label)
            plain_decades(axis)
        drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return ["kernel-change"]
