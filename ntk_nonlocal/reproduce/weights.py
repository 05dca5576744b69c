"""Figure 2 of the paper: the closed-form filter's weights at several pixels, beside those of non-local means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ntk_nonlocal.plotting import show_image, show_weights, weights_bar

from .drawing import figure, network_name
from .experiment import Outcome, Preset, Results, Verdict, setting
from .measures.affinity import Affinity, affinity
from .measures.baselines import Baselines, baselines
from .measures.closed_form import FloatArray, Limit, Rows, rows
from .measures.iterated import Iterated, iterated
from .measures.similarity import Similarity, similarity
from .parts import Measured, Part
from .pictures import Picture, Pictures
from .statistics import Interval, mean

TITLE = "Filter weights at several pixels, beside non-local means (figure 2)"
EXACT = 1e-4  # of the largest entry, in single precision
_KINDS = {"nngp": "NNGP, arc-cosine", "ntk": "NTK"}


@dataclass(frozen=True)
class Config:
    """Kernels (architecture, kind) on the noisy picture; pixels that are shown, as parts of its height and width; the
    lattice of pixels whose weights are compared with non-local means'."""

    picture: Picture
    kernels: tuple[tuple[str, str], ...]
    pixels: tuple[tuple[float, float], ...]
    steps: int = 300
    grid: int = 8


def configure(preset: Preset, pictures: Pictures) -> Config:
    """Crops of 64x64 or 128x128, or 256x256 pixels."""
    size = {"quick": 64, "full": 128, "paper": 256}[preset]
    vanilla = "vanilla_cnn:kernel_size=7"
    kernels = ((vanilla, "nngp"), (vanilla, "ntk"), ("autoencoder:levels=2", "ntk"))
    return Config(pictures.picture("smooth", size), kernels, ((0.3, 0.42), (0.5, 0.7), (0.75, 0.3), (0.15, 0.15)))


def parts(config: Config) -> list[Part]:
    """Rows of every kernel, and the picture they are drawn over."""
    found = [
        Part("simple filters", baselines, Baselines(config.picture)),
        Part("affinity of non-local means", affinity, Affinity(config.picture, config.pixels)),
    ]
    for architecture, kind in config.kernels:
        limit = Limit(config.picture, architecture, "image", "nngp" if kind == "nngp" else "ntk")
        found.append(Part(f"rows of {network_name(architecture)} {kind}", rows, Rows(limit, config.pixels)))
        name = f"likeness of {network_name(architecture)} {kind} to non-local means"
        found.append(Part(name, similarity, Similarity(limit, config.grid, config.steps)))
        if kind == "ntk":
            name = f"rows of {network_name(architecture)} {kind} after {config.steps} steps"
            found.append(Part(name, iterated, Iterated(limit, config.pixels, config.steps)))
    return found


def summarise(results: Results) -> list[Verdict]:
    """How alike the weights of a lattice of pixels are to those of non-local means, and claim 3."""
    means = results.one("affinity")
    verdicts = [
        Verdict(
            2,
            "vanilla CNN, last layer trained: its exact kernel is the printed formula of the patches' angle",
            "|y_i| |y_j| / pi (sin phi + (pi - phi) cos phi)",
            f"largest difference {float(means['arc_cosine_error']):.1e} of the largest entry, in single precision",
            "holds" if means["arc_cosine_error"] < EXACT else "contradicted",
            "",
            "deciding",
            f"formula and exact kernel differ by {float(means['arc_cosine_error']):.0e} of the largest entry",
        ),
        Verdict(
            3,
            "non-local means' affinity exp(-|y_i - y_j|^2 / h^2) is the exact kernel of a network: one hidden layer, "
            "sinusoidal activation",
            "k = exp(-|y_i - y_j|^2 / h^2), W = diag(1 / (K 1)) K",
            f"largest difference {float(means['error']):.1e}; W brings the noisy picture from "
            f"{float(means['noisy']):.1f} to {float(means['psnr']):.1f} dB (h = sigma)",
            "holds" if means["error"] < EXACT else "contradicted",
            "",
            "deciding",
            f"formula and exact kernel differ by {float(means['error']):.0e}",
        ),
    ]
    for part in results.select("similarity"):
        raw, normalised, iterated, ceiling = (
            mean(part[name]) for name in ("kernel", "normalised", "iterated", "ceiling")
        )
        verdicts.append(
            Verdict(
                2 if setting(part, "kind") == "nngp" else 4,
                f"{_name(part)}, fed with the noisy image: how its weights rank pixels, beside non-local means",
                "",
                f"rank correlation over {len(part['kernel'])} pixels: {raw} of the kernel, {normalised} of the kernel "
                f"normalised to correlations, {iterated} of the filter after {setting(part, 'steps')} steps; of "
                f"non-local means' own "
                f"weights from the clean picture {ceiling}",
                _alike(raw, normalised),
                "Holds where the intervals of the kernel and of the normalised one lie above 0, in part where one "
                "does, contradicted where none does and one lies below. Not claimed: the kernel compares directions of "
                "patches and grows with their norms, non-local means compares distances (7x7 patches, h = 0.6 sigma). "
                "The last number is the ceiling: noise alone changes the ranks. One picture and noise draw "
                f"({results.config['picture']['size']}x{results.config['picture']['size']} of "
                f"{results.config['picture']['name']}); more pixels, draws or pictures would change it.",
                "control",
            )
        )
    return verdicts


def _alike(raw: Interval, normalised: Interval) -> Outcome:
    above = (raw.low > 0) + (normalised.low > 0)
    if above:
        return "holds" if above == 2 else "holds in part"
    return "contradicted" if min(raw.high, normalised.high) < 0 else "undecided"


def _name(part: Measured) -> str:
    return f"{network_name(setting(part, 'architecture'))}, {_KINDS[setting(part, 'kind')]}"


def _lines(part: Measured) -> str:
    return f"{network_name(setting(part, 'architecture'))}\n{_KINDS[setting(part, 'kind')]}"


def _over_mean(kernel: FloatArray) -> FloatArray:
    """Rows (pixels, H, W), each over its mean, over the mean of all of them, less 1."""
    values = np.asarray(kernel, np.float64)
    values = values / values.mean(axis=(1, 2), keepdims=True)
    return np.asarray(values / values.mean(axis=0) - 1)


def draw(results: Results, folder: Path) -> list[str]:
    """One row of panels for every pixel, one column for every filter.

    An entry of a kernel is the norms of both patches times a function of their angle. Over the mean of the rows that
    are shown the other pixel's norm falls out, which else is all that one sees.
    """
    picture, found, late = results.one("baselines")["nlm_image"], results.select("rows"), results.select("iterated")
    pixels = results.config["pixels"]
    size = results.config["picture"]["size"]
    columns = len(found) + len(late) + 3
    over = [_over_mean(part["kernel"]) for part in found]
    with figure(folder, "weights", (1.45 * columns, 1.5 * len(pixels) + 0.5), len(pixels), columns) as (drawn, axes):
        for index, (row, (y, x)) in enumerate(zip(axes, pixels, strict=True)):
            pixel = (int(y * size), int(x * size))
            show_image(row[0], picture, "pixel, over\nnon-local means" if index == 0 else "")
            row[0].title.set_fontsize(8)
            row[0].plot(pixel[1], pixel[0], "s", ms=6, mfc="none", mec="black")
            panels = [(found[0]["kernel"][index], f"{_lines(found[0])}\nkernel")]
            for part, ratio in zip(found, over, strict=True):
                panels.append((ratio[index], f"{_lines(part)}\nover the mean row"))
            panels += [(part["rows"][index], f"{_lines(part)}\n{results.config['steps']} steps") for part in late]
            panels.append((found[0]["nonlocal_means"][index], "non-local\nmeans"))
            for axis, (values, title) in zip(row[1:], panels, strict=True):
                show_weights(axis, picture, values, pixel, title if index == 0 else "")
                axis.title.set_fontsize(8)
        weights_bar(drawn, axes)
        note = "over the mean row: over the mean of the rows shown, less 1; for a vanilla CNN this leaves the angle of"
        drawn.suptitle(f"{note} the patches alone", fontsize=9)
    return ["weights"]
