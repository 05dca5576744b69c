"""Figures of the poster's numbers beside ours, and of the runs with the poster's whole picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ntk_nonlocal.plotting import BLACK, BLUE, GREEN, ORANGE, RED, show_image

from .drawing import GREY, LABELS, figure, legend_once, network_name
from .experiment import setting
from .parts import Measured
from .poster import WHOLE, cells, whole_picture
from .published import POSTER_PSNR
from .table_runs import INPUTS, best, is_deep

_INKS = {"autoencoder": BLUE, "unet": RED, "dip": ORANGE, "vanilla_cnn": GREEN}
_DASHES = {"adam": "-", "gd": "--"}


def draw_cells(folders: Iterable[Path], folder: Path) -> Path:
    """The fourteen numbers of the poster beside ours, as FOLDER/poster.png: see :func:`poster_table`."""
    found = cells(folders)
    kinds = list(dict.fromkeys((cell.method, cell.network) for cell in found))
    places = {kind: -index for index, kind in enumerate(kinds)}
    with figure(folder, "poster", (9.0, 3.6), 1, 2, sharey=True) as (drawn, axes):
        for axis, source in zip(axes[0], INPUTS, strict=True):
            for cell in found:
                if cell.source != source:
                    continue
                place = places[cell.method, cell.network]
                if cell.values:
                    ends = (min(cell.values), max(cell.values))
                    axis.plot(ends, (place, place), color=GREY, lw=1, zorder=1, label="all that was tried")
                axis.plot(cell.published, place, "D", color=BLACK, mfc="none", ms=7, zorder=3, label="poster, 256x256")
                for one, marker, ink, name in (
                    (cell.stated, "o", BLUE, "stated settings"),
                    (cell.pytorch, "s", RED, "PyTorch's weights"),
                ):
                    if one is None:
                        continue
                    fill = {"color": ink, "mfc": ink if one.size == WHOLE else "none", "ls": "none"}
                    label = f"{name}, {one.size}x{one.size}"
                    axis.plot(one.best, place, marker, ms=5, label=f"{label}, best step", **fill)
                    if one.last is not None:
                        axis.plot(one.last, place, "|", ms=9, color=ink, label=f"{name}, last step")
            axis.set_title(f"from {LABELS[source]}")
            axis.set_xlabel("PSNR of House [dB]")
        names = [f"{LABELS[network]}, {LABELS.get(method, 'Nystrom')}" for method, network in kinds]
        axes[0, 0].set_yticks(list(places.values()), names)
        legend_once(drawn, axes[0], 4)
    return folder / "poster.png"


def draw_steps(folders: Iterable[Path], folder: Path) -> Path:
    """PSNR over the steps of all networks that were trained with the whole picture, as FOLDER/steps.png."""
    parts = whole_picture(folders)
    filters = next((part for part in parts if part.kind == "baselines"), None)
    with figure(folder, "steps", (9.0, 3.6), 1, 2, sharex=True, sharey=True) as (drawn, axes):
        for axis, source in zip(axes[0], INPUTS, strict=True):
            for run in _trained(parts, source):
                network, optimizer = setting(run, "architecture").partition(":")[0], setting(run, "optimizer")
                ink, psnr = _INKS[network], run["psnr"]
                label = f"{LABELS[network]}, {LABELS[optimizer]}"
                axis.plot(run["steps"][1:], psnr[1:], _DASHES[optimizer], color=ink, label=label)
                top = max(1, int(np.argmax(psnr)))
                axis.plot(run["steps"][top], psnr[top], "o", color=ink, ms=4)
                published = POSTER_PSNR[source, optimizer, "unet" if network == "dip" else network]
                axis.plot(1, published, "D", color=ink, mfc=ink if optimizer == "adam" else "none", ms=6,
                          transform=axis.get_yaxis_transform(), clip_on=False)  # fmt: skip
            for name, dots in (("nlm", ":"), ("blur", "-.")) if filters else ():
                label = {"nlm": "non-local means", "blur": "best Gaussian blur"}[name]
                axis.axhline(float(filters[name]), color=GREY, ls=dots, lw=1, label=label)  # type: ignore[index]
            axis.set_xscale("log")
            axis.set_title(f"from {LABELS[source]}")
            axis.set_xlabel("steps; diamonds: the poster (filled: Adam)")
        axes[0, 0].set_ylabel("PSNR of House [dB]")
        axes[0, 0].set_ylim(bottom=12)
        legend_once(drawn, axes[0], 4)
    return folder / "steps.png"


def draw_outputs(parts: Sequence[Measured], folder: Path) -> Path:
    """What networks give of the whole picture after their last step, as FOLDER/outputs.png.

    Args:
      parts: with their "output", which stored ones have not.
      folder: is made where it does not exist.

    Raises:
      ValueError: no part has an output.
    """
    shown = [run for source in INPUTS for run in _trained(parts, source) if "output" in run.arrays]
    if not shown:
        raise ValueError("no part has an output to draw")
    with figure(folder, "outputs", (1.9 * len(shown), 2.5), 1, len(shown)) as (_, axes):
        for axis, run in zip(axes[0], shown, strict=True):
            title = f"{network_name(setting(run, 'architecture'))}, {LABELS[setting(run, 'optimizer')]},\n"
            title += f"from {LABELS[setting(run, 'input')]}"
            below = f"last {run['psnr'][-1]:.2f} dB, best {best(run):.2f} dB"
            show_image(axis, run["output"].astype(np.float32), title, below)
    return folder / "outputs.png"


def _trained(parts: Iterable[Measured], source: str) -> list[Measured]:
    """The trainings with He's weights from an input that did not diverge, Adam's first, by network."""
    found = [
        part
        for part in parts
        if part.kind == "training"
        and setting(part, "input") == source
        and "weight_std" not in setting(part, "architecture")
        and not is_deep(part)
        and np.isfinite(best(part))
    ]
    order = [*_INKS]
    return sorted(
        found, key=lambda run: (setting(run, "optimizer"), order.index(setting(run, "architecture").partition(":")[0]))
    )
