"""How alike a kernel's weights are to those of non-local means: rank correlations (Spearman) over all pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..workspace import Arrays, Workspace
from .closed_form import FloatArray, Limit, affinity_rows
from .iterated import filter_rows


@dataclass(frozen=True)
class Similarity:
    """For the pixels of a ``grid`` x ``grid`` lattice, and a filter after ``steps`` steps at 1 / lambda_max."""

    limit: Limit
    grid: int
    steps: int


def similarity(settings: Similarity, workspace: Workspace) -> Arrays:
    """Rank correlations with the affinities of non-local means (7x7 patches, the whole picture, h = 0.6 sigma).

    Returns:
      for every pixel, of "kernel", the kernel's row; "normalised", K(i, j) / sqrt(K(i, i) K(j, j)); and "iterated", the
      row of the filter I - (I - K / lambda_max)^t; "ceiling", of non-local means' own weights from the clean picture:
      what a perfect filter would reach; each (grid^2,).
    """
    pictures, picture = workspace.pictures, settings.limit.picture
    size, kernel = picture.size, settings.limit.kernel(pictures)
    places = ((2 * np.arange(settings.grid) + 1) * size) // (2 * settings.grid)
    pixels = (size * places[:, None] + places).reshape(-1)
    rows = np.asarray(kernel.rows(pixels), np.float64)
    diagonal = np.asarray(kernel.diagonal(), np.float64)
    iterated = filter_rows(kernel, pixels.tolist(), settings.steps, tolerance=1e-3)
    affinities = affinity_rows(picture, pictures, pixels.tolist())
    found = {
        "kernel": rows,
        "normalised": rows / np.sqrt(diagonal[pixels, None] * diagonal),
        "iterated": iterated.reshape(len(pixels), -1),
        "ceiling": affinity_rows(picture, pictures, pixels.tolist(), clean=True),
    }
    return {name: _rank_correlations(values, affinities) for name, values in found.items()}


def _rank_correlations(a: FloatArray, b: FloatArray) -> FloatArray:
    """Of every row with the same row of the other."""
    ranks = [np.argsort(np.argsort(values, axis=1, kind="stable"), axis=1, kind="stable") for values in (a, b)]
    return np.array([np.corrcoef(first, second)[0, 1] for first, second in zip(*ranks, strict=True)])
