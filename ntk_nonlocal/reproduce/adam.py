"""Why Adam denoises: frozen features against moved ones, and what the moved ones become. The paper's open question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ntk_nonlocal.plotting import BLACK, BLUE, GREEN, ORANGE, PINK, RED, SKY

from .drawing import GREY, LABELS, MARKERS, band, figure, legend_once, log_widths, plain_decades
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
# The centred alignment from which on two kernels count as one.
BECOMES = 0.9
_MORE = "longer trainings and wider networks would change it"
_NAMES = {"sign": "sign descent", "rmsprop": "RMSprop", "adam": "Adam"}
_THEORIES = {
    "null": ("gradient descent, same residual", BLACK, "-"),
    "gaussian": ("a clock per layer, Gaussian constants", SKY, "--"),
    "layer": ("a clock per layer, measured constants", BLUE, "-"),
    "offset": ("... per filter offset", GREEN, "--"),
    "clock": ("... constants at every step", PINK, "--"),
    "exact": ("... with the exact kernels", ORANGE, ":"),
}
_FED = {
    "noise": ("its own noise", GREY),
    "noisy": ("the noisy picture", RED),
    "clean": ("the clean picture", ORANGE),
    "estimate": ("Adam's estimate", PINK),
    "flipped": ("the noisy picture, flipped (control)", BLUE),
    "other": ("another picture (control)", SKY),
}


@dataclass(frozen=True)
class Config:
    """Frozen features on small crops over widths; the split and the alignment on larger ones at one width."""

    smooth: Picture
    texture: Picture
    small: Picture
    architecture: str
    inputs: tuple[Literal["image", "noise"], ...]
    widths: tuple[int, ...]
    theories: tuple[str, ...]
    frozen_steps: int
    width: int
    steps: int
    at: tuple[int, ...]
    seeds: int
    max_products: int
    probes: int
    learning_rate: float = 1e-3


def configure(preset: Preset, pictures: Pictures) -> Config:
    """Crops of 32x32 (frozen features) and 64x64. Quick: widths to 64, noise input, 400 steps at 32 channels, 2 draws.
    Full: widths to 128, both inputs, 1000 steps at 64 channels, 5 draws. Paper: to 512 channels, 3000 steps."""
    own = (pictures.picture("smooth", 64), pictures.picture("texture", 64), pictures.picture("smooth", 32))
    network = "autoencoder:levels=2"
    if preset == "quick":
        theories = ("gaussian", "layer", "clock", "exact")
        return Config(*own, network, ("noise",), (16, 32, 64), theories, 150, 32, 400, (100, 400), 2, 800, 48)
    widths = (16, 32, 64, 128) if preset == "full" else (16, 32, 64, 128, 256, 512)
    width, steps, at = (64, 1000, (100, 300, 1000)) if preset == "full" else (128, 3000, (100, 300, 1000, 3000))
    return Config(*own, network, ("noise", "image"), widths, THEORIES, 400, width, steps, at, 5, 1200, 128)


def parts(config: Config) -> list[Part]:
    """Frozen features by width, input and draw; then the split and the alignment by picture, input and draw."""
    found = []
    for seed in range(config.seeds):
        for source in config.inputs:
            for picture, other in ((config.smooth, config.texture), (config.texture, config.smooth)):
                run = Training(
                    picture, config.architecture, source, "adam", config.width, config.steps, seed,
                    learning_rate=config.learning_rate,
                )  # fmt: skip
                label = f"{picture.name} from {LABELS[source]}, seed {seed}"
                found.append(
                    Part(
                        f"who does the work, {label}",
                        split,
                        Split(run, config.at, 3 * config.steps, config.max_products),
                    )
                )
                if source == "noise":
                    found.append(
                        Part(f"what the kernel becomes, {label}", likeness,
                             Likeness(run, other, config.at, config.probes))
                    )  # fmt: skip
            for width in config.widths:
                case = FrozenDescent(
                    config.small, config.architecture, source, width, config.frozen_steps, config.theories,
                    seed=seed, other_seed=100 + seed,
                )  # fmt: skip
                name = f"frozen features from {LABELS[source]}, width {width} seed {seed}"
                found.append(Part(name, frozen_descent, case))
    return found


def distances(results: Results, source: str, array: str) -> dict[int, np.ndarray[Any, Any]]:
    """An array OPTIMIZER.NAME, mean over the steps, of all repetitions for every width."""
    found: dict[int, list[float]] = {}
    for part in results.select("frozen_descent", input=source):
        found.setdefault(setting(part, "width"), []).append(float(np.mean(part[array])))
    return {width: np.array(values) for width, values in sorted(found.items())}


def qualities(results: Results, picture: str, source: str, array: str = "best") -> np.ndarray[Any, Any]:
    """PSNR (repetitions, contributions) on one picture."""
    return np.stack([part[array] for part in results.select("split", name=picture, input=source)])


def alignments(results: Results, picture: str) -> np.ndarray[Any, Any]:
    """Centred alignments (repetitions, observed kernels, fed)."""
    own = [part for part in results.select("likeness") if _picture(part.settings) == picture]
    return np.stack([part["alignment"] for part in own])


def _picture(settings: dict[str, Any]) -> str:
    return str(settings["training"]["picture"]["name"])


def summarise(results: Results) -> list[Verdict]:
    """For each optimizer another clock, or one for each layer; who does the work; what the kernel becomes."""
    verdicts = []
    for source in results.config["inputs"]:
        for optimizer in RULES:
            verdicts += _frozen_verdicts(results, source, optimizer)
    for role in ("smooth", "texture"):
        for source in results.config["inputs"]:
            verdicts.append(_split_verdict(results, results.config[role]["name"], source, role))
    for role in ("smooth", "texture"):
        verdicts += _likeness_verdicts(results, results.config[role]["name"])
    return verdicts


def _frozen_verdicts(results: Results, source: str, optimizer: str) -> list[Verdict]:
    config = results.config
    wide, name = max(config["widths"]), _NAMES[optimizer]
    found = {key: distances(results, source, f"{optimizer}.{key}") for key in ("null", "nearest", *config["theories"])}
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
    layer = limits["layer"]
    per_layer: Outcome = "undecided"
    if layer.high < HALF * null.low:
        per_layer = "holds"
    elif layer.low > HALF * null.high:
        per_layer = "contradicted"
    others = "; ".join(
        f"{_THEORIES[key][0].removeprefix('... ')}: {limits[key]}" for key in config["theories"] if key != "layer"
    )
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
            per_layer,
            f"Other constants, extrapolated: {others}. Whatever the clock, from the nearest point of the theory's path "
            f"{paths[0]}, of gradient descent's {paths[1]} at {wide} channels ({tried}; wider ones would change it).",
        ),
    ]  # fmt: skip


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
            ", ".join(f"{_FED[name][0]} by {margin}" for name, margin in margins.items()),
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
    """Distances of frozen features; who does the work; alignments."""
    _draw_frozen(results, folder)
    _draw_split(results, folder)
    _draw_likeness(results, folder)
    return ["adam-frozen", "adam-work", "adam-kernel"]


def _draw_frozen(results: Results, folder: Path) -> None:
    config = results.config
    wide, source = max(config["widths"]), config["inputs"][0]
    with figure(folder, "adam-frozen", (9.6, 6.0), 2, 3, sharey="row") as (drawn, axes):
        for column, optimizer in enumerate(RULES):
            for index, key in enumerate(("null", *config["theories"])):
                label, colour, style = _THEORIES[key]
                own = results.select("frozen_descent", input=source, width=wide)
                steps, values = own[0]["steps"], np.stack([part[f"{optimizer}.{key}"] for part in own], axis=1)
                options = {"ls": style, "marker": MARKERS[index], "label": label, "ms": 4}
                band(axes[0, column], steps.tolist(), values, colour, **options)
                by_width = distances(results, source, f"{optimizer}.{key}")
                band(axes[1, column], list(by_width), by_width.values(), colour, **options)
            axes[0, column].set_xscale("log")
            axes[0, column].set_title(f"{_NAMES[optimizer]}, {wide} channels")
            axes[0, column].set_xlabel("step")
            axes[1, column].set_title("mean over the steps")
            for row in (0, 1):
                plain_decades(axes[row, column])
            log_widths(axes[1, column], config["widths"])
        for row in (0, 1):
            axes[row, 0].set_ylabel("relative distance")
        legend_once(drawn, axes[0], 3)


def _draw_split(results: Results, folder: Path) -> None:
    config = results.config
    names = contributions(config["at"])
    cases = [(role, source) for source in config["inputs"] for role in ("smooth", "texture")]
    rows = len(config["inputs"])
    kinds = (("initial features, kernel frozen", BLACK, "o"), ("moved features, kernel frozen", BLUE, "s"),
             ("trained by Adam", RED, "D"))  # fmt: skip
    with figure(folder, "adam-work", (9.6, 3.6 * rows + 0.3), rows, 2, sharey=True) as (drawn, axes):
        for axis, (role, source) in zip(axes.reshape(-1), cases, strict=True):
            picture = config[role]["name"]
            quality = qualities(results, picture, source)
            for i, name in enumerate(names):
                label, colour, marker = kinds[0 if name.startswith("J0") else 1 if name.startswith("J") else 2]
                own = quality[:, i]
                axis.plot([own.min(), own.max()], [i, i], color=colour, lw=1.5)
                axis.plot(own, np.full(len(own), i), marker, color=colour, ms=3, alpha=0.6)
                axis.plot(own.mean(), i, marker, color=colour, ms=7, label=label)
                place = (own.max(), i)
                axis.annotate(f"{own.mean():.1f}", place, (8, 0), textcoords="offset points", va="center", fontsize=8)
            axis.axvline(quality[:, 0].mean(), color=GREY, lw=1, ls=":")
            axis.margins(x=0.15)
            axis.set_title(f"{picture} ({role}), from {LABELS[source]}")
            axis.set_xlabel("best PSNR [dB]")
        axes[0, 0].set_yticks(range(len(names)), [_spelt(name) for name in names])
        axes[0, 0].invert_yaxis()
        legend_once(drawn, axes[0], 3)


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
    with figure(folder, "adam-kernel", (9.8, 4.4), 1, 2, sharey=True) as (drawn, axes):
        for axis, role in zip(axes[0], ("smooth", "texture"), strict=True):
            found = alignments(results, config[role]["name"])
            for index, (key, (label, colour)) in enumerate(_FED.items()):
                _dots(axis, found[:, :, FED.index(key)], (index - 2.5) * 0.12, colour, MARKERS[index], label)
            axis.set_xticks(
                range(len(names)), [name.replace("gradient descent", "gd").replace(" ", "\n") for name in names]
            )
            axis.set_title(f"{config[role]['name']} ({role})")
            axis.grid(axis="x", visible=False)
        axes[0, 0].set_ylabel("centred alignment with the exact kernel")
        drawn.legend(
            *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, title="exact kernel fed with"
        )


def _dots(axis: Any, values: np.ndarray[Any, Any], shift: float, colour: str, marker: str, label: str) -> None:
    """Repetitions (r, n) as their mean with bars from the least to the largest."""
    places: Sequence[float] = [i + shift for i in range(values.shape[1])]
    band(axis, places, values.T, colour, ls="none", marker=marker, label=label, ms=5)
