"""The figures of the experiment "adam", and how its results are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ntk_nonlocal.plotting import BLACK, BLUE, GREEN, ORANGE, PINK, RED, SKY

from .drawing import GREY, LABELS, MARKERS, band, figure, legend_once, log_widths, plain_decades
from .experiment import Results, setting
from .measures.adapted import FED, contributions, observed
from .measures.frozen import RULES
from .parts import Measured

_KINDS = (*MARKERS, "<", ">")
NAMES = {"sign": "sign descent", "rmsprop": "RMSprop", "adam": "Adam"}
THEORY_LABELS = {
    "null": ("gradient flow, same residual", BLACK, "-"),
    "all": ("one clock for all weights, same momentum", GREEN, "-"),
    "gaussian": ("clock per layer: Gaussian constants", SKY, "--"),
    "layer": ("clock per layer: constants of the first step", BLUE, "-"),
    "offset": ("clock per filter offset: constants of the first step", SKY, "-."),
    "clock": ("clock per layer: constants of every step", PINK, "--"),
    "exact": ("clock per layer: exact kernels", ORANGE, ":"),
    "columns": ("columns of other weights, as they are", RED, "-."),
    "redrawn": ("gradient flow with other weights, same residual", GREY, ":"),
}
FED_LABELS = {
    "noise": ("the iid noise", GREY),
    "noisy": ("the noisy picture", RED),
    "clean": ("the clean picture", ORANGE),
    "estimate": ("Adam's estimate", PINK),
    "flipped": ("the noisy picture, flipped (control)", BLUE),
    "other": ("another picture (control)", SKY),
}


def looked_at(results: Results) -> list[tuple[str, str]]:
    """Names of the pictures, with their roles."""
    config = results.config
    own = [(config[role]["name"], role) for role in ("smooth", "texture")]
    return own + [(picture["name"], "beside") for picture in config["beside"]]


def frozen_parts(results: Results, source: str, **conditions: Any) -> list[Measured]:
    """Those with frozen features that are repeated, without those that go beyond."""
    return results.select("frozen_descent", input=source, theories=list(results.config["theories"]), **conditions)


def distances(results: Results, source: str, array: str) -> dict[int, np.ndarray[Any, Any]]:
    """An array OPTIMIZER.NAME, mean over the steps where there is one, of all repetitions for every width."""
    found: dict[int, list[float]] = {}
    for part in frozen_parts(results, source):
        found.setdefault(setting(part, "width"), []).append(float(np.nanmean(part[array])))
    return {width: np.array(values) for width, values in sorted(found.items())}


def qualities(results: Results, picture: str, source: str, array: str = "best") -> np.ndarray[Any, Any]:
    """PSNR (seeds, contributions) on one picture, with the noise draw that all seeds share."""
    noise = results.config["smooth"]["noise_seed"]
    return np.stack([part[array] for part in results.select("split", name=picture, input=source, noise_seed=noise)])


def rising(results: Results, picture: str, source: str) -> dict[str, int]:
    """By contribution, for how many seeds its best PSNR is its last."""
    counts = qualities(results, picture, source, "rising").astype(int).sum(axis=0)
    return dict(zip(contributions(results.config["at"]), counts.tolist(), strict=True))


def alignments(results: Results, picture: str, width: int | None = None) -> np.ndarray[Any, Any]:
    """Centred alignments (repetitions, observed kernels, fed), at the width that is repeated or another one."""
    width = results.config["width"] if width is None else width
    parts = results.select("likeness", width=width)
    own = [part["alignment"] for part in parts if _picture(part.settings) == picture]
    return np.stack(own) if own else np.empty((0, 0, 0))


def _picture(settings: dict[str, Any]) -> str:
    return str(settings["training"]["picture"]["name"])


def draw_all(results: Results, folder: Path) -> list[str]:
    """Distances of frozen features, by input; who does the work; alignments."""
    names = {"noise": "adam-frozen", "image": "adam-frozen-image"}
    for source in results.config["inputs"]:
        _draw_frozen(results, folder, source, names[source])
    _draw_split(results, folder)
    _draw_likeness(results, folder)
    return [*(names[source] for source in results.config["inputs"]), "adam-work", "adam-kernel"]


def _draw_frozen(results: Results, folder: Path, source: str, name: str) -> None:
    config = results.config
    wide = max(config["widths"])
    with figure(folder, name, (9.6, 6.0), 2, 3, sharey="row") as (drawn, axes):
        for column, optimizer in enumerate(RULES):
            for index, key in enumerate(("null", *config["theories"], "redrawn")):
                label, colour, style = THEORY_LABELS[key]
                own = frozen_parts(results, source, width=wide)
                values = np.stack([part[f"{optimizer}.{key}"] for part in own], axis=1)
                there = [i for i, line in enumerate(values) if np.isfinite(line).any()]
                steps, samples = own[0]["steps"][there].tolist(), [values[i][np.isfinite(values[i])] for i in there]
                options = {"ls": style, "marker": _KINDS[index % len(_KINDS)], "label": label, "ms": 4}
                band(axes[0, column], steps, samples, colour, **options)
                by_width = distances(results, source, f"{optimizer}.{key}")
                band(axes[1, column], list(by_width), by_width.values(), colour, **options)
            axes[0, column].set_xscale("log")
            axes[0, column].set_title(f"{NAMES[optimizer]}, {wide} channels")
            axes[0, column].set_xlabel("step")
            axes[1, column].set_title(f"{NAMES[optimizer]}, mean over the steps")
            for row in (0, 1):
                plain_decades(axes[row, column])
            log_widths(axes[1, column], config["widths"])
        for row in (0, 1):
            axes[row, 0].set_ylabel("relative distance")
        legend_once(drawn, axes[0], 2)


def _draw_split(results: Results, folder: Path) -> None:
    config = results.config
    names = contributions(config["at"])
    pictures = looked_at(results)
    cases = [(picture, role, source) for source in config["split_inputs"] for picture, role in pictures]
    rows, columns = len(config["split_inputs"]), len(pictures)
    kinds = (("initial features, kernel frozen", BLACK, "o"), ("moved features, kernel frozen", BLUE, "s"),
             ("trained by Adam", RED, "D"))  # fmt: skip
    with figure(folder, "adam-work", (1.6 + 4 * columns, 3.6 * rows + 0.3), rows, columns, sharey=True) as (
        drawn,
        axes,
    ):
        for axis, (picture, role, source) in zip(axes.reshape(-1), cases, strict=True):
            quality, late = qualities(results, picture, source), qualities(results, picture, source, "rising") > 0
            for i, name in enumerate(names):
                label, colour, marker = kinds[0 if name.startswith("J0") else 1 if name.startswith("J") else 2]
                own = quality[:, i]
                axis.plot([own.min(), own.max()], [i, i], color=colour, lw=1.5)
                for value, end in zip(own, late[:, i], strict=True):
                    axis.plot(value, i, marker, color=colour, ms=4, mfc="white" if end else colour)
                fill = "white" if late[:, i].all() else colour
                axis.plot(own.mean(), i, marker, color=colour, ms=8, mfc=fill, zorder=1.9)
                axis.plot([], [], marker, color=colour, label=label, ls="none")
                place = (own.max(), i)
                axis.annotate(f"{own.mean():.1f}", place, (8, 0), textcoords="offset points", va="center", fontsize=8)
            axis.axvline(quality[:, 0].mean(), color=GREY, lw=1, ls=":")
            axis.margins(x=0.15)
            axis.set_title(f"{picture} ({role}), from {LABELS[source]}")
            axis.set_xlabel("best PSNR [dB]")
        axes[0, 0].set_yticks(range(len(names)), [_spelt(name) for name in names])
        axes[0, 0].invert_yaxis()
        axes[0, 0].plot([], [], "o", color=GREY, mfc="white", label="hollow: best at the last step or time", ls="none")
        legend_once(drawn, axes[0], 2)


def _spelt(name: str) -> str:
    """What the figure calls a contribution."""
    head, *tail = name.split()
    if not head.startswith("J"):
        return name[0].upper() + name[1:]
    when = "initial kernel" if head == "J0" else f"kernel at step {head[1:]}"
    with_ = "" if not tail else ", from z(0)" if tail[0] == "from" else ", with P"
    return f"{when.capitalize()}{with_}"


def _draw_likeness(results: Results, folder: Path) -> None:
    config = results.config
    names = observed(config["at"])
    pictures = looked_at(results)
    with figure(folder, "adam-kernel", (0.2 + 4.8 * len(pictures), 4.4), 1, len(pictures), sharey=True) as (
        drawn,
        axes,
    ):
        for axis, (picture, role) in zip(axes[0], pictures, strict=True):
            found = alignments(results, picture)
            for index, (key, (label, colour)) in enumerate(FED_LABELS.items()):
                _dots(axis, found[:, :, FED.index(key)], (index - 2.5) * 0.12, colour, MARKERS[index], label)
            short = [name.replace("gradient descent", "gd").replace("fed the", "fresh, fed") for name in names]
            axis.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in short])
            axis.set_title(f"{picture} ({role})")
            axis.grid(axis="x", visible=False)
        axes[0, 0].set_ylabel("centred alignment with the exact kernel")
        drawn.legend(
            *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, title="exact kernel fed with"
        )


def _dots(axis: Any, values: np.ndarray[Any, Any], shift: float, colour: str, marker: str, label: str) -> None:
    """Repetitions (r, n) one by one, joined from the least to the largest; a mean would hide one that is degenerate."""
    places = np.arange(values.shape[1]) + shift
    axis.vlines(places, values.min(axis=0), values.max(axis=0), color=colour, lw=0.9)
    axis.plot(np.tile(places, len(values)), values.reshape(-1), marker, color=colour, ms=4, label=label)
