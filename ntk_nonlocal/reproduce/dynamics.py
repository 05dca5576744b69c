"""Gradient descent on finite networks against the theory of those very networks: claim 1, and claim 4's agreement."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ntk_nonlocal.plotting import BLACK, BLUE, ORANGE, PINK, SKY

from .drawing import GREY, LABELS, MARKERS, band, figure, legend_once, log_widths, network_name, plain_decades
from .experiment import Outcome, Preset, Results, Verdict, setting
from .measures.limits import Following, following
from .parts import Part
from .pictures import Picture, Pictures
from .statistics import Interval, mean, slope

TITLE = "Gradient descent against the theory of the same network, from the same start"
# "Agree": the PSNR of network and theory at equal steps, from the same start, in dB.
AGREE = 0.3
_CASES = {
    ("ntk", True): ("ntk parametrisation, centered", BLUE, "-"),
    ("ntk", False): ("ntk parametrisation, from its random start", SKY, "--"),
    ("standard", True): ("standard parametrisation, centered", ORANGE, "-"),
    ("standard", False): ("standard parametrisation, from its random start", PINK, "--"),
}


@dataclass(frozen=True)
class Config:
    """Three networks, both inputs; every case of parametrisation and centering; widths, repetitions and steps."""

    picture: Picture
    architectures: tuple[str, ...]
    cases: tuple[tuple[str, bool], ...]
    widths: tuple[int, ...]
    seeds: int
    steps: tuple[int, ...]


def configure(preset: Preset, pictures: Pictures) -> Config:
    """64x64 crops. Quick: ntk, widths 16 and 64, 100 steps, 2 draws. Full: to 256 channels and 1000 steps, 5 draws.
    Paper: the whole 256x256, 3000 steps."""
    networks = ("vanilla_cnn:kernel_size=11", "unet:levels=2", "autoencoder:levels=2")
    if preset == "quick":
        cases = (("ntk", True), ("ntk", False))
        return Config(pictures.picture("smooth", 64), networks[::2], cases, (16, 64), 2, (1, 10, 100))
    size, widths, seeds, end = (64, (16, 64, 256), 5, 1000) if preset == "full" else (256, (64,), 1, 3000)
    steps = tuple(step for step in (1, 3, 10, 30, 100, 300, 1000, 3000) if step <= end)
    if preset == "paper":
        networks = ("vanilla_cnn:kernel_size=11", "unet:levels=3", "autoencoder:levels=3")
    return Config(pictures.picture("smooth", size), networks, tuple(_CASES), widths, seeds, steps)


def parts(config: Config) -> list[Part]:
    """One for every network, input, case, width and repetition; what shares a kernel stands together."""
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
        for width in config.widths
        for architecture in config.architectures
        for source in ("image", "noise")
        for seed in range(config.seeds)
        for parameterization, centered in config.cases
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


def _gaps(results: Results, architecture: str, source: str, case: tuple[str, bool]) -> dict[int, np.ndarray]:
    """The largest difference of PSNR over the steps, (repetitions,) for every width."""
    ours, theory = (found(results, architecture, source, case, name) for name in ("psnr", "theory"))
    return {width: np.abs(ours[width] - theory[width]).max(axis=1) for width in ours}


def summarise(results: Results) -> list[Verdict]:
    """Claim 1: the distance falls with the width, and at the widest PSNR agrees. Claim 4: the same fed the image."""
    config = results.config
    cases = [(case[0], case[1]) for case in config["cases"]]
    verdicts, gaps, slopes = [], {}, {}
    last, widest = max(config["steps"]), max(config["widths"])
    for architecture in config["architectures"]:
        for source in ("image", "noise"):
            gap = _gaps(results, architecture, source, ("ntk", True))
            gaps[architecture, source] = mean(gap[widest]) if widest in gap else None
            distances = found(results, architecture, source, ("ntk", True), "distance")
            usable = {width: rows[:, -1] for width, rows in distances.items()}
            slopes[architecture, source] = slope(usable) if len(usable) > 1 else None
    tried = (
        f"{config['picture']['size']}x{config['picture']['size']}, {widest} channels, {config['seeds']} draws, "
        f"centered, "
        f"to {last} steps"
    )
    for claim, sources in ((1, ("image", "noise")), (4, ("image",))):
        own = {key: gap for key, gap in gaps.items() if key[1] in sources}
        outcome = _agreement([_within(results, *key, gap) for key, gap in own.items()])
        worst = max((gap.value for gap in own.values() if gap is not None), default=float("nan"))
        texts = ", ".join(f"{network_name(a)} from {LABELS[s]} {gap or 'diverged'}" for (a, s), gap in own.items())
        needed = _needed(results, sources)
        verdicts.append(
            Verdict(
                claim,
                "trained network and theory from the same start agree at equal steps: largest difference of PSNR"
                + (", fed the noisy image" if claim == 4 else ""),
                "the network follows the fixed filter",
                f"{texts} dB ({tried})",
                outcome,
                f"Holds where the interval of every network lies within {AGREE} dB; a larger difference that falls "
                f"with the "
                f"width does not tell. {needed}",
                "deciding",
                f"network and theory differ by at most {worst:.2f} dB",
            )
        )
    fitted = {key: value for key, value in slopes.items() if value is not None}
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
            f"exponent's "
            "interval lies below -0.25. More widths would narrow the intervals.",
        )
    )
    verdicts += [_control(results, case) for case in cases if case != ("ntk", True)]
    return verdicts


def _within(results: Results, architecture: str, source: str, gap: Interval | None) -> bool | None:
    """Whether a network is within the margin; a difference beyond it that falls with the width does not tell."""
    inside = None if gap is None else gap.within(-AGREE, AGREE)
    own = {w: rows for w, rows in _gaps(results, architecture, source, ("ntk", True)).items() if (rows > 0).all()}
    return None if inside is False and len(own) > 1 and slope(own).value < 0 else inside


def _agreement(found_: list[bool | None]) -> Outcome:
    if all(found_):
        return "holds"
    if all(value is False for value in found_):
        return "contradicted"
    return "holds in part" if any(found_) else "undecided"


def _needed(results: Results, sources: tuple[str, ...]) -> str:
    """The width at which the gap will be small enough, from its fall over the widths."""
    texts = []
    for architecture in results.config["architectures"]:
        for source in sources:
            gap = {
                w: rows for w, rows in _gaps(results, architecture, source, ("ntk", True)).items() if (rows > 0).all()
            }
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
    widest = max(results.config["widths"])
    for architecture in results.config["architectures"]:
        for source in ("image", "noise"):
            gap = _gaps(results, architecture, source, case).get(widest)
            if gap is None:
                texts.append(f"{network_name(architecture)} from {LABELS[source]} diverged")
                continue
            zero = found(results, architecture, source, case, "from_zero")[widest]
            ours = found(results, architecture, source, case, "psnr")[widest]
            wrong = np.abs(zero - ours).max(axis=1).mean()
            apart = "" if case[1] else f" ({wrong:.2f} dB from the theory from zero)"
            texts.append(f"{network_name(architecture)} from {LABELS[source]} {mean(gap)}{apart}")
            agree.append(mean(gap).within(-AGREE, AGREE))
    return Verdict(
        1,
        f"{_CASES[case][0]}: largest difference of PSNR to its own theory at equal steps",
        "",
        "; ".join(texts) + f" dB at {widest} channels",
        _agreement(agree) if agree else "undecided",
        "One network starts at a random z0, the mean over networks at zero: only theory from that z0 may be compared.",
        "control",
    )


def draw(results: Results, folder: Path) -> list[str]:
    """PSNR over the steps of the widest networks beside their theory, and the distance over the widths."""
    config = results.config
    rows = [(a, s) for a in config["architectures"] for s in ("image", "noise")]
    steps, widest = config["steps"], max(config["widths"])
    several = len(config["widths"]) > 1
    columns = 3 if several else 2
    with figure(folder, "dynamics", (3.3 * columns, 2.3 * len(rows) + 0.5), len(rows), columns) as (drawn, axes):
        for line, (architecture, source) in zip(axes, rows, strict=True):
            for axis, centered in zip(line, (True, False), strict=False):
                colours = {"ntk": (BLUE, BLACK), "standard": (ORANGE, GREY)}
                for index, parameterization in enumerate(colours):
                    case = (parameterization, centered)
                    ours = found(results, architecture, source, case, "psnr").get(widest)
                    theory = found(results, architecture, source, case, "theory").get(widest)
                    if ours is None or theory is None:
                        continue
                    ink, black = colours[parameterization]
                    band(
                        axis, steps, ours.T, ink, ls="none", marker=MARKERS[index], label=f"trained, {parameterization}"
                    )
                    axis.plot(steps, theory.mean(axis=0), color=black, label=f"theory, {parameterization}")
                    if not centered:
                        zero = found(results, architecture, source, case, "from_zero")[widest]
                        axis.plot(
                            steps, zero.mean(axis=0), ":", color=black, label=f"theory from zero, {parameterization}"
                        )
                axis.set_xscale("log")
                axis.set_title("centered, from zero" if centered else "from its own random start")
            line[0].set_ylabel(f"{network_name(architecture)}\nfrom {LABELS[source]}\nPSNR [dB]")
            if several:
                for index, (case, (label, colour, style)) in enumerate(_CASES.items()):
                    distances = found(results, architecture, source, case, "distance")
                    if len(distances) > 1:
                        widths = list(distances)
                        values = [d[:, -1] for d in distances.values()]
                        band(line[2], widths, values, colour, ls=style, marker=MARKERS[index], label=label)
                plain_decades(line[2])
                log_widths(line[2], config["widths"])
                line[2].set_title(f"distance after {max(steps)} steps")
        for axis in axes[-1, :2]:
            axis.set_xlabel("steps")
        legend_once(drawn, axes[0])
    return ["dynamics"]
