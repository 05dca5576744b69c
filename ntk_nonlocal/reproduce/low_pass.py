"""Noise input as a low-pass filter, and the degrees of freedom of fixed filters against the networks' parameters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ntk_nonlocal.plotting import BLUE, RED

from .drawing import LABELS, figure, network_name
from .experiment import Preset, Results, Verdict
from .measures.closed_form import Limit, Stationarity, Theory, stationarity, theory
from .measures.sizes import Size, size
from .parts import Part
from .pictures import Picture, Pictures

TITLE = "Noise input as a low-pass filter; degrees of freedom against parameters"


@dataclass(frozen=True)
class Config:
    """Exact kernels from both inputs, and the sizes of networks of some width."""

    picture: Picture
    architectures: tuple[str, ...]
    steps: tuple[int, ...]
    reach: int
    width: int = 128


def configure(preset: Preset, pictures: Pictures) -> Config:
    """64x64, 128x128 or 256x256 pixels."""
    pixels, levels = {"quick": (64, 2), "full": (128, 3), "paper": (256, 3)}[preset]
    architectures = (f"autoencoder:levels={levels}", f"unet:levels={levels}", "vanilla_cnn:kernel_size=11")
    times = tuple(int(step) for step in np.unique(np.round(np.geomspace(1, 10**5, 60))))
    return Config(pictures.picture("smooth", pixels), architectures, times, 12)


def parts(config: Config) -> list[Part]:
    """Stationarity and theory of every architecture from both inputs, and the networks' sizes."""
    found = []
    for architecture in config.architectures:
        for source in ("image", "noise"):
            where = f"{network_name(architecture)} from {LABELS[source]}"
            limit = Limit(config.picture, architecture, "image" if source == "image" else "noise")
            found.append(Part(f"stationarity of {where}", stationarity, Stationarity(limit, config.reach)))
            found.append(Part(f"theory of {where}", theory, Theory(limit, config.steps)))
        found.append(Part(f"size of {network_name(architecture)}", size, Size(architecture, config.width, 3)))
    return found


def summarise(results: Results) -> list[Verdict]:
    """Claims 5 and 7."""
    verdicts = []
    for architecture in results.config["architectures"]:
        explained = {
            source: float(results.one("stationarity", architecture=architecture, input=source)["explained"])
            for source in ("image", "noise")
        }
        verdicts.append(
            Verdict(
                5,
                f"{network_name(architecture)}: from iid noise the kernel depends on the displacement alone",
                "a simple low-pass filter",
                f"the displacement explains {explained['noise']:.1%} of the correlations' variance, from the "
                f"noisy image {explained['image']:.1%}",
                "holds" if explained["noise"] > 0.9 > explained["image"] else "holds in part",
                "Looked at in windows that reach the picture's border, where the spread is largest (see the figure).",
            )
        )
        path = results.one("theory", architecture=architecture, input="image")
        best = int(np.argmax(path["psnr"]))
        count = int(results.one("size", architecture=architecture)["parameters"])
        freedom, error = float(path["degrees_of_freedom"][best]), float(path["freedom_error"][best])
        verdicts.append(
            Verdict(
                7,
                f"{network_name(architecture)} from the noisy image: degrees of freedom at the best step",
                "far fewer than parameters",
                f"{freedom:.0f} ± {error:.0f} (standard error) per channel at {path['psnr'][best]:.1f} dB, "
                f"{count} parameters at {results.config['width']} channels ({count / (3 * freedom):.0f} times those of "
                "three channels)",
                "holds" if count > 3 * (freedom + 2 * error) else "contradicted",
                f"They are bounded by the {results.config['picture']['size'] ** 2} pixels, whatever the network.",
            )
        )
    return verdicts


def draw(results: Results, folder: Path) -> list[str]:
    """The kernels' profiles over the displacement, and PSNR over the degrees of freedom."""
    architectures = results.config["architectures"]
    with figure(folder, "low-pass", (9.4, 6.0), 2, len(architectures), sharey="row") as (drawn, axes):
        for index, architecture in enumerate(architectures):
            for source, colour, marker in (("image", BLUE, "o"), ("noise", RED, "s")):
                part = results.one("stationarity", architecture=architecture, input=source)
                lags, mean, spread = np.arange(len(part["profile"])), part["profile"], part["spread"]
                axis = axes[0, index]
                axis.plot(lags, mean, color=colour, marker=marker, label=f"{LABELS[source]}: {part['explained']:.0%}")
                axis.fill_between(lags, mean - spread, mean + spread, color=colour, alpha=0.2, lw=0)
                path = results.one("theory", architecture=architecture, input=source)
                axes[1, index].plot(path["degrees_of_freedom"], path["psnr"], color=colour, label=LABELS[source])
            axes[0, index].set_title(network_name(architecture))
            axes[0, index].set_xlabel("displacement [pixels]")
            axes[0, index].legend(title="explained by displacement", title_fontsize=8)
            count = int(results.one("size", architecture=architecture)["parameters"])
            axes[1, index].axvline(results.config["picture"]["size"] ** 2, color="0.6", ls=":", label="pixels")
            axes[1, index].axvline(count, color="k", ls="--", label=f"parameters, {results.config['width']} channels")
            axes[1, index].set_xscale("log")
            axes[1, index].set_xlabel("degrees of freedom per channel")
        axes[0, 0].set_ylabel("correlation of the kernel")
        axes[1, 0].set_ylabel("PSNR over the trajectory [dB]")
        drawn.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return ["low-pass"]
