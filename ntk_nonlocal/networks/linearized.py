"""Frozen features: a network replaced by its first-order expansion in the parameters.

f(p) + J (p - p0) around fixed parameters p0 trains as a network whose tangent kernel never moves (Lee et al. 2019, Wide
neural networks of any depth evolve as linear models under gradient descent): what an optimizer does to it shows what
that optimizer does without learning features.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ntk_nonlocal.architecture import convolutions

from .checkpoint import digest
from .empirical import check_network_type, check_params
from .finite import START, FlaxNetwork, Params, parameters_at


@dataclass(frozen=True)
class LinearizedNetwork(FlaxNetwork):
    """A network linearised in its parameters; made by :func:`linearize`, and taken wherever networks are.

    ``at`` identifies the parameters ``point`` around which it is expanded (and ``start``, those of the output that a
    centered network subtracts); they do not count in comparisons beside it.
    """

    at: str = ""
    point: Params = field(default_factory=dict, repr=False, compare=False)
    start: Params | None = field(default=None, repr=False, compare=False)

    @property
    def network(self) -> FlaxNetwork:
        """The network that was linearised, without its centering."""
        return FlaxNetwork(self.architecture, self.width, self.out_channels, self.parameterization)

    def init(self, key: Array, network_input: ArrayLike) -> Params:
        """The parameters of the expansion point, whatever the key; at them the output is that of the network.

        Raises:
          ValueError: an input that does not fit the parameters.
        """
        check_params(self.network, self.point, self.check_input(network_input))
        return jax.tree.map(jnp.copy, self.point)  # type: ignore[no-any-return]

    def apply(
        self, params: Params, network_input: ArrayLike, *, reverse_mode: bool = False, in_loop: bool = False
    ) -> Array:
        """f(p0) + J (p - p0), (H, W, C) -> (H, W, out_channels); ``reverse_mode`` changes nothing.

        Raises:
          ValueError: an input that is not a finite image or does not fit, or parameters of another network.
        """
        x = self.check_input(network_input)
        out, moved = self._expanded(lambda p: self.network.apply(p, x, in_loop=in_loop), params)
        return out + moved if self.start is None else out - self.network.apply(self.start, x) + moved

    def pre_activations(self, params: Params, network_input: ArrayLike) -> Array:
        """The input of the last nonlinearity, linearised likewise, (H, W, C) -> (H', W', width)."""
        out, moved = self._expanded(lambda p: self.network.pre_activations(p, network_input), params)
        return out + moved

    def plain(self, params: Params) -> tuple[FlaxNetwork, Params]:
        """The network itself, and its parameters: there is nothing that training does not move."""
        return self, params

    def _expanded(self, function: Any, params: Params) -> tuple[Array, Array]:
        if jax.tree.map(jnp.shape, params) != jax.tree.map(jnp.shape, self.point):
            raise ValueError(
                "params do not belong to this linearised network; take those of network.init(key, network_input)"
            )
        return jax.jvp(function, (self.point,), (jax.tree.map(jnp.subtract, params, self.point),))


def linearize(network: FlaxNetwork, params: Params) -> LinearizedNetwork:
    """The network with its features frozen at ``params``: ``apply(p, x)`` = f(params) + J (p - params).

    Args:
      network: from ``to_flax``; of a centered one the start stays subtracted.
      params: of that network, initial or trained.

    Returns:
      A network that ``train`` and ``empirical_kernel`` take like any other. Its ``init`` gives ``params`` for any key.
      (Lee et al. 2019.)

    Raises:
      TypeError: no network, or one that is linear already.
      ValueError: parameters that are not finite, or without the start of a centered network.
    """
    check_network_type(network)
    if isinstance(network, LinearizedNetwork):
        raise TypeError("network is linearised already; linearize the network that it was made of, or use it as it is")
    _, point = network.plain(params)
    for placed in convolutions(network.architecture):
        try:
            parameters_at(point, placed.position)["kernel"]
        except (KeyError, TypeError):
            raise ValueError(
                f"params do not belong to this network, they have no kernel for {placed.position}; "
                "draw them with network.init(key, network_input)"
            ) from None
    leaves = {
        jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    if not all(np.isfinite(leaf).all() for leaf in leaves.values()):
        raise ValueError("params hold NaN or infinite values; take those from before training diverged")
    start = params.get(START) if network.centered else None
    described = (network.architecture, network.width, network.out_channels, network.parameterization)
    return LinearizedNetwork(*described, at=digest(leaves)[:16], point=point, start=start)
