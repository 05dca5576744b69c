"""Exact kernels for many products: as a matrix where that is small, and the last two remembered."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from ntk_nonlocal.architecture import Layer
from ntk_nonlocal.kernels import LayerWeights, nngp_kernel, tangent_kernel
from ntk_nonlocal.operators import DenseOperator, LinearOperator

Kind = Literal["ntk", "nngp"]
# 128x128 pixels: a matrix of 1 GiB.
_LARGEST_MATRIX = 16384


def held_kernel(
    architecture: Layer,
    network_input: np.ndarray[Any, Any],
    kind: Kind = "ntk",
    *,
    layer_weights: LayerWeights | None = None,
) -> LinearOperator:
    """The exact kernel; up to 128x128 pixels as a matrix, so that a spectrum costs one evaluation of the engine."""
    call = _Call(lambda: _evaluate(architecture, network_input, kind, layer_weights))
    return _remembered((architecture, network_input.tobytes(), network_input.shape, kind, layer_weights), call)


def _evaluate(
    architecture: Layer, network_input: np.ndarray[Any, Any], kind: Kind, layer_weights: LayerWeights | None
) -> LinearOperator:
    if kind == "nngp":
        kernel = nngp_kernel(architecture, network_input)
    else:
        kernel = tangent_kernel(architecture, network_input, layer_weights=layer_weights)
    return DenseOperator(kernel.as_matrix(), kernel.image_shape) if kernel.shape[0] <= _LARGEST_MATRIX else kernel


class _Call:
    """A function that ``lru_cache`` does not look at: all are equal."""

    def __init__(self, function: Callable[[], LinearOperator]) -> None:
        self.function = function

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Call)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=2)
def _remembered(key: tuple[Any, ...], call: _Call) -> LinearOperator:
    return call.function()
