"""Figure 3 of the paper and the poster's table: every method on House and Baboon, from both network inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ntk_nonlocal.plotting import BLACK, show_image

from .drawing import GREY, LABELS, MARKERS, SEQUENCE, figure, network_name
from .experiment import Outcome, Preset, Results, Verdict
from .measures.closed_form import Limit, LowRank, Shown, Theory, low_rank, shown, theory
from .measures.training import Training, training
from .parts import Measured, Part
from .pictures import Picture, Pictures
from .published import POSTER_PSNR

TITLE = "House and Baboon: every method, both inputs (figure 3 and the poster's table)"
_INPUTS = ("image", "noise")
_METHODS = {"gd": "gradient descent", "adam": "Adam", "theory": "exact theory", "nystrom": "Nystrom"}


@dataclass(frozen=True)
class Config:
    """Both pictures, three networks in the standard parametrisation, and their exact limits.

    ``long_steps`` are those of a second training of the autoencoder by Adam, which is best after many more than
    ``steps``.
    """

    smooth: Picture
    texture: Picture
    architectures: tuple[str, ...]
    width: int
    steps: int
    long_steps: int
    theory_steps: tuple[int, ...]
    nystrom_share: float = 0.05
    step_size: float = 0.5
    learning_rate: float = 1e-3


def configure(preset: Preset, pictures: Pictures) -> Config:
    """Quick: 64x64, 32 channels, 250 steps. Full: 128x128, 32 channels, 2000 steps. Paper: 256x256, 128, 5000."""
    size, width, steps, long_steps, levels = {
        "quick": (64, 32, 250, 3000, 2),
        "full": (128, 32, 2000, 8000, 3),
        "paper": (256, 128, 5000, 20000, 3),
    }[preset]
    architectures = (f"autoencoder:levels={levels}", f"unet:levels={levels}", "vanilla_cnn:kernel_size=11")
    times = tuple(int(step) for step in np.unique(np.round(np.geomspace(1, 10**5, 60))))
    smooth, texture = (pictures.picture(role, size) for role in ("smooth", "texture"))
    return Config(smooth, texture, architectures, width, steps, long_steps, times)


def parts(config: Config) -> list[Part]:
    """Trainings of all networks, their limits, Nystrom's vanilla CNN, and the long trainings by Adam."""
    found = []
    for picture in (config.smooth, config.texture):
        found.append(Part(f"picture {picture.name}", shown, Shown(picture)))
        for architecture in config.architectures:
            for source in _INPUTS:
                where = f"{network_name(architecture)} from {LABELS[source]}, {picture.name}"
                limit = Limit(picture, architecture, "image" if source == "image" else "noise")
                found += [Part(f"{method} {where}", training, _training(config, picture, architecture, source, method))
                          for method in ("gd", "adam")]  # fmt: skip
                found.append(Part(f"theory {where}", theory, Theory(limit, config.theory_steps)))
                if architecture.startswith("vanilla"):
                    rank = max(1, round(config.nystrom_share * picture.size**2))
                    settings = LowRank(limit, rank, "columns", config.theory_steps)
                    found.append(Part(f"nystrom {where}", low_rank, settings))
    for picture in (config.smooth, config.texture):
        for source in _INPUTS:
            run = _training(config, picture, config.architectures[0], source, "adam")
            name = f"{config.long_steps} steps of adam, autoencoder from {LABELS[source]}, {picture.name}"
            found.append(Part(name, training, replace(run, steps=config.long_steps)))
    return found


def _training(config: Config, picture: Picture, architecture: str, source: str, method: str) -> Training:
    return Training(
        picture=picture,
        architecture=architecture,
        input="image" if source == "image" else "noise",
        optimizer="gd" if method == "gd" else "adam",
        width=config.width,
        steps=config.steps,
        step_size=config.step_size if method == "gd" else None,
        learning_rate=config.learning_rate if method == "adam" else None,
    )


def find(results: Results, picture: str, architecture: str, source: str, method: str) -> Measured | None:
    """The part of a cell of the table, None where there is none."""
    kinds = {"gd": "training", "adam": "training", "theory": "theory", "nystrom": "low_rank"}
    where = {"name": picture, "architecture": architecture, "input": source}
    if method in ("gd", "adam"):
        where |= {"optimizer": method, "steps": results.config["steps"]}
    found = results.select(kinds[method], **where)
    return found[0] if found else None


def _longest(results: Results, picture: str, source: str) -> Measured:
    """The long training of the autoencoder by Adam."""
    auto, steps = results.config["architectures"][0], results.config["long_steps"]
    return results.one("training", name=picture, architecture=auto, input=source, optimizer="adam", steps=steps)


def quality(part: Measured) -> tuple[float, float]:
    """PSNR after the last step and after the best one (theory and Nystrom have no last step: the best one, twice)."""
    best = float(np.max(part["psnr"]))
    return (float(part["psnr"][-1]) if part.kind == "training" else best), best


def summarise(results: Results) -> list[Verdict]:
    """Claims 4, 5 and 8 in this table."""
    config = results.config
    smooth, texture = config["smooth"]["name"], config["texture"]["name"]
    auto, vanilla = config["architectures"][0], config["architectures"][2]

    def best(picture: str, architecture: str, source: str, method: str) -> float:
        part = find(results, picture, architecture, source, method)
        return float("nan") if part is None else quality(part)[1]

    trained, exact, low = (best(smooth, vanilla, "image", method) for method in ("gd", "theory", "nystrom"))
    path = results.one("theory", name=smooth, architecture=vanilla, input="image")
    early = int(np.abs(path["steps"] - config["steps"] * config["step_size"]).argmin())
    same = float(path["psnr"][early])
    verdicts = [
        Verdict(
            4,
            f"vanilla CNN from the noisy image, {smooth}: gradient descent, its limit and Nystrom's agree",
            "gradient descent 28.0 dB, Nystrom 28.9 dB",
            f"gradient descent {trained:.1f} dB after {config['steps']} steps, its limit {same:.1f} dB after as many; "
            f"at the best step the limit has {exact:.1f} dB, Nystrom ({config['nystrom_share']:.0%} of the columns) "
            f"{low:.1f} dB",
            "holds" if abs(trained - same) <= 1 and abs(exact - low) <= 1 else "holds in part",
            f"The limit's best step is {path['steps'][int(np.argmax(path['psnr']))]}. In the standard parametrisation "
            "gradient descent follows the layer-weighted kernel, not Theta (see dynamics).",
        )
    ]
    fixed, descent, adam = (best(smooth, auto, "noise", method) for method in ("theory", "gd", "adam"))
    late = results.one("theory", name=smooth, architecture=auto, input="noise")
    outcome: Outcome = "contradicted"
    if adam > descent + 1:
        outcome = "holds" if adam > fixed + 1 else "holds in part"
    verdicts.append(
        Verdict(
            5,
            f"autoencoder from iid noise, {smooth}: the fixed filter cannot explain Adam's result",
            "gradient descent 16.4 dB, Adam 31.0 dB",
            f"after {config['steps']} steps gradient descent {descent:.1f} dB, Adam {adam:.1f} dB; gradient descent's "
            f"limit {fixed:.1f} dB at its best, step {late['steps'][int(np.argmax(late['psnr']))]}",
            outcome,
            "Given enough steps even a low-pass filter is a decent denoiser of a picture this small.",
        )
    )
    gains = {}
    longest = {
        (picture, source): _longest(results, picture, source) for picture in (smooth, texture) for source in _INPUTS
    }
    for picture in (smooth, texture):
        others = [
            best(picture, architecture, "image", method)
            for architecture in config["architectures"]
            for method in ("gd", "theory", "nystrom")
        ]
        # The shorter trainings are the beginnings of these.
        adam = max(quality(longest[picture, source])[1] for source in _INPUTS)
        gains[picture] = adam - float(np.nanmax(others))
    outcome = "contradicted"
    if gains[smooth] > gains[texture]:
        outcome = "holds" if gains[smooth] > 0 > gains[texture] else "holds in part"
    runs = [longest[smooth, source]["psnr"] for source in _INPUTS]
    if gains[smooth] < 0 and any(np.argmax(psnr) > 0.8 * len(psnr) for psnr in runs):
        outcome = "undecided"
    verdicts.append(
        Verdict(
            8,
            "Adam's autoencoder against the best fixed filter, gradient descent included",
            "better on House (31.1 against 28.9 dB), worse on Baboon",
            f"{gains[smooth]:+.1f} dB on {smooth}, {gains[texture]:+.1f} dB on {texture}, at the best of up to "
            f"{config['long_steps']} steps",
            outcome,
            "Adam had its best step among its last: it may still be rising." if outcome == "undecided" else "",
        )
    )
    return verdicts


def draw(results: Results, folder: Path) -> list[str]:
    """The images of both pictures, and all numbers beside the poster's."""
    names = []
    for role in ("smooth", "texture"):
        names.append(_draw_images(results, results.config[role]["name"], folder, f"table-{role}"))
    return [*names, _draw_numbers(results, folder)]


def _draw_images(results: Results, picture: str, folder: Path, name: str) -> str:
    columns = [(a, m) for a in results.config["architectures"] for m in ("gd", "theory", "adam")]
    columns.append((results.config["architectures"][2], "nystrom"))
    original = results.one("shown", name=picture)
    with figure(folder, name, (1.25 * (1 + len(columns)), 3.4), 2, 1 + len(columns)) as (drawn, axes):
        show_image(axes[0, 0], original["clean"], "clean")
        show_image(axes[1, 0], original["noisy"], "noisy", f"{float(original['psnr']):.2f} dB")
        for row, source in zip(axes[:, 1:], _INPUTS, strict=True):
            for axis, (architecture, method) in zip(row, columns, strict=True):
                part = find(results, picture, architecture, source, method)
                assert part is not None
                title = f"{_METHODS[method]}\n{network_name(architecture)}" if source == "image" else ""
                show_image(axis, part["output"].astype(np.float32), title, f"{quality(part)[0]:.2f} dB")
                axis.title.set_fontsize(7.5)
            row[0].set_ylabel(f"from {LABELS[source]}")
        drawn.suptitle(f"{picture}: training after its last step, theory and Nystrom at their best", fontsize=9)
    return name


def _draw_numbers(results: Results, folder: Path) -> str:
    """Dots for the last step, ticks for the best one, stars for that of the long training, the poster's in grey."""
    rows = [(m, a) for a in results.config["architectures"] for m in ("gd", "adam", "theory")]
    rows.append(("nystrom", results.config["architectures"][2]))
    places = np.arange(len(rows))[::-1]
    labels = [f"{network_name(a)}, {_METHODS[m]}" for m, a in rows]
    with figure(folder, "table-psnr", (8.6, 3.6), 1, 2, sharey=True) as (drawn, axes):
        for axis, source in zip(axes[0], _INPUTS, strict=True):
            for index, role in enumerate(("smooth", "texture")):
                picture = results.config[role]["name"]
                parts_ = [find(results, picture, a, source, m) for m, a in rows]
                last, best = zip(*(quality(part) for part in parts_ if part is not None), strict=True)
                axis.plot(last, places, MARKERS[index], color=SEQUENCE[index], label=f"{picture}, last step")
                axis.plot(best, places, "|", ms=9, color=SEQUENCE[index], label=f"{picture}, best step")
                long = quality(_longest(results, picture, source))[1]
                label = f"{picture}, best of {results.config['long_steps']}"
                place = places[rows.index(("adam", results.config["architectures"][0]))]
                axis.plot(long, place, "*", ms=8, color=SEQUENCE[index], label=label)
            poster = [POSTER_PSNR.get((source, m, a.partition(":")[0]), np.nan) for m, a in rows]
            axis.plot(poster, places, "D", color=GREY, mfc="none", label="poster, House 256x256")
            axis.set_title(f"from {LABELS[source]}", color=BLACK)
            axis.set_xlabel("PSNR [dB]")
            axis.set_yticks(places, labels)
        drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return "table-psnr"
