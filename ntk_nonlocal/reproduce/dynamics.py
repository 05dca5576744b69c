"""Gradient descent on finite networks against the theory of those very networks: claim 1, and claim 4's agreement."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ntk_nonlocal.plotting import BLACK, BLUE, ORANGE, PINK, SKY

from .drawing import GREY, LABELS, MARKERS, band, figure, legend_once, log_widths, network_name, plain_decades
from .experiment import Preset, Results, Verdict, agreement, setting
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
_WIDTHS_OF_A_SLOPE = 3
_FORESEEABLE = 20.0  # times the width that is expected: a bound beyond says nothing


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
    """An array (repetitions, steps) of a case, for every width; NaN where a repetition diverged."""
    values: dict[int, list[np.ndarray]] = {}
    name, centered = case
    for part in results.select(architecture=architecture, input=source, parameterization=name, centered=centered):
        values.setdefault(setting(part, "width"), []).append(part[array])
    return {width: np.stack(rows) for width, rows in sorted(values.items())}


def _gaps(
    results: Results, architecture: str, source: str, case: tuple[str, bool] = _DECIDING, other: str = "theory"
) -> dict[int, np.ndarray]:
    """The largest difference of PSNR over the steps between a trained network and another, (repetitions,) by width;
    infinite where one of the two diverged."""
    ours, theirs = (found(results, architecture, source, case, name) for name in ("psnr", other))
    gaps = {width: np.abs(ours[width] - theirs[width]).max(axis=1) for width in ours}
    return {width: np.where(np.isfinite(gap), gap, np.inf) for width, gap in gaps.items()}


def _finite(values: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """The repetitions that did not diverge, of widths that have some."""
    known = {width: value[np.isfinite(value)] for width, value in values.items()}
    return {width: value for width, value in known.items() if len(value)}


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
        known = _finite({width: values[:, -1] for width, values in distances.items()})
        if len(known) >= _WIDTHS_OF_A_SLOPE:
            fitted[architecture, source] = slope(known)
    verdicts.append(
        Verdict(
            1,
            f"after {last} steps the distance of the outputs falls with the width",
            "distance -> 0",
            "; ".join(f"{network_name(a)} from {LABELS[s]} ~ channels^{value}" for (a, s), value in fitted.items())
            or "two widths are no slope",
            agreement([True if v.high < -0.25 else (False if v.low > -0.25 else None) for v in fitted.values()])
            if fitted
            else "undecided",
            f"Centered, ntk parametrisation, {min(config['widths'])} to {widest} channels; holds where every "
            "exponent's interval lies below -0.25. More widths and draws would narrow the intervals.",
        )
    )
    verdicts.append(_own_filter(results, rows, tried))
    verdicts += [_control(results, (case[0], case[1])) for case in config["controls"]]
    return verdicts


def _agrees(results: Results, claim: int, rows: list[tuple[str, str]], tried: str) -> Verdict:
    """Network and theory of infinite width."""
    gaps = {row: _gaps(results, *row) for row in rows}
    widest = max(results.config["widths"])
    inside = [_inside(gap) for gap in gaps.values()]
    means = [mean(known[widest]).value for gap in gaps.values() if widest in (known := _finite(gap))]
    falling = [one.high < 0 for gap in gaps.values() if (one := _falling(gap)) is not None]
    number = (
        f"at {widest} channels {inside.count(True)} of {len(rows)} networks surely within {AGREE} dB of the theory, "
        f"{inside.count(False)} surely beyond"
    )
    number += f", means {min(means):.1f} to {max(means):.1f} dB" if means else ""
    number += f"; the difference surely falls with the width for {sum(falling)}" if falling else ""
    return Verdict(
        claim,
        "trained network and theory from the same start agree at equal steps: largest difference of PSNR"
        + (", fed the noisy image" if claim == 4 else ""),
        "the network follows the fixed filter",
        f"{_listed(gaps)} dB ({tried})",
        agreement([_within(gap) for gap in gaps.values()]),
        f"Holds where the interval of every network lies within {AGREE} dB, contradicted where none does and one lies "
        f"beyond, unless its difference falls with the width. {_needed(results, rows)}",
        "deciding",
        number,
    )


def _own_filter(results: Results, rows: list[tuple[str, str]], tried: str) -> Verdict:
    """Network and the fixed filter of the kernel that it has at its start: what is left is that its kernel moves."""
    gaps = {row: _gaps(results, *row, other="linear") for row in rows}
    return Verdict(
        1,
        "a trained network follows the filter of its own kernel, kept from the start: largest difference of PSNR",
        "a fixed filter",
        f"{_listed(gaps)} dB ({tried})",
        agreement([_within(gap) for gap in gaps.values()]),
        f"Holds where every interval lies within {AGREE} dB. Where a network is this near to its own filter and "
        "farther from the infinitely wide one, its kernel at the start is not the limit's yet (at random, and in the "
        "mean over draws); where it is not, its kernel moves. More channels would change both.",
    )


def _listed(gaps: dict[tuple[str, str], dict[int, np.ndarray]]) -> str:
    """Means at the largest width, and how many diverged."""
    return ", ".join(f"{network_name(a)} from {LABELS[s]} {_said(gap)}" for (a, s), gap in gaps.items())


def _said(gaps: dict[int, np.ndarray]) -> str:
    """The mean at the largest width, and how many diverged."""
    gap = gaps[max(gaps)]
    known = gap[np.isfinite(gap)]
    lost = f"{len(gap) - len(known)} of {len(gap)} diverged" if len(known) < len(gap) else ""
    return " ".join(filter(None, (str(mean(known)) if len(known) else "", f"({lost})" if lost else "")))


def _within(gaps: dict[int, np.ndarray]) -> bool | None:
    """Whether the widest are within the margin. One that diverged is not; a difference beyond it does not tell where it
    falls with the width, its exponent's interval below zero, or where there are too few widths to know."""
    inside = _inside(gaps)
    if inside is not False or not np.isfinite(gaps[max(gaps)]).all():
        return inside
    falling = _falling(gaps)
    return None if falling is None or falling.high < 0 else False


def _inside(gaps: dict[int, np.ndarray]) -> bool | None:
    """Whether the interval of the widest lies within the margin; False where one diverged."""
    gap = gaps[max(gaps)]
    return mean(gap).within(-AGREE, AGREE) if np.isfinite(gap).all() else False


def _falling(gaps: dict[int, np.ndarray]) -> Interval | None:
    """The exponent of a gap over the widths; None where there are too few."""
    known = {width: gap for width, gap in _finite(gaps).items() if (gap > 0).all()}
    return slope(known) if len(known) >= _WIDTHS_OF_A_SLOPE else None


def _needed(results: Results, rows: list[tuple[str, str]]) -> str:
    """The width at which the gap will be small enough, from its fall over the widths, to two digits, and its range by
    the ends of the exponent's interval."""
    if len(results.config["widths"]) < _WIDTHS_OF_A_SLOPE:
        return f"{len(results.config['widths'])} widths do not tell how many channels it would take."
    texts = []
    for architecture, source in rows:
        gaps = _gaps(results, architecture, source)
        gap = gaps[max(gaps)]
        if gap.mean() <= AGREE:
            continue
        falling, name = _falling(gaps), f"{network_name(architecture)} from {LABELS[source]}"
        if falling is None or falling.high >= 0 or not np.isfinite(gap).all():
            texts.append(f"{name}: not foreseeable" + (f" (~ channels^{falling})" if falling else ""))
        else:
            least, width, most = (
                max(gaps) * float(gap.mean() / AGREE) ** (-1 / exponent)
                for exponent in (falling.low, falling.value, falling.high)
            )
            few, about, many = (f"{float(f'{one:.2g}'):.0f}" for one in (least, width, most))
            bounds = f"{few} to {many}" if most < _FORESEEABLE * width else f"{few} or more, without a bound"
            texts.append(f"{name}: about {about} channels [{bounds}] (~ channels^{falling})")
    said = f"Channels that would bring the mean to {AGREE} dB, by the exponent and the ends of its interval: "
    return f"{said}{'; '.join(texts)}." if texts else ""


def _control(results: Results, case: tuple[str, bool]) -> Verdict:
    """What the other cases give: the same start matters, and each parametrisation has a kernel of its own."""
    texts, agree = [], []
    width = results.config["controls_width"]
    for architecture in results.config["architectures"]:
        for source in ("image", "noise"):
            gap = {width: _gaps(results, architecture, source, case)[width]}
            text, agrees = f"{network_name(architecture)} from {LABELS[source]} {_said(gap)}", _within(gap)
            if not case[1]:
                zero = _finite(_gaps(results, architecture, source, case, "from_zero"))
                text += f" ({zero[width].mean():.2f} dB from the theory from zero)" if width in zero else ""
            texts.append(text)
            agree.append(agrees)
    return Verdict(
        1,
        f"{_CASES[case][0]}: largest difference of PSNR to its own theory at equal steps",
        "",
        "; ".join(texts) + f" dB at {width} channels",
        agreement(agree),
        "One network starts at a random z0, the mean over networks at zero: only theory from that z0 may be compared. "
        f"{results.config['controls_seeds']} draws; more channels would change it.",
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
        legend_once(drawn, axes[0])
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
        ours, theory, zero, linear = (
            rows[np.isfinite(rows).all(axis=1)] for rows in (values[width] for values in arrays.values())
        )
        if not len(ours):
            continue
        band(axis, steps, ours.T, ink, ls="none", marker=MARKERS[index], label=f"trained, {parameterization}")
        axis.plot(steps, theory.mean(axis=0), color=black, label=f"theory, {parameterization}")
        if centered and parameterization == "ntk" and len(linear):
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
        gaps = _finite(_gaps(results, *row, case, other))
        if gaps:
            band(axis, list(gaps), gaps.values(), colour, ls=style, marker=MARKERS[index], label=label)
    axis.axhline(AGREE, color=GREY, lw=0.8, label=f"{AGREE} dB")
    plain_decades(axis)
    log_widths(axis, results.config["widths"])
    axis.set_title("largest difference of PSNR [dB]")
