"""How many parameters networks have."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np

from ntk_nonlocal.architecture import parse_architecture
from ntk_nonlocal.networks import to_flax

from ..workspace import Arrays, Workspace


@dataclass(frozen=True)
class Size:
    """A network, fed with an image of some channels."""

    architecture: str
    width: int
    in_channels: int


def size(settings: Size, workspace: Workspace) -> Arrays:
    """The number of a network's "parameters"."""
    network = to_flax(parse_architecture(settings.architecture), settings.width, 3)
    x = np.zeros((32, 32, settings.in_channels), np.float32)
    params = jax.eval_shape(lambda: network.init(jax.random.key(0), x))
    return {"parameters": np.asarray(sum(leaf.size for leaf in jax.tree.leaves(params)))}
