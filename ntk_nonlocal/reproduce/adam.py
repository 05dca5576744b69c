"""Why Adam denoises: frozen features against moved ones, and what the moved ones become. The paper's open question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .adam_figures import (
    FED_LABELS,
    NAMES,
    THEORY_LABELS,
    alignments,
    distances,
    draw_all,
    frozen_parts,
    looked_at,
    qualities,
    rising,
)
from .drawing import LABELS
from .dynamics import AGREE
from .experiment import Outcome, Preset, Results, Verdict, setting
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
# The share of a fresh network's alignment with its own limit from which on a kernel counts as one of its kind.
BECOMES = 0.9
# Theories of what is run once, beyond the sizes that are repeated.
BEYOND = ("all", "layer")
Input = Literal["image", "noise"]


@dataclass(frozen=True)
class Config:
    """Frozen features on small crops over widths, and once for the pictures and widths ``beyond``; the split (from
    ``split_inputs``) at one width on the two pictures and on those ``beside``; the alignment on crops of the same,
    ``likened``, and once at ``other_widths`` on the first two of them."""

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
    beyond: tuple[tuple[Picture, int], ...] = ()
    other_widths: tuple[int, ...] = ()


def configure(preset: Preset, pictures: Pictures) -> Config:
    """Frozen features from both inputs. Quick: 24x24, 32x32 and (alignment) 64x64, widths to 64, 300 steps at 32
    channels from noise, 3 seeds. Full: 32x32 and 64x64, also Lena and the bundled picture, widths to 128, both inputs,
    1000 steps at 64 channels, 5 seeds on one noise draw, and one seed on 2 more; one seed of frozen features with 256
    channels, and on 64x64. Paper: to 512 channels, 3000 steps at 128."""
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
            (100, 300), 3, 0, 500, 48,
        )  # fmt: skip
    smooth, texture, small = (
        pictures.picture("smooth", 64), pictures.picture("texture", 64), pictures.picture("smooth", 32)
    )  # fmt: skip
    widths = (16, 32, 64, 128) if preset == "full" else (16, 32, 64, 128, 256, 512)
    width, steps, at = (64, 1000, (100, 300, 1000)) if preset == "full" else (128, 3000, (100, 300, 1000, 3000))
    beside = pictures.beside(64)
    beyond = [] if 256 in widths else [(small, 256)]
    beyond += [(smooth, width) for width in (16, 32, 64, 128)]
    return Config(
        smooth, texture, beside, (smooth, texture, *beside), small, network, both, both, widths, THEORIES, 400, width,
        steps, at, 5, 2, 800, 128, beyond=tuple(beyond), other_widths=(16, 32, 128) if preset == "full" else (),
    )  # fmt: skip


def parts(config: Config) -> list[Part]:
    """By seed: the split and the alignment by picture and input; frozen features by width and input."""
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
    for width in config.other_widths:
        for picture, other in (config.likened[:2], config.likened[1::-1]):
            run = Training(
                picture, config.architecture, "noise", "adam", width, config.steps, learning_rate=config.learning_rate
            )
            name = f"what the kernel becomes, {picture.name} from {LABELS['noise']}, width {width}"
            found.append(Part(name, likeness, Likeness(run, other, config.at, config.probes)))
    for picture, width in config.beyond:
        for source in config.inputs:
            case = FrozenDescent(picture, config.architecture, source, width, config.frozen_steps, BEYOND)
            name = f"frozen features beyond, {picture.size}x{picture.size} from {LABELS[source]}, width {width}"
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


@dataclass(frozen=True)
class _Distances:
    """What is said of one optimizer from one input: distances by kind and width, at the widest, and extrapolated."""

    head: str
    wide: int
    tried: str
    found: dict[str, dict[int, np.ndarray[Any, Any]]]
    gains: dict[int, Interval]

    def shown(self, key: str) -> str:
        return shown(self.found[key][self.wide])

    def at(self, key: str) -> Interval:
        return mean(self.found[key][self.wide])

    def limit(self, key: str) -> Interval:
        return plateau(self.found[key])


def _frozen_verdicts(results: Results, source: str, optimizer: str) -> list[Verdict]:
    config = results.config
    kinds = ("null", "nearest", "redrawn", *config["theories"], "all_path", "layer_path")
    read = _Distances(
        f"frozen features, from {LABELS[source]}: {NAMES[optimizer]}",
        max(config["widths"]),
        f"{config['small']['size']}x{config['small']['size']} of {config['small']['name']}, from {LABELS[source]}, "
        f"{min(config['widths'])} to {max(config['widths'])} channels, {_repeated(config)}, {config['frozen_steps']} "
        "steps; wider networks, more seeds and more steps would change it",
        {key: distances(results, source, f"{optimizer}.{key}") for key in kinds},
        {width: mean(values) for width, values in _gains_by_width(results, source, optimizer).items()},
    )
    flow = _flow_verdict(results, source, optimizer, read)
    heavy_ball = [_momentum_verdict(read)] if RULES[optimizer][0] > 0 else []
    return [flow, *heavy_ball, *_theory_verdicts(read, config["theories"])]


def _flow_verdict(results: Results, source: str, optimizer: str, read: _Distances) -> Verdict:
    left_out, compared = unreachable(results, source, optimizer)
    ends = ", ".join(
        f"{_last(results, source, f'{optimizer}.{key}'):.2f} ({label})"
        for key, label in (("null", "gradient flow"), ("all", "one clock"), ("layer", "a clock per layer"))
    )
    return Verdict(
        0,
        f"{read.head} is gradient descent with another clock",
        "",
        f"distance from gradient flow at the same residual {read.shown('null')} at {read.wide} channels, "
        f"{_told(read.limit('null'))}, {read.limit('nearest')} from the nearest point; best PSNR "
        f"{read.gains[read.wide]} dB above the flow's",
        _clock(read.at("null"), read.gains[read.wide]),
        f"Distances are relative to how far the output has moved, mean over nine steps on a logarithmic scale; at "
        f"the last step {ends}. Of {compared} comparisons at the same residual {left_out} are left out, where the "
        "residual exceeds the start's. Best PSNR above the flow's at other widths [dB]: "
        + ", ".join(f"{gain} ({width})" for width, gain in read.gains.items() if width != read.wide)
        + f"; the best was the last in {late_bests(results, source, optimizer)} runs ({read.tried}). "
        + beyond(results, source, optimizer),
    )


def beyond(results: Results, source: str, optimizer: str) -> str:
    """What one seed says of wider networks and larger crops."""
    told = []
    for part in results.select("frozen_descent", input=source, theories=list(BEYOND)):
        side, width = setting(part, "size"), setting(part, "width")
        gone = ", ".join(f"{float(np.nanmean(part[f'{optimizer}.{key}'])):.2f}" for key in ("null", *BEYOND))
        told.append((side, width, f"{side}x{side} at {width} channels {gone}"))
    if not told:
        return ""
    return (
        "One seed beyond that, distance from gradient flow, one clock, a clock per layer: "
        + "; ".join(text for *_, text in sorted(told))
        + "."
    )


def _momentum_verdict(read: _Distances) -> Verdict:
    return Verdict(
        0,
        f"{read.head} is gradient descent with its momentum and one clock for all weights",
        "",
        f"distance from the nearest point of its path {read.shown('all_path')} at {read.wide} channels, "
        f"{_told(read.limit('all_path'))}; at the same step {read.shown('all')}",
        _clock(read.at("all_path"), read.gains[read.wide]),
        "One second moment for all weights, its constant measured at the first step on another network "
        f"({read.tried}).",
    )


def _theory_verdicts(read: _Distances, theories: Sequence[str]) -> list[Verdict]:
    null = nearer(read.at("null"), read.at("all"))
    both = f"gradient flow's {read.shown('null')}, that of one clock for all weights {read.shown('all')}"
    others = "; ".join(
        f"{THEORY_LABELS[key][0]}: {read.limit(key)}" for key in theories if key not in ("layer", "columns")
    )
    notes = {
        "layer": f"Others, extrapolated: {others}. Whatever the clock, from the nearest point of the path: "
        f"{read.at('layer_path')}, of that of one clock for all weights {read.at('all_path')}, of the flow "
        f"{read.at('nearest')} at {read.wide} channels",
        "columns": "Columns are products of a backward and a forward field, as drawn with other weights; they are only "
        f"assumed to be many. Gradient flows of both networks are {read.limit('redrawn')} apart extrapolated, "
        f"{read.at('redrawn')} at {read.wide} channels",
    }
    statements = {
        "layer": "is gradient descent with one clock for every layer",
        "columns": "does to one network what it does to columns of another",
    }
    return [
        Verdict(
            0,
            f"{read.head} {statement}",
            "",
            f"distance at the same step {_told(read.limit(key))}, {read.shown(key)} at {read.wide} channels; {both}",
            _halved(read.limit(key), null),
            f"{notes[key]} ({read.tried}).",
        )
        for key, statement in statements.items()
    ]


def _told(limit: Interval) -> str:
    """A plateau, and what is to be thought of a negative one."""
    return f"{limit} extrapolated" + (" (negative, which no distance is)" if limit.value < 0 else "")


def nearer(*nulls: Interval) -> Interval:
    """The null model that is nearer in the mean."""
    return min(nulls, key=lambda null: null.value)


def shown(values: np.ndarray[Any, Any]) -> str:
    """The mean with its interval and, where they are few, the values themselves."""
    few = 1 < len(values) <= 3
    return f"{mean(values)}" + (f" (seeds {', '.join(f'{value:.2f}' for value in values)})" if few else "")


def _clock(null: Interval, gain: Interval) -> Outcome:
    if null.low > CLOCK or gain.low > AGREE:
        return "contradicted"
    return "holds" if null.high < CLOCK and gain.high < AGREE else "undecided"


def _halved(theory: Interval, null: Interval) -> Outcome:
    """Whether a theory's extrapolated distance is below half of the null model's; a negative one is no distance."""
    if theory.value < 0:
        return "undecided"
    if theory.high < HALF * null.low:
        return "holds"
    return "contradicted" if theory.low > HALF * null.high else "undecided"


def _repeated(config: dict[str, Any]) -> str:
    return f"{config['seeds']} seeds of weights and input on one noise draw"


def _gains_by_width(results: Results, source: str, optimizer: str) -> dict[int, np.ndarray[Any, Any]]:
    """Best PSNR above that of the flow, seed by seed."""
    own, flow = (distances(results, source, f"{optimizer}.{name}") for name in ("best_psnr", "null_best"))
    return {width: own[width] - flow[width] for width in own}


def unreachable(results: Results, source: str, optimizer: str) -> tuple[int, int]:
    """Comparisons at the same residual where gradient flow has none so large, and all, over seeds and widths."""
    lost = [np.isnan(part[f"{optimizer}.null"]) for part in frozen_parts(results, source)]
    return int(np.sum(lost)), int(np.size(lost))


def late_bests(results: Results, source: str, optimizer: str) -> str:
    """In how many of the runs the best PSNR is the last."""
    runs = frozen_parts(results, source)
    late = [part[f"{optimizer}.psnr"][-1] >= part[f"{optimizer}.best_psnr"] for part in runs]
    return f"{sum(late)} of {len(late)}"


def _last(results: Results, source: str, array: str) -> float:
    """The mean over repetitions at the last step and the widest network."""
    wide = max(results.config["widths"])
    return float(np.nanmean([part[array][-1] for part in frozen_parts(results, source, width=wide)]))


def gains(results: Results, picture: str, source: str) -> dict[str, Interval]:
    """PSNR over the closed form with the initial Jacobian, by contribution."""
    quality, names = qualities(results, picture, source), contributions(results.config["at"])
    return {name: mean(quality[:, i] - quality[:, 0]) for i, name in enumerate(names) if i}


def _split_verdict(results: Results, picture: str, source: str, role: str) -> Verdict:
    config = results.config
    last = max(config["at"])
    names, every = contributions(config["at"]), qualities(results, picture, source)
    at = dict(zip(names, every.T, strict=True))
    found = gains(results, picture, source)
    features, moved = found[f"J{last}"], f"J{last}"
    steps = (
        ("features", moved, "J0"),
        ("then the preconditioner", f"{moved} P", moved),
        ("rest", "Adam", f"{moved} P"),
    )
    shares = ", ".join(f"{label} {mean(at[one] - at[two])}" for label, one, two in steps)
    outcome: Outcome = "undecided"
    margins = [mean(at[moved] - at[rival]) for rival in (f"J0 P{last}", "linearised Adam")]
    if features.low > 0 and all(margin.low > 0 for margin in margins):
        outcome = "holds"
    elif any(margin.high < 0 for margin in margins):
        outcome = "contradicted"
    stopped = dict(zip(names, qualities(results, picture, source, "blind").T, strict=True))
    stops = [f"{name} {values.mean():.1f}" for name, values in stopped.items() if np.isfinite(values).all()]
    late = rising(results, picture, source)
    if any(late[name] == len(every) for name in ("J0", moved)):
        outcome = "undecided"  # a best that is still rising in every seed is no best
    ends = ", ".join(f"{name} ({count} of {len(every)})" for name, count in late.items() if count)
    sign = "help" if features.low > 0 else "do not help" if features.high < 0 else "do not clearly help or hurt"
    return Verdict(
        0,
        f"{picture} ({role}), from {LABELS[source]}: the moved features do Adam's work, not its preconditioner",
        "",
        f"over the initial Jacobian's {at['J0'].mean():.2f} dB: moved Jacobian {shown(at[moved] - at['J0'])}, initial "
        f"one with the preconditioner {shown(at[f'J0 P{last}'] - at['J0'])}, linearised Adam "
        f"{shown(at['linearised Adam'] - at['J0'])}, Adam {shown(at['Adam'] - at['J0'])} dB",
        outcome,
        f"Here moved features {sign}. Adam's gain in this order, which matters [dB]: {shares}. At the stop where the "
        f"residual is as large as the noise [dB]: {', '.join(stops) or 'not reached'}. Still rising at the end: "
        f"{ends or 'none'}.{_noisier(results, picture, source)} {config['width']} channels, {config['steps']} steps, "
        f"{_repeated(config)}, best steps; larger networks, more seeds and other pictures would change it.",
    )


def _noisier(results: Results, picture: str, source: str) -> str:
    """The gains of the moved Jacobian and of Adam on further noise draws, one seed each."""
    names, told = contributions(results.config["at"]), []
    for part in results.select("split", name=picture, input=source):
        noise, best = setting(part, "noise_seed"), dict(zip(names, part["best"], strict=True))
        if noise != results.config["smooth"]["noise_seed"]:
            moved = best[f"J{max(results.config['at'])}"]
            told.append(f"{moved - best['J0']:+.2f} and {best['Adam'] - best['J0']:+.2f}")
    if not told:
        return ""
    return f" On further noise draws the moved Jacobian and Adam gain {', '.join(told)} dB (seed 0)."


def _likeness_verdicts(results: Results, picture: str) -> list[Verdict]:
    config, found = results.config, alignments(results, picture)
    names, last = observed(config["at"]), max(config["at"])
    fed, seen = ({name: i for i, name in enumerate(own)} for own in (FED, names))

    def alignment(kernel: str, input_: str = "noisy") -> np.ndarray[Any, Any]:
        return np.asarray(found[:, seen[kernel], fed[input_]])

    adam, descent = f"Adam {last}", f"gradient descent {last}"
    margins = {name: mean(alignment(adam) - alignment(adam, name)) for name in ("noise", "flipped", "other")}
    reached = mean(alignment(adam) - BECOMES * alignment("fed the picture"))
    outcome: Outcome = "undecided"
    if all(margin.low > 0 for margin in margins.values()):
        outcome = "holds" if reached.low >= 0 else "holds in part"
    elif any(margin.high < 0 for margin in margins.values()):
        outcome = "contradicted"
    moved = mean(alignment(adam) - alignment("initial"))
    way = "rises" if moved.low > 0 else "falls" if moved.high < 0 else "neither clearly rises nor falls"
    early = f"Adam {config['at'][0]}"

    def learnt(kernel: str) -> np.ndarray[Any, Any]:
        """What it has come nearer to the picture's kernel than to the flipped one's."""
        before, now = (alignment(name) - alignment(name, "flipped") for name in ("initial", kernel))
        return np.asarray(now - before)

    more = mean(learnt(adam) - learnt(descent))
    return [
        Verdict(
            0,
            f"{picture}: under Adam, from noise, the kernel becomes the one that the picture would have given",
            "",
            f"centred alignment {shown(alignment(adam))} with the exact kernel fed the noisy picture (initially "
            f"{shown(alignment('initial'))}; that of a fresh network of the same width fed the picture "
            f"{shown(alignment('fed the picture'))}); above that fed "
            + ", ".join(f"{FED_LABELS[name][0]} by {margin}" for name, margin in margins.items()),
            outcome,
            f"After {last} steps at {config['width']} channels, {_repeated(config)}. The alignment with the picture "
            f"{way} in training ({moved}), after {config['at'][0]} steps it is {shown(alignment(early))}. It becomes "
            f"that kernel where it comes to {BECOMES:g} of what a fresh network reaches, for finite networks are not "
            "at their limit; in part: nearer to the picture's kernel than to the controls', and not there. Longer "
            "trainings, wider networks and more seeds would change it." + by_width(results, picture),
        ),
        Verdict(
            0,
            f"{picture}: gradient descent as long does not do so",
            "",
            f"alignment with the picture over that with the flipped one, gained since the start: "
            f"{shown(learnt(adam))} by Adam, {shown(learnt(descent))} by gradient descent; difference {more}",
            "holds" if more.low > 0 else "contradicted" if more.high < 0 else "undecided",
            "The same number of steps, at a step size of 0.5 / lambda_max; more seeds would change it.",
            "control",
        ),
    ]


def by_width(results: Results, picture: str) -> str:
    """What one seed says of the alignment at other widths."""
    names, told = observed(results.config["at"]), []
    kernels = ("initial", *(f"Adam {step}" for step in results.config["at"]), "fed the picture")
    for width in results.config.get("other_widths", ()):
        found = alignments(results, picture, width)
        if len(found):
            own = (f"{found[0, names.index(name), FED.index('noisy')]:.2f}" for name in kernels)
            told.append(f"{', '.join(own)} at {width} channels")
    return "" if not told else f" One seed at other widths ({', '.join(kernels)}): {'; '.join(told)}."


def draw(results: Results, folder: Path) -> list[str]:
    """Distances of frozen features, by input; who does the work; alignments."""
    return draw_all(results, folder)
