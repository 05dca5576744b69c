"""Figure 3 of the paper and the poster's table: trained networks on House and Baboon, from both network inputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ntk_nonlocal.plotting import BLACK, show_image

from .drawing import GREY, LABELS, MARKERS, SEQUENCE, band, figure, network_name
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
_SHOWN = (("autoencoder", "adam"), ("autoencoder", "gd"), ("vanilla_cnn", "gd"))


@dataclass(frozen=True)
class Config:
    """Both pictures under several noise draws, three networks in the standard parametrisation.

    The autoencoder trained by Adam has ``seeds`` repetitions under every noise draw; the others one under the first.
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
    return Config(smooth, texture, networks, width, adam_steps, gd_steps, seeds, preset != "quick", scales)


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
    settings = Training(
        picture=picture,
        architecture=architecture,
        input="image" if source == "image" else "noise",
        optimizer="gd" if gd else "adam",
        width=config.width,
        steps=config.gd_steps if gd else config.adam_steps,
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
    return bool(np.argmax(part["psnr"]) < 0.9 * (len(part["psnr"]) - 1))


def runs(results: Results, picture: str, architecture: str, source: str, optimizer: str) -> list[Measured]:
    """The repetitions of a cell of the table."""
    where = {"name": picture, "architecture": architecture, "input": source, "optimizer": optimizer}
    return results.select("training", **where)


def _advantage(results: Results, role: str) -> tuple[Interval, int, str]:
    """Adam's autoencoder minus the best other method on the same noise; how many runs still rose; what was compared."""
    config, auto = results.config, results.config["architectures"][0]
    name = config[role][0]["name"]
    simple = {setting(part, "noise_seed"): part for part in results.select("baselines", name=name)}
    others = {
        f"{network_name(a)} by {LABELS[o]} from {LABELS[s]}": best(run)
        for a in config["architectures"]
        for o in ("gd", "adam")
        for s in _INPUTS
        for run in runs(results, name, a, s, o)
        if (a, o) != (auto, "adam") and setting(run, "seed") == 0
    } | {"non-local means": float(simple[0]["nlm"]), "best Gaussian blur": float(simple[0]["blur"])}
    rival = max(others, key=lambda key: others[key] if np.isfinite(others[key]) else -np.inf)
    adam = [(run, source) for source in _INPUTS for run in runs(results, name, auto, source, "adam")]
    by_source = {source: mean([best(run) for run, s in adam if s == source]).value for source in _INPUTS}
    chosen = max(by_source, key=lambda source: by_source[source])
    values = [best(run) - others[rival] for run, source in adam if source == chosen]
    rising = sum(not passed(run) for run, source in adam if source == chosen)
    text = f"from {LABELS[chosen]} {by_source[chosen]:.2f} dB, the best other ({rival}) {others[rival]:.2f} dB"
    if "bm3d" in simple[0].arrays:
        text += f", CBM3D {float(simple[0]['bm3d']):.2f} dB"
    return mean(values), rising, text


def summarise(results: Results) -> list[Verdict]:
    """Claims 5 and 8."""
    config, auto = results.config, results.config["architectures"][0]
    names = {role: config[role][0]["name"] for role in _ROLES}
    advantages = {role: _advantage(results, role) for role in _ROLES}
    smooth, texture = advantages["smooth"][0], advantages["texture"][0]
    size, count = config["smooth"][0]["size"], len(config["smooth"])
    outcome: Outcome = "undecided"
    if smooth.low > 0 > texture.high:
        outcome = "holds"
    elif smooth.high < 0 or texture.low > 0:
        outcome = "holds in part" if smooth.low > texture.high else "contradicted"
    if outcome != "holds" and smooth.high < 0 and advantages["smooth"][1]:
        outcome = "undecided"  # the best is not passed
    tried = (
        f"{size}x{size}, {config['width']} channels, {config['seeds']} seeds, {count} noise draw(s), up to "
        f"{config['adam_steps']} steps"
    )
    verdicts = [
        Verdict(
            8,
            "Adam's autoencoder against the best other method here: above it on the smooth picture, below it on the "
            "texture",
            "best on House (31.1 against 28.9 dB), worse on Baboon",
            "; ".join(f"{names[role]}: {advantages[role][0]} dB ({advantages[role][2]})" for role in _ROLES),
            outcome,
            f"Best steps, chosen with the clean picture; {tried}. {advantages['smooth'][1]} and "
            f"{advantages['texture'][1]} of "
            "the runs were still rising: longer ones would change it.",
            "deciding",
            f"{smooth.value:+.1f} dB on {names['smooth']}, {texture.value:+.1f} dB on {names['texture']}",
        )
    ]
    descent = max(best(run) for run in runs(results, names["smooth"], auto, "noise", "gd"))
    adam = mean([best(run) for run in runs(results, names["smooth"], auto, "noise", "adam")])
    blur = mean([float(part["blur"]) for part in results.select("baselines", name=names["smooth"])])
    gain = mean([best(run) - blur.value for run in runs(results, names["smooth"], auto, "noise", "adam")])
    rising = any(not passed(run) for run in runs(results, names["smooth"], auto, "noise", "adam"))
    verdicts.append(
        Verdict(
            5,
            f"fed with iid noise Adam's autoencoder denoises {names['smooth']} better than any Gaussian blur",
            "31.0 dB with Adam, 16.4 dB with gradient descent",
            f"Adam {adam} dB, {gain} dB above the best blur ({blur} dB); gradient descent {descent:.2f} dB after "
            f"{config['gd_steps']} steps",
            "holds" if gain.low > 0 else ("contradicted" if gain.high < 0 and not rising else "undecided"),
            f"{tried}. A fixed filter is not bound to the step at which gradient descent was stopped: see experiment "
            f"exact for "
            "its best.",
            "deciding",
            f"Adam {adam.value:.1f} dB, best blur {blur.value:.1f} dB (poster: 31.0 against 16.4)",
        )
    )
    return verdicts


def cell(results: Results, architecture: str, source: str, optimizer: str) -> tuple[float, float] | None:
    """PSNR of the smooth picture after the last and after the best step, means over repetitions; None without runs."""
    found = runs(results, results.config["smooth"][0]["name"], architecture, source, optimizer)
    if not found:
        return None
    return float(np.mean([run["psnr"][-1] for run in found])), float(np.mean([best(run) for run in found]))


def _scaled(results: Results, architecture: str, source: str, optimizer: str) -> list[Measured]:
    """The runs with other initial weights."""
    name = results.config["smooth"][0]["name"]
    return [
        run
        for run in results.select("training", name=name, input=source, optimizer=optimizer)
        if setting(run, "architecture").startswith(f"{architecture},weight_std=")
    ]


def draw(results: Results, folder: Path) -> list[str]:
    """The numbers beside the poster's, PSNR over the steps of the autoencoder by Adam, and some estimates."""
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
                simple = results.select("baselines", name=name)[0]
                axis.axvline(
                    float(simple["nlm"]), color=SEQUENCE[index], ls=":", lw=1, label=f"{name}, non-local means"
                )
            scaled = [
                (run, place)
                for (o, a), place in zip(rows, places, strict=True)
                for run in _scaled(results, a, source, o)
            ]
            if scaled:
                axis.plot([best(run) for run, _ in scaled], [place for _, place in scaled], "x", color=BLACK, ms=5,
                          label="smooth, PyTorch's weights, best step")  # fmt: skip
            poster = [POSTER_PSNR.get((source, o, a.partition(":")[0]), np.nan) for o, a in rows]
            axis.plot(poster, places, "D", color=GREY, mfc="none", label="poster, House 256x256")
            axis.set_title(f"from {LABELS[source]}", color=BLACK)
            axis.set_xlabel("PSNR [dB]")
            axis.set_yticks(places, [f"{network_name(a)}, {LABELS[o]}" for o, a in rows])
        drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    with figure(folder, "table-steps", (7.6, 3.2), 1, 2) as (drawn, axes):
        for axis, role in zip(axes[0], _ROLES, strict=True):
            name = config[role][0]["name"]
            for index, source in enumerate(_INPUTS):
                found = runs(results, name, config["architectures"][0], source, "adam")
                if found:
                    values = np.stack([run["psnr"] for run in found])
                    band(
                        axis,
                        found[0]["steps"].tolist(),
                        values.T,
                        SEQUENCE[index],
                        marker="",
                        label=f"from {LABELS[source]}",
                    )
            simple = results.select("baselines", name=name)[0]
            axis.axhline(float(simple["nlm"]), color=GREY, ls=":", label="non-local means")
            axis.axhline(float(simple["blur"]), color=GREY, ls="-.", label="best Gaussian blur")
            axis.set_title(f"{name}: Adam's autoencoder")
            axis.set_xlabel("steps")
        axes[0, 0].set_ylabel("PSNR [dB]")
        drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    with figure(folder, "table-images", (9.4, 3.5), 2, 1 + 2 * len(_SHOWN)) as (_, axes):
        for row, role in zip(axes, _ROLES, strict=True):
            name = config[role][0]["name"]
            simple = results.select("baselines", name=name)[0]
            first = role == _ROLES[0]
            title = "non-local\nmeans" if first else ""
            show_image(row[0], simple["nlm_image"], title, f"{float(simple['nlm']):.2f} dB")
            shown = [part for part in results.select("training", name=name) if "output" in part.arrays]
            for axis, part in zip(row[1:], shown, strict=False):
                title = f"{network_name(setting(part, 'architecture'))},\n{LABELS[setting(part, 'optimizer')]},\n"
                title += f"from {LABELS[setting(part, 'input')]}"
                below = f"last step {float(part['psnr'][-1]):.2f} dB"
                show_image(axis, part["output"], title if first else "", below)
                axis.title.set_fontsize(7)
            for axis in row[1 + len(shown) :]:
                axis.set_axis_off()
    return ["table-psnr", "table-steps", "table-images"]
