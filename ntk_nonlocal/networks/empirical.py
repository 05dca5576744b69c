"""The tangent kernel of a finite network, as an operator that never holds a matrix.

For a network f with parameters w and output channel o the kernel over pixels is K_o = J_o diag(s) J_o^T, with the
Jacobian J_o of channel o at w and step sizes s per parameter (1, or those of a layer-weighted kernel). A product is one
VJP and one JVP (Jacot, Gabriel and Hongler 2018, Neural tangent kernel; Novak et al. 2022, Fast finite width neural
tangent kernel, for the cost of the alternatives). At infinite width every channel has the same kernel, so at finite
width the mean over output channels is the better estimate of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ntk_nonlocal.architecture import convolutions
from ntk_nonlocal.checks import told
from ntk_nonlocal.kernels import LayerWeights
from ntk_nonlocal.operators import LinearOperator

from .finite import FlaxNetwork, Params

if TYPE_CHECKING:
    from jaxtyping import Float

# Memory that the columns of one product may take at once.
_CHUNK_BYTES = 512 * 2**20


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class EmpiricalKernel(LinearOperator):
    """The tangent kernel of a finite network at ``params``; made by :func:`empirical_kernel`.

    ``steps`` has the structure of ``params`` with one number each, ``output`` is "mean" or an output channel.
    """

    params: Params
    network_input: Array
    steps: Params
    network: FlaxNetwork = field(metadata={"static": True})
    output: str | int = field(metadata={"static": True})
    image_shape: tuple[int, int] = field(metadata={"static": True})
    columns_at_once: int = field(metadata={"static": True})

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.network_input.dtype)

    def _channels(self) -> tuple[int, ...]:
        return tuple(range(self.network.out_channels)) if isinstance(self.output, str) else (self.output,)

    def _product(self, columns: Array) -> Array:
        total = sum(self._in_chunks(partial(_channel_product, channel=o), columns) for o in self._channels())
        return jnp.asarray(total) / len(self._channels())

    def diagonal(self) -> Array:
        """K[p, p] for every pixel, shape (H W,): squared norms of the Jacobian's rows, by VJPs alone."""
        pixels = jnp.arange(self.shape[0])[None]
        total = sum(self._in_chunks(partial(_channel_diagonal, channel=o), pixels) for o in self._channels())
        return jnp.asarray(total)[0] / len(self._channels())

    def _in_chunks(self, function: Callable[..., Array], columns: Array) -> Array:
        """Applies ``function`` to a few columns at a time, in a Python loop: in a scan convolutions are slow on CPU."""
        starts = range(0, columns.shape[1], self.columns_at_once)
        parts = [
            function(
                self.network, self.params, self.network_input, self.steps, columns[:, s : s + self.columns_at_once]
            )
            for s in starts
        ]
        return jnp.concatenate(parts, axis=1)


def empirical_kernel(
    network: FlaxNetwork,
    params: Params,
    network_input: Float[ArrayLike, "H W C"],
    *,
    output: Literal["mean"] | int = "mean",
    layer_weights: LayerWeights | None = None,
    preconditioner: Params | None = None,
) -> EmpiricalKernel:
    """The tangent kernel of a finite network over the pixels of its output, for any parameters (also trained ones).

    Args:
      network: from ``to_flax``.
      params: its parameters.
      network_input: what the network is fed, (H, W, C).
      output: an output channel, or "mean" for the mean of all channels' kernels.
      layer_weights: one (weight factor, bias factor) for each convolution, which multiply its contribution to Theta,
        that is, to the kernel in the "ntk" parametrisation (see ``standard_layer_weights``). Without them the kernel is
        J J^T in the network's own parametrisation, which its gradient descent follows.
      preconditioner: the diagonal of P, a tree like ``params`` of positive numbers: the kernel is then J P^-1 J^T,
        which an optimizer that divides every gradient by it follows.

    Returns:
      an operator over the output's pixels; exact for this network, in the floating-point type of ``network_input``.

    Raises:
      ValueError: an input that does not fit, an unknown output, ``layer_weights`` that do not match, or a
        ``preconditioner`` of another structure or with numbers that are not positive.
    """
    check_network_type(network)
    x = network.check_input(network_input)
    check_params(network, params, x)
    network, params = network.plain(params)  # a centered network has the same Jacobian
    if output != "mean" and (isinstance(output, bool) or output not in range(network.out_channels)):
        raise ValueError(f"output must be 'mean' or a channel in 0..{network.out_channels - 1}, got {told(output)}")
    if layer_weights is not None:
        steps = network.contribution_weights(params, layer_weights)
    else:
        steps = jax.tree.map(lambda _: 1.0, params)
    if preconditioner is not None:
        steps = jax.tree.map(jnp.divide, steps, _checked_preconditioner(network, preconditioner, params))
    height, width = jax.eval_shape(network.apply, params, x).shape[:2]
    return EmpiricalKernel(
        params=params,
        network_input=x,
        steps=jax.tree.map(lambda step: jnp.asarray(step, x.dtype), steps),
        network=network,
        output=output if output == "mean" else int(output),
        image_shape=(height, width),
        columns_at_once=_columns_at_once(network, params, x),
    )


def largest_eigenvalue(
    network: FlaxNetwork,
    params: Params,
    network_input: ArrayLike,
    steps: Params | None = None,
    *,
    tolerance: float = 1e-3,
    max_products: int = 100,
) -> float:
    """The largest eigenvalue of J diag(steps) J^T over all pixels AND output channels, by power iteration.

    Gradient descent on 1/2 ||z - y||^2 is stable below the step size 2 / lambda_max.

    Args:
      network, params, network_input: as for ``empirical_kernel``.
      steps: step sizes per parameter relative to a common one, 1 without.
      tolerance: relative change between two products at which to stop; the value is a lower bound.
      max_products: products at the most, each about as dear as a training step.
    """
    x = network.check_input(network_input)
    network, params = network.plain(params)
    steps = jax.tree.map(lambda leaf: jnp.ones((), leaf.dtype), params) if steps is None else steps
    shape = jax.eval_shape(network.apply, params, x)
    v = jax.random.normal(jax.random.key(0), shape.shape, shape.dtype)
    value = 0.0
    for _ in range(max_products):
        v, norm = _power_step(network, params, x, steps, v)
        previous, value = value, float(norm)
        if not math.isfinite(value) or value == 0 or abs(value - previous) <= tolerance * value:
            break
    return value


def check_network_type(network: object) -> None:
    """Raises TypeError unless it is a network from ``to_flax``."""
    if not isinstance(network, FlaxNetwork):
        raise TypeError(f"network must come from to_flax(architecture, ...), got {told(network)}")


def check_params(network: FlaxNetwork, params: Params, network_input: Array) -> None:
    """Raises ValueError unless ``params`` have the names and shapes that the network has for this input."""
    expected = jax.tree.map(jnp.shape, jax.eval_shape(lambda: network.init(jax.random.key(0), network_input)))
    if jax.tree.map(jnp.shape, params) != expected:
        raise ValueError(
            "params do not belong to this network and input (other names or shapes); "
            "draw them with network.init(key, network_input) for an input of the same number of channels"
        )
    known = [np.asarray(leaf) for leaf in jax.tree.leaves(params) if not isinstance(leaf, jax.core.Tracer)]
    if not all(np.isfinite(leaf).all() for leaf in known):
        raise ValueError("params hold NaN or infinite values; take those from before training diverged")


def _checked_preconditioner(network: FlaxNetwork, preconditioner: Params, params: Params) -> Params:
    """The diagonal of P as floating-point arrays of the parameters' shapes."""
    _, diagonal = network.plain(preconditioner)
    shapes = jax.tree.map(jnp.shape, params)
    if jax.tree.map(jnp.shape, diagonal) != shapes:
        raise ValueError(
            "preconditioner must be a tree of arrays like params, the diagonal of P; "
            "nnl.preconditioner(result) makes it from a training, jax.tree.map(jnp.ones_like, params) is the identity"
        )
    for path, leaf in jax.tree_util.tree_leaves_with_path(diagonal):
        if isinstance(leaf, jax.core.Tracer):
            continue
        values = np.asarray(leaf)
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise ValueError(
                f"preconditioner must be positive and finite everywhere, got {values.min():.3g} to {values.max():.3g} "
                f"at {jax.tree_util.keystr(path)}; add the optimizer's epsilon"
            )
    return diagonal


def _columns_at_once(network: FlaxNetwork, params: Params, x: Array) -> int:
    """How many columns of a product fit into the memory set aside for them."""
    weights: int = sum(leaf.size for leaf in jax.tree.leaves(params))
    activations = x.shape[0] * x.shape[1] * network.width * len(convolutions(network.architecture))
    return max(1, _CHUNK_BYTES // int(4 * (weights + activations) * x.dtype.itemsize))


@partial(jax.jit, static_argnames="network")
def _channel_product(
    network: FlaxNetwork, params: Params, x: Array, steps: Params, columns: Array, channel: ArrayLike
) -> Array:
    def single_channel(p: Params, reverse_mode: bool = False) -> Array:
        return network.apply(p, x, reverse_mode=reverse_mode)[:, :, channel].reshape(-1)

    def column(v: Array) -> Any:
        (gradient,) = pullback(v)
        return pushforward(jax.tree.map(jnp.multiply, steps, gradient))

    with jax.default_matmul_precision("highest"):
        _, pullback = jax.vjp(partial(single_channel, reverse_mode=True), params)
        _, pushforward = jax.linearize(single_channel, params)
        product: Array = jax.vmap(column, in_axes=1, out_axes=1)(columns)
        return product


@partial(jax.jit, static_argnames="network")
def _channel_diagonal(
    network: FlaxNetwork, params: Params, x: Array, steps: Params, pixels: Array, channel: ArrayLike
) -> Array:
    def entry(pixel: Array) -> Array:
        (gradient,) = pullback(jnp.zeros_like(out).at[pixel].set(1))
        squares = jax.tree.map(lambda step, g: jnp.sum(step * g**2), steps, gradient)
        return jnp.asarray(sum(jax.tree.leaves(squares)))

    with jax.default_matmul_precision("highest"):
        out, pullback = jax.vjp(lambda p: network.apply(p, x, reverse_mode=True)[:, :, channel].reshape(-1), params)
        diagonal: Array = jax.vmap(entry)(pixels[0])
        return diagonal[None]


@partial(jax.jit, static_argnames="network")
def _power_step(network: FlaxNetwork, params: Params, x: Array, steps: Params, v: Array) -> tuple[Array, Array]:
    with jax.default_matmul_precision("highest"):
        _, pullback = jax.vjp(lambda p: network.apply(p, x, reverse_mode=True), params)
        (gradient,) = pullback(v / jnp.linalg.norm(v))
        gradient = jax.tree.map(jnp.multiply, steps, gradient)
        _, product = jax.jvp(lambda p: network.apply(p, x), (params,), (gradient,))
        return product, jnp.linalg.norm(product)
