"""Rows of the iterated filter: what gradient descent has made of a kernel after some steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ntk_nonlocal.dynamics import gradient_descent
from ntk_nonlocal.operators import LinearOperator

from ..workspace import Arrays, Workspace
from .closed_form import FloatArray, Limit


@dataclass(frozen=True)
class Iterated:
    """F_t = I - (I - K / lambda_max)^t for an exact kernel K; pixels as parts of the picture's height and width."""

    limit: Limit
    pixels: tuple[tuple[float, float], ...]
    steps: int


def iterated(settings: Iterated, workspace: Workspace) -> Arrays:
    """The weights with which F_t makes some pixels: "rows" (pixels, H, W), each over its largest entry."""
    size = settings.limit.picture.size
    pixels = [int(row * size) * size + int(column * size) for row, column in settings.pixels]
    found = filter_rows(settings.limit.kernel(workspace.pictures), pixels, settings.steps, tolerance=1e-4)
    return {"rows": (found / np.abs(found).max(axis=(1, 2), keepdims=True)).astype(np.float16)}


def filter_rows(kernel: LinearOperator, pixels: Sequence[int], steps: int, tolerance: float) -> FloatArray:
    """Rows of F_t, shape (pixels, H, W).

    F_t is symmetric: a row is what it makes of an image that is one at its pixel and zero elsewhere.
    """
    height, width = kernel.image_shape
    units = np.zeros((height * width, len(pixels)), np.float32)
    units[pixels, range(len(pixels))] = 1
    images = units.reshape(height, width, len(pixels))
    found: FloatArray = np.asarray(gradient_descent(kernel, images, (steps,), tolerance=tolerance))[0]
    return found.transpose(2, 0, 1)
