"""What ``denoise`` gives back, and its figures: the image alone, or beside the noisy one with an enlarged part."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ntk_nonlocal import plotting
from ntk_nonlocal.images import as_noisy_image

from .levels import root_mean_square

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Method = Literal["ntk", "nlm", "tv", "bm3d", "gd", "adam"]


@dataclass(frozen=True, eq=False, repr=False)
class Denoised:
    """An image without its noise, and how it was made.

    Attributes:
      image: shape (H, W, C), of a stack (T, H, W, C), in the precision and on the scale of the input; not clipped.
      sigma: the noise level that was assumed, given or estimated, in the units of the image: a number, or an array of
        shape (C,), (H, W) or (H, W, C), of a stack's estimates (T,) or (T, C); root mean square of noise that grows
        with the brightness.
      method: see ``denoise``.
      step: the number of gradient-descent steps after which training stops; None for methods without steps, 0 where the
        input itself is returned. With tiles, that of most tiles.
      risk: estimated mean squared error against the unknown clean image ("ntk" only, else None).
      seconds: wall-clock time, compilation included.
      network: which network and which kernel the result comes from, in words; empty for methods without one.
      settings: everything that the result depends on beside the image.
    """

    image: NDArray[Any]
    sigma: float | NDArray[np.float64]
    method: Method
    step: int | None
    risk: float | None
    seconds: float
    network: str
    settings: dict[str, Any]

    @property
    def level(self) -> float:
        """The root mean square of ``sigma``, one number."""
        return root_mean_square(self.sigma)

    @property
    def white(self) -> float:
        """What white is taken for in figures and in ``expected_psnr``: 1, 255 or 65535 where the image's values are of
        that order, else the largest of them."""
        return float(self.settings["white"])

    @property
    def expected_psnr(self) -> float | None:
        """PSNR in dB, with ``white`` as its range, that ``risk`` stands for; None without one, and where it would
        mislead.

        The risk of noise that clipping has cut is far too low, and so is that of noise coarser than pixels, behind JPEG
        compression; that of Poisson noise is a rough mean; values far from zero have no white; and the noise's energy,
        which it knows only on average, has the standard deviation sigma^2 sqrt(2 / N) per sample: a risk of less than
        three of them is left out.
        """
        if self.risk is None or self.settings["clipped"] or _MISLEADING & self.settings.keys():
            return None
        if self.risk < 3 * self.level**2 * math.sqrt(2 / self.image.size) or self.risk <= 0:
            return None
        return 20 * math.log10(self.white) - 10 * math.log10(self.risk)

    def __repr__(self) -> str:
        height, width, channels = self.image.shape[-3:]
        slices = f"{len(self.image)} slices of {height}x{width}x{channels}" if self.image.ndim == 4 else ""
        step = "" if self.step is None else f", step {self.step}"
        return (
            f"Denoised({slices or f'{height}x{width}x{channels} image'} by {self.method!r}, "
            f"sigma {self.told_sigma()}/255{self.told_doubt()}{step}, {self.seconds:.1f} s)"
        )

    def told_sigma(self) -> str:
        """The noise level in 8-bit units, in words: 25.0, by channel 10.0, 10.0, 40.0, of a map 5.0 to 40.0."""
        levels = 255 / self.white * np.atleast_1d(self.sigma)
        if levels.ndim == 1 and levels.size <= _FEW_LEVELS:
            return ", ".join(map(told_level, levels))
        return f"{told_level(levels.min())} to {told_level(levels.max())}"

    def told_doubt(self) -> str:
        """That the noise is or may be not white, or not even, and what to do then; empty where it is."""
        if "correlation" in self.settings:
            return f" of noise coarser than pixels (neighbours share {100 * self.settings['correlation']:.0f} %)"
        if "compressed" in self.settings:
            return " of noise before JPEG compression"
        if "grows" in self.settings:
            return ", which grows with the brightness (give noise='poisson-gaussian')"
        if "cut" in self.settings:
            return f", probably more (clipped in {100 * self.settings['cut']:.0f} % of the values; give sigma)"
        if "coarse_sigma" not in self.settings:
            return ""
        level = 255 / self.white * self.settings["coarse_sigma"]
        return f" of white noise (where you see coarser noise, give sigma, such as {level:.0f}/255)"

    def _shown(self) -> NDArray[Any]:
        """The image, of a stack the middle one."""
        return self.image if self.image.ndim == 3 else np.asarray(self.image[len(self.image) // 2])

    def _repr_html_(self) -> str:
        """The image with its caption, for notebooks."""
        return plotting.image_html(self._shown() / self.white, repr(self))

    def plot(self, noisy: ArrayLike | None = None) -> Figure:
        """The image, of a stack the middle one, as a figure; beside ``noisy``, of one image's shape, if given.

        Raises:
          ValueError, TypeError: ``noisy`` is no image, or one of another shape.
        """
        if noisy is None:
            return one_image(self)
        before = as_noisy_image(noisy, data_range=None)
        if before.shape != self._shown().shape:
            raise ValueError(f"noisy must have the shape of the result, {self._shown().shape}, got {before.shape}")
        return side_by_side(before, self)


_MISLEADING = {"correlation", "compressed", "far", "noise"}
_FEW_LEVELS = 4
_LEAST_DECIMAL = 0.05
_PART = 5  # the enlarged part is this share of the shorter side


def told_level(level: float) -> str:
    """A noise level in 8-bit units: one decimal, and two digits of what that would make zero."""
    return f"{level:.1f}" if level == 0 or level >= _LEAST_DECIMAL else f"{level:.2g}"


def draw_side_by_side(noisy: ArrayLike, result: Denoised, path: Path) -> None:
    """Writes the figure to a path that ends in .png, .pdf or .svg."""
    plotting.save_figure(side_by_side(noisy, result), path)


def side_by_side(noisy: ArrayLike, result: Denoised) -> Figure:
    """Both images with an enlarged part of each; ``noisy`` has the result's shape."""
    before, after = np.asarray(noisy) / result.white, result._shown() / result.white
    height, width = before.shape[:2]
    row, column, side = _busiest_part(after)
    panel = 4.5
    with plotting.style():
        figure = plotting.new_figure(2 * panel, panel * (height / width) + panel / 2 + 0.9)
        grid = figure.subplots(2, 2, height_ratios=(height / width, 0.5), squeeze=False)
        titles = ("input", f"denoised by {result.method}")
        below = (f"noise: sigma = {result.told_sigma()} of 255 ({_origin(result)})", _numbers(result))
        for index, image in enumerate((before, after)):
            plotting.show_image(grid[0][index], image, titles[index], below[index])
            _mark(grid[0][index], row, column, side)
            part = image[row : row + side, column : column + side]
            plotting.show_image(grid[1][index], part, "", f"the marked part, {side}x{side} pixels")
    return figure


def one_image(result: Denoised) -> Figure:
    """The denoised image and its numbers."""
    image = result._shown() / result.white
    height, width = image.shape[:2]
    with plotting.style():
        figure = plotting.new_figure(4.5, 4.5 * height / width + 0.5)
        plotting.show_image(figure.subplots(), image, f"denoised by {result.method}", _numbers(result))
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
