"""How alike a kernel's weights are to those of non-local means: rank correlations (Spearman) over all pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ntk_nonlocal.experiments.workspace import Arrays, Workspace
from ntk_nonlocal.filters.nonlocal_means import nonlocal_means
from ntk_nonlocal.filters.trajectory import gradient_descent

from .closed_form import Limit

FloatArray = np.ndarray[Any, Any]


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
      row of the filter I - (I - K / lambda_max)^t; each (grid^2,).
    """
    pictures, picture = workspace.pictures, settings.limit.picture
    size, kernel = picture.size, settings.limit.kernel(pictures)
    places = ((2 * np.arange(settings.grid) + 1) * size) // (2 * settings.grid)
    pixels = (size * places[:, None] + places).reshape(-1)
    rows = np.asarray(kernel.rows(pixels), np.float64)
    diagonal = np.asarray(kernel.diagonal(), np.float64)
    units = np.zeros((size, size, len(pixels)), np.float32)
    units[pixels // size, pixels % size, np.arange(len(pixels))] = 1
    iterated = np.asarray(gradient_descent(kernel, units, (settings.steps,), tolerance=1e-3))[0]
    means = nonlocal_means(pictures.noisy(picture), sigma=picture.sigma)
    affinities = np.stack([np.asarray(means.weights(int(pixel))).reshape(-1) for pixel in pixels])
    found = {
        "kernel": rows,
        "normalised": rows / np.sqrt(diagonal[pixels, None] * diagonal),
        "iterated": iterated.reshape(size * size, -1).T,
    }
    return {name: _rank_correlations(values, affinities) for name, values in found.items()}


def _rank_correlations(a: FloatArray, b: FloatArray) -> FloatArray:
    """Of every row with the same row of the other."""
    ranks = [np.argsort(np.argsort(values, axis=1, kind="stable"), axis=1, kind="stable") for values in (a, b)]
    return np.array([np.corrcoef(first, second)[0, 1] for first, second in zip(*ranks, strict=True)])
