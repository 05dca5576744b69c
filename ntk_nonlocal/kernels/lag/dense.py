"""The exact kernel with all pairs of rows and columns at once, for convolutions that reflect the image at its borders.

A pair with one end beyond the border is another pair inside, of another lag: what lag by lag evaluation keeps apart is
mixed in every layer. So both axes are dense here (see ``axes``), and the layers' rules are the same.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import jax
import numpy as np
from jax import Array

from ntk_nonlocal.architecture import Path, Serial
from ntk_nonlocal.xla import alive

from ..windowed import triangle
from . import budget as memory
from .corrections import find_corrections
from .slices import Plan, evaluate, margin_of

if TYPE_CHECKING:
    from .kernel import Kind, Weights


def dense_kernel(
    architecture: Serial, image: Array, kind: Kind, weights: Weights, window: int | None, budget: int | None
) -> Array:
    """The kernel's matrix (H W, H W), times the triangle of a ``window``.

    Raises:
      ValueError: too little memory, with the estimate.
    """
    needed = memory.dense_bytes(architecture, (image.shape[0], image.shape[1]), image.dtype.itemsize)
    memory.check('the exact kernel behind Conv(padding="reflect"), held whole,', needed, budget, "another padding")
    return _dense_kernel(image, find_corrections(image, architecture, dense=True), architecture, kind, weights, window)


@partial(jax.jit, static_argnames=("architecture", "kind", "window"))
def _dense_kernel(
    image: Array,
    corrections: dict[Path, Array],
    architecture: Serial,
    kind: Kind,
    weights: Weights,
    window: int | None,
) -> Array:
    plan = Plan(0, margin_of(architecture), kind == "ntk", alive(image), weights, dict(corrections))
    slices = evaluate(architecture, image, plan, None, None)
    values = slices.values(kind)
    height, width = slices.rows.length, slices.columns.length
    if window is not None:
        rows, columns = (
            triangle(np.arange(length)[:, None] - np.arange(length), window, values.dtype) for length in (height, width)
        )
        values = values * (rows[:, :, None, None] * columns)
    return values.swapaxes(1, 2).reshape(height * width, height * width)
