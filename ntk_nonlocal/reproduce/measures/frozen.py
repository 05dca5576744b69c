"""Frozen features: what adaptive optimizers do to a network that is linear in its parameters, beside two theories.

The null model: gradient flow of the same frozen Jacobian, at the moment when its residual is as large (another clock).
The theory: one clock for every layer. With g_p = J_p . e the gradient of parameter p and an update u_p = phi(history of
g_p), sum_p J_p u_p over the parameters of a layer is c K_l m, m the running mean of the residuals, if the J_p are many
and Gaussian (Stein's lemma); c from the layer's mean square of gradients. That is the optimizer itself with ONE second
moment for every layer, times a constant kappa = E|g| / sqrt(E g^2), sqrt(2 / pi) for Gaussian columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntk_nonlocal.architecture import convolutions, parse_architecture
from ntk_nonlocal.dynamics import trajectory
from ntk_nonlocal.images import psnr
from ntk_nonlocal.kernels import layer_kernels, standard_layer_weights
from ntk_nonlocal.linalg import flow_filter
from ntk_nonlocal.networks import FlaxNetwork, Params, noise_input, parameters_at, to_flax
from ntk_nonlocal.operators import LinearOperator, static_field

from ..pictures import Picture
from ..workspace import Arrays, Workspace

FloatArray = np.ndarray[Any, Any]
Groups = Literal["element", "layer", "offset", "clock"]
# Decay of the mean and of the mean square, whether they are corrected for their start, and epsilon inside the root.
RULES: dict[str, tuple[float, float, float, float]] = {
    "sign": (0.0, 0.0, 0.0, 0.0),
    "rmsprop": (0.0, 0.9, 0.0, 1e-8),
    "adam": (0.9, 0.999, 1.0, 0.0),
}
THEORIES = ("gaussian", "layer", "offset", "clock", "exact")


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class JointKernel(LinearOperator):
    """J diag(steps) J^T over all pixels AND colours of a finite network: what its frozen Jacobian follows.

    An image (H, W, C) counts as one of H rows and W C columns with a single channel.
    """

    params: Params
    network_input: Array
    steps: Params
    network: FlaxNetwork = static_field()
    image_shape: tuple[int, int] = static_field()

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.network_input.dtype)

    def _product(self, columns: Array) -> Array:
        parts = [_joint_product(self, columns[:, i]) for i in range(columns.shape[1])]
        return jnp.stack(parts, axis=1)


def joint_kernel(
    network: FlaxNetwork, params: Params, network_input: FloatArray, preconditioner: Params | None = None
) -> JointKernel:
    """The kernel of all colours at ``params``, with P^-1 between the Jacobians where a ``preconditioner`` is given."""
    x = jnp.asarray(network_input)
    shape = jax.eval_shape(network.apply, params, x).shape
    steps = jax.tree.map(jnp.ones_like, params)
    if preconditioner is not None:
        steps = jax.tree.map(jnp.divide, steps, preconditioner)
    return JointKernel(params, x, steps, network, (shape[0], shape[1] * shape[2]))


@jax.jit
def _joint_product(op: JointKernel, column: Array) -> Array:
    def output(params: Params) -> Array:
        return op.network.apply(params, op.network_input)

    with jax.default_matmul_precision("highest"):
        out, pullback = jax.vjp(output, op.params)
        (gradient,) = pullback(column.reshape(out.shape))
        _, moved = jax.jvp(output, (op.params,), (jax.tree.map(jnp.multiply, op.steps, gradient),))
        return moved.reshape(-1)


@partial(jax.jit, static_argnames=("network", "groups"))
def _step(
    network: FlaxNetwork,
    groups: Groups,
    place: tuple[Params, Array, Array],
    state: tuple[Array, Params, Params, Array],
    rule: Array,
    rate: Array,
    constants: Params,
) -> tuple[tuple[Array, Params, Params, Array], Params]:
    """One step of the linearised network's output; beside the state every leaf's clock <u, m> / <m, m>."""
    params, x, y = place
    z, mean, square, count = state
    b1, b2, corrected, epsilon = rule
    count = count + 1

    def output(p: Params) -> Array:
        return network.apply(p, x)

    _, pullback = jax.vjp(output, params)
    (gradient,) = pullback(z - y)
    mean = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, mean, gradient)
    second = jax.tree.map(jnp.square, gradient)
    if groups in ("layer", "offset"):
        second = jax.tree.map(lambda s: jnp.broadcast_to(_grouped(s, groups), s.shape), second)
    square = jax.tree.map(lambda v, s: b2 * v + (1 - b2) * s, square, second)
    first = jnp.where(corrected > 0, 1 - b1**count, 1.0)
    other = jnp.where(corrected > 0, 1 - b2**count, 1.0)
    unbiased = jax.tree.map(lambda m: m / first, mean)
    if groups == "clock":
        updates = jax.tree.map(jnp.multiply, constants, unbiased)
    else:
        updates = jax.tree.map(
            lambda k, m, v: k * m / (jnp.sqrt(v / other + epsilon) + 1e-12), constants, unbiased, square
        )
    clocks = jax.tree.map(lambda u, m: jnp.vdot(u, m) / (jnp.vdot(m, m) + 1e-30), updates, unbiased)
    _, moved = jax.jvp(output, (params,), (updates,))
    return (z - rate * moved, mean, square, count), clocks


def _grouped(values: Array, groups: str) -> Array:
    """Means over a layer, or over what shares a filter offset (kernels are (k, k, in, out))."""
    axes = (2, 3) if groups == "offset" and values.ndim == 4 else None
    return jnp.mean(values, axis=axes, keepdims=True)


@dataclass(frozen=True)
class Frozen:
    """A network's frozen features: its Jacobian at ``params`` on an input, and the image ``y``."""

    network: FlaxNetwork
    params: Params
    x: Array
    y: Array

    @property
    def start(self) -> Array:
        """z(0), (H, W, C)."""
        return self.network.apply(self.params, self.x)

    def descend(
        self,
        optimizer: str,
        rate: float,
        steps: int,
        *,
        groups: Groups = "element",
        constants: Params | Sequence[Params] | None = None,
    ) -> tuple[FloatArray, list[Params]]:
        """Outputs (steps + 1, H, W, C), the first z(0), and every step's clocks."""
        zeros = jax.tree.map(jnp.zeros_like, self.params)
        state = (self.start, zeros, zeros, jnp.zeros(()))
        rule = jnp.asarray(RULES[optimizer], jnp.float32)
        outputs, clocks = [np.asarray(self.start)], []
        ones = jax.tree.map(lambda leaf: jnp.ones((), leaf.dtype), self.params)
        for step in range(steps):
            own = constants[step] if isinstance(constants, Sequence) else constants
            place = (self.params, self.x, self.y)
            state, clock = _step(
                self.network, groups, place, state, rule, jnp.asarray(rate), ones if own is None else own
            )
            outputs.append(np.asarray(state[0]))
            clocks.append(clock)
        return np.stack(outputs), clocks

    def gradient(self) -> Params:
        """The gradient of the first step."""
        _, pullback = jax.vjp(lambda p: self.network.apply(p, self.x), self.params)
        (found,) = pullback(self.start - self.y)
        return found

    def constants(self, groups: Groups) -> Params:
        """kappa = E|g| / sqrt(E g^2) of every group at the first step."""
        return jax.tree.map(
            lambda g: _grouped(jnp.abs(g), groups) / jnp.sqrt(_grouped(g**2, groups) + 1e-30), self.gradient()
        )


@dataclass(frozen=True)
class FrozenDescent:
    """One optimizer on the frozen features of one network, and what theories say of it.

    ``learning_rate`` is that at 64 channels; it falls like 1 / width. The constants come from the network of
    ``other_seed``.
    """

    picture: Picture
    architecture: str
    input: Literal["image", "noise"]
    optimizer: Literal["sign", "rmsprop", "adam"]
    width: int
    steps: int
    learning_rate: float
    seed: int
    other_seed: int
    noise_channels: int = 32
    noise_scale: float = 0.5


def frozen_descent(settings: FrozenDescent, workspace: Workspace) -> Arrays:
    """An adaptive optimizer with frozen features beside the null model and the theories.

    Distances are |a - b| / |z(t) - z(0)|, z the optimizer's own output.

    Returns:
      "steps" (s,); "null" (s,), the distance from the gradient flow of the same residual; "nearest" (s,), from the
      nearest point of that flow; for every theory its distance at the same step, and as THEORY_path that of the flow's
      kind, at the theory's nearest point; "residual" (s,), |z - y| / |z(0) - y|; "psnr" (s,) of the optimizer and
      "null_psnr" (s,) of the null; "best_psnr" and "null_best" over the whole run and the whole flow; "null_error".
    """
    picture, pictures = settings.picture, workspace.pictures
    architecture = parse_architecture(settings.architecture)
    y, clean = pictures.noisy(picture), pictures.clean(picture)
    x = y
    if settings.input == "noise":
        x = noise_input((picture.size,) * 2, settings.noise_channels, settings.noise_scale, settings.seed)
    network = to_flax(architecture, settings.width, y.shape[2], "standard")
    one, other = (
        Frozen(network, network.init(jax.random.key(seed), x), jnp.asarray(x), jnp.asarray(y))
        for seed in (settings.seed, settings.other_seed)
    )
    rate = settings.learning_rate * 64 / settings.width
    own, _ = one.descend(settings.optimizer, rate, settings.steps)
    _, clocks = other.descend(settings.optimizer, rate, settings.steps)
    gaussian = jax.tree.map(lambda leaf: jnp.full((1,) * leaf.ndim, np.sqrt(2 / np.pi), leaf.dtype), one.params)
    kept = np.unique(np.geomspace(1, settings.steps, 9).round().astype(int))
    paths = {
        "gaussian": one.descend(settings.optimizer, rate, settings.steps, groups="layer", constants=gaussian)[0],
        "clock": one.descend(settings.optimizer, rate, settings.steps, groups="clock", constants=clocks)[0],
    }
    for groups in ("layer", "offset"):
        paths[groups] = one.descend(
            settings.optimizer, rate, settings.steps, groups=groups, constants=other.constants(groups)
        )[0]
    paths["exact"] = _exact_path(settings, other, np.asarray(one.start), rate)
    moved = _norms(own[kept] - own[0])
    found = {}
    for name in THEORIES:
        found[name] = _norms(own[kept] - paths[name][kept]) / moved
        found[f"{name}_path"] = np.array([_norms(paths[name] - own[t]).min() for t in kept]) / moved
    flow, error = _flow(one)
    residuals, wanted = _norms(flow - y), _norms(own - y)
    at = _same_residual(flow, residuals, wanted[kept])
    quality = np.array([psnr(z, clean) for z in own])
    return found | {
        "steps": kept,
        "null": _norms(own[kept] - at) / moved,
        "nearest": np.array([_norms(flow - own[t]).min() for t in kept]) / moved,
        "residual": wanted[kept] / wanted[0],
        "psnr": quality[kept],
        "null_psnr": np.array([psnr(z, clean) for z in at]),
        "best_psnr": quality.max(),
        "null_best": np.max([psnr(z, clean) for z in flow[residuals >= 0.999 * wanted.min()]]),
        "null_error": np.asarray(error),
    }


def _flow(frozen: Frozen) -> tuple[FloatArray, float]:
    """Gradient flow of the frozen Jacobian from z(0), at times on a fine grid, and its estimated relative error."""
    y = np.asarray(frozen.y)
    kernel = joint_kernel(frozen.network, frozen.params, np.asarray(frozen.x))
    flat = (*kernel.image_shape, 1)
    path = trajectory(
        kernel, y.reshape(flat), start=np.asarray(frozen.start).reshape(flat), steps=[1, 2000], tolerance=2e-3,
        max_products=200,
    )  # fmt: skip
    times = np.concatenate([[0.0], np.geomspace(1e-2, 1e5, 350)])
    return np.asarray(path.flow(times)).reshape(-1, *y.shape), float(path.error(flow_filter(times[times < 2000])).max())


def _same_residual(flow: FloatArray, residuals: FloatArray, wanted: FloatArray) -> FloatArray:
    """Points of the flow, whose residual falls, at which it is as asked, linear between the grid's."""
    falling = residuals[::-1]
    place = np.interp(wanted, falling, np.arange(len(falling))[::-1])
    low = np.clip(np.floor(place).astype(int), 0, len(flow) - 2)
    share = (place - low)[:, None, None, None]
    return np.asarray((1 - share) * flow[low] + share * flow[low + 1])


def _exact_path(settings: FrozenDescent, other: Frozen, start: FloatArray, rate: float) -> FloatArray:
    """The theory with the exact kernels of every layer: of the network tested nothing is taken but z(0)."""
    architecture, width = other.network.architecture, settings.width
    y = np.asarray(other.y, np.float64)
    channels = int(other.x.shape[2])
    weights = standard_layer_weights(architecture, width, channels)
    parts = layer_kernels(architecture, np.asarray(other.x), memory_plan="matrix")
    kernels = [width * factor * np.asarray(part, np.float64) for part, (factor, _) in zip(parts, weights, strict=True)]
    leaves = [parameters_at(other.params, placed.position)["kernel"] for placed in convolutions(architecture)]
    kappas = [
        float(np.asarray(parameters_at(other.constants("layer"), placed.position)["kernel"]).reshape(()))
        for placed in convolutions(architecture)
    ]
    b1, b2, corrected, epsilon = RULES[settings.optimizer]
    z, pixels = start.astype(np.float64), y.shape[0] * y.shape[1]
    mean, squares = np.zeros((pixels, y.shape[2])), np.zeros(len(kernels))
    outputs = [z]
    for count in range(1, settings.steps + 1):
        residual = (z - y).reshape(pixels, -1)
        mean = b1 * mean + (1 - b1) * residual
        energies = [
            np.vdot(residual, kernel @ residual) / leaf.size for kernel, leaf in zip(kernels, leaves, strict=True)
        ]
        squares = b2 * squares + (1 - b2) * np.array(energies)
        first, second = (1 - b1**count, 1 - b2**count) if corrected else (1.0, 1.0)
        step = sum(
            kappa * (kernel @ (mean / first)) / np.sqrt(square / second + epsilon)
            for kappa, kernel, square in zip(kappas, kernels, squares, strict=True)
        )
        z = z - rate * np.asarray(step).reshape(z.shape)
        outputs.append(z)
    return np.stack(outputs)


def _norms(images: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(np.square(images, dtype=np.float64).sum(axis=(-3, -2, -1))))


