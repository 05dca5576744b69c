"""What the experiments' figures have in common, in the style of ``ntk_nonlocal.plotting``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ntk_nonlocal.plotting import BLACK, BLUE, GREEN, ORANGE, PINK, RED, SKY, new_figure, save_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "#8C8C8C"
# Markers and line styles say the same as the colours.
SEQUENCE = (BLUE, RED, GREEN, PINK, ORANGE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LABELS = {
    "gd": "gradient descent",
    "adam": "Adam",
    "autoencoder": "autoencoder",
    "unet": "U-Net",
    "vanilla_cnn": "vanilla CNN",
    "dip": "U-Net with narrow skips",
    "image": "noisy image",
    "noise": "iid noise",
    "clean": "clean image",
    "l2": "l2",
    "linf": "l-inf",
}


@contextmanager
def figure(
    folder: Path, name: str, size: tuple[float, float], rows: int = 1, columns: int = 1, **options: Any
) -> Iterator[tuple[Figure, np.ndarray[Any, Any]]]:
    """A figure with an array (rows, columns) of axes, written as FOLDER/NAME.png at the end."""
    with style():
        drawn = new_figure(*size)
        yield drawn, drawn.subplots(rows, columns, squeeze=False, **options)
        folder.mkdir(parents=True, exist_ok=True)
        save_figure(drawn, folder / f"{name}.png", small=True)


def network_name(architecture: str) -> str:
    """What a figure calls an architecture given as on the command line."""
    name = architecture.partition(":")[0]
    return LABELS.get(name, name)


def band(axes: Axes, x: Sequence[float], samples: Iterable[ArrayLike], colour: str, **options: Any) -> None:
    """The mean of repetitions over x, with bars from their least to their largest."""
    values = [np.asarray(sample, np.float64) for sample in samples]
    mean = np.array([sample.mean() for sample in values])
    low, high = (np.array([edge(sample) for sample in values]) for edge in (np.min, np.max))
    axes.errorbar(x, mean, yerr=np.stack([mean - low, high - mean]), color=colour, capsize=2, elinewidth=0.9, **options)


def legend_once(drawn: Figure, axes: Iterable[Axes], columns: int = 2) -> None:
    """One legend below a figure, every label of some axes once."""
    handles: dict[str, Any] = {}
    for axis in axes:
        handles = dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True)) | handles
    drawn.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=columns)


def log_widths(axes: Axes, widths: Sequence[int], label: str = "channels") -> None:
    """A logarithmic axis of widths with the widths themselves as ticks."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(widths), [str(width) for width in widths])
    axes.minorticks_off()
    axes.set_xlabel(label)


def plain_decades(axes: Axes) -> None:
    """A logarithmic y axis whose ticks are plain numbers, also where it spans less than a decade."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
