"""Figure 5 of the paper: leading eigenvectors of the last pre-activations' covariance, before and after training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ntk_nonlocal.plotting import show_signed

from .drawing import GREY, LABELS, MARKERS, SEQUENCE, figure
from .experiment import Outcome, Preset, Results, Verdict
from .measures.training import Features, Training, features
from .parts import Part
from .pictures import Picture, Pictures
from .statistics import mean

TITLE = "Leading eigenvectors of the last pre-activations, before and after training (figure 5)"
_CASES = (("noise", "gd"), ("noise", "adam"), ("image", "gd"), ("image", "adam"))


@dataclass(frozen=True)
class Config:
    """The autoencoder in the standard parametrisation, 500 steps as in the paper."""

    picture: Picture
    architecture: str
    width: int
    seeds: int
    steps: int = 500
    vectors: int = 10
    step_size: float = 0.5
    learning_rate: float = 1e-3


def configure(preset: Preset, pictures: Pictures) -> Config:
    """Quick: 64x64, 32 channels, 2 draws. Full: 64x64, 64 channels, 5 draws. Paper: 256x256, 64 channels, 3 draws."""
    size, width, seeds, levels = {"quick": (64, 32, 2, 2), "full": (64, 64, 5, 2), "paper": (256, 64, 3, 3)}[preset]
    return Config(pictures.picture("smooth", size), f"autoencoder:levels={levels}", width, seeds)


def parts(config: Config) -> list[Part]:
    """One training for every input, optimiser and repetition."""
    found = []
    for seed in range(config.seeds):
        for source, optimizer in _CASES:
            run = Training(
                picture=config.picture,
                architecture=config.architecture,
                input="noise" if source == "noise" else "image",
                optimizer="gd" if optimizer == "gd" else "adam",
                width=config.width,
                steps=config.steps,
                seed=seed,
                step_size=config.step_size if optimizer == "gd" else None,
                learning_rate=config.learning_rate if optimizer == "adam" else None,
            )
            found.append(Part(f"features {optimizer} {source} seed {seed}", features, Features(run, config.vectors)))
    return found


def summarise(results: Results) -> list[Verdict]:
    """The share of the clean picture's energy beside its mean in the leading eigenvectors."""
    k = 3
    shares = {}
    for source, optimizer in _CASES:
        runs = results.select(input=source, optimizer=optimizer)
        shares[source, optimizer] = tuple(mean([run[f"share_{w}"][k - 1] for run in runs]) for w in ("before", "after"))
    verdicts = []
    for source in ("noise", "image"):
        gd, adam = shares[source, "gd"], shares[source, "adam"]
        gain, drift = adam[1].value - adam[0].value, gd[1].value - gd[0].value
        outcome: Outcome = "undecided" if adam[1].high > gd[1].low else "contradicted"
        if gain > 0.1 and adam[1].low > gd[1].high:
            outcome = "holds" if drift < gain / 2 else "holds in part"
        verdicts.append(
            Verdict(
                5,
                f"from {LABELS[source]}: Adam's leading {k} eigenvectors take the picture's shape, those of gradient "
                "descent stay as they were",
                "seen in figure 5, without a number",
                f"share of the clean picture's energy beside its mean: {adam[0]} before, {adam[1]} after Adam, {gd[1]} "
                "after gradient descent",
                outcome,
                ("Gradient descent turns them too, by more than half as much. " if outcome == "holds in part" else "")
                + f"{results.config['picture']['name']}, {results.config['picture']['size']} pixels a side, "
                f"{results.config['width']} channels, "
                f"{results.config['seeds']} seeds, one noise draw, {results.config['steps']} steps as in the paper"
                + ("." if outcome == "holds" else "; more seeds, other steps or the whole picture would change it."),
            )
        )
    return verdicts


def draw(results: Results, folder: Path) -> list[str]:
    """The first three eigenvectors for every case, and the energy shares."""
    with figure(folder, "features-vectors", (9.4, 6.2), 4, 6) as (_, axes):
        for place, (row, (source, optimizer)) in enumerate(zip(axes, _CASES, strict=True)):
            run = results.select(input=source, optimizer=optimizer)[0]
            for offset, when in ((0, "before"), (3, "after")):
                for index in range(3):
                    title = f"{when} training, {index + 1}" if place == 0 else ""
                    show_signed(row[offset + index], run[when][:, :, index].astype(np.float32), title)
            row[0].set_ylabel(f"{LABELS[optimizer]}\nfrom {LABELS[source]}")
    with figure(folder, "features-energy", (5.2, 4.0)) as (drawn, axes):
        axis = axes[0, 0]
        for index, (source, optimizer) in enumerate(_CASES):
            runs = results.select(input=source, optimizer=optimizer)
            values = np.mean([run["share_after"] for run in runs], axis=0)
            axis.plot(range(1, len(values) + 1), values, marker=MARKERS[index], color=SEQUENCE[index],
                      label=f"{LABELS[optimizer]}, {LABELS[source]}")  # fmt: skip
        for source, line in (("noise", ":"), ("image", "--")):
            # both optimisers start from the same weights
            values = np.mean([run["share_before"] for run in results.select(input=source, optimizer="gd")], axis=0)
            axis.plot(range(1, len(values) + 1), values, line, color=GREY, label=f"before training, {LABELS[source]}")
        axis.set_xlabel("leading eigenvectors")
        axis.set_ylabel("share of the clean picture's energy\nbeside its mean")
        axis.set_ylim(0, 1)
        drawn.legend(loc="outside lower center", ncols=2)
    return ["features-vectors", "features-energy"]
