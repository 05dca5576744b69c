"""Figure 1 of the paper: the left singular vectors of the Jacobian represent the picture, and are robust to noise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ntk_nonlocal.plotting import show_image, show_signed

from .drawing import figure, network_name
from .experiment import Preset, Results, Verdict, setting
from .measures.spectra import DRAWN, INPUTS, Spectra, spectra
from .parts import Part
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
    """The spectra of every architecture."""
    return [
        Part(f"spectra of {network_name(architecture)}", spectra, Spectra(config.picture, architecture, config.vectors))
        for architecture in config.architectures
    ]


def summarise(results: Results) -> list[Verdict]:
    """How much of the clean picture they hold, and how alike they are with and without noise."""
    verdicts = []
    for architecture in results.config["architectures"]:
        part = results.one("spectra", architecture=architecture)
        share = dict(zip(INPUTS, part["share"][:, -1], strict=True))
        overlap = dict(zip(INPUTS, part["overlap"], strict=True))
        k = part["share"].shape[1]
        verdicts.append(
            Verdict(
                4,
                f"{network_name(architecture)}: the leading {k} singular vectors are robust to noise in the input",
                "a representation based on patch similarities which is robust to noise",
                f"the spans from the noisy and the clean picture share {overlap['image']:.0%} (mean squared cosine; "
                f"from iid noise {overlap['noise']:.0%}); they hold {share['image']:.0%} of the clean picture's energy "
                f"beside its mean (from the clean one {share['clean']:.0%}, from iid noise {share['noise']:.0%})",
                "holds"
                if overlap["image"] > max(0.5, overlap["noise"] + 0.1) and share["image"] > share["noise"]
                else "contradicted",
                "Holds where they share more than half, and more than those from iid noise do by 0.1, and hold more of "
                f"the picture. One noise draw, {results.config['picture']['name']} at "
                f"{results.config['picture']['size']} pixels a side; other draws, sizes or numbers of vectors would "
                "change it.",
            )
        )
    return verdicts


def draw(results: Results, folder: Path) -> list[str]:
    """The first six vectors from each input, for every architecture."""
    architectures = results.config["architectures"]
    labels = {"image": "noisy image", "clean": "clean image", "noise": "iid noise"}
    with figure(folder, "vectors", (9.0, 1.42 * 3 * len(architectures)), 3 * len(architectures), 7) as (drawn, axes):
        rows = [(part, index, source) for part in results.select("spectra") for index, source in enumerate(INPUTS)]
        for row, (part, index, source) in zip(axes, rows, strict=True):
            name = f"{network_name(setting(part, 'architecture'))}\n{labels[source]}"
            if "input" in part.arrays:
                show_image(row[0], part["input"][index], name)
                row[0].title.set_fontsize(8)
            else:
                row[0].set_axis_off()
                row[0].text(0.5, 0.5, name, ha="center", va="center", transform=row[0].transAxes)
            for vector in range(DRAWN):
                held = f"{part['share'][index, vector]:.0%}"
                title = f"first {vector + 1}: {held}" if vector else f"first vector: {held}"
                show_signed(row[1 + vector], part["vectors"][index, :, :, vector], title)
        below = "share of the clean picture's energy beside its mean in the first 1, 2, ... vectors"
        drawn.supxlabel(below, fontsize=9)
    return ["vectors"]
