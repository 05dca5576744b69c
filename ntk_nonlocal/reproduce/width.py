"""Figure 4 of the paper: PSNR and the change of the hidden weights against the number of channels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ntk_nonlocal.plotting import BLUE, ORANGE, RED

from .drawing import GREY, LABELS, band, figure, log_widths, plain_decades
from .experiment import Outcome, Preset, Results, Verdict, setting
from .measures.training import Training, training
from .parts import Part
from .pictures import Picture, Pictures
from .published import POSTER_CHANGE, POSTER_SLOPES
from .statistics import Interval, mean, slope

TITLE = "Width: PSNR and weight change of gradient descent and Adam (figure 4)"


@dataclass(frozen=True)
class Config:
    """The autoencoder fed with iid noise, in the standard parametrisation, over widths and repetitions."""

    picture: Picture
    architecture: str
    widths: tuple[int, ...]
    seeds: int
    steps: int
    step_size: float = 0.5
    learning_rate: float = 1e-3
    # The width at which "adam_scaled", whose learning rate falls like 1 / width, has that of "adam".
    scaled_from: int = 32


def configure(preset: Preset, pictures: Pictures) -> Config:
    """Quick: 32x32, widths to 64, 3 repetitions. Full: 32x32, widths to 128, 10 repetitions. Paper: 256x256, to 512."""
    if preset == "quick":
        return Config(pictures.picture("smooth", 32), "autoencoder:levels=2", (8, 16, 32, 64), 3, 200)
    if preset == "full":
        return Config(pictures.picture("smooth", 32), "autoencoder:levels=3", (8, 16, 32, 64, 128), 10, 400)
    return Config(pictures.picture("smooth", 256), "autoencoder:levels=3", (8, 16, 32, 64, 128, 256, 512), 10, 3000)


# How a series is drawn and called; the weights of "adam" move by up to its learning rate in every step, whatever the
# width, so that its change depends on how the rate is chosen over the widths.
_SERIES = {
    "gd": (BLUE, "o", "gradient descent, rate ~ 1/channels"),
    "adam": (RED, "s", "Adam, one rate for all widths"),
    "adam_scaled": (ORANGE, "^", "Adam, rate ~ 1/channels"),
}


def parts(config: Config) -> list[Part]:
    """One training for every width, repetition and series; both of Adam share those at ``scaled_from``."""
    trainings = {
        _training(config, series, width, seed): f"width {width} {series} seed {seed}"
        for width in config.widths
        for seed in range(config.seeds)
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
    base, origin = results.config["learning_rate"], results.config["scaled_from"]
    found: dict[int, list[float]] = {}
    for part in results.select("training", optimizer=series.partition("_")[0]):
        width, rate = setting(part, "width"), setting(part, "learning_rate")
        expected = {"gd": None, "adam": base, "adam_scaled": base * origin / width}[series]
        if rate == expected and np.isfinite(part[array][-1]):
            found.setdefault(width, []).append(float(part[array][-1]))
    return dict(sorted(found.items()))


def summarise(results: Results) -> list[Verdict]:
    """The slopes of figure 4 beside the poster's own points over the same widths."""
    verdicts = [_slope_verdict(results, series, norm) for series in _SERIES for norm in ("l2", "linf")]
    gd, adam = (changes(results, series, "hidden_l2") for series in ("gd", "adam"))
    ratios = {width: float(np.mean(adam[width]) / np.mean(gd[width])) for width in gd}
    first, last = min(ratios), max(ratios)
    quality = {series: mean(changes(results, series, "psnr")[last]) for series in ("gd", "adam")}
    lost = sum(bool(np.isnan(part["psnr"][-1])) for part in results.parts)
    verdicts.append(
        Verdict(
            5,
            "Adam moves the hidden weights much more than gradient descent, the more so the wider the network",
            f"l2 ratio {_poster_ratio(first):.1f} at {first} channels, {_poster_ratio(last):.1f} at {last}",
            f"{ratios[first]:.1f} at {first} channels, {ratios[last]:.1f} at {last}; PSNR there "
            f"{quality['adam']} dB with Adam, {quality['gd']} dB with gradient descent"
            + (f"; {lost} of {len(results.parts)} trainings diverged and are left out" if lost else ""),
            "holds" if min(ratios.values()) > 1 and ratios[last] > ratios[first] else "contradicted",
        )
    )
    return verdicts


_NOTES = {
    "gd": "The asymptote needs many more channels than the network input has (32): below that the first layer holds "
    "most of the kernel, and of the change.",
    "adam": "With one rate for all widths every weight moves by about the rate in every early step, so that l2 grows "
    "with the number of weights until training has converged; what the authors' rate was is not printed.",
    "adam_scaled": "With a rate ~ 1/channels, which the claim seems to assume.",
}


def _slope_verdict(results: Results, series: str, norm: str) -> Verdict:
    ours = changes(results, series, f"hidden_{norm}")
    optimizer = series.partition("_")[0]
    published = POSTER_CHANGE[optimizer, norm]
    theirs = {width: [published[width]] for width in ours}
    fitted, poster, guide = slope(ours), slope(theirs), POSTER_SLOPES[optimizer, norm]
    text = f"{fitted} over {min(ours)} to {max(ours)} channels"
    judged = fitted
    if len(ours) >= 5:
        wide = list(ours)[-3:]
        judged = slope({width: ours[width] for width in wide})
        text += f"; {judged} from {wide[0]} on (poster {slope({width: theirs[width] for width in wide}).value:.2f})"
    value = np.mean(ours[max(ours)])
    return Verdict(
        6,
        f"{_SERIES[series][2]}: {LABELS[norm]} change of the hidden weights ~ channels^a",
        f"a = {guide:g} (asymptote); the poster's points over the same widths: {poster.value:.2f}",
        f"a = {text}; {value:.2g} at {max(ours)} channels (poster {published[max(ours)]:.2g})",
        _outcome(judged, guide, poster.value),
        _NOTES[series],
    )


def _outcome(fitted: Interval, guide: float, poster: float) -> Outcome:
    """Holds where the interval at the wide end meets the asymptote within 0.15; in part where it meets the poster's."""
    low, high = fitted.low - 0.15, fitted.high + 0.15
    if low <= guide <= high:
        return "holds"
    return "holds in part" if low <= poster <= high else "contradicted"


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
