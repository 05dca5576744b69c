"""One style for every figure, and the drawings that several of them share.

Colours are those of Okabe and Ito (2008), told apart by the colour-blind; signed values run from blue over white (zero)
to red. Figures are ``matplotlib.figure.Figure`` objects drawn without a display and without matplotlib's global state.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ntk_nonlocal.results import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image as PillowImage

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
COLOURS = {"theory": BLACK, "gd": BLUE, "adam": RED}
SIGNED = "RdBu_r"
DPI, SMALL_DPI = 160, 100

_STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "image.interpolation": "nearest",
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "ntk-nonlocal",
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """The one style, for everything drawn inside the block."""
    import matplotlib

    settings: dict[Any, Any] = {**matplotlib.rcParamsDefault, **_STYLE, "backend": "agg"}
    with matplotlib.rc_context(settings):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, laid out so that nothing is cut off or overlaps."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: str | os.PathLike[str], *, small: bool = False) -> Path:
    """Writes a figure to a path that ends in .png, .pdf or .svg, whole or not at all; gives the path back.

    The bytes depend on the figure alone, not on the time. ``small`` is for figures that are kept in numbers: a PNG then
    has 100 dots per inch instead of 160, and 256 colours.

    Raises:
      ValueError: the path ends otherwise.
    """
    target = Path(path)
    kind = target.suffix.lower().removeprefix(".")
    if kind not in ("png", "pdf", "svg"):
        raise ValueError(f"cannot write {target}: a figure ends in .png, .pdf or .svg")
    with style(), atomic_file(target) as file:
        if kind == "png":
            _write_png(figure, file, small)
        else:
            figure.savefig(file, format=kind, dpi=DPI, metadata={"CreationDate" if kind == "pdf" else "Date": None})
    return target


def _write_png(figure: Figure, file: IO[bytes], small: bool) -> None:
    import io

    from PIL import Image

    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=SMALL_DPI if small else DPI)
    image = Image.open(drawn).convert("RGB")
    if small:
        image = few_colours(image)
    image.save(file, "PNG", optimize=True)


def few_colours(image: PillowImage) -> PillowImage:
    """A drawing, as an RGB image of Pillow, with 256 colours."""
    from PIL import Image

    image = image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    colours = np.array(image.getpalette()).reshape(-1, 3)
    colours[colours.sum(axis=1).argmax()] = 255  # paper stays white
    image.putpalette(colours.reshape(-1).tolist())
    return image


def image_html(image: ArrayLike, caption: str) -> str:
    """An image (H, W, C), clipped to [0, 1], as HTML that needs no other file."""
    import base64
    import html
    import io

    from PIL import Image

    pixels = np.clip(np.asarray(image, np.float64), 0, 1)
    if pixels.shape[2] not in (1, 3):
        pixels = pixels.mean(axis=2, keepdims=True)
    levels = np.rint(255 * pixels).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(levels[:, :, 0] if levels.shape[2] == 1 else levels).save(file, "PNG")
    data, text = base64.b64encode(file.getvalue()).decode(), html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def show_image(axes: Axes, image: ArrayLike, title: str = "", below: str = "") -> None:
    """An image (H, W) or (H, W, C), clipped to [0, 1], with a title above and a line of text below.

    Unsigned integers count from 0 to their largest value.
    """
    pixels = _unit(image)
    pixels = np.repeat(pixels[..., None] if pixels.ndim == 2 else pixels, 3 if pixels.shape[-1:] == (1,) else 1, axis=2)
    if pixels.shape[2] not in (3, 4):  # other numbers of channels have no colours of their own
        pixels = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    axes.imshow(pixels)
    _without_frame(axes, title, below)


def show_signed(axes: Axes, values: ArrayLike, title: str = "", below: str = "", limit: float | None = None) -> None:
    """Values (H, W) in blue, white (zero) and red; ``limit`` is the value of full colour, the largest without."""
    array = np.asarray(values, np.float64)
    full = limit or float(np.abs(array).max()) or 1.0
    axes.imshow(array, cmap=SIGNED, vmin=-full, vmax=full)
    _without_frame(axes, title, below)


def show_weights(
    axes: Axes, image: ArrayLike, weights: ArrayLike, pixel: tuple[int, int], title: str = "", below: str = ""
) -> None:
    """Weights (H, W) of one pixel in blue, white (zero) and red over a pale version of the image, the pixel marked."""
    from matplotlib import colormaps

    values = np.asarray(weights, np.float64)
    full = robust_limit(values)
    colour = colormaps[SIGNED](0.5 + 0.5 * np.clip(values / full, -1, 1))[..., :3]
    axes.imshow(colour * (1 - 0.45 * (1 - _grey(image)))[..., None])
    axes.plot(pixel[1], pixel[0], marker="s", markersize=6, markerfacecolor="none", color="black", markeredgewidth=1.2)
    _without_frame(axes, title, below)


def weights_bar(figure: Figure, axes: Any) -> None:
    """The colour bar below panels of :func:`show_weights`."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    values = ScalarMappable(Normalize(-1, 1), SIGNED)
    bar = figure.colorbar(values, ax=axes, orientation="horizontal", fraction=0.025, aspect=50, pad=0.01)
    bar.set_label("weight relative to each panel's full colour (one pixel in 200 beyond)", fontsize=8)
    bar.ax.tick_params(labelsize=8)


def step_text(step: int, last: int) -> str:
    """A best step for a label: "at least", where it is the last one that was looked at."""
    return f"≥ {step}" if step == last else str(step)


def robust_limit(values: ArrayLike, share: float = 0.995) -> float:
    """The size that this share of the values stays below: full colour, without one peak hiding the rest."""
    sizes = np.abs(np.asarray(values, np.float64))
    return float(np.quantile(sizes, share)) or float(sizes.max()) or 1.0


def label_row(axes: Axes, text: str) -> None:
    """A row's label at the left of its first picture."""
    axes.set_ylabel(text, rotation=90, fontweight="bold", labelpad=6)


def _without_frame(axes: Axes, title: str, below: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(below, fontsize=8)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _unit(image: ArrayLike) -> NDArray[np.float64]:
    pixels = np.asarray(image)
    if pixels.dtype.kind == "u":
        return pixels / np.iinfo(pixels.dtype).max
    return np.clip(np.asarray(pixels, np.float64), 0, 1)


def _grey(image: ArrayLike) -> NDArray[np.float64]:
    pixels = _unit(image)
    return pixels if pixels.ndim == 2 else np.asarray(pixels.mean(axis=2))
