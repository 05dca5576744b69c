"""Which optimizers leave the kernel regime, and whether it helps: who turns the kernel denoises better?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ntk_nonlocal.plotting import BLACK, BLUE, GREEN, RED

from .drawing import GREY, LABELS, figure
from .experiment import Outcome, Preset, Results, Verdict
from .measures.regimes import Initial, Regime, initial, regime
from .measures.training import Training
from .parts import Part
from .pictures import Picture, Pictures
from .statistics import Interval, mean, rank_correlations, rank_margin

TITLE = "Which optimizers leave the kernel regime, and whether that denoises"
# Step sizes of gradient descent in units of 1 / lambda_max, learning rates of the others; lbfgs searches its own.
RATES: dict[str, tuple[float, ...]] = {
    "gd": (0.25, 0.5, 1.0),
    "momentum": (0.1, 0.3, 1.0),
    "nesterov": (0.1, 0.3, 0.6),
    "rmsprop": (1e-4, 3e-4, 1e-3),
    "adam": (1e-3, 3e-3, 1e-2),
    "adamw": (1e-3, 3e-3, 1e-2),
    "adan": (1e-3, 3e-3, 1e-2),
    "schedule_free": (3e-3, 1e-2, 3e-2),
    "sign": (1e-4, 3e-4, 1e-3),
    "lion": (3e-4, 1e-3, 3e-3),
    "muon": (2e-3, 5e-3, 1e-2),
    "lbfgs": (),
}
DESCENT = ("gd", "momentum", "nesterov")
_FAMILIES = (
    (DESCENT, BLACK, "osD"),
    (("rmsprop", "adam", "adamw", "adan", "schedule_free"), RED, "osD^v"),
    (("sign", "lion"), BLUE, "os"),
    (("muon", "lbfgs"), GREEN, "os"),
)
_NAMES = {
    "gd": "gradient descent", "momentum": "momentum", "nesterov": "Nesterov", "rmsprop": "RMSprop", "adam": "Adam",
    "adamw": "AdamW", "adan": "Adan", "schedule_free": "schedule-free AdamW", "sign": "sign descent", "lion": "Lion",
    "muon": "Muon", "lbfgs": "L-BFGS",
}  # fmt: skip


@dataclass(frozen=True)
class Config:
    """One network on one or two pictures, every optimizer at the best of its rates."""

    pictures: tuple[Picture, ...]
    architecture: str
    optimizers: tuple[str, ...]
    width: int
    steps: int
    draws: int
    probes: int
    max_products: int


def configure(preset: Preset, pictures: Pictures) -> Config:
    """From noise. Quick: the smooth picture at 32x32, 16 channels, 200 steps, 2 draws. Full: both at 64x64,
    32 channels, 600 steps, 5 draws. Paper: 64 channels, 2000 steps."""
    network, names = "autoencoder:levels=2", tuple(RATES)
    if preset == "quick":
        return Config((pictures.picture("smooth", 32),), network, names, 16, 200, 2, 48, 300)
    own = (pictures.picture("smooth", 64), pictures.picture("texture", 64))
    width, steps = (32, 600) if preset == "full" else (64, 2000)
    return Config(own, network, names, width, steps, 5, 128, 800)


def parts(config: Config) -> list[Part]:
    """For every picture the initial kernels, then every optimizer."""
    found, draws = [], tuple(range(config.draws))
    for picture in config.pictures:
        run = Training(picture, config.architecture, "noise", "gd", config.width, config.steps)
        settings = Initial(run, draws, config.probes, config.max_products)
        found.append(Part(f"initial kernels, {picture.name}", initial, settings))
        for name in config.optimizers:
            own = Regime(replace(run, optimizer=name), RATES[name], draws, config.probes, config.max_products)
            found.append(Part(f"{_NAMES[name]}, {picture.name}", regime, own))
    return found


def table(results: Results, picture: str) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    """What was measured of every optimizer that went to the end in all draws, (draws,) each.

    Beside the arrays of the measurement "gain" and "after_gain": best PSNR of the optimizer, and of the closed form
    with its kernel, above the closed form with the initial kernel.
    """
    start = results.one("initial", name=picture)["after"]
    found = {}
    for name in results.config["optimizers"]:
        arrays = results.one("regime", name=picture, optimizer=name).arrays
        if np.isfinite(arrays["best"]).all():
            found[name] = {**arrays, "gain": arrays["best"] - start, "after_gain": arrays["after"] - start}
    return found


def summarise(results: Results) -> list[Verdict]:
    """Who leaves the kernel regime; whether those that turn the kernel denoise better, and their kernels do."""
    verdicts = []
    for picture in results.config["pictures"]:
        found = table(results, picture["name"])
        verdicts += [
            _leaving(results, picture, found),
            _correlated(results, picture, found, "after_gain", "its kernel, frozen there, denoises"),
            _correlated(results, picture, found, "gain", "it denoises itself"),
            _direction(results, picture, found),
            _helpful(results, picture, found),
        ]
    return verdicts


def _values(found: Mapping[str, Mapping[str, Any]], array: str, names: tuple[str, ...]) -> np.ndarray[Any, Any]:
    return np.stack([found[name][array] for name in names])


def _tried(results: Results, picture: Mapping[str, Any]) -> str:
    config = results.config
    return (
        f"{picture['size']}x{picture['size']} of {picture['name']} from noise, {config['width']} channels, "
        f"{config['steps']} steps, {config['draws']} draws of noise, weights and input; larger networks, longer runs "
        "and more draws would change it"
    )


def edges(found: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Optimizers whose best rate is the "least" or the "largest" of those tried, and all that have "rates"."""
    tuned = [name for name in found if RATES[name]]
    ends = {"least": min, "largest": max}
    at = {
        end: tuple(name for name in tuned if np.isclose(float(found[name]["rate"]), of(RATES[name])))
        for end, of in ends.items()
    }
    return at | {"rates": tuple(tuned)}


def _edges(found: Mapping[str, Mapping[str, Any]]) -> str:
    at = edges(found)
    named = "; ".join(f"the {end}: {_listed(at[end])}" for end in ("least", "largest") if at[end])
    count = len(at["least"]) + len(at["largest"])
    some = f" ({named})" if named else ""
    return f"The best rate is at an end of those tried for {count} of {len(at['rates'])}{some}"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(_NAMES[name] for name in names)


def unfinished(results: Results, picture: str, found: Mapping[str, Mapping[str, Any]]) -> tuple[bool, tuple[str, ...]]:
    """Whether the closed form with the initial kernel is still rising at its last time in every draw, and the
    optimizers with whose kernels it is."""
    late = tuple(name for name, one in found.items() if one["after_rising"].all())
    return bool(results.one("initial", name=picture)["after_rising"].all()), late


def _unfinished(results: Results, picture: str, found: Mapping[str, Mapping[str, Any]]) -> str:
    """What is still rising, in words; empty where the initial kernel is not."""
    initial_, late = unfinished(results, picture, found)
    if not initial_:
        return ""
    return (
        f" At 10^6 / lambda_max, the last time, the closed forms of the initial kernel and of {len(late)} of "
        f"{len(found)} kernels are still rising in every draw: they are compared there and not at their best."
    )


def _leaving(results: Results, picture: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> Verdict:
    turned = {name: mean(one["kernel_turned"]) for name, one in found.items()}
    slow = {name: value for name, value in turned.items() if name in DESCENT}
    others = {name: value for name, value in turned.items() if name not in DESCENT}
    outcome: Outcome = "undecided"
    if max(value.high for value in slow.values()) < min(value.low for value in others.values()):
        outcome = "holds"
    elif any(value.low > other.high for value in slow.values() for other in others.values()):
        outcome = "contradicted"
    start = results.one("initial", name=picture["name"])
    lines = [
        f"{_NAMES[name]} {turned[name]} (scale {one['kernel_scale'].mean():.2f}, weights moved by "
        f"{one['weights_moved'].mean():.2f}, best step {one['step'].mean():.0f}{_rate(one['rate'])})"
        for name, one in sorted(found.items(), key=lambda item: turned[item[0]].value)
    ]
    return Verdict(
        0,
        f"{picture['name']}: gradient descent, with momentum or without, turns the kernel less than all others",
        "",
        f"1 - centred alignment with the initial kernel, at the best step: "
        f"{', '.join(f'{_NAMES[name]} {value}' for name, value in slow.items())}; the others "
        f"{min(value.value for value in others.values()):.2f} to {max(value.value for value in others.values()):.2f}",
        outcome,
        f"{'; '.join(lines)}. Kernels of other initial weights: {mean(start['kernel_turned'])}. "
        f"{_edges(found)}. {_tried(results, picture)}.",
    )


def _rate(rate: Any) -> str:
    return "" if np.isnan(rate) else f", rate {float(rate):g}"


def _correlated(
    results: Results, picture: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]], array: str, what: str
) -> Verdict:
    """Spearman's correlation of the kernel's turn with a gain, over all optimizers and without gradient descent's."""
    names = tuple(found)
    others = tuple(name for name in names if name not in DESCENT)
    whole, rest = (
        rank_correlations(_values(found, "kernel_turned", own)[None], _values(found, array, own))[0]
        for own in (names, others)
    )
    outcome: Outcome = "undecided"
    if whole.low > 0:
        outcome = "holds" if rest.low > 0 else "holds in part"
    elif whole.high < 0:
        outcome = "contradicted"
    rising = _unfinished(results, picture["name"], found) if array == "after_gain" else ""
    if rising:
        outcome = "undecided"
    keys = {"gain": ("best", "blind", "rising"), "after_gain": ("after", "after_blind", "after_rising")}[array]
    start = results.one("initial", name=picture["name"])
    lines = [
        f"{_NAMES[name]} {_told(*(one[key_] for key_ in keys))}, {np.median(one['seconds']):.1f} s)"
        for name, one in sorted(found.items(), key=lambda item: -item[1][array].mean())
    ]
    first = _told(*(start[key_] for key_ in ("after", "after_blind", "after_rising")))
    return Verdict(
        0,
        f"{picture['name']}: the further an optimizer turns the kernel, the better {what}",
        "",
        f"rank correlation over {len(names)} optimizers {whole}, without gradient descent's {rest}",
        outcome,
        f"Best PSNR [dB] (at the stop where the residual is as large as the noise"
        f"{', or at the end' if array == 'gain' else ''}; median seconds of the optimizer up to its best step): "
        f"{'; '.join(lines)}. The initial kernel, in closed form, {first}).{rising} {_edges(found)}. "
        f"{_tried(results, picture)}.",
    )


def _told(best: Any, blind: Any, rising: Any) -> str:
    """Means over the draws, the bracket left open."""
    reached = np.isfinite(blind)
    stop = f"{blind[reached].mean():.1f}" if reached.any() else "not reached"
    some = f" in {reached.sum()} of {len(reached)}" if reached.any() and not reached.all() else ""
    return f"{best.mean():.1f} ({stop}{some}{', still rising' if rising.all() else ''}"


def _direction(results: Results, picture: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> Verdict:
    """The kernel's direction beside its scale and the weights' distance, as predictors of the frozen kernel's gain."""
    names, labels = tuple(found), ("the kernel's turn", "its scale", "the weights' distance")
    arrays = [_values(found, array, names) for array in ("kernel_turned", "kernel_scale", "weights_moved")]
    gain = _values(found, "after_gain", names)
    alone = rank_correlations(np.stack(arrays), gain)
    margins = [rank_margin(arrays[0], other, gain) for other in arrays[1:]]
    outcome: Outcome = "undecided"
    if all(margin.low > 0 for margin in margins):
        outcome = "holds"
    elif any(margin.high < 0 for margin in margins):
        outcome = "contradicted"
    rising = _unfinished(results, picture["name"], found)
    if rising:
        outcome = "undecided"
    return Verdict(
        0,
        f"{picture['name']}: the kernel's turn says more of its gain than its scale or the weights' distance does",
        "",
        "rank correlation with the frozen kernel's gain: "
        + ", ".join(f"{label} {value}" for label, value in zip(labels, alone, strict=True))
        + "; the turn's above "
        + ", ".join(f"that of {label} by {margin}" for label, margin in zip(labels[1:], margins, strict=True)),
        outcome,
        f"Holds where both differences lie above 0 (optimizers and draws drawn anew together).{rising}",
        "control",
    )


def _helpful(results: Results, picture: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> Verdict:
    gains: dict[str, Interval] = {name: mean(one["after_gain"]) for name, one in found.items()}
    outcome: Outcome = "undecided"
    if all(gain.low > 0 for gain in gains.values()):
        outcome = "holds"
    elif any(gain.high < 0 for gain in gains.values()):
        outcome = "contradicted"
    rising = _unfinished(results, picture["name"], found)
    if rising:
        outcome = "undecided"
    up, down = ([name for name, gain in gains.items() if test(gain)] for test in (_above, _below))
    ordered = sorted(gains.items(), key=lambda item: item[1].value)
    return Verdict(
        0,
        f"{picture['name']}: the kernel at an optimizer's best step denoises better than the initial one, whatever the "
        "optimizer",
        "",
        f"{len(up)} of {len(gains)} gain, {len(down)} lose; least {_NAMES[ordered[0][0]]} {ordered[0][1]}, most "
        f"{_NAMES[ordered[-1][0]]} {ordered[-1][1]} dB",
        outcome,
        f"In closed form, best steps: {', '.join(f'{_NAMES[name]} {gain}' for name, gain in ordered)} dB.{rising} "
        f"{_edges(found)}. {_tried(results, picture)}.",
    )


def _above(gain: Interval) -> bool:
    return gain.low > 0


def _below(gain: Interval) -> bool:
    return gain.high < 0


def draw(results: Results, folder: Path) -> list[str]:
    """A row for every picture: how far weights and kernel move; the optimizer's gain; its kernel's gain."""
    pictures = results.config["pictures"]
    panels = (
        ("weights_moved", "kernel_turned", "distance of the hidden weights, relative", "turn of the kernel"),
        ("kernel_turned", "gain", "turn of the kernel", "best PSNR of the optimizer [dB]"),
        ("kernel_turned", "after_gain", "turn of the kernel", "best PSNR of its kernel, frozen [dB]"),
    )
    ends = {"gain": "rising", "after_gain": "after_rising"}
    with figure(folder, "optimizers", (9.8, 3.6 * len(pictures) + 0.9), len(pictures), 3) as (drawn, axes):
        for row, picture in zip(axes, pictures, strict=True):
            found, start = table(results, picture["name"]), results.one("initial", name=picture["name"])
            other = start["kernel_turned"].mean()
            for axis, (x, y, across, up) in zip(row, panels, strict=True):
                for names, colour, markers in _FAMILIES:
                    for name, marker in zip(names, markers, strict=False):
                        if name in found:
                            late = y in ends and bool(found[name][ends[y]].all())
                            _cross(axis, found[name][x], found[name][y], colour, marker, _NAMES[name], late)
                axis.set_xlabel(across)
                axis.set_ylabel(up if y == "kernel_turned" else f"{up.removesuffix(' [dB]')} - initial kernel [dB]")
                (axis.axvline if x == "kernel_turned" else axis.axhline)(other, color=GREY, lw=1, ls=":")
                if y != "kernel_turned":
                    axis.axhline(0, color=GREY, lw=1)
            row[0].set_xscale("log")
            for axis in row:
                axis.set_title(f"{picture['name']} {picture['size']}x{picture['size']}, from {LABELS['noise']}")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside lower center", ncols=6)
    return ["optimizers"]


def _cross(axis: Any, x: Any, y: Any, colour: str, marker: str, label: str, hollow: bool) -> None:
    """Draws as their mean with bars from the least to the largest in both directions."""
    spans = [np.array([[v.mean() - v.min()], [v.max() - v.mean()]]) for v in (x, y)]
    axis.errorbar(
        x.mean(), y.mean(), xerr=spans[0], yerr=spans[1], color=colour, marker=marker, ls="none", ms=6, elinewidth=0.8,
        label=label, mfc="white" if hollow else colour,
    )  # fmt: skip
