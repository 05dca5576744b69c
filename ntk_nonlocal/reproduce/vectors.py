"""Figure 1 of the paper: the left singular vectors of the Jacobian represent the picture, and are robust to noise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ntk_nonlocal.plotting import show_image, show_signed

from .drawing import figure, network_name
from .experiment import Preset, Results, Verdict, setting
from .measures.closed_form import Limit, Spectrum, spectrum
from .parts import Measured, Part
from .pictures import Picture, Pictures

TITLE = "Left singular vectors of the Jacobian, from the noisy and the clean picture (figure 1)"


@dataclass(frozen=True)
class Config:
    """Exact kernels: their eigenvectors are the left singular vectors of the infinitely wide network's Jacobian."""

    picture: Picture
    architectures: tuple[str, ...]
    vectors: int


def configure(preset: Preset, pictures: Pictures) -> Config:
    """Crops of 64x64 or 128x128, or 256x256 pixels."""
    pixels, levels = {"quick": (64, 2), "full": (128, 3), "paper": (256, 3)}[preset]
    architectures = ("vanilla_cnn:kernel_size=11", f"autoencoder:levels={levels}")
    return Config(pictures.picture("smooth", pixels), architectures, 24)


def parts(config: Config) -> list[Part]:
    """The spectrum of every architecture, from the noisy picture, the clean one and iid noise."""
    found: list[Part] = []
    for architecture in config.architectures:
        for limit in (
            Limit(config.picture, architecture, "image"),
            Limit(config.picture, architecture, "clean"),
            Limit(config.picture, architecture, "noise"),
        ):
            name = f"spectrum of {network_name(architecture)} from {limit.input}"
            found.append(Part(name, spectrum, Spectrum(limit, config.vectors)))
    return found


def overlap(a: Measured, b: Measured, k: int) -> float:
    """Mean squared cosine of the principal angles between the spans of the first k vectors, 0 to 1."""
    bases = [np.linalg.qr(part["vectors"][:, :, :k].reshape(-1, k).astype(np.float64))[0] for part in (a, b)]
    return float(np.square(bases[0].T @ bases[1]).sum() / k)


def summarise(results: Results) -> list[Verdict]:
    """How much of the clean picture they hold, and how alike they are with and without noise."""
    verdicts = []
    for architecture in results.config["architectures"]:
        noisy, clean, noise = (
            results.one("spectrum", architecture=architecture, input=source) for source in ("image", "clean", "noise")
        )
        k = len(noisy["share"])
        same, other = overlap(noisy, clean, k), overlap(noise, clean, k)
        verdicts.append(
            Verdict(
                4,
                f"{network_name(architecture)}: the leading {k} singular vectors are robust to noise in the input",
                "a representation based on patch similarities which is robust to noise",
                f"the spans from the noisy and the clean picture share {same:.0%} (mean squared cosine; from iid noise "
                f"{other:.0%}); they hold {noisy['share'][-1]:.0%} of the clean picture's energy beside its mean (from "
                f"the clean one {clean['share'][-1]:.0%}, from iid noise {noise['share'][-1]:.0%})",
                "holds"
                if same > 0.5 and same > other + 0.1 and noisy["share"][-1] > noise["share"][-1]
                else "contradicted",
                "Holds where they share more than half, and more than those from iid noise do by 0.1; one noise draw "
                f"at {results.config['picture']['size']} pixels a side.",
            )
        )
    return verdicts


def draw(results: Results, folder: Path) -> list[str]:
    """The first six vectors from each input, for every architecture."""
    architectures = results.config["architectures"]
    labels = {"image": "noisy image", "clean": "clean image", "noise": "iid noise"}
    with figure(folder, "vectors", (9.0, 1.42 * 3 * len(architectures)), 3 * len(architectures), 7) as (drawn, axes):
        for index, part in enumerate(results.select("spectrum")):
            row, source = axes[index], setting(part, "input")
            name = f"{network_name(setting(part, 'architecture'))}\n{labels[source]}"
            if "input" in part.arrays:
                show_image(row[0], part["input"], name)
                row[0].title.set_fontsize(8)
            else:
                row[0].set_axis_off()
                row[0].text(0.5, 0.5, name, ha="center", va="center", transform=row[0].transAxes)
            for vector in range(6):
                held = f"{part['share'][vector]:.0%}"
                title = f"first {vector + 1}: {held}" if vector else f"first vector: {held}"
                show_signed(row[1 + vector], part["vectors"][:, :, vector], title)
        below = "share of the clean picture's energy beside its mean in the first 1, 2, ... vectors"
        drawn.supxlabel(below, fontsize=9)
    return ["vectors"]
