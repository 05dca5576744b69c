"""A noisy image and its denoised version side by side, with an enlarged part and the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ntk_nonlocal import plotting
from ntk_nonlocal.filters.denoise import Denoised

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PART = 5  # the enlarged part is this share of the shorter side


def draw_side_by_side(noisy: ArrayLike, result: Denoised, path: Path) -> None:
    """Writes the figure to a path that ends in .png, .pdf or .svg."""
    plotting.save_figure(side_by_side(noisy, result), path.with_suffix(""), (path.suffix.lower()[1:],))


def side_by_side(noisy: ArrayLike, result: Denoised) -> Figure:
    """Both images with an enlarged part of each; ``noisy`` has the result's shape."""
    before, after = np.asarray(noisy), np.asarray(result.image)
    height, width = before.shape[:2]
    row, column, side = _busiest_part(after)
    panel = 4.5
    with plotting.style():
        figure = plotting.new_figure(2 * panel, panel * (height / width) + panel / 2 + 0.9)
        grid = figure.subplots(2, 2, height_ratios=(height / width, 0.5), squeeze=False)
        titles = ("input", f"denoised by {result.method}")
        below = (f"noise: sigma = {255 * result.sigma:.1f} of 255 ({_origin(result)})", _numbers(result))
        for index, image in enumerate((before, after)):
            plotting.show_image(grid[0][index], image, titles[index], below[index])
            _mark(grid[0][index], row, column, side)
            part = image[row : row + side, column : column + side]
            plotting.show_image(grid[1][index], part, "", f"the marked part, {side}x{side} pixels")
    return figure


def one_image(result: Denoised) -> Figure:
    """The denoised image and its numbers."""
    height, width = result.image.shape[:2]
    with plotting.style():
        figure = plotting.new_figure(4.5, 4.5 * height / width + 0.5)
        plotting.show_image(figure.subplots(), result.image, f"denoised by {result.method}", _numbers(result))
    return figure


def _origin(result: Denoised) -> str:
    return "given" if result.settings["sigma_given"] else "estimated"


def _numbers(result: Denoised) -> str:
    parts = [f"{result.seconds:.1f} s"]
    if result.step is not None:
        parts.insert(0, f"step {result.step}")
    if result.expected_psnr is not None:
        parts.insert(0, f"expected PSNR {result.expected_psnr:.1f} dB")
    return ", ".join(parts)


def _mark(axes: Axes, row: int, column: int, side: int) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((column - 0.5, row - 0.5), side, side, fill=False, edgecolor="white", linewidth=2.0))
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), side, side, fill=False, edgecolor="black", linewidth=0.8))


def _busiest_part(image: NDArray[Any]) -> tuple[int, int, int]:
    """Row, column and side of the square, on a grid of half sides, with the most contrast."""
    height, width = image.shape[:2]
    side = max(min(height, width) // _PART, 8)
    grey = image.mean(axis=2)
    places = [
        (row, column)
        for row in range(0, height - side + 1, max(side // 2, 1))
        for column in range(0, width - side + 1, max(side // 2, 1))
    ]
    row, column = max(places, key=lambda at: float(grey[at[0] : at[0] + side, at[1] : at[1] + side].std()))
    return row, column, side
