"""``train``: one network on one image, by full-image gradient steps on 1/2 ||z - y||^2.

The settings of Tachella, Tang and Davies 2021: gradient descent with a step size relative to the stable one of the
network's own tangent kernel, or Adam (Kingma and Ba 2015), or any optimiser of optax.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike

from ntk_nonlocal.architecture import convolutions
from ntk_nonlocal.checks import positive, whole
from ntk_nonlocal.checks import seed as check_seed
from ntk_nonlocal.images import finite_jax

from . import checkpoint as checkpoints
from .empirical import check_network_type, check_params, largest_eigenvalue
from .finite import START, FlaxNetwork, Params, he_factors, parameters_at
from .result import DivergenceError, History, TrainingResult
from .steps import Problem, State, advance, check_memory
from .weights import FloatArray, as_weight_change, change_norms

Optimizer: TypeAlias = Literal["gd", "adam"] | optax.GradientTransformation
_ADAM_LEARNING_RATE = 1e-3
_MOST_STEPS = 10**8
# Gradient descent below its stable step size never raises the loss; this much above the first is no rounding.
_EXPLODED = 100.0
# Weights that start this many times below He's scale grow much in training.
_SMALL_START = 2.0


def train(
    network: FlaxNetwork,
    network_input: ArrayLike,
    y: ArrayLike,
    *,
    optimizer: Optimizer = "gd",
    steps: int = 1000,
    step_size: float | None = None,
    learning_rate: float | None = None,
    params: Params | None = None,
    seed: int = 0,
    clean: ArrayLike | None = None,
    keep_outputs: Iterable[int] = (),
    layer_steps: Params | Literal["tangent"] | None = None,
    record_every: int | None = None,
    progress: Callable[[int, int, float], None] | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int | None = None,
) -> TrainingResult:
    """Trains ``network`` to map ``network_input`` to ``y`` by full-image steps on 1/2 ||z - y||^2.

    Args:
      network: from ``to_flax``. Of a centered one the start is kept from the optimiser, its weight decay too.
      network_input: what the network is fed, (H, W, C): the noisy image, or ``noise_input``.
      y: the target, of the output's shape (H, W, output channels).
      optimizer: "gd", "adam", or an optax ``GradientTransformation`` with its own learning rate.
      steps: number of steps.
      step_size: for "gd", relative to 1 / lambda_max of the initial tangent kernel over all pixels and channels (stable
        below 2 while the kernel stays where it is). Without, 1 / lambda_max of that kernel, or of the same network with
        weights at He's scale where that is larger: small initial weights grow in training, and the kernel with them.
      learning_rate: the step size per unit of gradient; for "adam" 1e-3 without, for "gd" instead of ``step_size``.
      params: initial parameters; drawn with ``seed`` without.
      seed: seed of the parameters' draw.
      clean: clean image, for the history's PSNR.
      keep_outputs: numbers of steps after which the output is kept (0 is the initial one).
      layer_steps: factors of the updates, one number per parameter; "tangent" for those with which gradient descent
        follows Theta in the standard parametrisation too (``network.tangent_steps``).
      record_every: steps between two entries of the history (a hundredth of the run without); the first and the last
        step are always recorded.
      progress: called at every recorded step as progress(step, steps, loss).
      checkpoint: folder of this run's checkpoints. One of the same settings is resumed, to the same bits on a CPU; a
        damaged one is reported and passed over.
      checkpoint_every: steps between two checkpoints (a tenth of the run without).

    Returns:
      the outputs, parameters, history and settings.

    Raises:
      ValueError: inputs that do not fit together, a step that does not fit into the memory, or a checkpoint of other
        settings.
      DivergenceError: the loss is not finite any more, or gradient descent raised it a hundredfold.
    """
    check_network_type(network)
    x = network.check_input(network_input)
    seed = check_seed(seed)
    steps = whole("steps", steps, 1, _MOST_STEPS)
    record_every = whole("record_every", max(1, steps // 100) if record_every is None else record_every, 1)
    checkpoint_every = whole(
        "checkpoint_every", max(1, steps // 10) if checkpoint_every is None else checkpoint_every, 1
    )
    if not isinstance(keep_outputs, Iterable):
        raise ValueError(f"keep_outputs must be a list of steps such as [1, 10], got {keep_outputs!r}")
    kept_steps = sorted({whole("keep_outputs", step, 0) for step in keep_outputs})
    if kept_steps and kept_steps[-1] > steps:
        raise ValueError(f"keep_outputs asks for step {kept_steps[-1]}, but the run has {steps} steps")
    _check_rates(optimizer, step_size, learning_rate)
    initial = network.init(jax.random.key(seed), x) if params is None else params
    check_params(network, initial, x)
    initial = jax.tree.map(jnp.asarray, initial)
    shape = jax.eval_shape(network.apply, initial, x).shape
    target = _image("y", y, shape, x)
    clean_image = None if clean is None else _image("clean", clean, shape, x)
    network, moved = network.plain(initial)
    factors = _layer_factors(network, moved, layer_steps)
    start = initial.get(START)
    offset = jnp.zeros((), target.dtype) if start is None else network.apply(start, x)
    settings = {
        "network": repr(network) + ("" if start is None else ", centered"),
        "optimizer": optimizer if isinstance(optimizer, str) else "optax",
        "steps": steps,
        "step_size": step_size,
        "learning_rate": learning_rate,
        "record_every": record_every,
        "keep_outputs": kept_steps,
        "seed": seed if params is None else None,
        "data": checkpoints.digest(_named({"input": x, "target": target, "clean": clean_image, "factors": factors})),
        "initial_params": checkpoints.digest(_named(initial)),
    }
    run = _Run(network, optimizer, Problem(x, target, factors, offset), moved, start, clean_image, settings)
    folder = None if checkpoint is None else Path(checkpoint)
    check_memory(network, run.optimizer, run.problem, run.state)
    run.begin(folder)
    if run.step == 0:
        run.record(progress)
        if 0 in kept_steps:
            run.keep()
    while run.step < steps:
        ends = [(run.step // every + 1) * every for every in (record_every, checkpoint_every if folder else steps)]
        run.advance_to(min(*ends, steps, *(step for step in kept_steps if step > run.step)))
        if run.step % record_every == 0 or run.step == steps:
            run.record(progress)
        if run.step in kept_steps:
            run.keep()
        if folder is not None and (run.step % checkpoint_every == 0 or run.step == steps):
            run.save(folder)
    return run.result()


class _Run:
    """A run under way: its state on the device, and what was recorded so far."""

    def __init__(
        self,
        network: FlaxNetwork,
        optimizer: Optimizer,
        problem: Problem,
        initial: Params,
        start: Params | None,
        clean: Array | None,
        settings: dict[str, Any],
    ) -> None:
        self.network, self.problem, self.initial, self.clean, self.settings = network, problem, initial, clean, settings
        self.start = start  # of a centered network
        self.optimizer = _named_optimizer(optimizer) if isinstance(optimizer, str) else optimizer
        self.step, self.seconds = 0, 0.0
        self.learning_rate: float | None = None
        self.entries: list[FloatArray] = []  # rows of step, loss, PSNR, and the four norms of every convolution
        self.outputs: dict[int, FloatArray] = {}
        # Copies, for the steps give their arrays up, and the initial parameters are needed to the end.
        params = jax.tree.map(jnp.copy, initial)
        optimizer_state = jax.tree.map(jnp.copy, self.optimizer.init(initial))
        self.state = State(params, optimizer_state, jnp.zeros((), problem.target.dtype))

    def begin(self, folder: Path | None) -> None:
        """Takes up a checkpoint where there is one, and sets the learning rate."""
        found = None if folder is None else checkpoints.load(folder, self.settings)
        if found is None:
            self.learning_rate = self._initial_learning_rate()
        else:
            self.step, arrays, progress = found
            self.learning_rate, self.seconds = progress["learning_rate"], progress["seconds"]
            self.entries = list(arrays["history"])
            self.outputs = {int(name.removeprefix("output.")): a for name, a in arrays.items() if name[:7] == "output."}
            self.state = _unnamed(arrays, self.state)
        rate = 1.0 if self.learning_rate is None else self.learning_rate
        scales = jax.tree.map(
            lambda leaf, factor: jnp.asarray(rate * factor, leaf.dtype), self.initial, self.problem.scales
        )
        self.problem = self.problem._replace(scales=scales)

    def _initial_learning_rate(self) -> float | None:
        name, step_size, learning_rate = (self.settings[key] for key in ("optimizer", "step_size", "learning_rate"))
        if name == "optax" or learning_rate is not None:
            return None if learning_rate is None else float(learning_rate)
        if name == "adam":
            return _ADAM_LEARNING_RATE
        largest = largest_eigenvalue(self.network, self.initial, self.problem.network_input, self.problem.scales)
        if not math.isfinite(largest) or largest <= 0:
            raise ValueError(
                f"the largest eigenvalue of the tangent kernel is {largest}, so there is no stable step size; "
                "check that network_input and params are not zero and not enormous, or give learning_rate"
            )
        if step_size is None:
            return 1.0 / max(largest, self._largest_at_he_scale())
        return float(step_size) / largest

    def _largest_at_he_scale(self) -> float:
        """The largest eigenvalue of the kernel if the initial weights had He's scale; 0 where they nearly have."""
        factors = he_factors(self.network.architecture)
        if max(factors) <= _SMALL_START:
            return 0.0
        params = jax.tree.map(lambda leaf: leaf, self.initial)
        for placed, factor in zip(convolutions(self.network.architecture), factors, strict=True):
            leaf = parameters_at(params, placed.position)
            leaf["kernel"] = max(1.0, factor) * leaf["kernel"]
        return largest_eigenvalue(self.network, params, self.problem.network_input, self.problem.scales)

    def advance_to(self, step: int) -> None:
        start = time.perf_counter()
        self.state = advance(self.network, self.optimizer, self.problem, self.state, step - self.step)
        self.step = step
        self._check(float(self.state.loss))
        self.seconds += time.perf_counter() - start

    def record(self, progress: Callable[[int, int, float], None] | None) -> None:
        start = time.perf_counter()
        measured = _measure(self.network, self.problem, self.state.params, self.initial, self.clean)
        self.entries.append(np.concatenate([[self.step], np.asarray(measured, np.float64)]))
        self._check(self.entries[-1][1])
        self.seconds += time.perf_counter() - start
        if progress is not None:
            progress(self.step, self.settings["steps"], float(self.entries[-1][1]))

    def keep(self) -> None:
        self.outputs[self.step] = self._output()

    def _output(self) -> FloatArray:
        output = self.network.apply(self.state.params, self.problem.network_input) - self.problem.offset
        return np.asarray(output)

    def _check(self, loss: float) -> None:
        first = self.entries[0][1]
        floor = 1e-6 * float(jnp.sum(self.problem.target**2))
        exploded = self.settings["optimizer"] == "gd" and loss > _EXPLODED * first + floor
        if math.isfinite(loss) and not exploded:
            return
        step_size = self.settings["step_size"]
        rate = "" if self.learning_rate is None else f" with learning rate {self.learning_rate:.3g}"
        if self.settings["optimizer"] == "gd" and self.settings["learning_rate"] is None:
            rate += f", that is step_size = {1.0 if step_size is None else step_size:g} / lambda_max"
            advice = "choose a step_size below 2, or smaller still where the kernel grows during training"
            grown = self._largest_at_he_scale() * float(self.learning_rate or 0) / (step_size or 1.0)
            if grown > 2:
                advice = (
                    "the initial weights are small, and training makes the kernel's largest eigenvalue about "
                    f"{grown:.3g} times as large; leave step_size out for a step that allows for it, or give a "
                    "learning_rate"
                )
        else:
            advice = "choose a smaller learning rate"
        raise DivergenceError(
            f"{self.settings['optimizer']} diverged by step {self.step}{rate}: "
            f"the loss went from {first:.4g} to {loss:.4g}; {advice}",
            self.step,
        )

    def save(self, folder: Path) -> None:
        arrays = _named({"state": (self.state.params, self.state.optimizer_state)})
        arrays["history"] = np.stack(self.entries)
        arrays |= {f"output.{step}": output for step, output in self.outputs.items()}
        progress = {"learning_rate": self.learning_rate, "seconds": self.seconds}
        checkpoints.save(folder, self.step, arrays, self.settings, progress)

    def result(self) -> TrainingResult:
        entries = np.stack(self.entries)
        norms = entries[:, 3:].reshape(len(entries), 4, -1)
        start = {} if self.start is None else {START: self.start}
        return TrainingResult(
            output=self._output(),
            outputs=self.outputs,
            params=self.state.params | start,
            initial_params=self.initial | start,
            history=History(
                steps=entries[:, 0].astype(np.int64),
                loss=entries[:, 1],
                psnr=None if self.clean is None else entries[:, 2],
                weight_change=as_weight_change(self.network.architecture, norms),
            ),
            learning_rate=self.learning_rate,
            seconds=self.seconds,
            settings=self.settings,
        )


@partial(jax.jit, static_argnums=0)
def _measure(network: FlaxNetwork, problem: Problem, params: Params, initial: Params, clean: Array | None) -> Array:
    """Loss, PSNR (NaN without a clean image) and the norms of the weights' change, in one vector."""
    output = network.apply(params, problem.network_input) - problem.offset
    loss = 0.5 * jnp.sum((output - problem.target) ** 2)
    psnr = jnp.full((), jnp.nan) if clean is None else -10 * jnp.log10(jnp.mean((jnp.clip(output, 0, 1) - clean) ** 2))
    return jnp.concatenate([jnp.stack([loss, psnr]), change_norms(network, initial, params).reshape(-1)])


@cache
def _named_optimizer(name: str) -> optax.GradientTransformation:
    """With learning rate one (the true one is a factor of the update), and one object per name: compiled once."""
    return optax.sgd(1.0) if name == "gd" else optax.adam(1.0)


def _named(tree: Any) -> checkpoints.Arrays:
    """The leaves of a tree as arrays named by their path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {f"state{jax.tree_util.keystr(path)}": np.asarray(_plain(leaf)) for path, leaf in leaves}


def _unnamed(arrays: checkpoints.Arrays, state: State) -> State:
    """``state`` with the leaves that :func:`_named` has stored."""

    def stored(path: Any, leaf: Array) -> Array:
        array = jnp.array(arrays[f"state{jax.tree_util.keystr(path)}"], copy=True)
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf)) if is_key else array

    tree = {"state": (state.params, state.optimizer_state)}
    params, optimizer_state = jax.tree_util.tree_map_with_path(stored, tree)["state"]
    return state._replace(params=params, optimizer_state=optimizer_state)


def _plain(leaf: Any) -> Any:
    """Random keys as numbers, everything else as it is."""
    is_key = isinstance(leaf, Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else leaf


def _check_rates(optimizer: Any, step_size: float | None, learning_rate: float | None) -> None:
    if isinstance(optimizer, str) and optimizer not in ("gd", "adam"):
        raise ValueError(f"optimizer must be 'gd', 'adam' or an optax GradientTransformation, got {optimizer!r}")
    if not isinstance(optimizer, str | optax.GradientTransformation):
        raise TypeError(f"optimizer must be 'gd', 'adam' or an optax GradientTransformation, got {optimizer!r}")
    for name, value in (("step_size", step_size), ("learning_rate", learning_rate)):
        if value is not None:
            positive(name, value)
    if step_size is not None and (optimizer != "gd" or learning_rate is not None):
        raise ValueError("step_size, relative to 1 / lambda_max, belongs to 'gd' without a learning_rate")
    if learning_rate is not None and not isinstance(optimizer, str):
        raise ValueError("an optax optimiser has its own learning rate; leave learning_rate out")


def _image(name: str, value: ArrayLike, shape: tuple[int, ...], like: Array) -> Array:
    return finite_jax(name, value, shape, whose="the network's output ", floats=True, dtype=like.dtype)


def _layer_factors(network: FlaxNetwork, params: Params, layer_steps: Params | str | None) -> Params:
    """One factor per parameter."""
    if layer_steps is None:
        layer_steps = jax.tree.map(lambda _: 1.0, params)
    elif isinstance(layer_steps, str):
        if layer_steps != "tangent":
            raise ValueError(f"layer_steps must be 'tangent' or a tree of numbers, got {layer_steps!r}")
        layer_steps = network.tangent_steps(params)
    same_structure = bool(jax.tree.structure(layer_steps) == jax.tree.structure(params))  # type: ignore[operator]
    if not same_structure or not all(np.ndim(leaf) == 0 for leaf in jax.tree.leaves(layer_steps)):
        raise ValueError(
            "layer_steps must have one number for each parameter, in the structure of network.tangent_steps(params)"
        )
    factors: Params = jax.tree.map(lambda step, leaf: jnp.asarray(step, leaf.dtype), layer_steps, params)
    return factors
