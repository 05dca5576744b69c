"""Figure 3 of the paper and the poster's table: trained networks on House and Baboon, from both network inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .drawing import LABELS, network_name
from .experiment import Outcome, Preset, Results, Verdict, agreement, setting
from .measures.baselines import Baselines, baselines
from .measures.closed_form import BEYOND_THE_BEST, Limit, Theory, limit_quality
from .measures.training import Training, training
from .parts import Measured, Part
from .pictures import Picture, Pictures
from .statistics import Interval
from .table_figures import draw_table
from .table_runs import (
    INPUTS,
    RATE,
    ROLES,
    SHOWN,
    SLOW,
    STEP_SIZE,
    WEIGHTS,
    WIDTH,
    beside,
    best,
    called,
    is_deep,
    mean_of,
    over_draws,
    passed,
    runs,
    simple,
    tops,
)

TITLE = "House and Baboon: networks trained by gradient descent and Adam, both inputs (figure 3 and the poster's table)"
_LONGER = {"unet": 2, "vanilla_cnn": 10}  # times the steps there, until the best is passed
_RISING = 1.0  # dB below the best rival from which on one that still rises may overtake it


@dataclass(frozen=True)
class Config:
    """Both pictures under several noise draws, three networks in the standard parametrisation.

    The autoencoder trained by Adam has ``seeds`` repetitions under every noise draw. Its rivals: the other networks by
    Adam, with every initial weights of ``scales``, weights drawn anew under every noise draw, for ``other_adam_steps``
    (at 64x64 the best ones have passed their best by then, or rise to the noisy picture's PSNR), and with the last
    weights also at a tenth of the rate, for a U-Net is best within the first steps; with ``limits`` the closed forms of
    all networks fed the picture; ``narrow``, a U-Net whose skips have few channels (the deep image prior's), by Adam
    with the first weights; ``deep``, an autoencoder of more levels, no rival, by Adam on the smooth picture in half of
    the steps; and gradient descent, under the first draw, with the first initial weights, on the smooth picture with
    all.
    """

    smooth: tuple[Picture, ...]
    texture: tuple[Picture, ...]
    architectures: tuple[str, ...]
    width: int
    adam_steps: int
    gd_steps: int
    seeds: int
    bm3d: bool
    scales: tuple[str, ...]
    other_adam_steps: int
    limits: bool
    narrow: str | None
    deep: str | None
    step_size: float = STEP_SIZE
    learning_rate: float = RATE


def configure(preset: Preset, pictures: Pictures) -> Config:
    """Quick and full: 64x64 crops (32 channels, 2 seeds; 64 channels, 5 seeds and 3 noise draws). Paper: 256x256."""
    size, width, adam_steps, other_adam_steps, gd_steps, seeds, draws, levels = {
        "quick": (64, 32, 800, 400, 200, 2, 1, 2),
        "full": (64, WIDTH, 4000, 500, 2000, 5, 3, 2),
        "paper": (256, WIDTH, 8000, 1000, 3000, 1, 1, 3),
    }[preset]
    networks: tuple[str, ...] = (f"autoencoder:levels={levels}", f"unet:levels={levels}", "vanilla_cnn:kernel_size=11")
    networks = networks[::2] if preset == "quick" else networks
    smooth, texture = (tuple(pictures.picture(role, size, noise_seed=draw) for draw in range(draws)) for role in ROLES)
    return Config(
        smooth, texture, networks, width, adam_steps, gd_steps, seeds,
        bm3d=preset != "quick",
        scales=("he",) if preset == "quick" else ("he", "pytorch"),
        other_adam_steps=other_adam_steps,
        limits=preset != "paper",  # there they take hours: experiment exact
        narrow=None if preset == "quick" else f"dip:levels={levels}",
        deep=None if preset == "quick" else f"autoencoder:levels={levels + 2}",
    )  # fmt: skip


def parts(config: Config) -> list[Part]:
    """The trainings that decide first: the autoencoder by Adam; then all networks by both, and simple filters."""
    auto = config.architectures[0]
    found = [
        Part(f"simple filters, {picture.name}, noise {picture.noise_seed}", baselines, Baselines(picture, config.bm3d))
        for picture in (*config.smooth, *config.texture)
    ]
    for draw in range(len(config.smooth)):
        for seed in range(config.seeds):
            for source in INPUTS:
                for picture in (config.smooth[draw], config.texture[draw]):
                    found.append(_part(config, picture, auto, source, "adam", seed))
    for draw, pictures in enumerate(zip(config.smooth, config.texture, strict=True)):
        for picture in pictures:
            if config.limits:
                found += [_limit(picture, one) for one in (*config.architectures, config.narrow) if one]
            if config.narrow:
                found += [_part(config, picture, config.narrow, source, "adam", draw) for source in INPUTS]
            if config.deep and picture in config.smooth:
                found += [_part(config, picture, config.deep, source, "adam", draw) for source in INPUTS]
            for architecture in config.architectures[1:]:
                scales = _scales(config, architecture)
                for scaled in scales:
                    found += [_part(config, picture, scaled, source, "adam", draw) for source in INPUTS]
                for source in INPUTS if len(scales) > 1 else ():
                    if (network_name(architecture), source) != ("vanilla CNN", "noise"):  # never above the noisy one
                        found.append(_part(config, picture, scales[-1], source, "adam", draw, slow=True))
    for picture in (config.smooth[0], config.texture[0]):
        for architecture in config.architectures:
            for scaled in _scales(config, architecture) if picture == config.smooth[0] else (architecture,):
                found += [_part(config, picture, scaled, source, "gd", 0) for source in INPUTS]
    if config.narrow:
        found += [_part(config, config.smooth[0], config.narrow, source, "gd", 0) for source in INPUTS]
    for scaled in _scales(config, auto)[1:]:
        found += [_part(config, config.smooth[0], scaled, source, "adam", 0) for source in INPUTS]
    return found


def _scales(config: Config, architecture: str) -> list[str]:
    """A network with every initial weights; those of the first are its own."""
    return [architecture, *(f"{architecture},weight_std={scale}" for scale in config.scales[1:])]


def _limit(picture: Picture, architecture: str) -> Part:
    name = f"closed form of the {network_name(architecture)} from {LABELS['image']}, {picture.name}"
    settings = Theory(Limit(picture, architecture, "image"), BEYOND_THE_BEST)
    return Part(f"{name}, noise {picture.noise_seed}", limit_quality, settings)


def _part(
    config: Config, picture: Picture, architecture: str, source: str, optimizer: str, seed: int, *, slow: bool = False
) -> Part:
    gd, network, scale = optimizer == "gd", architecture.partition(":")[0], architecture.partition("weight_std=")[2]
    adam_steps = config.adam_steps if network == "autoencoder" else config.other_adam_steps
    adam_steps *= 2 if architecture == config.narrow else 1
    adam_steps //= 2 if architecture == config.deep else 1
    settings = Training(
        picture=picture,
        architecture=architecture,
        input="image" if source == "image" else "noise",
        optimizer="gd" if gd else "adam",
        width=config.width,
        steps=config.gd_steps if gd else (_LONGER[network] if slow else 1) * adam_steps,
        seed=seed,
        # train knows which step small initial weights bear
        step_size=config.step_size if gd and "weight_std" not in architecture else None,
        learning_rate=None if gd else config.learning_rate * (SLOW if slow else 1),
        keep_output=seed == picture.noise_seed == 0
        and not scale
        and (network, optimizer) in SHOWN
        and architecture != config.deep,
    )
    name = f"{network_name(architecture)} by {LABELS[optimizer]} from {LABELS[source]}, {picture.name}, "
    name += f"{scale} weights, " if scale else ""
    name += f"{SLOW:g} of the rate, " if slow else ""
    name += f"{architecture.partition('levels=')[2]} levels, " if architecture == config.deep else ""
    return Part(name + f"noise {picture.noise_seed}, seed {seed}", training, settings)


def _chosen(results: Results, picture: str) -> tuple[str, list[Measured]]:
    """Adam's autoencoder with He's initial weights from the input that is the better one in the mean."""
    auto = results.config["architectures"][0]
    found = {source: runs(results, picture, auto, source, "adam") for source in INPUTS}
    source = max(filter(found.get, INPUTS), key=lambda one: float(np.mean([best(run) for run in found[one]])))
    return source, found[source]


def _rivals(results: Results, picture: str) -> list[Measured]:
    """All other networks, trained with whatever initial weights or infinitely wide; those that diverged are none."""
    auto = results.config["architectures"][0]
    return [
        run
        for run in (*results.select("training", name=picture), *results.select("limit_quality", name=picture))
        if (setting(run, "architecture").partition(",weight_std=")[0], setting(run, "optimizer")) != (auto, "adam")
        and not is_deep(run)
        and np.isfinite(best(run))
    ]


def _judged(difference: Interval, above: bool, rising: int, rival_rises: bool = False) -> Outcome:
    """Whether an interval lies above 0, or else below it; what still rises is not beaten, nor does it lose."""
    if difference.low > 0 and not rival_rises:
        return "holds" if above else "contradicted"
    if difference.high < 0 and not rising:
        return "contradicted" if above else "holds"
    return "undecided"


def summarise(results: Results) -> list[Verdict]:
    """Claims 5 and 8."""
    return [
        *[verdict for role in ROLES for verdict in (_among_networks(results, role), _beside_means(results, role))],
        _above_blur(results),
        _others_above_blur(results),
    ]


def _tried(results: Results, draws: int) -> str:
    config = results.config
    lost = sum(not np.isfinite(best(run)) for run in results.select("training"))
    return (
        f"{config['smooth'][0]['size']}x{config['smooth'][0]['size']}, {config['width']} channels, {config['seeds']} "
        f"seed(s), {draws} noise draw(s), up to {config['adam_steps']} steps"
        + (f" ({lost} trainings diverged and are left out)" if lost else "")
    )


def _claim_8(
    results: Results, role: str, statement: str, published: str, rival: str, values: Mapping[int, float], note: str,
    rival_rises: bool = False,
) -> Verdict:  # fmt: skip
    """Adam's autoencoder against one rival on one picture."""
    name, above = results.config[role][0]["name"], role == "smooth"
    source, found = _chosen(results, name)
    pairs = beside(found, values)
    difference = over_draws(pairs)
    kind = "" if rival == statement else "the best other network, "
    compared = [run for run in found if setting(run, "noise_seed") in pairs]
    rising = sum(not passed(run) for run in compared)
    own, other = mean_of(tops(compared)), mean_of({draw: values[draw] for draw in pairs})
    return Verdict(
        8,
        f"{name}: Adam's autoencoder {'above' if above else 'below'} {statement}",
        published,
        f"{difference} dB: from {LABELS[source]} {own:.2f} dB, {rival} {other:.2f} dB",
        _judged(difference, above, rising, rival_rises),
        f"Best steps, chosen with the clean picture, on the same noise; {_tried(results, len(pairs))}. "
        f"{rising} of {len(compared)} runs were still rising (recorded {len(compared[0]['steps'])} times). {note}More "
        "noise draws, seeds or steps, or the whole picture, would change it.",
        "deciding",
        f"{name}: {difference.value:+.1f} dB against {kind}{rival}",
    )


def _among_networks(results: Results, role: str) -> Verdict:
    name = results.config[role][0]["name"]
    others: dict[str, list[Measured]] = {}
    for run in _rivals(results, name):
        others.setdefault(called(run), []).append(run)
    means = {label: tops(found) for label, found in others.items()}
    rival = max(means, key=lambda label: mean_of(means[label]))
    late = [run for found in others.values() for run in found if not passed(run)]
    rises = any(best(run) > means[rival].get(setting(run, "noise_seed"), np.inf) - _RISING for run in late)
    closed = sum(found[0].kind == "limit_quality" for found in others.values())
    weights = " and ".join(map(_scale_name, _scales_of(others)))
    note = f"{sum(map(len, others.values()))} other runs: {len(others) - closed} ways to train networks (weights, "
    note += f"inputs, rates) and {closed} closed forms, initial weights {weights}, its own He's; {rival} on "
    note += f"{len(means[rival])} noise draw(s), of trained rivals with new weights in each"
    if late:
        last = max(late, key=best)
        note += f"; {len(late)} of them were still rising, the highest at {best(last):.2f} dB ({called(last)})"
    published = "31.1 dB, the best other 28.9 dB (Nystrom)" if role == "smooth" else "worse on textures, no number"
    return _claim_8(
        results, role, "the best other network", published, rival, means[rival], f"{note}. ", rival_rises=rises
    )


def _scales_of(others: Mapping[str, Sequence[Measured]]) -> list[str]:
    return sorted(
        {setting(run, "architecture").partition("weight_std=")[2] for found in others.values() for run in found}
    )


def _scale_name(scale: str) -> str:
    return WEIGHTS.get(scale, scale).removesuffix(" weights") if scale else "He's"


def _beside_means(results: Results, role: str) -> Verdict:
    name = results.config[role][0]["name"]
    bm3d = simple(results, name, "bm3d")
    note = f"CBM3D reaches {mean_of(bm3d):.2f} dB. " if bm3d else ""
    return _claim_8(
        results, role, "non-local means", "not on the poster", "non-local means", simple(results, name, "nlm"), note
    )


def _above_blur(results: Results) -> Verdict:
    config, auto = results.config, results.config["architectures"][0]
    name = config["smooth"][0]["name"]
    found, blurs = runs(results, name, auto, "noise", "adam"), simple(results, name, "blur")
    gain, means = over_draws(beside(found, blurs)), over_draws(beside(found, simple(results, name, "nlm")))
    adam = over_draws(beside(found, dict.fromkeys(blurs, 0.0)))
    blur = mean_of({draw: blurs[draw] for draw in beside(found, blurs)})
    descent = max(best(run) for run in runs(results, name, auto, "noise", "gd"))
    rising = sum(not passed(run) for run in found)
    return Verdict(
        5,
        f"fed with iid noise Adam's autoencoder denoises {name} better than any Gaussian blur",
        "31.0 dB with Adam, 16.4 dB with gradient descent",
        f"Adam {adam} dB, {gain} dB above the best blur of the same noise ({blur:.2f} dB), {means} dB against "
        f"non-local means; gradient descent {descent:.2f} dB after {config['gd_steps']} steps",
        _judged(gain, True, rising),
        f"{_tried(results, len(blurs))}; {rising} of {len(found)} runs were still rising. More noise draws or the "
        "whole picture would change it. A fixed filter is not bound to the step at which gradient descent was "
        "stopped: see experiment exact for its best.",
        "deciding",
        f"Adam's autoencoder {adam.value:.1f} dB (poster 31.0): {gain.value:+.1f} dB against the best blur, "
        f"{means.value:+.1f} dB against non-local means; gradient descent after {config['gd_steps']} steps "
        f"{descent:.1f} dB (poster 16.4)",
    )


def _others_above_blur(results: Results) -> Verdict:
    """Whether what Adam does for the autoencoder it does for the other networks too."""
    name = results.config["smooth"][0]["name"]
    blurs = simple(results, name, "blur")
    gains: dict[str, list[Measured]] = {}
    for run in _rivals(results, name):
        if (setting(run, "input"), setting(run, "optimizer")) == ("noise", "adam"):
            gains.setdefault(called(run), []).append(run)
    above = {label: over_draws(beside(found, blurs)) for label, found in gains.items()}
    outcome = agreement([True if one.low > 0 else False if one.high < 0 else None for one in above.values()])
    return Verdict(
        5,
        f"fed with iid noise the other networks too denoise {name} by Adam better than any Gaussian blur",
        "U-Net 28.4 dB, vanilla CNN 21.6 dB",
        "; ".join(
            f"{label} {mean_of(tops(gains[label])):.2f} dB, {one} dB to the blur" for label, one in above.items()
        ),
        outcome,
        f"Best steps, of {results.config['other_adam_steps']} or, at {SLOW:g} of the rate, more, weights drawn anew "
        "under every noise draw. The whole picture, more draws and other rates would change it.",
    )


def draw(results: Results, folder: Path) -> list[str]:
    """The numbers beside the poster's, PSNR over the steps of the autoencoder by Adam, and some last estimates."""
    return draw_table(results, folder)
