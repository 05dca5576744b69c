"""Rows of the iterated filter: what gradient descent has made of a kernel after some steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ntk_nonlocal.experiments.workspace import Arrays, Workspace
from ntk_nonlocal.filters.trajectory import gradient_descent

from .closed_form import Limit


@dataclass(frozen=True)
class Iterated:
    """F_t = I - (I - K / lambda_max)^t for an exact kernel K; pixels as parts of the picture's height and width."""

    limit: Limit
    pixels: tuple[tuple[float, float], ...]
    steps: int


def iterated(settings: Iterated, workspace: Workspace) -> Arrays:
    """The weights with which F_t makes some pixels of its output: "rows" (pixels, H, W), each over its largest entry.

    F_t is symmetric: a row is what the filter makes of an image that is one at its pixel and zero elsewhere.
    """
    size = settings.limit.picture.size
    units = np.zeros((size, size, len(settings.pixels)), np.float32)
    for index, (row, column) in enumerate(settings.pixels):
        units[int(row * size), int(column * size), index] = 1
    kernel = settings.limit.kernel(workspace.pictures)
    found = np.asarray(gradient_descent(kernel, units, (settings.steps,), tolerance=1e-4))[0].transpose(2, 0, 1)
    return {"rows": (found / np.abs(found).max(axis=(1, 2), keepdims=True)).astype(np.float32)}
