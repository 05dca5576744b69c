"""Why Adam denoises: frozen features against moved ones, and what the moved ones become. The paper's open question."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from .adam_figures import (
    FED_LABELS,
    NAMES,
    THEORY_LABELS,
    alignments,
    distances,
    draw_all,
    looked_at,
    qualities,
)
from .drawing import LABELS
from .dynamics import AGREE
from .experiment import Outcome, Preset, Results, Verdict
from .measures.adapted import FED, Likeness, Split, contributions, likeness, observed, split
from .measures.frozen import RULES, THEORIES, FrozenDescent, frozen_descent
from .measures.training import Training
from .parts import Part
from .pictures import Picture, Pictures
from .statistics import Interval, mean, plateau

TITLE = "Why Adam denoises: its preconditioner or its features, and what its kernel becomes"
# The most that first trials gave for the distance from gradient descent at the same residual.
CLOCK = 0.12
# A theory has to halve the null model's distance.
HALF = 0.5
# The centred alignment from which on two kernels count as one.
BECOMES = 0.9
Input = Literal["image", "noise"]
_MORE = "longer trainings and wider networks would change it"


@dataclass(frozen=True)
class Config:
    """Frozen features on small crops over widths; the split (from ``split_inputs``) at one width on the two pictures
    and on those ``beside``; the alignment on crops of the same, ``likened``."""

    smooth: Picture
    texture: Picture
    beside: tuple[Picture, ...]
    likened: tuple[Picture, ...]
    small: Picture
    architecture: str
    inputs: tuple[Input, ...]
    split_inputs: tuple[Input, ...]
    widths: tuple[int, ...]
    theories: tuple[str, ...]
    frozen_steps: int
    width: int
    steps: int
    at: tuple[int, ...]
    seeds: int
    more_noise: int
    max_products: int
    probes: int
    learning_rate: float = 1e-3


def configure(preset: Preset, pictures: Pictures) -> Config:
    """Frozen features from both inputs. Quick: 24x24, 32x32 and (alignment) 64x64, widths to 64, 300 steps at 32
    channels from noise, 2 draws. Full: 32x32 and 64x64, also Lena and the bundled picture, widths to 128, both inputs,
    1000 steps at 64 channels, 5 draws. Paper: to 512 channels, 3000 steps at 128."""
    network = "autoencoder:levels=2"
    both: tuple[Input, ...] = ("noise", "image")
    if preset == "quick":
        smooth, texture, small = (
            pictures.picture("smooth", 32), pictures.picture("texture", 32), pictures.picture("smooth", 24)
        )  # fmt: skip
        theories = ("all", "layer", "clock", "columns", "exact")
        likened = (pictures.picture("smooth", 64), pictures.picture("texture", 64))
        return Config(
            smooth, texture, (), likened, small, network, both, ("noise",), (16, 32, 64), theories, 120, 32, 300,
            (100, 300), 2, 0, 500, 48,
        )  # fmt: skip
    smooth, texture, small = (
        pictures.picture("smooth", 64), pictures.picture("texture", 64), pictures.picture("smooth", 32)
    )  # fmt: skip
    widths = (16, 32, 64, 128) if preset == "full" else (16, 32, 64, 128, 256, 512)
    width, steps, at = (64, 1000, (100, 300, 1000)) if preset == "full" else (128, 3000, (100, 300, 1000, 3000))
    beside = pictures.beside(64)
    return Config(
        smooth, texture, beside, (smooth, texture, *beside), small, network, both, both, widths, THEORIES, 400, width,
        steps, at, 5, 2, 800, 128,
    )  # fmt: skip


def parts(config: Config) -> list[Part]:
    """Frozen features by width, input and draw; then the split and the alignment by picture, input and draw."""
    found = []
    own = (config.smooth, config.texture, *config.beside)
    for seed in range(config.seeds):
        for source in config.split_inputs:
            for picture, larger in zip(own, config.likened, strict=True):
                run = Training(
                    picture, config.architecture, source, "adam", config.width, config.steps, seed,
                    learning_rate=config.learning_rate,
                )  # fmt: skip
                label = f"{picture.name} from {LABELS[source]}, seed {seed}"
                settings = Split(run, config.at, 3 * config.steps, config.max_products)
                found.append(Part(f"who does the work, {label}", split, settings))
                if source == "noise" and seed == 0:
                    for noise in range(1, 1 + config.more_noise):
                        noisier = replace(run, picture=replace(picture, noise_seed=noise))
                        again = replace(settings, training=noisier)
                        found.append(Part(f"who does the work, {label}, noise draw {noise}", split, again))
                if source == "noise":
                    other = config.likened[1 if larger.name == config.smooth.name else 0]
                    alike = Likeness(replace(run, picture=larger), other, config.at, config.probes)
                    found.append(Part(f"what the kernel becomes, {label}", likeness, alike))
        for source in config.inputs:
            for width in config.widths:
                case = FrozenDescent(
                    config.small, config.architecture, source, width, config.frozen_steps, config.theories,
                    seed=seed, other_seed=100 + seed,
                )  # fmt: skip
                name = f"frozen features from {LABELS[source]}, width {width} seed {seed}"
                found.append(Part(name, frozen_descent, case))
    return found


def summarise(results: Results) -> list[Verdict]:
    """For each optimizer another clock, or one for each layer; who does the work; what the kernel becomes."""
    verdicts = []
    for source in results.config["inputs"]:
        for optimizer in RULES:
            verdicts += _frozen_verdicts(results, source, optimizer)
    for picture, role in looked_at(results):
        for source in results.config["split_inputs"]:
            verdicts.append(_split_verdict(results, picture, source, role))
    for picture, _ in looked_at(results):
        verdicts += _likeness_verdicts(results, picture)
    return verdicts


def _frozen_verdicts(results: Results, source: str, optimizer: str) -> list[Verdict]:
    config = results.config
    wide, name = max(config["widths"]), NAMES[optimizer]
    found = {
        key: distances(results, source, f"{optimizer}.{key}")
        for key in ("null", "nearest", "redrawn", *config["theories"])
    }
    null, limits = mean(found["null"][wide]), {key: plateau(values) for key, values in found.items()}
    gain = mean(
        distances(results, source, f"{optimizer}.best_psnr")[wide]
        - distances(results, source, f"{optimizer}.null_best")[wide]
    )
    tried = (
        f"{config['small']['size']}x{config['small']['size']} of {config['small']['name']}, from {LABELS[source]}, "
        f"{min(config['widths'])} to {wide} channels, {config['seeds']} draws, {config['frozen_steps']} steps"
    )
    clock: Outcome = "holds" if null.high < CLOCK and gain.high < AGREE else "undecided"
    if null.low > CLOCK or gain.low > AGREE:
        clock = "contradicted"
    layer, columns = limits["layer"], limits["columns"]
    others = "; ".join(
        f"{THEORY_LABELS[key][0].removeprefix('... ')}: {limits[key]}"
        for key in config["theories"]
        if key not in ("layer", "columns")
    )
    other = mean(found["redrawn"][wide])
    paths = (
        mean(distances(results, source, f"{optimizer}.layer_path")[wide]),
        mean(distances(results, source, f"{optimizer}.nearest")[wide]),
    )
    ends = ", ".join(
        f"{_last(results, source, f'{optimizer}.{key}'):.2f} ({label})"
        for key, label in (("null", "gradient descent"), ("layer", "a clock per layer"))
    )
    return [
        Verdict(
            0,
            f"frozen features, from {LABELS[source]}: {name} is gradient descent with another clock",
            "",
            f"distance at the same residual {null} at {wide} channels, {limits['null']} extrapolated, "
            f"{limits['nearest']} from the nearest point; best PSNR {gain} dB above the flow's",
            clock,
            f"Distances are relative to how far the output has moved, mean over nine steps on a logarithmic scale; at "
            f"the last step {ends} ({tried}; more widths and steps would change it).",
        ),
        Verdict(
            0,
            f"frozen features, from {LABELS[source]}: {name} is gradient descent with one clock for every layer",
            "",
            f"distance at the same step {layer} extrapolated, gradient descent's {null} at {wide} channels",
            _halved(layer, null),
            f"Other constants, extrapolated: {others}. Whatever the clock, from the nearest point of the theory's path "
            f"{paths[0]}, of gradient descent's {paths[1]} at {wide} channels ({tried}; wider ones would change it).",
        ),
        Verdict(
            0,
            f"frozen features, from {LABELS[source]}: {name} does to one network what it does to columns of another",
            "",
            f"distance at the same step {columns} extrapolated, {mean(found['columns'][wide])} at {wide} channels; "
            f"gradient descent's {null}",
            _halved(columns, null),
            f"Columns are products of a backward and a forward field, as drawn with other weights; they are only "
            f"assumed to be many. Gradient flows of both networks are {limits['redrawn']} apart extrapolated, {other} "
            f"at {wide} channels ({tried}; wider ones would change it).",
        ),
    ]  # fmt: skip


def _halved(theory: Interval, null: Interval) -> Outcome:
    """Whether a theory's distance is below half of the null model's."""
    if theory.high < HALF * null.low:
        return "holds"
    return "contradicted" if theory.low > HALF * null.high else "undecided"


def _last(results: Results, source: str, array: str) -> float:
    """The mean over repetitions at the last step and the widest network."""
    wide = max(results.config["widths"])
    return float(np.mean([part[array][-1] for part in results.select("frozen_descent", input=source, width=wide)]))


def gains(results: Results, picture: str, source: str) -> dict[str, Interval]:
    """PSNR over the closed form with the initial Jacobian, by contribution."""
    quality, names = qualities(results, picture, source), contributions(results.config["at"])
    return {name: mean(quality[:, i] - quality[:, 0]) for i, name in enumerate(names) if i}


def _split_verdict(results: Results, picture: str, source: str, role: str) -> Verdict:
    config = results.config
    last = max(config["at"])
    found, quality = gains(results, picture, source), qualities(results, picture, source).mean(axis=0)
    names = contributions(config["at"])
    features, preconditioned, frozen = found[f"J{last}"], found[f"J0 P{last}"], found["linearised Adam"]
    whole = found["Adam"]
    at = dict(zip(names, quality, strict=True))
    parts_ = (
        ("features", at[f"J{last}"] - at["J0"]),
        ("then the preconditioner", at[f"J{last} P"] - at[f"J{last}"]),
        ("rest", at["Adam"] - at[f"J{last} P"]),
    )
    shares = ", ".join(f"{label} {value:+.2f} dB" for label, value in parts_)
    if whole.low > 0:
        shares += " (" + ", ".join(f"{value / whole.value:.0%}" for _, value in parts_) + " of its gain)"
    outcome: Outcome = "undecided"
    rivals = (preconditioned, frozen)
    if all(features.low > rival.high for rival in rivals):
        outcome = "holds"
    elif any(features.high < rival.low for rival in rivals):
        outcome = "contradicted"
    stopped = qualities(results, picture, source, "blind")
    stops = [
        f"{name} {values.mean():.1f}"
        for name, values in zip(names, stopped.T, strict=True)
        if np.isfinite(values).all()
    ]
    ends = np.stack([part["rising"] for part in results.select("split", name=picture, input=source)])
    late = ", ".join(name for name, end in zip(names, ends.T, strict=True) if end.any())
    if any(ends[:, i].all() for i in (0, names.index(f"J{last}"))):
        outcome = "undecided"  # a best that is still rising in every draw is no best
    sign = "help" if features.low > 0 else "do not help" if features.high < 0 else "do not clearly help or hurt"
    return Verdict(
        0,
        f"{picture} ({role}), from {LABELS[source]}: the moved features do Adam's work, not its preconditioner",
        "",
        f"over the initial Jacobian's {at['J0']:.2f} dB: moved Jacobian {features}, initial one with the "
        f"preconditioner {preconditioned}, linearised Adam {frozen}, moved one with it {found[f'J{last} P']}, Adam "
        f"{whole} dB",
        outcome,
        f"Here moved features {sign}. Adam's gain in steps: {shares}. At the stop where the residual is as large as "
        f"the noise [dB]: {', '.join(stops) or 'not reached'}. Still rising at the end: {late or 'none'}. "
        f"{config['width']} channels, {config['steps']} steps, {config['seeds']} draws, best "
        "steps; larger networks and other pictures would change it.",
    )  # fmt: skip


def _likeness_verdicts(results: Results, picture: str) -> list[Verdict]:
    config, found = results.config, alignments(results, picture)
    names, last = observed(config["at"]), max(config["at"])
    adam, descent, start = (names.index(n) for n in (f"Adam {last}", f"gradient descent {last}", "initial"))
    fed = {name: i for i, name in enumerate(FED)}
    own = mean(found[:, adam, fed["noisy"]])
    margins = {
        name: mean(found[:, adam, fed["noisy"]] - found[:, adam, fed[name]]) for name in ("noise", "flipped", "other")
    }
    outcome: Outcome = "undecided"
    if all(margin.low > 0 for margin in margins.values()):
        outcome = "holds" if own.low >= BECOMES else "holds in part"
    elif any(margin.high < 0 for margin in margins.values()):
        outcome = "contradicted"
    moved = mean(found[:, adam, fed["noisy"]] - found[:, start, fed["noisy"]])
    way = "rises" if moved.low > 0 else "falls" if moved.high < 0 else "neither rises nor falls"
    early = mean(found[:, names.index(f"Adam {config['at'][0]}"), fed["noisy"]])
    learnt = {
        name: mean(
            found[:, index, fed["noisy"]] - found[:, index, fed["flipped"]]
            - found[:, start, fed["noisy"]] + found[:, start, fed["flipped"]]
        )
        for name, index in (("Adam", adam), ("gradient descent", descent))
    }  # fmt: skip
    more = learnt["Adam"].low > learnt["gradient descent"].high
    less = learnt["Adam"].high < learnt["gradient descent"].low
    return [
        Verdict(
            0,
            f"{picture}: under Adam, from noise, the kernel becomes the one that the picture would have given",
            "",
            f"centred alignment {own} with the exact kernel fed the noisy picture (initially "
            f"{mean(found[:, start, fed['noisy']])}); above that fed " +
            ", ".join(f"{FED_LABELS[name][0]} by {margin}" for name, margin in margins.items()),
            outcome,
            f"After {last} steps at {config['width']} channels, {config['seeds']} draws. The alignment with the "
            f"picture {way} in training ({moved}), after {config['at'][0]} steps it is {early}. "
            f"In part: nearer to the picture's kernel than to the controls', and not there; {_MORE}.",
        ),
        Verdict(
            0,
            f"{picture}: gradient descent as long does not do so",
            "",
            f"alignment with the picture over that with the flipped one, gained since the start: {learnt['Adam']} by "
            f"Adam, {learnt['gradient descent']} by gradient descent",
            "holds" if more else "contradicted" if less else "undecided",
            "The same number of steps, at a step size of 0.5 / lambda_max; more draws would change it.",
            "control",
        ),
    ]  # fmt: skip


def draw(results: Results, folder: Path) -> list[str]:
    """Distances of frozen features, by input; who does the work; alignments."""
    return draw_all(results, folder)
