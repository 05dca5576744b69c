"""``explore``: filters of one picture as a page to look at."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ntk_nonlocal.checks import seed as check_seed
from ntk_nonlocal.images import as_image, as_noisy_image, check_sigma, estimate_sigma, psnr
from ntk_nonlocal.results import atomic_file

from .compress import Task, store
from .filters import KERNELS, build, check_kernels, depends_on_noise
from .page import fields, render
from .stored import Floats, StoredFilter

DEFAULT_KERNELS = ("nlm", "vanilla-ntk-image", "autoencoder-ntk-image", "autoencoder-ntk-noise", "empirical-adam")
_BYTES = 10_200_000  # of all filters; the page with five of a 96x96 picture stays below 12 MB
_LARGEST = 128 * 128  # pixels: the kernels' matrices are held in double precision
_LEVELS = 4095  # of stored pictures over [0, 1]


class Explorer:
    """A picture and some of its filters, in the few numbers that the page holds; shown by notebooks as the page.

    Attributes:
      filters: a ``StoredFilter`` for each name, with its weights, errors and estimates.
      noisy, clean: shape (H, W, C); ``clean`` may be None.
      sigma: of the noise, on the [0, 1] scale.
    """

    def __init__(
        self, filters: dict[str, StoredFilter], noisy: Floats, clean: Floats | None, sigma: float, title: str
    ) -> None:
        self.filters, self.noisy, self.clean, self.sigma, self.title = filters, noisy, clean, sigma, title

    @cached_property
    def html(self) -> str:
        """The page."""
        return render(
            {
                "title": self.title,
                "sigma": self.sigma,
                "levels": _LEVELS,
                "noisy": np.rint(self.noisy * _LEVELS).astype(np.int16),
                "clean": None if self.clean is None else np.rint(self.clean * _LEVELS).astype(np.int16),
                "noisy_psnr": None if self.clean is None else psnr(self.noisy, self.clean),
                "about": {name: KERNELS[name] for name in self.filters},
                "filters": [fields(one) for one in self.filters.values()],
            }
        )

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Writes the page, whole or not at all."""
        with atomic_file(path) as file:
            file.write(self.html.encode())
        return Path(path)

    def _repr_html_(self) -> str:
        """The page in a frame of its own, for notebooks."""
        return (
            f'<iframe title="filters, explored" srcdoc="{html.escape(self.html)}" style="border:0;width:100%;'
            'height:900px" sandbox="allow-scripts"></iframe>'
        )

    def __repr__(self) -> str:
        height, width, _ = self.noisy.shape
        return f"Explorer({height}x{width} picture, sigma {255 * self.sigma:.1f}/255, {', '.join(self.filters)})"


def explore(
    noisy: ArrayLike,
    path: str | os.PathLike[str] | None = None,
    *,
    clean: ArrayLike | None = None,
    sigma: float | None = None,
    kernels: str | Sequence[str] = DEFAULT_KERNELS,
    seed: int = 0,
    title: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Explorer:
    """Filters of a picture as one self-contained HTML page: under the pointer, what they average, step by step.

    Every kernel is computed exactly and stored as its leading eigenpairs and the mean of the rest of its spectrum
    (``StoredFilter``); the page says how far each row that it draws can be off. The larger the picture, the fewer of
    its eigenpairs fit: of 96x96 pixels rows are known well after the first steps only. With the five kernels 48x48 and
    64x64 pixels take about 5 minutes of a core, 96x96 about 25; beyond, the time grows with the third power of the
    number of pixels.

    Args:
      noisy: the noisy picture, shape (H, W, C), at least 16x16 pixels and at most 128x128 in number.
      path: where to write the page; None writes nothing.
      clean: the picture without noise, for the PSNR.
      sigma: noise standard deviation on the [0, 1] scale; estimated without.
      kernels: names of ``ntk_nonlocal.explore.KERNELS``, as a list or with commas between them.
      seed: of random network inputs, weights, trainings and probes.
      title: shown at the top of the page.
      progress: called as progress(done, total), in thousandths.

    Returns:
      an ``Explorer``: ``write`` it, or let a notebook show it.

    Raises:
      ValueError: images, names or sizes that do not fit; before any long work.
    """
    if path is not None and (Path(path).is_dir() or not Path(path).absolute().parent.is_dir()):
        raise ValueError(f"cannot write the page to {path}: give a file in a folder that exists, such as page.html")
    image = as_noisy_image(noisy, dtype=np.float32)
    height, width, channels = image.shape
    if min(height, width) < 16 or height * width > _LARGEST:
        raise ValueError(f"explore takes pictures of 16x16 to {_LARGEST} pixels, got {height}x{width}; crop it")
    original = None if clean is None else as_image(clean, dtype=np.float32)
    if original is not None and original.shape != image.shape:
        raise ValueError(f"clean must have the shape of noisy, {image.shape}, got {original.shape}")
    names = check_kernels(kernels, (height, width))
    level = check_sigma(estimate_sigma(image) if sigma is None else sigma)
    seed = check_seed(seed)
    budget = _BYTES // max(5, len(names)) - int(1.2 * height * width * (channels * 14 / 8 * 4 / 3 + 12))
    found = {}
    for number, name in enumerate(names):
        task = Task(
            name=name,
            make=partial(_make, name, level, seed),
            noisy=image,
            clean=original,
            sigma=level,
            seed=seed,
            moves=depends_on_noise(name),
        )
        found[name] = store(task, budget, partial(_report, progress, number, len(names)))
        _report(progress, number, len(names), 1.0)
    result = Explorer(found, image, original, level, title)
    if path is not None:
        result.write(path)
    return result


def _make(name: str, sigma: float, seed: int, noisy: Floats) -> Any:
    return build(name, noisy, sigma, seed)


def _report(progress: Callable[[int, int], None] | None, number: int, count: int, share: float) -> None:
    if progress is not None:
        progress(round(1000 * (number + share) / count), 1000)
