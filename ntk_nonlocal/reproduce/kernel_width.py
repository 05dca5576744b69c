"""The tangent kernel of finite networks at initialisation approaches the exact one like width^-1/2."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .drawing import MARKERS, SEQUENCE, band, figure, log_widths, plain_decades
from .experiment import Preset, Results, Verdict, judged, setting
from .measures.limits import KernelDistance, kernel_distance
from .parts import Measured, Part
from .pictures import Picture, Pictures
from .statistics import slope

EXPONENT, MARGIN = -0.5, 0.15
TITLE = "Width: empirical kernels approach the exact one"
_ARCHITECTURES = ("vanilla_cnn:kernel_size=5", "cnn:depth=3", "autoencoder:levels=2", "unet:levels=2")


@dataclass(frozen=True)
class Config:
    """Architectures, widths and image shapes, square and not."""

    picture: Picture
    shapes: tuple[tuple[int, int], ...]
    architectures: tuple[str, ...]
    widths: tuple[int, ...]
    seeds: int


def configure(preset: Preset, pictures: Pictures) -> Config:
    """Quick: 4x16 pixels, widths 16 to 256, 4 draws. Full: 8x8 too, widths to 512, 10 draws. Paper: 30."""
    picture = pictures.picture("smooth", 32)
    if preset == "quick":
        return Config(picture, ((4, 16),), _ARCHITECTURES[::2], (16, 64, 256), 4)
    return Config(
        picture, ((8, 8), (4, 16)), _ARCHITECTURES, (16, 32, 64, 128, 256, 512), 10 if preset == "full" else 30
    )


def parts(config: Config) -> list[Part]:
    """One for every architecture and shape."""
    return [
        Part(
            f"kernels of {architecture} at {shape[0]}x{shape[1]}",
            kernel_distance,
            KernelDistance(config.picture, shape, architecture, config.widths, config.seeds),
        )
        for architecture in config.architectures
        for shape in config.shapes
    ]


def _distances(part: Measured) -> dict[int, list[float]]:
    return {width: row.tolist() for width, row in zip(setting(part, "widths"), part["distance"], strict=True)}


def _label(part: Measured) -> str:
    height, width = setting(part, "shape")
    return f"{setting(part, 'architecture')}, {height}x{width}"


def summarise(results: Results) -> list[Verdict]:
    """The fitted slope of every architecture and shape."""
    verdicts = []
    for part in results.parts:
        distances = _distances(part)
        fitted = slope(distances)
        last = max(distances)
        verdicts.append(
            Verdict(
                0,
                f"{_label(part)}: distance of the empirical kernel from the exact one ~ channels^a",
                f"a = {EXPONENT:g}",
                f"a = {fitted}, standard error {fitted.standard_error:.2f}; "
                f"distance {sum(distances[last]) / len(distances[last]):.3f} at {last} channels",
                judged(fitted.within(EXPONENT - MARGIN, EXPONENT + MARGIN)),
                f"Holds where the interval lies within {MARGIN} of {EXPONENT:g}, contradicted where outside. "
                f"Widths {min(distances)} to {last}, {len(distances[last])} draws each; more draws and wider networks "
                "would change it.",
                "control",
            )
        )
    return verdicts


def draw(results: Results, folder: Path) -> list[str]:
    """Mean distance with bars from the least to the largest draw, beside the slope -1/2."""
    shapes = list(dict.fromkeys(tuple(setting(part, "shape")) for part in results.parts))
    with figure(folder, "kernel-width", (4.6 * len(shapes), 4.6), 1, len(shapes), sharey=True) as (_, axes):
        for axis, shape in zip(axes[0], shapes, strict=True):
            shown = results.select(shape=list(shape))
            for index, part in enumerate(shown):
                found = _distances(part)
                fitted = slope(found)
                name = setting(part, "architecture")
                beside = 1.04 ** (index - (len(shown) - 1) / 2)  # so that the bars of one width do not cover each other
                band(axis, [beside * width for width in found], found.values(), SEQUENCE[index], marker=MARKERS[index],
                     label=f"{name}: {fitted.value:.2f} ± {fitted.standard_error:.2f}")  # fmt: skip
            widths = list(found)
            top = max(max(_distances(part)[widths[0]]) for part in shown)
            axis.plot(widths, [1.15 * top * (w / widths[0]) ** -0.5 for w in widths], "k--", lw=1, label="slope -0.5")
            plain_decades(axis)
            log_widths(axis, widths)
            axis.set_title(f"{shape[0]}x{shape[1]} pixels")
            axis.legend(title="slope ± standard error", title_fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.18))
        axes[0, 0].set_ylabel("relative distance from the exact kernel")
    return ["kernel-width"]
