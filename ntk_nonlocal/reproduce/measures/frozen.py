"""Frozen features: what adaptive optimizers do to a network that is linear in its parameters, beside theories of it.

Two null models, another clock for all weights: gradient flow of the same frozen Jacobian at the moment when its
residual is as large; and the optimizer itself, momentum included, with ONE second moment for all weights ("all"),
which without momentum is gradient descent along that flow and with it a heavy ball that may leave it.
The theory: one clock for every layer. With g_p = J_p . e the gradient of parameter p and an update u_p = phi(history of
g_p), sum_p J_p u_p over the parameters of a layer is c K_l m, m the running mean of the residuals, if the J_p are many
and Gaussian (Stein's lemma); c from the layer's mean square of gradients. That is the optimizer itself with ONE second
moment for every layer, times a constant kappa = E|g| / sqrt(E g^2), sqrt(2 / pi) for Gaussian columns.
What takes columns as they are, products of a backward and a forward field ("columns"): the optimizer itself on the
columns of another draw of the weights. That assumes that they are many, and nothing of their distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntk_nonlocal.architecture import convolutions, parse_architecture
from ntk_nonlocal.images import psnr
from ntk_nonlocal.kernels import layer_kernels, standard_layer_weights
from ntk_nonlocal.linalg import flow_filter
from ntk_nonlocal.networks import FlaxNetwork, Params, noise_input, parameters_at, to_flax

from ..pictures import Picture
from ..workspace import Arrays, Workspace
from .joint import joint_flow, joint_kernel

FloatArray = np.ndarray[Any, Any]
Groups = Literal["element", "all", "layer", "offset"]
# Decay of the mean and of the mean square, whether they are corrected for their start, and epsilon inside the root.
RULES: dict[str, tuple[float, float, float, float]] = {
    "sign": (0.0, 0.0, 0.0, 0.0),
    "rmsprop": (0.0, 0.9, 0.0, 1e-8),
    "adam": (0.9, 0.999, 1.0, 0.0),
}
# In units of 1 / lambda_max.
_TIMES = np.concatenate([[0.0], np.geomspace(1e-2, 1e5, 350)])
_ROUNDING = 1e-5  # of residuals, relative
THEORIES = ("all", "gaussian", "layer", "offset", "clock", "columns", "exact")


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
    """One step of the linearised network's output; beside the state the clocks: the part of every leaf's update along
    the mean gradient, in units of what one second moment for the leaf would give."""
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
    if groups != "element":
        second = jax.tree.map(lambda s, g: jnp.broadcast_to(s, g.shape), _grouped(second, groups), gradient)
    square = jax.tree.map(lambda v, s: b2 * v + (1 - b2) * s, square, second)
    first = jnp.where(corrected > 0, 1 - b1**count, 1.0)
    other = jnp.where(corrected > 0, 1 - b2**count, 1.0)
    unbiased = jax.tree.map(lambda m: m / first, mean)
    roots = jax.tree.map(lambda v: jnp.sqrt(v / other + epsilon) + 1e-12, square)
    updates = jax.tree.map(lambda k, m, root: k * m / root, constants, unbiased, roots)
    clocks = jax.tree.map(
        lambda u, m, root: jnp.vdot(u, m) / (jnp.vdot(m, m) + 1e-30) * jnp.sqrt(jnp.mean(root**2)),
        updates,
        unbiased,
        roots,
    )
    _, moved = jax.jvp(output, (params,), (updates,))
    return (z - rate * moved, mean, square, count), clocks


def _grouped(values: Params, groups: str) -> Params:
    """Means over all weights, over a layer, or over what shares a filter offset (kernels are (k, k, in, out))."""
    if groups == "all":
        leaves = jax.tree.leaves(values)
        whole = sum(jnp.sum(leaf) for leaf in leaves) / sum(leaf.size for leaf in leaves)
        return jax.tree.map(lambda leaf: jnp.reshape(whole, (1,) * leaf.ndim), values)  # type: ignore[no-any-return]

    def own(leaf: Array) -> Array:
        return jnp.mean(leaf, axis=(2, 3) if groups == "offset" and leaf.ndim == 4 else None, keepdims=True)

    return jax.tree.map(own, values)  # type: ignore[no-any-return]


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
        start: Array | None = None,
    ) -> tuple[FloatArray, list[Params]]:
        """Outputs (steps + 1, H, W, C), the first z(0) or ``start``, and every step's clocks; ``constants`` may differ
        by step."""
        zeros = jax.tree.map(jnp.zeros_like, self.params)
        state = (self.start if start is None else start, zeros, zeros, jnp.zeros(()))
        rule = jnp.asarray(RULES[optimizer], jnp.float32)
        outputs, clocks = [np.asarray(state[0])], []
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
        found: Params = pullback(self.start - self.y)[0]
        return found

    def constants(self, groups: Groups) -> Params:
        """kappa = E|g| / sqrt(E g^2) of every group at the first step."""
        gradient = self.gradient()
        sizes, squares = (_grouped(jax.tree.map(of, gradient), groups) for of in (jnp.abs, jnp.square))
        found: Params = jax.tree.map(lambda size, square: size / jnp.sqrt(square + 1e-30), sizes, squares)
        return found


@dataclass(frozen=True)
class FrozenDescent:
    """Three optimizers on the frozen features of one network, and what theories say of them.

    ``learning_rates``, of sign descent, RMSprop and Adam, are those at 64 channels; they fall like width^(-3/2). An
    update by signs moves the output by rate * sqrt(N_l) K_l e / sqrt(e^T K_l e), and in the standard parametrisation a
    hidden layer has N_l ~ width^2 weights and a kernel K_l ~ width, so that this has a limit (in which hidden layers
    move alone: the first and the last have ~ width weights). Constants come from a network drawn with ``other_seed``.

    RMSprop's rate is a quarter and Adam's half of what practitioners take (3e-4, 1e-3): with those the residual
    exceeded that of the start in the first steps.
    """

    picture: Picture
    architecture: str
    input: Literal["image", "noise"]
    width: int
    steps: int
    theories: tuple[str, ...] = THEORIES
    learning_rates: tuple[float, float, float] = (1e-4, 7.5e-5, 5e-4)
    seed: int = 0
    other_seed: int = 100
    noise_channels: int = 32
    noise_scale: float = 0.5


def frozen_descent(settings: FrozenDescent, workspace: Workspace) -> Arrays:
    """Adaptive optimizers with frozen features beside the null model and the theories.

    Distances are |a - b| / |z(t) - z(0)|, z the optimizer's own output.

    Returns:
      "steps" (s,); for every optimizer, as OPTIMIZER.NAME: "null" (s,), its distance from the gradient flow of the same
      residual, NaN where its residual exceeds the start's, which no flow's does; "nearest" (s,), from the nearest point
      of that flow; "redrawn" (s,), between the flow of the same residual and that of another network's Jacobian, what
      other weights do to gradient descent; for every theory its distance at the same step, and as THEORY_path that of
      its nearest point; "residual" (s,), |z - y| / |z(0) - y|; "psnr" (s,);
      "best_psnr" over the run and "null_best" over the flow down to the run's residual;
      "flow_error", the flow's estimated relative error as far as it was needed.
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
    flow, errors = _flow(one)
    again, _ = _flow(other, one.start)
    residuals, others = _norms(flow - y), _norms(again - y)
    kept = np.unique(np.geomspace(1, settings.steps, 9).round().astype(int))
    found: Arrays = {"steps": kept}
    kernels = _layer_matrices(settings, one) if "exact" in settings.theories else []
    for optimizer, rate_at_64 in zip(RULES, settings.learning_rates, strict=True):
        rate = learning_rate(rate_at_64, settings.width)
        own, _ = one.descend(optimizer, rate, settings.steps)
        moved, wanted = _norms(own[kept] - own[0]), _norms(own - y)
        at = _same_residual(flow, residuals, wanted[kept])
        reached = flow[residuals >= 0.999 * wanted.min()]
        mine = {
            "null": _norms(own[kept] - at) / moved,
            "redrawn": _norms(_same_residual(again, others, wanted[kept]) - at) / moved,
            "nearest": np.array([_norms(flow - own[t]).min() for t in kept]) / moved,
            "residual": wanted[kept] / wanted[0],
            "flow_error": errors[: len(reached)].max(),
            "psnr": np.array([psnr(z, clean) for z in own[kept]]),
            "best_psnr": np.max([psnr(z, clean) for z in own]),
            "null_best": np.max([psnr(z, clean) for z in reached]),
        }
        for theory in settings.theories:
            path = _path(theory, settings.steps, optimizer, rate, one, other, kernels)
            mine[theory] = _norms(own[kept] - path[kept]) / moved
            mine[f"{theory}_path"] = np.array([_norms(path - own[t]).min() for t in kept]) / moved
        found |= {f"{optimizer}.{name}": np.asarray(value, np.float64) for name, value in mine.items()}
    return found


def learning_rate(at_64: float, width: int) -> float:
    """The rate with which an update by signs moves the output of hidden layers as far at every width."""
    return float(at_64 * (64 / width) ** 1.5)


def _path(
    theory: str, steps: int, optimizer: str, rate: float, one: Frozen, other: Frozen, kernels: list[FloatArray]
) -> FloatArray:
    """What a theory says of the optimizer on ``one``, its constants taken from ``other``, (steps + 1, H, W, C)."""
    if theory == "exact":
        return _exact_path(optimizer, rate, steps, other, np.asarray(one.start), kernels)
    if theory == "columns":
        return other.descend(optimizer, rate, steps, start=one.start)[0]
    groups = cast("Groups", theory if theory in ("all", "offset") else "layer")
    constants: Params | Sequence[Params] = other.constants(groups)
    if theory == "gaussian":
        constants = jax.tree.map(lambda leaf: jnp.full_like(leaf, np.sqrt(2 / np.pi)), constants)
    if theory == "clock":
        _, constants = other.descend(optimizer, rate, steps, start=one.start)
    return one.descend(optimizer, rate, steps, groups=groups, constants=constants)[0]


def _flow(frozen: Frozen, start: Array | None = None) -> tuple[FloatArray, FloatArray]:
    """Gradient flow of the frozen Jacobian from z(0) or ``start``, at times on a fine grid, and its estimated relative
    errors."""
    kernel = joint_kernel(frozen.network, frozen.params, np.asarray(frozen.x))
    flow, path = joint_flow(
        kernel, np.asarray(frozen.y), _TIMES, 400, np.asarray(frozen.start if start is None else start)
    )
    return flow, np.asarray(path.error(flow_filter(_TIMES)))


def _same_residual(flow: FloatArray, residuals: FloatArray, wanted: FloatArray) -> FloatArray:
    """Points of the flow, whose residual falls, at which it is as asked, linear between the grid's; of NaN where the
    flow has none so large, or none so small."""
    falling = residuals[::-1]
    place = np.interp(wanted, falling, np.arange(len(falling))[::-1])
    low = np.clip(np.floor(place).astype(int), 0, len(flow) - 2)
    share = place - low
    share[(wanted > residuals[0] * (1 + _ROUNDING)) | (wanted < residuals[-1] * (1 - _ROUNDING))] = np.nan
    share = share[:, None, None, None]
    return np.asarray((1 - share) * flow[low] + share * flow[low + 1])


def _layer_matrices(settings: FrozenDescent, frozen: Frozen) -> list[FloatArray]:
    """The exact kernels of every layer in the standard parametrisation, (H W, H W) each."""
    architecture = frozen.network.architecture
    weights = standard_layer_weights(architecture, settings.width, int(frozen.x.shape[2]))
    parts = layer_kernels(architecture, np.asarray(frozen.x), memory_plan="matrix")
    return [settings.width * factor * np.asarray(part) for part, (factor, _) in zip(parts, weights, strict=True)]


def _exact_path(
    optimizer: str, rate: float, steps: int, other: Frozen, start: FloatArray, kernels: list[FloatArray]
) -> FloatArray:
    """The theory with the exact kernels of every layer: of the network tested nothing is taken but z(0)."""
    y, kappas = np.asarray(other.y), other.constants("layer")
    places = [placed.position for placed in convolutions(other.network.architecture)]
    sizes = np.array([parameters_at(other.params, place)["kernel"].size for place in places])
    constants = np.array([float(parameters_at(kappas, place)["kernel"].reshape(())) for place in places])
    b1, b2, corrected, epsilon = RULES[optimizer]
    z, outputs = start, [start]
    means, squares = np.zeros((len(kernels), *start.reshape(len(kernels[0]), -1).shape)), np.zeros(len(kernels))
    for count in range(1, steps + 1):
        residual = (z - y).reshape(len(kernels[0]), -1)
        products = np.stack([kernel @ residual for kernel in kernels])
        means = b1 * means + (1 - b1) * products  # K_l m, for m is linear in the residuals
        squares = b2 * squares + (1 - b2) * np.einsum("nc,lnc->l", residual, products) / sizes
        first, second = (1 - b1**count, 1 - b2**count) if corrected else (1.0, 1.0)
        scales = constants / np.sqrt(squares / second + epsilon)
        z = (z - rate * np.einsum("l,lnc->nc", scales, means / first).reshape(z.shape)).astype(start.dtype)
        outputs.append(z)
    return np.stack(outputs)


def _norms(images: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(np.square(images, dtype=np.float64).sum(axis=(-3, -2, -1))))
