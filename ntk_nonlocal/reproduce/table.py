"""Figure 3 of the paper and the poster's table: trained networks on House and Baboon, from both network inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ntk_nonlocal.plotting import BLACK, show_image

from .drawing import GREY, LABELS, MARKERS, SEQUENCE, figure, network_name
from .experiment import Outcome, Preset, Results, Verdict, setting
from .measures.baselines import Baselines, baselines
from .measures.training import Training, training
from .parts import Measured, Part
from .pictures import Picture, Pictures, Role
from .published import POSTER_PSNR
from .statistics import Interval, mean

TITLE = "House and Baboon: networks trained by gradient descent and Adam, both inputs (figure 3 and the poster's table)"
_INPUTS = ("image", "noise")
_ROLES: tuple[Role, Role] = ("smooth", "texture")
_WEIGHTS = {"pytorch": "PyTorch's weights"}
_SHOWN = (("autoencoder", "adam"), ("autoencoder", "gd"), ("vanilla_cnn", "gd"))


@dataclass(frozen=True)
class Config:
    """Both pictures under several noise draws, three networks in the standard parametrisation.

    The autoencoder trained by Adam has ``seeds`` repetitions under every noise draw; the others one under the first.
    By Adam they have ``other_adam_steps`` ones: at 64x64 they are best within 360, or rise to the noisy picture's PSNR.
    ``scales``: the initial weights of all networks on the smooth picture, the first of them also in all other cells.
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
    step_size: float = 0.5
    learning_rate: float = 1e-3
    other_adam_steps: int | None = None  # as many as the autoencoder where None


def configure(preset: Preset, pictures: Pictures) -> Config:
    """Quick and full: 64x64 crops (32 channels, 2 seeds; 64 channels, 5 seeds and 3 noise draws). Paper: 256x256."""
    size, width, adam_steps, gd_steps, seeds, draws, levels = {
        "quick": (64, 32, 800, 200, 2, 1, 2),
        "full": (64, 64, 4000, 2000, 5, 3, 2),
        "paper": (256, 64, 8000, 3000, 1, 1, 3),
    }[preset]
    networks: tuple[str, ...] = (f"autoencoder:levels={levels}", f"unet:levels={levels}", "vanilla_cnn:kernel_size=11")
    networks = networks[::2] if preset == "quick" else networks
    smooth, texture = (tuple(pictures.picture(role, size, noise_seed=draw) for draw in range(draws)) for role in _ROLES)
    scales = ("he",) if preset == "quick" else ("he", "pytorch")
    others = 2000 if preset == "paper" else None
    return Config(
        smooth,
        texture,
        networks,
        width,
        adam_steps,
        gd_steps,
        seeds,
        preset != "quick",
        scales,
        other_adam_steps=others,
    )


def parts(config: Config) -> list[Part]:
    """The trainings that decide first: the autoencoder by Adam; then all networks by both, and simple filters."""
    auto = config.architectures[0]
    found = [
        Part(f"simple filters, {picture.name}, noise {picture.noise_seed}", baselines, Baselines(picture, config.bm3d))
        for picture in (*config.smooth, *config.texture)
    ]
    for draw in range(len(config.smooth)):
        for seed in range(config.seeds):
            for source in _INPUTS:
                for picture in (config.smooth[draw], config.texture[draw]):
                    found.append(_part(config, picture, auto, source, "adam", seed))
    for picture in (config.smooth[0], config.texture[0]):
        for architecture in config.architectures:
            for source in _INPUTS:
                for optimizer in ("gd", "adam"):
                    if (architecture, optimizer) != (auto, "adam"):
                        found.append(_part(config, picture, architecture, source, optimizer, 0))
    for scale in config.scales[1:]:
        for architecture in config.architectures:
            for source in _INPUTS:
                for optimizer in ("adam", "gd"):
                    scaled = f"{architecture},weight_std={scale}"
                    found.append(_part(config, config.smooth[0], scaled, source, optimizer, 0))
    return found


def _part(config: Config, picture: Picture, architecture: str, source: str, optimizer: str, seed: int) -> Part:
    gd = optimizer == "gd"
    adam_steps = config.adam_steps
    if config.other_adam_steps is not None and not architecture.startswith(config.architectures[0]):
        adam_steps = config.other_adam_steps
    settings = Training(
        picture=picture,
        architecture=architecture,
        input="image" if source == "image" else "noise",
        optimizer="gd" if gd else "adam",
        width=config.width,
        steps=config.gd_steps if gd else adam_steps,
        seed=seed,
        # train knows which step small initial weights bear
        step_size=config.step_size if gd and "weight_std" not in architecture else None,
        learning_rate=None if gd else config.learning_rate,
        keep_output=seed == 0 and picture.noise_seed == 0 and (architecture.partition(":")[0], optimizer) in _SHOWN,
    )
    scale = architecture.partition("weight_std=")[2]
    name = f"{network_name(architecture)} by {LABELS[optimizer]} from {LABELS[source]}, {picture.name}, "
    name += f"{scale} weights, " if scale else ""
    return Part(name + f"noise {picture.noise_seed}, seed {seed}", training, settings)


def best(part: Measured) -> float:
    """PSNR at the best step, chosen with the clean picture; NaN where training diverged."""
    return float(np.max(part["psnr"]))


def _last(part: Measured) -> float:
    return float(part["psnr"][-1])


def passed(part: Measured) -> bool:
    """Whether the best step is not among the last tenth."""
    return bool(part["steps"][np.argmax(part["psnr"])] < 0.9 * part["steps"][-1])


def runs(results: Results, picture: str, architecture: str, source: str, optimizer: str) -> list[Measured]:
    """The repetitions of a cell of the table."""
    where = {"name": picture, "architecture": architecture, "input": source, "optimizer": optimizer}
    return results.select("training", **where)


def over_draws(values: Mapping[int, Sequence[float]]) -> Interval:
    """The mean over noise draws of the means over the seeds within each; with one draw the mean over its seeds."""
    means = [float(np.mean(found)) for found in values.values()]
    return mean(means) if len(means) > 1 else mean(next(iter(values.values()), ()))


def beside(found: Iterable[Measured], rival: Mapping[int, float]) -> dict[int, list[float]]:
    """Best PSNR of runs minus a rival's on the same noise, by noise draw; draws without the rival are left out."""
    differences: dict[int, list[float]] = {}
    for run in found:
        draw = setting(run, "noise_seed")
        if draw in rival:
            differences.setdefault(draw, []).append(best(run) - rival[draw])
    return differences


def simple(results: Results, picture: str, name: str) -> dict[int, float]:
    """PSNR of a simple filter, by noise draw."""
    found = results.select("baselines", name=picture)
    return {setting(part, "noise_seed"): float(part[name]) for part in found if name in part.arrays}


def _chosen(results: Results, picture: str) -> tuple[str, list[Measured]]:
    """Adam's autoencoder with He's initial weights from the input that is the better one in the mean."""
    auto = results.config["architectures"][0]
    found = {source: runs(results, picture, auto, source, "adam") for source in _INPUTS}
    source = max(_INPUTS, key=lambda one: float(np.mean([best(run) for run in found[one]])))
    return source, found[source]


def _rivals(results: Results, picture: str) -> list[Measured]:
    """All other trained networks, whatever their initial weights; those that diverged are none."""
    auto = results.config["architectures"][0]
    return [
        run
        for run in results.select("training", name=picture)
        if (setting(run, "architecture").partition(",weight_std=")[0], setting(run, "optimizer")) != (auto, "adam")
        and np.isfinite(best(run))
    ]


def _called(run: Measured) -> str:
    architecture, _, scale = setting(run, "architecture").partition(",weight_std=")
    name = f"{network_name(architecture)} by {LABELS[setting(run, 'optimizer')]} from {LABELS[setting(run, 'input')]}"
    return name + (f" with {_WEIGHTS.get(scale, scale)}" if scale else "")


def _judged(difference: Interval, above: bool, rising: int) -> Outcome:
    """Whether an interval lies above 0, or else below it; while runs still rise, a deficit decides nothing."""
    if difference.low > 0:
        return "holds" if above else "contradicted"
    if difference.high < 0 and not rising:
        return "contradicted" if above else "holds"
    return "undecided"


def summarise(results: Results) -> list[Verdict]:
    """Claims 5 and 8."""
    return [
        *[verdict for role in _ROLES for verdict in (_among_networks(results, role), _beside_means(results, role))],
        _above_blur(results),
    ]


def _tried(results: Results, draws: int) -> str:
    config = results.config
    return (
        f"{config['smooth'][0]['size']}x{config['smooth'][0]['size']}, {config['width']} channels, {config['seeds']} "
        f"seed(s), {draws} noise draw(s), up to {config['adam_steps']} steps"
    )


def _claim_8(
    results: Results, role: str, statement: str, published: str, rival: str, values: Mapping[int, float], note: str
) -> Verdict:
    """Adam's autoencoder against one rival on one picture."""
    name, above = results.config[role][0]["name"], role == "smooth"
    source, found = _chosen(results, name)
    pairs = beside(found, values)
    difference = over_draws(pairs)
    kind = "" if rival == statement else "the best other network, "
    compared = [run for run in found if setting(run, "noise_seed") in pairs]
    rising = sum(not passed(run) for run in compared)
    own = float(np.mean([np.mean([best(r) for r in compared if setting(r, "noise_seed") == draw]) for draw in pairs]))
    other = float(np.mean([values[draw] for draw in pairs]))
    return Verdict(
        8,
        f"{name}: Adam's autoencoder {'above' if above else 'below'} {statement}",
        published,
        f"{difference} dB: from {LABELS[source]} {own:.2f} dB, {rival} {other:.2f} dB",
        _judged(difference, above, rising),
        f"Best steps, chosen with the clean picture, on the same noise; {_tried(results, len(pairs))}. "
        f"{rising} of {len(compared)} runs were still rising. {note}More noise draws, seeds or steps, or the whole "
        "picture, would change it.",
        "deciding",
        f"{name}: {difference.value:+.1f} dB against {kind}{rival}",
    )


def _among_networks(results: Results, role: str) -> Verdict:
    name = results.config[role][0]["name"]
    others = _rivals(results, name)
    tops: dict[str, dict[int, list[float]]] = {}
    for run in others:
        tops.setdefault(_called(run), {}).setdefault(setting(run, "noise_seed"), []).append(best(run))
    means = {label: {draw: float(np.mean(v)) for draw, v in by_draw.items()} for label, by_draw in tops.items()}
    rival = max(means, key=lambda label: float(np.mean(list(means[label].values()))))
    late = [run for run in others if not passed(run)]
    scales = {setting(run, "architecture").partition("weight_std=")[2] for run in others}
    weights = " and ".join(["He's", *sorted(_WEIGHTS.get(scale, scale) for scale in scales if scale)])
    note = f"{len(others)} other runs ({weights.removesuffix(' weights')} weights; its own are He's), on "
    note += f"{len(means[rival])} noise draw(s) alone, one seed each"
    if late:
        last = max(late, key=best)
        note += f"; {len(late)} of them were still rising, the highest at {best(last):.2f} dB ({_called(last)})"
    note += ". How far gradient descent and Nystrom get in the limit, experiment exact says. "
    published = "31.1 dB, the best other 28.9 dB" if role == "smooth" else "worse on textures, without a number"
    return _claim_8(results, role, "the best other trained network", published, rival, means[rival], note)


def _beside_means(results: Results, role: str) -> Verdict:
    name = results.config[role][0]["name"]
    bm3d = simple(results, name, "bm3d")
    note = f"CBM3D reaches {np.mean(list(bm3d.values())):.2f} dB. " if bm3d else ""
    return _claim_8(
        results, role, "non-local means", "not on the poster", "non-local means", simple(results, name, "nlm"), note
    )


def _above_blur(results: Results) -> Verdict:
    config, auto = results.config, results.config["architectures"][0]
    name = config["smooth"][0]["name"]
    found, blurs = runs(results, name, auto, "noise", "adam"), simple(results, name, "blur")
    gain = over_draws(beside(found, blurs))
    adam = over_draws(beside(found, dict.fromkeys(blurs, 0.0)))
    blur = float(np.mean([blurs[draw] for draw in beside(found, blurs)]))
    descent = max(best(run) for run in runs(results, name, auto, "noise", "gd"))
    rising = sum(not passed(run) for run in found)
    return Verdict(
        5,
        f"fed with iid noise Adam's autoencoder denoises {name} better than any Gaussian blur",
        "31.0 dB with Adam, 16.4 dB with gradient descent",
        f"Adam {adam} dB, {gain} dB above the best blur of the same noise ({blur:.2f} dB); gradient descent "
        f"{descent:.2f} dB after {config['gd_steps']} steps",
        _judged(gain, True, rising),
        f"{_tried(results, len(blurs))}; {rising} of {len(found)} runs were still rising. More noise draws or the "
        "whole picture would change it. A fixed filter is not bound to the step at which gradient descent was "
        "stopped: see experiment exact for its best.",
        "deciding",
        f"Adam {adam.value:.1f} dB (poster 31.0), best blur {blur:.1f} dB, gradient descent after {config['gd_steps']} "
        f"steps {descent:.1f} dB (poster 16.4)",
    )


def _scaled(results: Results, architecture: str, source: str, optimizer: str) -> list[Measured]:
    """The runs with other initial weights."""
    name = results.config["smooth"][0]["name"]
    return [
        run
        for run in results.select("training", name=name, input=source, optimizer=optimizer)
        if setting(run, "architecture").startswith(f"{architecture},weight_std=")
    ]


def draw(results: Results, folder: Path) -> list[str]:
    """The numbers beside the poster's, PSNR over the steps of the autoencoder by Adam, and some last estimates."""
    config = results.config
    rows = [(o, a) for a in config["architectures"] for o in ("gd", "adam")]
    places = np.arange(len(rows))[::-1]
    with figure(folder, "table-psnr", (8.8, 3.4), 1, 2, sharey=True) as (drawn, axes):
        for axis, source in zip(axes[0], _INPUTS, strict=True):
            for index, role in enumerate(_ROLES):
                name = config[role][0]["name"]
                for (optimizer, architecture), place in zip(rows, places, strict=True):
                    found = runs(results, name, architecture, source, optimizer)
                    if not found:
                        continue
                    last, top = ([value(run) for run in found] for value in (_last, best))
                    labels = (f"{name}, last step", f"{name}, best step") if place == places[0] else (None, None)
                    ink = {"color": SEQUENCE[index], "ls": "none"}
                    axis.plot(last, [place - 0.1] * len(found), marker=MARKERS[index], ms=3, label=labels[0], **ink)
                    axis.plot(top, [place + 0.1] * len(found), marker="|", ms=8, label=labels[1], **ink)
                means = results.select("baselines", name=name)[0]
                axis.axvline(float(means["nlm"]), color=SEQUENCE[index], ls=":", lw=1, label=f"{name}, non-local means")
            scaled = [
                (run, place)
                for (o, a), place in zip(rows, places, strict=True)
                for run in _scaled(results, a, source, o)
            ]
            if scaled:
                axis.plot([best(run) for run, _ in scaled], [place for _, place in scaled], "x", color=BLACK, ms=5,
                          label=f"{config['smooth'][0]['name']}, PyTorch's weights, best step")  # fmt: skip
            poster = [POSTER_PSNR.get((source, o, a.partition(":")[0]), np.nan) for o, a in rows]
            axis.plot(poster, places, "D", color=GREY, mfc="none", label="poster, House 256x256")
            axis.set_title(f"from {LABELS[source]}", color=BLACK)
            axis.set_xlabel("PSNR [dB]")
            axis.set_yticks(places, [f"{network_name(a)}, {LABELS[o]}" for o, a in rows])
        drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    _draw_steps(results, folder)
    _draw_images(results, folder)
    return ["table-psnr", "table-steps", "table-images"]


def _draw_steps(results: Results, folder: Path) -> None:
    config = results.config
    with figure(folder, "table-steps", (7.6, 3.2), 1, 2, sharey=True) as (drawn, axes):
        for axis, role in zip(axes[0], _ROLES, strict=True):
            name = config[role][0]["name"]
            for index, source in enumerate(_INPUTS):
                found = runs(results, name, config["architectures"][0], source, "adam")
                if found:
                    values = np.stack([run["psnr"] for run in found])
                    values, steps = values[:, 1:], found[0]["steps"][1:]  # step 0 has no place on the axis
                    ink = SEQUENCE[index]
                    axis.fill_between(steps, values.min(axis=0), values.max(axis=0), color=ink, alpha=0.25, lw=0)
                    line = "-" if index == 0 else "--"
                    axis.plot(steps, values.mean(axis=0), line, color=ink, label=f"from {LABELS[source]}")
            for known, dashes, label in (
                ("nlm", ":", "non-local means"),
                ("blur", "-.", "best Gaussian blur"),
                ("noisy", "-", "noisy"),
            ):
                level = float(np.mean(list(simple(results, name, known).values())))
                axis.axhline(level, color=GREY, ls=dashes, lw=1, label=label)
            axis.set_xscale("log")
            axis.set_title(name)
            axis.set_xlabel("steps")
        axes[0, 0].set_ylim(18, axes[0, 0].get_ylim()[1] + 0.3)
        axes[0, 0].set_ylabel("PSNR [dB], from 18 up")
        drawn.suptitle("Adam's autoencoder: mean and range over seeds and noise draws", fontsize=9)
        drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5)


def _draw_images(results: Results, folder: Path) -> None:
    with figure(folder, "table-images", (9.4, 3.8), 2, 1 + 2 * len(_SHOWN)) as (drawn, axes):
        for row, role in zip(axes, _ROLES, strict=True):
            name = results.config[role][0]["name"]
            means = results.select("baselines", name=name)[0]
            first = role == _ROLES[0]
            title = "non-local\nmeans" if first else ""
            show_image(row[0], means["nlm_image"], title, f"{float(means['nlm']):.2f} dB")
            row[0].title.set_fontsize(7)
            shown = [part for part in results.select("training", name=name) if "output" in part.arrays]
            for axis, part in zip(row[1:], shown, strict=False):
                title = f"{network_name(setting(part, 'architecture'))},\n{LABELS[setting(part, 'optimizer')]},\n"
                title += f"from {LABELS[setting(part, 'input')]}"
                below = f"last {_last(part):.2f} dB\nbest {best(part):.2f} dB"
                show_image(axis, part["output"], title if first else "", below)
                axis.title.set_fontsize(7)
            for axis in row[1 + len(shown) :]:
                axis.set_axis_off()
        drawn.suptitle("Networks after their last step; the best step, that verdicts use, is not kept", fontsize=9)
