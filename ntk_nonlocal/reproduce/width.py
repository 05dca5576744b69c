"""Figure 4 of the paper: PSNR and the change of the hidden weights against the number of channels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ntk_nonlocal.plotting import BLUE, ORANGE, RED

from .drawing import GREY, LABELS, band, figure, log_widths, plain_decades
from .experiment import Outcome, Preset, Results, Role, Verdict, judged, setting
from .measures.training import Training, training
from .parts import Part
from .pictures import Picture, Pictures
from .published import POSTER_CHANGE, POSTER_SLOPES
from .statistics import mean, paired_slope, slope

TITLE = "Width: PSNR and weight change of gradient descent and Adam (figure 4)"
SLOPE_MARGIN = 0.15
# "Much more": the ratio of the changes.
MUCH_MORE = 2.0


@dataclass(frozen=True)
class Config:
    """The autoencoder fed with iid noise, standard parametrisation, over widths with ``seeds`` repetitions each."""

    picture: Picture
    architecture: str
    widths: tuple[int, ...]
    seeds: tuple[int, ...]
    steps: int
    step_size: float = 0.5
    learning_rate: float = 1e-3
    # The width at which "adam_scaled", whose learning rate falls like 1 / width, has that of "adam".
    scaled_from: int = 32


def configure(preset: Preset, pictures: Pictures) -> Config:
    """64x64 crops. Quick: widths to 64, 2 repetitions. Full: to 128, 5. Paper: to 512, 10 up to 128 channels, or 3."""
    picture = pictures.picture("smooth", 64)
    if preset == "quick":
        return Config(picture, "autoencoder:levels=2", (8, 16, 32, 64), (2, 2, 2, 2), 200)
    if preset == "full":
        return Config(picture, "autoencoder:levels=2", (8, 16, 32, 64, 128), (5,) * 5, 1000)
    widths = (8, 16, 32, 64, 128, 256, 512)
    return Config(picture, "autoencoder:levels=3", widths, tuple(10 if w <= 128 else 3 for w in widths), 3000)


# How a series is drawn and called; the weights of "adam" move by up to its learning rate in every step, whatever the
# width, so that its change depends on how the rate is chosen over the widths.
_SERIES = {
    "gd": (BLUE, "o", "gradient descent, rate 0.5 / lambda_max"),
    "adam": (RED, "s", "Adam, one rate for all widths"),
    "adam_scaled": (ORANGE, "^", "Adam, rate ~ 1/channels"),
}


def parts(config: Config) -> list[Part]:
    """One training for every width, repetition and series; both of Adam share those at ``scaled_from``."""
    trainings = {
        _training(config, series, width, seed): f"width {width} {series} seed {seed}"
        for width, seeds in zip(config.widths, config.seeds, strict=True)
        for seed in range(seeds)
        for series in _SERIES
    }
    return [Part(name, training, settings) for settings, name in trainings.items()]


def _training(config: Config, series: str, width: int, seed: int) -> Training:
    rate = config.learning_rate * (config.scaled_from / width if series == "adam_scaled" else 1)
    return Training(
        picture=config.picture,
        architecture=config.architecture,
        input="noise",
        optimizer="gd" if series == "gd" else "adam",
        width=width,
        steps=config.steps,
        seed=seed,
        step_size=config.step_size if series == "gd" else None,
        learning_rate=None if series == "gd" else rate,
    )


def changes(results: Results, series: str, array: str) -> dict[int, list[float]]:
    """The last value of an array of the histories, for every width and every repetition that did not diverge."""
    return {width: list(found.values()) for width, found in by_seed(results, series, array).items()}


def by_seed(results: Results, series: str, array: str) -> dict[int, dict[int, float]]:
    """The same, by seed: networks of one seed are fed the same noise, whatever their width."""
    base, origin = results.config["learning_rate"], results.config["scaled_from"]
    found: dict[int, dict[int, float]] = {}
    for part in results.select("training", optimizer=series.partition("_")[0]):
        width, rate = setting(part, "width"), setting(part, "learning_rate")
        expected = {"gd": None, "adam": base, "adam_scaled": base * origin / width}[series]
        value = float(np.ravel(part[array])[-1])
        if rate == expected and np.isfinite(value):
            found.setdefault(width, {})[setting(part, "seed")] = value
    return dict(sorted(found.items()))


def summarise(results: Results) -> list[Verdict]:
    """The slopes of figure 4 at the wide end, like for like with the poster's points."""
    verdicts = [
        _slope_verdict(results, series, norm) for series in ("gd", "adam_scaled", "adam") for norm in ("l2", "linf")
    ]
    gd, adam = (by_seed(results, series, "hidden_l2") for series in ("gd", "adam_scaled"))
    ratios = {
        width: {seed: adam[width][seed] / gd[width][seed] for seed in gd[width] if seed in adam[width]}
        for width in gd
        if width in adam
    }
    grows, means = paired_slope(ratios), {width: mean(list(found.values())) for width, found in ratios.items()}
    first, last = min(ratios), max(ratios)
    lost = sum(bool(np.isnan(part["psnr"][-1])) for part in results.parts)
    much = all(found.low > MUCH_MORE for found in means.values())
    little = any(found.high < MUCH_MORE for found in means.values())
    outcome: Outcome = (
        "holds" if much and grows.low > 0 else "contradicted" if little or grows.high < 0 else "undecided"
    )
    verdicts.append(
        Verdict(
            5,
            "Adam moves the hidden weights much more than gradient descent, the more so the wider the network",
            f"l2 ratio {_poster_ratio(first):.1f} at {first} channels, {_poster_ratio(last):.1f} at {last}",
            f"{means[first]} at {first} channels, {means[last]} at {last}, ~ channels^{grows}, seed by seed"
            + (f"; {lost} of {len(results.parts)} trainings diverged and are left out" if lost else ""),
            outcome,
            f"Holds where the interval lies above {MUCH_MORE:g} at every width and the exponent's above 0. "
            f"({_tried(results)}; more seeds and wider networks would change it.)",
        )
    )
    return verdicts


_NOTES = {
    (
        "gd",
        "linf",
    ): "The maximum over more weights is larger (an extreme value): the maximum over the root mean square grows with "
    "the channels, which the guide slope leaves out and the poster's points have too.",
    (
        "adam",
        "l2",
    ): "One rate for all widths is not the paper's setting: the poster's l-inf times channels is nearly constant, so "
    "its rate was ~ 1/channels.",
}


def _tried(results: Results) -> str:
    config = results.config
    side = config["picture"]["size"]
    return (
        f"{side}x{side} of {config['picture']['name']}, {config['architecture']}, {min(config['seeds'])} seeds that "
        f"all widths have, {config['steps']} steps"
    )


def _slope_verdict(results: Results, series: str, norm: str) -> Verdict:
    ours = by_seed(results, series, f"hidden_{norm}")
    optimizer = series.partition("_")[0]
    wide = list(ours)[-3:]
    published = {width: [POSTER_CHANGE[optimizer, norm][width]] for width in wide}
    fitted, poster, guide = (
        paired_slope({width: ours[width] for width in wide}),
        slope(published).value,
        POSTER_SLOPES[optimizer, norm],
    )
    value = float(np.mean(list(ours[max(ours)].values())))
    role: Role = "control" if series == "adam" else "deciding" if norm == "l2" else "test"
    low, high = _allowed(guide, poster)
    rates = paired_slope(by_seed(results, "gd", "learning_rate"))
    return Verdict(
        6,
        f"{_SERIES[series][2]}: {LABELS[norm]} change of the hidden weights ~ channels^a, {wide[0]} to {wide[-1]} "
        f"channels",
        f"a = {poster:.2f} by the poster's points at the same widths (asymptote {guide:g})",
        f"a = {fitted} ({paired_slope(ours)} over all, {min(ours)} to {max(ours)}); {value:.2g} at {max(ours)} "
        f"channels (poster {POSTER_CHANGE[optimizer, norm][max(ours)]:.2g})",
        judged(fitted.within(low, high)),
        " ".join(
            filter(
                None,
                (
                    f"Holds within [{low:.2f}, {high:.2f}].",
                    f"The rates, half of every network's 1 / lambda_max, go ~ channels^{rates}."
                    if series == "gd"
                    else "",
                    _NOTES.get((series, norm), ""),
                    f"({_tried(results)}; more seeds and wider networks would change it.)",
                ),
            )
        ),
        role,
        f"{LABELS[optimizer]} {LABELS[norm]} ~ c^{fitted} (asymptote {guide:g}; through the poster's points "
        f"{poster:.2f})"
        if role == "deciding"
        else "",
    )


def _allowed(guide: float, poster: float) -> tuple[float, float]:
    """Between the poster's own slope over the same widths and the asymptote, with a margin to both sides."""
    low, high = sorted((guide, poster))
    return low - SLOPE_MARGIN, high + SLOPE_MARGIN


def _poster_ratio(width: int) -> float:
    return POSTER_CHANGE["adam", "l2"][width] / POSTER_CHANGE["gd", "l2"][width]


def draw(results: Results, folder: Path) -> list[str]:
    """PSNR and both changes against the width; bars from the least to the largest repetition; the poster's in grey."""
    panels = (
        ("psnr", "PSNR [dB]"),
        ("hidden_l2", "change of hidden weights, l2"),
        ("hidden_linf", "change of hidden weights, l-inf"),
    )
    with figure(folder, "width", (9.6, 3.8), 1, 3) as (drawn, axes):
        for axis, (array, label) in zip(axes[0], panels, strict=True):
            for series, (colour, marker, name) in _SERIES.items():
                found = changes(results, series, array)
                widths = list(found)
                band(axis, widths, found.values(), colour, marker=marker, label=name)
            if array != "psnr":
                for optimizer, marker in (("gd", "o"), ("adam", "s")):
                    poster = POSTER_CHANGE[optimizer, array.removeprefix("hidden_")]
                    axis.plot(
                        widths,
                        [poster[w] for w in widths],
                        color=GREY,
                        ls=":",
                        marker=marker,
                        markersize=3,
                        label=f"poster, {LABELS[optimizer]}",
                    )
                plain_decades(axis)
            log_widths(axis, widths)
            axis.set_title(label)
        drawn.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return ["width"]
