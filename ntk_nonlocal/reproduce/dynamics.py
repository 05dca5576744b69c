"""Gradient descent on finite networks against the theory of those very networks: claim 1, and claim 4's agreement."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ntk_nonlocal.plotting import BLACK, BLUE, ORANGE, PINK, SKY

from .drawing import GREY, LABELS, MARKERS, band, figure, legend_once, log_widths, network_name, plain_decades
from .experiment import Outcome, Preset, Results, Verdict, setting
from .measures.limits import Following, following
from .parts import Part
from .pictures import Picture, Pictures
from .statistics import Interval, mean, slope

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Gradient descent against the theory of the same network, from the same start"
# "Agree": the PSNR of network and theory at equal steps, from the same start, in dB.
AGREE = 0.3
_CASES = {
    ("ntk", True): ("ntk parametrisation, centered", BLUE, "-"),
    ("ntk", False): ("ntk parametrisation, from its random start", SKY, "--"),
    ("standard", True): ("standard parametrisation, centered", ORANGE, "-"),
    ("standard", False): ("standard parametrisation, from its random start", PINK, "--"),
}
_DECIDING = ("ntk", True)


@dataclass(frozen=True)
class Config:
    """Three networks, both inputs. The case that decides: centered, ntk parametrisation, at ``widths`` with ``seeds``
    repetitions each. The others, ``controls``: at one of these widths, with repetitions of their own."""

    picture: Picture
    architectures: tuple[str, ...]
    widths: tuple[int, ...]
    seeds: tuple[int, ...]
    controls: tuple[tuple[str, bool], ...]
    controls_width: int
    controls_seeds: int
    steps: tuple[int, ...]


def configure(preset: Preset, pictures: Pictures) -> Config:
    """64x64 crops. Quick: ntk, widths 16 and 64, 100 steps, 2 draws. Full: 1000 steps, 5 draws to 64 channels, 3 of
    256 and of the controls at 64. Paper: the whole 256x256, 3000 steps."""
    networks = ("vanilla_cnn:kernel_size=11", "unet:levels=2", "autoencoder:levels=2")
    if preset == "quick":
        small = pictures.picture("smooth", 64)
        return Config(small, networks[::2], (16, 64), (2, 2), (("ntk", False),), 64, 2, (1, 10, 100))
    controls = tuple(case for case in _CASES if case != _DECIDING)
    steps = (1, 3, 10, 30, 100, 300, 1000)
    if preset == "full":
        small = pictures.picture("smooth", 64)
        return Config(small, networks, (16, 64, 256), (5, 5, 3), controls, 64, 3, steps)
    networks = ("vanilla_cnn:kernel_size=11", "unet:levels=3", "autoencoder:levels=3")
    return Config(pictures.picture("smooth", 256), networks, (64,), (1,), controls, 64, 1, (*steps, 3000))


def parts(config: Config) -> list[Part]:
    """One for every network, input, case, width and repetition."""
    runs = [(width, seed, _DECIDING) for width, seeds in zip(config.widths, config.seeds, strict=True)
            for seed in range(seeds)]  # fmt: skip
    runs += [(config.controls_width, seed, case) for case in config.controls for seed in range(config.controls_seeds)]
    return [
        Part(
            f"{network_name(architecture)} from {LABELS[source]}, {parameterization}"
            f"{', centered' if centered else ''}, width {width} seed {seed}",
            following,
            Following(
                picture=config.picture,
                architecture=architecture,
                input="image" if source == "image" else "noise",
                parameterization="ntk" if parameterization == "ntk" else "standard",
                centered=centered,
                width=width,
                steps=config.steps,
                seed=seed,
            ),
        )
        for width, seed, (parameterization, centered) in runs
        for architecture in config.architectures
        for source in ("image", "noise")
    ]


def found(
    results: Results, architecture: str, source: str, case: tuple[str, bool], array: str
) -> dict[int, np.ndarray]:
    """An array (repetitions, steps) of a case, for every width; repetitions that diverged are left out."""
    values: dict[int, list[np.ndarray]] = {}
    name, centered = case
    for part in results.select(architecture=architecture, input=source, parameterization=name, centered=centered):
        if np.isfinite(part["psnr"]).all():
            values.setdefault(setting(part, "width"), []).append(part[array])
    return {width: np.stack(rows) for width, rows in sorted(values.items())}


def _gaps(
    results: Results, architecture: str, source: str, case: tuple[str, bool] = _DECIDING, other: str = "theory"
) -> dict[int, np.ndarray]:
    """The largest difference of PSNR over the steps between a trained network and another, (repetitions,) by width;
    those that diverged are left out."""
    ours, theirs = (found(results, architecture, source, case, name) for name in ("psnr", other))
    gaps = {width: np.abs(ours[width] - theirs[width]).max(axis=1) for width in ours}
    known = {width: gap[np.isfinite(gap)] for width, gap in gaps.items()}
    return {width: gap for width, gap in known.items() if len(gap)}


def summarise(results: Results) -> list[Verdict]:
    """Claim 1: the distance falls with the width, and at the widest PSNR agrees. Claim 4: the same fed the image."""
    config = results.config
    last, widest = max(config["steps"]), max(config["widths"])
    rows = [(architecture, source) for architecture in config["architectures"] for source in ("image", "noise")]
    tried = (
        f"{config['picture']['size']}x{config['picture']['size']}, {widest} channels, {config['seeds'][-1]} draws, "
        f"centered, to {last} steps"
    )
    verdicts = [_agrees(results, claim, own, tried) for claim, own in ((1, rows), (4, rows[::2]))]
    fitted = {}
    for architecture, source in rows:
        distances = found(results, architecture, source, _DECIDING, "distance")
        if len(distances) > 1:
            fitted[architecture, source] = slope({width: values[:, -1] for width, values in distances.items()})
    verdicts.append(
        Verdict(
            1,
            f"after {last} steps the distance of the outputs falls with the width",
            "distance -> 0",
            "; ".join(f"{network_name(a)} from {LABELS[s]} ~ channels^{value}" for (a, s), value in fitted.items()),
            _agreement(
                [True if value.high < -0.25 else (False if value.low > 0 else None) for value in fitted.values()]
            )
            if fitted
            else "undecided",
            f"Centered, ntk parametrisation, {min(config['widths'])} to {widest} channels; holds where every "
            "exponent's interval lies below -0.25. More widths would narrow the intervals.",
        )
    )
    verdicts.append(_own_filter(results, rows, tried))
    verdicts += [_control(results, (case[0], case[1])) for case in config["controls"]]
    return verdicts


def _agrees(results: Results, claim: int, rows: list[tuple[str, str]], tried: str) -> Verdict:
    """Network and theory of infinite width."""
    gaps = {row: _widest(_gaps(results, *row)) for row in rows}
    worst = max((gap.value for gap in gaps.values() if gap is not None), default=float("nan"))
    return Verdict(
        claim,
        "trained network and theory from the same start agree at equal steps: largest difference of PSNR"
        + (", fed the noisy image" if claim == 4 else ""),
        "the network follows the fixed filter",
        f"{_listed(gaps)} dB ({tried})",
        _agreement([_within(_gaps(results, *row)) for row in rows]),
        f"Holds where the interval of every network lies within {AGREE} dB; a larger difference that falls with the "
        f"width does not tell. {_needed(results, rows)}",
        "deciding",
        f"network and theory differ by at most {worst:.2f} dB",
    )


def _own_filter(results: Results, rows: list[tuple[str, str]], tried: str) -> Verdict:
    """Network and the fixed filter of the kernel that it has at its start: what is left is that its kernel moves."""
    own = {row: _gaps(results, *row, other="linear") for row in rows}
    return Verdict(
        1,
        "a trained network follows the filter of its own kernel, kept from the start: largest difference of PSNR",
        "a fixed filter",
        f"{_listed({row: _widest(gap) for row, gap in own.items()})} dB ({tried})",
        _agreement([_within(gap) for gap in own.values()]),
        f"Holds where every interval lies within {AGREE} dB. What network and infinitely wide theory differ by beyond "
        "this is the random error of a finite network's kernel at its start, not a filter that changes.",
    )


def _widest(gaps: dict[int, np.ndarray]) -> Interval | None:
    """The mean at the largest width; None where all diverged."""
    return mean(gaps[max(gaps)]) if gaps else None


def _listed(values: dict[tuple[str, str], Interval | None]) -> str:
    return ", ".join(f"{network_name(a)} from {LABELS[s]} {value or 'diverged'}" for (a, s), value in values.items())


def _within(gaps: dict[int, np.ndarray]) -> bool | None:
    """Whether the widest are within the margin; a difference beyond it that falls with the width does not tell."""
    gap = _widest(gaps)
    inside = None if gap is None else gap.within(-AGREE, AGREE)
    own = {width: values for width, values in gaps.items() if (values > 0).all()}
    return None if inside is False and len(own) > 1 and slope(own).value < 0 else inside


def _agreement(found_: list[bool | None]) -> Outcome:
    if all(found_):
        return "holds"
    if all(value is False for value in found_):
        return "contradicted"
    return "holds in part" if any(found_) else "undecided"


def _needed(results: Results, rows: list[tuple[str, str]]) -> str:
    """The width at which the gap will be small enough, from its fall over the widths."""
    texts = []
    for architecture, source in rows:
        gap = {w: values for w, values in _gaps(results, architecture, source).items() if (values > 0).all()}
        if len(gap) < 2 or gap[max(gap)].mean() <= AGREE:
            continue
        exponent = slope(gap).value
        name = f"{network_name(architecture)} from {LABELS[source]}"
        if exponent > -0.1:
            texts.append(f"{name}: not foreseeable (~ channels^{exponent:.2f})")
        else:
            width = max(gap) * (gap[max(gap)].mean() / AGREE) ** (-1 / exponent)
            texts.append(f"{name}: about {width:.0f} channels")
    return "By the fall over the widths " + "; ".join(texts) + f" would bring the mean to {AGREE} dB." if texts else ""


def _control(results: Results, case: tuple[str, bool]) -> Verdict:
    """What the other cases give: the same start matters, and each parametrisation has a kernel of its own."""
    texts, agree = [], []
    width = results.config["controls_width"]
    for architecture in results.config["architectures"]:
        for source in ("image", "noise"):
            gap = _gaps(results, architecture, source, case).get(width)
            if gap is None:
                texts.append(f"{network_name(architecture)} from {LABELS[source]} diverged")
                continue
            zero = found(results, architecture, source, case, "from_zero")[width]
            ours = found(results, architecture, source, case, "psnr")[width]
            wrong = np.abs(zero - ours).max(axis=1).mean()
            apart = "" if case[1] else f" ({wrong:.2f} dB from the theory from zero)"
            texts.append(f"{network_name(architecture)} from {LABELS[source]} {mean(gap)}{apart}")
            agree.append(mean(gap).within(-AGREE, AGREE))
    return Verdict(
        1,
        f"{_CASES[case][0]}: largest difference of PSNR to its own theory at equal steps",
        "",
        "; ".join(texts) + f" dB at {width} channels",
        _agreement(agree) if agree else "undecided",
        "One network starts at a random z0, the mean over networks at zero: only theory from that z0 may be compared.",
        "control",
    )


def draw(results: Results, folder: Path) -> list[str]:
    """PSNR over the steps of the widest networks beside their theory, and how far both differ over the widths."""
    config = results.config
    rows = [(a, s) for a in config["architectures"] for s in ("image", "noise")]
    several = len(config["widths"]) > 1
    columns = 3 if several else 2
    with figure(folder, "dynamics", (3.3 * columns, 2.3 * len(rows) + 0.5), len(rows), columns) as (drawn, axes):
        for line, row in zip(axes, rows, strict=True):
            for axis, centered in zip(line, (True, False), strict=False):
                width = _draw_paths(axis, results, row, centered)
                start = "centered, from zero" if centered else "from its own random start"
                axis.set_title(f"{start}, {width} channels")
            line[0].set_ylabel(f"{network_name(row[0])}\nfrom {LABELS[row[1]]}\nPSNR [dB]")
            if several:
                _draw_gaps(line[2], results, row)
        for axis in axes[-1, :2]:
            axis.set_xlabel("steps")
        legend_once(drawn, [axis for axis in axes[0] if axis.lines])
    return ["dynamics"]


def _draw_paths(axis: Axes, results: Results, row: tuple[str, str], centered: bool) -> int:
    """The widest networks of one row and start; returns their width."""
    steps, width = results.config["steps"], 0
    colours = {"ntk": (BLUE, BLACK), "standard": (ORANGE, GREY)}
    for index, (parameterization, (ink, black)) in enumerate(colours.items()):
        case = (parameterization, centered)
        arrays = {name: found(results, *row, case, name) for name in ("psnr", "theory", "from_zero", "linear")}
        if not arrays["psnr"] or max(arrays["psnr"]) < width:  # narrower ones would only be in the way
            continue
        width = max(arrays["psnr"])
        ours, theory, zero, linear = (values[width] for values in arrays.values())
        band(axis, steps, ours.T, ink, ls="none", marker=MARKERS[index], label=f"trained, {parameterization}")
        axis.plot(steps, theory.mean(axis=0), color=black, label=f"theory, {parameterization}")
        if centered and parameterization == "ntk":
            linear = linear[np.isfinite(linear).all(axis=1)]
            if len(linear):
                axis.plot(steps, linear.mean(axis=0), "--", color=ink, label="its own kernel, kept")
        if not centered:
            axis.plot(steps, zero.mean(axis=0), ":", color=black, label=f"theory from zero, {parameterization}")
    axis.set_xscale("log")
    return width


def _draw_gaps(axis: Axes, results: Results, row: tuple[str, str]) -> None:
    """The largest differences of PSNR over the widths."""
    lines = [(case, "theory", *style) for case, style in _CASES.items()]
    lines.append((_DECIDING, "linear", "ntk, centered, to its own kernel, kept", BLACK, ":"))
    for index, (case, other, label, colour, style) in enumerate(lines):
        gaps = _gaps(results, *row, case, other)
        if gaps:
            band(axis, list(gaps), gaps.values(), colour, ls=style, marker=MARKERS[index], label=label)
    axis.axhline(AGREE, color=GREY, lw=0.8)
    plain_decades(axis)
    log_widths(axis, results.config["widths"])
    axis.set_title("largest difference of PSNR [dB]")
