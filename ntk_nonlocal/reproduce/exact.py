"""What the paper could not compute: exact infinitely wide networks over the whole trajectory, against Nystrom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ntk_nonlocal.plotting import BLACK, show_image, step_text

from .drawing import LABELS, MARKERS, SEQUENCE, figure, network_name
from .experiment import Preset, Results, Verdict, setting
from .measures.closed_form import Limit, LowRank, Shown, Theory, low_rank, shown, theory
from .parts import Part
from .pictures import Picture, Pictures
from .published import POSTER_PSNR

TITLE = "Exact infinitely wide networks over the whole trajectory, against Nystrom"
_POSTER = {LABELS[network]: POSTER_PSNR["image", "gd", network] for network in ("autoencoder", "unet", "vanilla_cnn")}
_SAMPLING = {"columns": "columns, as the paper", "gaussian": "random sketch"}


@dataclass(frozen=True)
class Config:
    """Architectures fed with the noisy picture, steps, and Nystrom's ranks as shares of the pixels."""

    picture: Picture
    architectures: tuple[str, ...]
    steps: tuple[int, ...]
    shares: tuple[float, ...]
    seeds: int


def configure(preset: Preset, pictures: Pictures) -> Config:
    """64x64, 128x128 or 256x256 pixels."""
    pixels, levels, seeds = {"quick": (64, 2, 1), "full": (128, 3, 5), "paper": (256, 3, 1)}[preset]
    architectures = ("vanilla_cnn:kernel_size=11", f"autoencoder:levels={levels}", f"unet:levels={levels}")
    times = tuple(int(step) for step in np.unique(np.round(np.geomspace(1, 10**5, 60))))
    shares = (0.005, 0.05) if preset != "paper" else (0.001, 0.004, 0.016)
    return Config(pictures.picture("smooth", pixels), architectures, times, shares, seeds)


def parts(config: Config) -> list[Part]:
    """The exact trajectory of every architecture, and Nystrom's at every rank, by both samplings."""
    found = [Part("picture", shown, Shown(config.picture))]
    for architecture in config.architectures:
        limit = Limit(config.picture, architecture, "image")
        found.append(Part(f"theory of {network_name(architecture)}", theory, Theory(limit, config.steps)))
        for share in config.shares:
            rank = max(1, round(share * config.picture.size**2))
            for sampling in ("columns", "gaussian"):
                for seed in range(config.seeds):
                    settings = LowRank(
                        limit, rank, "columns" if sampling == "columns" else "gaussian", config.steps, seed, False
                    )
                    name = f"nystrom of {network_name(architecture)}, {sampling}, rank {rank}, seed {seed}"
                    found.append(Part(name, low_rank, settings))
    return found


def summarise(results: Results) -> list[Verdict]:
    """What Nystrom costs against the exact filter, at the best step of each."""
    verdicts = []
    for architecture in results.config["architectures"]:
        exact = float(np.max(results.one("theory", architecture=architecture)["psnr"]))
        texts, costs = [], []
        for rank in _ranks(results):
            for sampling in _SAMPLING:
                runs = results.select("low_rank", architecture=architecture, rank=rank, sampling=sampling)
                cost = exact - float(np.mean([run["psnr"].max() for run in runs]))
                missing = float(np.mean([run["missing"][0] for run in runs]))
                texts.append(f"{cost:+.2f} dB with {rank} {sampling} (trace missing {missing:.1e})")
                costs.append(abs(cost))
        verdicts.append(
            Verdict(
                4,
                f"{network_name(architecture)}: PSNR that Nystrom costs against the exact filter, at the best steps",
                "the network can be replaced by the closed form with a Nystrom approximation",
                f"exact {exact:.2f} dB; " + ", ".join(texts),
                "holds" if max(costs) < 0.5 else "holds in part",
                "A negative cost is a gain: a low rank regularises too.",
            )
        )
    best = {
        network_name(architecture): float(np.max(results.one("theory", architecture=architecture)["psnr"]))
        for architecture in results.config["architectures"]
    }
    order = sorted(best, key=lambda name: -best[name])
    published = sorted(best, key=lambda name: -_POSTER[name])
    verdicts.append(
        Verdict(
            4,
            "gradient descent from the noisy image: which network is best",
            " > ".join(f"{name} {_POSTER[name]} dB" for name in published),
            " > ".join(f"{name} {best[name]:.1f} dB" for name in order) + " (exact limits at their best steps)",
            "holds" if order == published else "contradicted",
        )
    )
    return verdicts


def _ranks(results: Results) -> list[int]:
    return sorted({setting(part, "rank") for part in results.select("low_rank")})


def draw(results: Results, folder: Path) -> list[str]:
    """PSNR over the trajectory, and the best estimates."""
    architectures = results.config["architectures"]
    with figure(folder, "exact-psnr", (9.4, 3.9), 1, len(architectures), sharey=True) as (drawn, axes):
        for axis, architecture in zip(axes[0], architectures, strict=True):
            path = results.one("theory", architecture=architecture)
            axis.plot(path["steps"], path["psnr"], color=BLACK, lw=2, label="exact")
            for index, rank in enumerate(_ranks(results)):
                for sampling, line in (("columns", "--"), ("gaussian", ":")):
                    runs = results.select("low_rank", architecture=architecture, rank=rank, sampling=sampling)
                    values = np.mean([run["psnr"] for run in runs], axis=0)
                    axis.plot(runs[0]["steps"], values, line, color=SEQUENCE[index], marker=MARKERS[index], markevery=8,
                              label=f"Nystrom, {rank}, {_SAMPLING[sampling]}")  # fmt: skip
            axis.set_xscale("log")
            axis.set_xlabel("steps")
            axis.set_title(network_name(architecture))
        axes[0, 0].set_ylabel("PSNR [dB]")
        drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    picture = results.one("shown")
    with figure(folder, "exact-images", (2.1 * (2 + len(architectures)), 2.6), 1, 2 + len(architectures)) as (_, axes):
        show_image(axes[0, 0], picture["clean"], "clean")
        show_image(axes[0, 1], picture["noisy"], "noisy", f"{float(picture['psnr']):.2f} dB")
        for axis, architecture in zip(axes[0, 2:], architectures, strict=True):
            path = results.one("theory", architecture=architecture)
            best = int(np.argmax(path["psnr"]))
            title = f"infinite {network_name(architecture)}"
            below = f"{path['psnr'][best]:.2f} dB at step {step_text(path['steps'][best], path['steps'][-1])}"
            show_image(axis, path["output"], title, below)
    return ["exact-psnr", "exact-images"]
