"""The exact infinite-width kernel of an architecture on an image, by whichever backend fits."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike

from ntk_nonlocal.architecture import Layer, Nonlinearity, Serial, as_serial, convolutions, output_signal, walk
from ntk_nonlocal.checks import choice, told, whole
from ntk_nonlocal.images import checked_input
from ntk_nonlocal.operators import DenseOperator, LinearOperator

from .blocks import all_values
from .lag import budget as memory
from .lag.corrections import find_corrections
from .lag.demand import Lags, reflects
from .lag.dense import dense_kernel
from .lag.duals import dual
from .lag.kernel import Kind, LagKernel, MemoryPlan, Weights, fill_stores
from .lag.slices import lag_rule
from .lag.window import WindowedLagKernel, window_fits
from .layers import LayerWeights, check_layer_weights
from .oracle import exact_kernel, stax_rule

if TYPE_CHECKING:
    from jaxtyping import Float

logger = logging.getLogger(__name__)

Backend = Literal["auto", "lag", "neural-tangents"]


def tangent_kernel(
    architecture: Layer,
    network_input: Float[ArrayLike, "H W C"],
    backend: Backend = "auto",
    window: int | None = None,
    *,
    layer_weights: LayerWeights | None = None,
    memory_plan: MemoryPlan = "auto",
    memory_budget: int | None = None,
    mesh: Mesh | None = None,
) -> LinearOperator:
    """Theta, the exact tangent kernel of the infinitely wide network over all pairs of output pixels, as an operator.

    It is what training all layers follows; :func:`nngp_kernel` is what training the last one does.

    Args:
      architecture: a description such as ``autoencoder(levels=3)``.
      network_input: what the network is fed, float array (H, W, C); float64 needs 64-bit JAX, or is computed in float32
        with a warning.
      backend: "lag", the engine of this package; "neural-tangents", which holds the whole matrix; "auto" takes "lag"
        wherever it has rules for all layers, and logs its choice.
      window: R multiplies the kernel by (1 - |t_y| / R)+ (1 - |t_x| / R)+ of the displacement t of a pair, a
        positive-definite taper; cost and memory are then linear in the number of pixels ("lag" only; not behind
        reflected borders, where the matrix is held all the same).
      layer_weights: (weights, biases) factor of every convolution's part, in the order of
        ``convolutions(architecture)``; see ``standard_layer_weights`` ("lag" only).
      memory_plan: "recompute" evaluates the slices in every product; "keep" holds half of the matrix; "matrix" all of
        it; "auto" recomputes, and what makes many products (trajectories, spectra) first keeps what the budget allows.
        Behind reflected borders (``Conv(padding="reflect")``) it is always the matrix.
      memory_budget: bytes; None is half of what the device has free.
      mesh: devices to spread the work over, in this process or in several ("lag" only).

    Returns:
      A LinearOperator over the H W output pixels in row-major order, the same for every output channel.

    Raises:
      ValueError: an architecture that does not fit the image (naming the layer), bad values, or too little memory, with
        the estimate; before any long work.
    """
    options = _Options("ntk", backend, window, layer_weights, memory_plan, memory_budget, mesh)
    return _exact_kernel(architecture, network_input, options)


def nngp_kernel(
    architecture: Layer,
    network_input: Float[ArrayLike, "H W C"],
    backend: Backend = "auto",
    window: int | None = None,
    *,
    memory_plan: MemoryPlan = "auto",
    memory_budget: int | None = None,
    mesh: Mesh | None = None,
) -> LinearOperator:
    """Sigma, the exact covariance of the infinitely wide network's outputs at initialisation, as an operator.

    It is the kernel that training the last layer alone follows. Arguments, result and errors as for
    :func:`tangent_kernel`.
    """
    options = _Options("nngp", backend, window, None, memory_plan, memory_budget, mesh)
    return _exact_kernel(architecture, network_input, options)


@dataclass(frozen=True)
class _Options:
    """What is asked of a kernel, see :func:`tangent_kernel`."""

    kind: Kind
    backend: Backend
    window: int | None
    layer_weights: LayerWeights | None
    memory_plan: MemoryPlan
    budget: int | None
    mesh: Mesh | None

    def __post_init__(self) -> None:
        choice("backend", self.backend, ("auto", "lag", "neural-tangents"))
        choice("memory_plan", self.memory_plan, ("auto", "recompute", "keep", "matrix"))
        for name, number in (("window", self.window), ("memory_budget", self.budget)):
            if number is not None:
                whole(name, number, 1)
        if self.mesh is not None and not isinstance(self.mesh, Mesh):
            raise TypeError(
                f"mesh must be a jax.sharding.Mesh, such as jax.make_mesh((2,), ('blocks',)), got {told(self.mesh)}"
            )


def _exact_kernel(architecture: Layer, network_input: ArrayLike, options: _Options) -> LinearOperator:
    image = checked_input(network_input)
    serial = as_serial(architecture)
    signal = output_signal(architecture, (image.shape[0], image.shape[1]))
    assert signal.size is not None
    backend = options.backend
    if backend == "auto":
        missing = [placed.layer for placed in walk(serial) if not has_rule(type(placed.layer))]
        known = all(stax_rule.dispatch(type(layer)) is not stax_rule.dispatch(object) for layer in missing)
        backend = "neural-tangents" if missing and known else "lag"  # which says how to register what neither knows
        names = ", ".join(type(layer).__name__ for layer in missing)
        why = f"no exact-kernel rule for {names}" if missing else "all layers covered"
        logger.info("exact %s kernel of %dx%d pixels by backend %r: %s", options.kind, *signal.size, backend, why)
    if backend == "neural-tangents":
        if options.window is not None or options.layer_weights is not None or options.mesh is not None:
            raise ValueError('window, layer_weights and mesh need backend="lag"; leave them out, or register rules')
        return exact_kernel(serial, image, options.kind)
    return _lag_kernel(serial, image, signal.size, options)


def _lag_kernel(serial: Serial, image: jax.Array, size: tuple[int, int], options: _Options) -> LinearOperator:
    kind, window, memory_plan, budget, mesh = (
        options.kind,
        options.window,
        options.memory_plan,
        options.budget,
        options.mesh,
    )
    weights: Weights = {}
    placed = convolutions(serial)
    if options.layer_weights is not None:
        factors = check_layer_weights(options.layer_weights, placed)
        # as arrays: other factors do not compile anything anew
        weights = {
            item.position: (jnp.asarray(weight, image.dtype), jnp.asarray(bias, image.dtype))
            for item, (weight, bias) in zip(placed, factors, strict=True)
        }
    banded = window is not None and window_fits(window, size) and all(p.conv.padding == "zero" for p in placed)
    columns = Lags(1 - window, 2 * window - 1, 0) if banded and window is not None else None
    row_lags = min(window, size[0]) if banded and window is not None else size[0] // 2 + 1
    if mesh is not None:
        mesh = Mesh(mesh.devices, mesh.axis_names)  # with axes that the compiler may shard by itself
        row_lags = -(-row_lags // mesh.size)
    if reflects(serial):
        if mesh is not None:
            raise ValueError('mesh: Conv(padding="reflect") has its kernel held whole, on one device; leave mesh out')
        logger.info("reflected borders: the kernel is held whole")
        return DenseOperator(dense_kernel(serial, image, kind, weights, window, budget), size)
    input_size = (image.shape[0], image.shape[1])
    itemsize = image.dtype.itemsize
    store_blocks, stored = (
        memory.plan_stores(serial, input_size, kind, itemsize, budget) if columns is None else ((), 0)
    )
    block = memory.choose_block(serial, input_size, row_lags, columns, itemsize, budget, stored)
    if mesh is not None and not isinstance(image, jax.core.Tracer):
        image = jax.device_put(np.asarray(image), NamedSharding(mesh, PartitionSpec()))
    corrections = find_corrections(image, serial)
    stores = fill_stores(image, corrections, serial, kind, weights, store_blocks) if store_blocks else {}
    common: dict[str, Any] = {
        "image": image,
        "corrections": corrections,
        "stores": stores,
        "kept": None,
        "architecture": serial,
        "kind": kind,
        "image_shape": size,
        "block": block,
        "weights": weights,
        "mesh": mesh,
        "budget": budget,
        "memory_plan": memory_plan,
    }
    if banded and window is not None:
        op: LagKernel | WindowedLagKernel = WindowedLagKernel(**common, window=window)
    else:
        op = LagKernel(**common, window=window)
    if memory_plan == "keep":
        memory.check("keeping the slices", op.kept_bytes(), budget)
        return replace(op, kept=all_values(op))
    if memory_plan == "matrix":
        return DenseOperator(op.as_matrix(), size)
    return op


def has_rule(layer: type[Layer]) -> bool:
    """Whether the engine knows a type of layer."""
    if lag_rule.dispatch(layer) is lag_rule.dispatch(Nonlinearity):
        return dual.dispatch(layer) is not dual.dispatch(object)
    return lag_rule.dispatch(layer) is not lag_rule.dispatch(object)
