"""How far training moves the weights of a network (the paper's figure 4).

Counted in the weights that multiply the features: weight_std / sqrt(fan-in) * parameter in the "ntk" parametrisation,
the parameter itself in the standard one, so that both are comparable. l2 is |w_t - w_0|_2 over all entries of a layer's
kernel, l-inf is max |w_t - w_0|. "Hidden" layers are those from hidden features to hidden features: every convolution
but those that read the network input and those that write its output (all where none is left, as in a network with one
hidden layer). Biases are not counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntk_nonlocal.architecture import Layer, convolutions

from .finite import FlaxNetwork, Params, parameters_at

FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]


@dataclass(frozen=True)
class WeightChange:
    """Change of the weights of every convolution, arrays of shape (..., number of convolutions).

    ``layers`` are the convolutions' positions, ``hidden`` marks the hidden ones; the relative changes are divided by
    |w_0| in the same norm.
    """

    layers: tuple[str, ...]
    hidden: tuple[bool, ...]
    l2: FloatArray
    linf: FloatArray
    relative_l2: FloatArray
    relative_linf: FloatArray

    @property
    def hidden_l2(self) -> FloatArray:
        """Mean of ``l2`` over the hidden layers: what the paper's figure 4 shows."""
        return np.asarray(self.l2[..., np.asarray(self.hidden)].mean(-1))

    @property
    def hidden_linf(self) -> FloatArray:
        """Mean of ``linf`` over the hidden layers."""
        return np.asarray(self.linf[..., np.asarray(self.hidden)].mean(-1))


def weight_change(network: FlaxNetwork, initial: Params, params: Params) -> WeightChange:
    """Change of the weights from ``initial`` to ``params``, per convolution."""
    return as_weight_change(network.architecture, np.asarray(change_norms(network, initial, params)))


def as_weight_change(architecture: Layer, norms: FloatArray) -> WeightChange:
    """Names the norms of :func:`change_norms`, shape (..., 4, number of convolutions)."""
    placed_convs = convolutions(architecture)
    hidden = tuple(placed.fan_in_width is not None and not placed.is_output for placed in placed_convs)
    return WeightChange(
        tuple(placed.position for placed in placed_convs),
        hidden if any(hidden) else (True,) * len(hidden),
        *(norms[..., row, :] for row in range(4)),
    )


@partial(jax.jit, static_argnames="network")
def change_norms(network: FlaxNetwork, initial: Params, params: Params) -> Array:
    """l2, l-inf and their relative forms, shape (4, number of convolutions)."""
    columns = []
    for placed in convolutions(network.architecture):
        before = parameters_at(initial, placed.position)["kernel"]
        change = parameters_at(params, placed.position)["kernel"] - before
        scale = placed.conv.std / math.sqrt(math.prod(before.shape[:3]))
        scale = scale if network.parameterization == "ntk" else 1.0
        l2, linf = scale * jnp.sqrt(jnp.sum(change**2)), scale * jnp.max(jnp.abs(change))
        norms = scale * jnp.sqrt(jnp.sum(before**2)), scale * jnp.max(jnp.abs(before))
        columns.append(jnp.stack([l2, linf, l2 / norms[0], linf / norms[1]]))
    return jnp.stack(columns, axis=1)
