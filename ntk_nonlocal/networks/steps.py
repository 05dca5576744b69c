"""The compiled training step, and how it is driven: the one place that knows of the backend.

On a CPU a convolution inside a scan misses XLA's fast path and takes 30 to 40 times as long, so there the step is
called from a Python loop; on a GPU or TPU the loop itself is compiled.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntk_nonlocal.memory import available_memory

from .finite import FlaxNetwork, Params
from .updates import Update

# What a step takes over what XLA says beforehand: its convolutions allocate for themselves (measured: 1.04 to 1.23).
_BESIDE_XLA = 1.25


class State(NamedTuple):
    """What changes from step to step. ``loss`` is that before the last step."""

    params: Params
    optimizer_state: Any
    loss: Array


class Problem(NamedTuple):
    """What stays: input (H, W, C), target (H', W', output channels), the factor of every parameter's update, and what
    is subtracted from the output (a centered network's initial one, or zero)."""

    network_input: Array
    target: Array
    scales: Params
    offset: Array


def advance(network: FlaxNetwork, update: Update, problem: Problem, state: State, count: int) -> State:
    """``count`` steps on from ``state``, whose arrays are given up."""
    if next(iter(problem.target.devices())).platform == "cpu":
        for _ in range(count):
            state = _one_step(network, update, problem, state)
    else:
        state = _many_steps(network, update, problem, state, jnp.int32(count))
    return state


def check_memory(network: FlaxNetwork, update: Update, problem: Problem, state: State) -> None:
    """Refuses a step that does not fit into the memory, before any of it is allocated.

    Raises:
      ValueError: with the gigabytes needed and free.
    """
    free = available_memory()
    channels = sum(leaf.shape[-1] for leaf in jax.tree.leaves(state.params) if leaf.ndim == 4)
    pixels = problem.network_input.shape[0] * problem.network_input.shape[1]
    # what all layers hold at full resolution, eight times: clearly enough, and nothing to compile
    if free is None or 8 * pixels * channels * problem.target.dtype.itemsize <= free:
        return
    compiled = _one_step.lower(network, update, problem, state).compile()
    statistics = compiled.memory_analysis()
    needed = 0 if statistics is None else int(_BESIDE_XLA * statistics.temp_size_in_bytes)
    if needed > free:
        raise ValueError(
            f"a training step on {problem.network_input.shape[0]}x{problem.network_input.shape[1]} pixels takes about "
            f"{needed / 2**30:.1f} GiB beside what is there already, and {free / 2**30:.1f} GiB "
            "are free; use a smaller image or fewer channels"
        )


def _step(network: FlaxNetwork, update: Update, problem: Problem, state: State, in_loop: bool = False) -> State:
    """A step. ``in_loop``: optimizers evaluate the loss in loops of their own, which are slow on a CPU."""
    loss = partial(_loss, network, problem)
    value, gradient = jax.value_and_grad(partial(loss, reverse_mode=True))(state.params)
    inner = partial(loss, in_loop=in_loop)
    updates, optimizer_state = update.step(inner, value, gradient, state.optimizer_state, state.params)
    params = jax.tree.map(lambda p, u, scale: (p + scale * u).astype(p.dtype), state.params, updates, problem.scales)
    return State(params, optimizer_state, value)


def _loss(network: FlaxNetwork, problem: Problem, params: Params, **options: bool) -> Array:
    output = network.apply(params, problem.network_input, **options) - problem.offset
    return 0.5 * jnp.sum((output - problem.target) ** 2)


_one_step = jax.jit(partial(_step, in_loop=True), static_argnums=(0, 1), donate_argnums=3)


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=3)
def _many_steps(network: FlaxNetwork, update: Update, problem: Problem, state: State, count: Array) -> State:
    result: State = lax.fori_loop(0, count, lambda _, inner: _step(network, update, problem, inner), state)
    return result
