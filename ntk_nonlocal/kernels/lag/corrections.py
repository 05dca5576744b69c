"""What an evaluation has to know of the whole image beforehand, by the positions of the layers that ask for it.

The resampling layers need the diagonal of A D A^T, the ``Pointwise`` ones the Hermite coefficients of every pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import jax
from jax import Array

from ntk_nonlocal.architecture import Layer, Path, Pointwise, walk
from ntk_nonlocal.xla import alive

from .demand import Lags
from .hermite import fitted
from .resampling import needs_correction
from .slices import Plan, evaluate, margin_of


def find_corrections(image: Array, architecture: Layer, dense: bool = False) -> dict[Path, Array]:
    """What belongs to an image, from the pairs near the diagonal or, ``dense``, from all pairs.

    Raises:
      ValueError: a Pointwise layer whose series does not converge on this image.
    """
    pointwise = {item.position: item.layer for item in walk(architecture) if isinstance(item.layer, Pointwise)}
    if not pointwise:
        return _found(image, architecture, 0, {}, dense)
    tables = fitted(lambda terms: _found(image, architecture, terms, {}, dense), pointwise, image)
    known = {position: tables[position] for position in pointwise}
    if any(needs_correction(placed.layer) for placed in walk(architecture)):
        return _found(image, architecture, 0, known, dense)  # with exactly these terms
    return known


@partial(jax.jit, static_argnums=(1, 2, 4))
def _found(
    image: Array, architecture: Layer, terms: int, known: Mapping[Path, Array], dense: bool
) -> dict[Path, Array]:
    plan = Plan(
        0,
        margin_of(architecture),
        False,
        alive(image),
        corrections=dict(known),
        find_corrections=True,
        terms=terms,
    )
    lags = None if dense else Lags(0, 1, 0)
    evaluate(architecture, image, plan, lags, lags)
    return plan.corrections
