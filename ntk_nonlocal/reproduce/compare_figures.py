"""The four figures of a comparison, drawn from its stored result alone."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ntk_nonlocal import plotting
from ntk_nonlocal.results import read_arrays, read_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Facts = dict[str, Any]
Arrays = dict[str, NDArray[Any]]

# what a network is fed, in the order of the figures
INPUTS: tuple[Literal["image", "noise"], ...] = ("image", "noise")
INPUT_NAMES = {"image": "input: noisy image", "noise": "input: iid noise"}
DESCENT = "gd"
_METHOD_NAMES = {"theory": "theory (infinite width)", DESCENT: "gradient descent", "adam": "Adam"}


def method_name(method: str) -> str:
    """What figures call the theory or an optimizer."""
    return _METHOD_NAMES.get(method, method)


def draw_comparison(folder: str | os.PathLike[str]) -> tuple[Path, ...]:
    """Draws result.json and arrays.npz of ``folder`` into it: outputs, psnr, kernel, eigenvectors (PNG).

    Raises:
      ValueError: there is no finished result in the folder.
    """
    folder = Path(folder)
    facts, arrays = read_json(folder / "result.json"), read_arrays(folder / "arrays.npz")
    if not facts.get("complete"):
        raise ValueError(f"the comparison in {folder} was not finished; run it again")
    written: list[Path] = []
    for name, draw in DRAWINGS.items():
        with plotting.style():
            figure = draw(facts, arrays)
        written.append(plotting.save_figure(figure, folder / f"{name}.png"))
    return tuple(written)


def outputs_figure(facts: Facts, arrays: Arrays) -> Figure:
    """All images with their PSNR: one row for each network input, clean and noisy image at the left."""
    total = facts["settings"]["steps"]
    figure = plotting.new_figure(9.6, 4.7)
    axes = figure.subplots(2, 5)
    plotting.show_image(axes[0, 0], arrays["clean"], "clean")
    noisy = f"noisy, sigma = {255 * facts['settings']['sigma']:g}/255"
    plotting.show_image(axes[1, 0], arrays["noisy"], noisy, f"{facts['noisy_psnr']:.2f} dB")
    for row, name in enumerate(INPUTS):
        results = facts["inputs"][name]
        for column, method in enumerate(("theory", *_trained(facts)), start=1):
            title = method_name(method) if row == 0 else ""
            below = f"{results[method]['psnr_at_end']:.2f} dB after {total} steps"
            plotting.show_image(axes[row, column], arrays[f"{name}.{method}.output"], title, below)
        best = results["theory"]
        below = f"{best['best_psnr']:.2f} dB after {plotting.step_text(best['best_step'], best['steps'][-1])} steps"
        title = "theory, best step" if row == 0 else ""
        plotting.show_image(axes[row, 4], arrays[f"{name}.theory.best_output"], title, below)
        plotting.label_row(axes[row, 1], INPUT_NAMES[name])
    return figure


def psnr_figure(facts: Facts, arrays: Arrays) -> Figure:
    """PSNR against steps: the theory over the trained networks."""
    settings = facts["settings"]
    total = settings["steps"]
    figure = plotting.new_figure(9.0, 3.4)
    axes = figure.subplots(1, 2, sharey=True)
    for one, name in zip(axes, INPUTS, strict=True):
        results = facts["inputs"][name]
        looks = zip(_trained(facts), (plotting.BLUE, plotting.RED), "o^", strict=True)
        for method, colour, marker in reversed(list(looks)):
            label = f"{method_name(method)}, width {settings['width']}"
            _network_curve(one, results[method], label, colour, marker)
        steps, values = np.asarray(results["theory"]["steps"]), np.asarray(results["theory"]["psnr"])
        within = steps <= total
        one.plot(steps[within], values[within], color=plotting.BLACK, label=method_name("theory"), zorder=3)
        beyond = steps >= total
        one.plot(
            steps[beyond], values[beyond], color=plotting.BLACK, linestyle="--", label="theory, beyond the training"
        )
        one.axhline(facts["noisy_psnr"], color="#777777", linewidth=1, linestyle=":", label="noisy image")
        one.set_xscale("log")
        one.set_xlabel("steps")
        one.set_title(INPUT_NAMES[name])
    axes[0].set_ylabel("PSNR (dB)")
    axes[1].legend(loc="lower right")
    return figure


def kernel_figure(facts: Facts, arrays: Arrays) -> Figure:
    """For a few pixels, over the image: the exact kernel H K H, H = 1 - 11^T / d, and the filter after training."""
    total = facts["settings"]["steps"]
    pixels = [(int(row), int(column)) for row, column in arrays["pixels"]]
    rows = [
        (name, kind, text)
        for name in INPUTS
        for kind, text in (("centred_kernel_rows", "kernel, centred"), ("filter_rows", f"filter, {total} steps"))
    ]
    figure = plotting.new_figure(2.0 * len(pixels) + 1.0, 2.0 * len(rows) + 0.5)
    axes = figure.subplots(len(rows), len(pixels), squeeze=False)
    for line, (name, kind, text) in zip(axes, rows, strict=True):
        for one, pixel, weights in zip(line, pixels, arrays[f"{name}.{kind}"], strict=True):
            plotting.show_weights(one, arrays["clean"], weights, pixel)
        plotting.label_row(line[0], f"{INPUT_NAMES[name]}\n{text}")
    for one, pixel in zip(axes[0], pixels, strict=True):
        one.set_title(f"pixel (row {pixel[0]}, column {pixel[1]})")
    plotting.weights_bar(figure, axes)
    return figure


def eigenvectors_figure(facts: Facts, arrays: Arrays) -> Figure:
    """Leading eigenvectors of the exact kernel and of the covariance of the last pre-activations."""
    stages = {
        "kernel": "exact kernel",
        "initial": "network\nbefore training",
    } | {method: "\n".join(textwrap.wrap(f"after {method_name(method)}", 16)) for method in _trained(facts)}
    stages = {stage: text for stage, text in stages.items() if f"{INPUTS[0]}.{stage}.eigenvectors" in arrays}
    count = max(arrays[f"{INPUTS[0]}.{stage}.eigenvectors"].shape[2] for stage in stages)
    figure = plotting.new_figure(2 * (1.5 * count + 0.5), 1.55 * len(stages) + 0.6)
    halves: Any = figure.subfigures(1, 2, wspace=0.02)
    for half, name in zip(halves, INPUTS, strict=True):
        half.suptitle(INPUT_NAMES[name], fontsize=10, fontweight="bold")
        axes = half.subplots(len(stages), count, squeeze=False)
        for line, (stage, text) in zip(axes, stages.items(), strict=True):
            vectors = arrays[f"{name}.{stage}.eigenvectors"]
            for index, one in enumerate(line):
                if index >= vectors.shape[2]:
                    one.set_axis_off()
                    continue
                title = f"eigenvector {index + 1}" if stage == "kernel" else ""
                limit = plotting.robust_limit(vectors[..., index], 0.97)
                plotting.show_signed(one, vectors[..., index], title, limit=limit)
            if name == INPUTS[0]:
                plotting.label_row(line[0], text)
    return figure


def _trained(facts: Facts) -> list[str]:
    """The optimizers of both networks; results from before there was a choice do not say so."""
    return list(facts.get("trained", (DESCENT, "adam")))


def _network_curve(axes: Axes, result: Facts, label: str, colour: str, marker: str) -> None:
    axes.plot(result["steps"], result["psnr"], color=colour, marker=marker, linewidth=1, label=label)


DRAWINGS: dict[str, Callable[[Facts, Arrays], Figure]] = {
    "outputs": outputs_figure,
    "psnr": psnr_figure,
    "kernel": kernel_figure,
    "eigenvectors": eigenvectors_figure,
}
