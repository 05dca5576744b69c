"""A training under way: its state, what is recorded of it, and how it is taken up where it was interrupted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from ntk_nonlocal.architecture import convolutions

from . import checkpoint as checkpoints
from .checkpoint import named_arrays
from .empirical import largest_eigenvalue
from .finite import START, FlaxNetwork, Params, he_factors, parameters_at
from .optimizers import NamedOptimizer
from .result import DivergenceError, History, TrainingResult
from .steps import Problem, State, advance
from .updates import as_update, describe_state, fingerprint
from .weights import FloatArray, as_weight_change, change_norms

# Gradient descent below its stable step size never raises the loss; this much above the first is no rounding.
_EXPLODED = 100.0
# Weights that start this many times below He's scale grow much in training.
_SMALL_START = 2.0


class Run:
    """A training under way: its state on the device, and what was recorded so far.

    Args:
      network: not centered.
      optimizer: with its rates.
      problem: with the factors of ``layer_steps`` as its scales.
      initial: parameters.
      start: of a centered network.
      clean: image, for the PSNR.
      settings: what the run is, JSON values.

    Raises:
      ValueError: an optimizer that cannot train the network.
    """

    def __init__(
        self,
        network: FlaxNetwork,
        optimizer: NamedOptimizer | optax.GradientTransformation,
        problem: Problem,
        initial: Params,
        start: Params | None,
        clean: Array | None,
        settings: dict[str, Any],
    ) -> None:
        self.network, self.problem, self.initial, self.clean, self.settings = network, problem, initial, clean, settings
        self.start = start
        self.named = optimizer if isinstance(optimizer, NamedOptimizer) else None
        self.name = "the optax object" if self.named is None else self.named.name
        # Where updates are proportional to the learning rate, it is a factor of theirs: a number, not a new program.
        self.rate_in_scales = self.named is not None and self.named.is_proportional
        if self.named is not None:
            optimizer = self.named.build(1.0 if self.rate_in_scales else self.named.learning_rate)
        self.update = as_update(optimizer, initial, self.name)
        self.step, self.seconds = 0, 0.0
        self.learning_rate: float | None = None
        self.entries: list[FloatArray] = []  # rows of step, loss, PSNR, and the four norms of every convolution
        self.outputs: dict[int, FloatArray] = {}
        # Copies, for the steps give their arrays up, and the initial parameters are needed to the end.
        params, optimizer_state = _own((initial, self.update.init(initial)))
        self.state = State(params, optimizer_state, jnp.zeros((), problem.target.dtype))

    def begin(self, folder: Path | None) -> None:
        """Takes up a checkpoint where there is one, and sets the learning rate."""
        found = None
        if folder is not None:
            self.settings |= self._identity()
            found = checkpoints.load(folder, self.settings)
        if found is None:
            self.learning_rate = self._initial_learning_rate()
        else:
            self.step, arrays, progress = found
            self.learning_rate, self.seconds = progress["learning_rate"], progress["seconds"]
            self.entries = list(arrays["history"])
            self.outputs = {int(name.removeprefix("output.")): a for name, a in arrays.items() if name[:7] == "output."}
            self.state = _restored(arrays, self.state)
        if self.named is not None and not self.rate_in_scales and self.learning_rate != self.named.learning_rate:
            self.update = as_update(self.named.build(self.learning_rate), self.initial, self.name)
            if found is None:
                self.state = self.state._replace(optimizer_state=_own(self.update.init(self.initial)))
        rate = self.learning_rate if self.rate_in_scales else 1.0
        scales = jax.tree.map(
            lambda leaf, factor: jnp.asarray(rate * factor, leaf.dtype), self.initial, self.problem.scales
        )
        self.problem = self.problem._replace(scales=scales)

    def _identity(self) -> dict[str, Any]:
        """What tells the optimizer from another, beside its name and settings: an optax object has neither."""
        state = self.state.optimizer_state
        found = {"optimizer_state": describe_state(state)}
        if self.named is None:
            made_with = f"optax {optax.__version__}, jax {jax.__version__}"
            program, start = fingerprint(self.update, self.initial), checkpoints.digest(named_arrays(state))
            found["optimizer_program"] = f"{program[:32]} from {start[:32]} ({made_with})"
        return found

    def _initial_learning_rate(self) -> float | None:
        if self.named is None or not self.named.is_relative or self.named.learning_rate is not None:
            return None if self.named is None else self.named.learning_rate
        largest = largest_eigenvalue(self.network, self.initial, self.problem.network_input, self.problem.scales)
        if not math.isfinite(largest) or largest <= 0:
            raise ValueError(
                f"the largest eigenvalue of the tangent kernel is {largest}, so there is no stable step size; "
                "check that network_input and params are not zero and not enormous, or give learning_rate"
            )
        if self.named.step_size is None:
            return self.named.default_step_size / max(largest, self._largest_at_he_scale())
        return self.named.step_size / largest

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

    @property
    def params(self) -> Params:
        """What the optimizer is judged by; before the first step the initial parameters, to the bit."""
        state = self.state
        return state.params if self.step == 0 else self.update.judged(state.optimizer_state, state.params)

    def advance_to(self, step: int) -> None:
        start = time.perf_counter()
        self.state = advance(self.network, self.update, self.problem, self.state, step - self.step)
        self.step = step
        self._check(float(self.state.loss))
        self.seconds += time.perf_counter() - start

    def record(self, progress: Callable[[int, int, float], None] | None) -> None:
        start = time.perf_counter()
        measured = _measure(self.network, self.problem, self.params, self.initial, self.clean)
        self.entries.append(np.concatenate([[self.step], np.asarray(measured, np.float64)]))
        self._check(self.entries[-1][1])
        self.seconds += time.perf_counter() - start
        if progress is not None:
            progress(self.step, self.settings["steps"], float(self.entries[-1][1]))

    def keep(self) -> None:
        self.outputs[self.step] = self._output()

    def _output(self) -> FloatArray:
        output = self.network.apply(self.params, self.problem.network_input) - self.problem.offset
        return np.asarray(output)

    def _check(self, loss: float) -> None:
        first = self.entries[0][1]
        floor = 1e-6 * float(jnp.sum(self.problem.target**2))
        relative = self.named is not None and self.named.is_relative
        if math.isfinite(loss) and not (relative and loss > _EXPLODED * first + floor):
            return
        rate = "" if self.learning_rate is None else f" with learning rate {self.learning_rate:.3g}"
        advice = "choose a smaller learning rate"
        if self.named is not None and relative and self.named.learning_rate is None:
            step_size = self.named.step_size or self.named.default_step_size
            rate += f", that is step_size = {step_size:g} / lambda_max"
            stable = f"{self.named.stable:.3g}"
            advice = f"choose a step_size below {stable}, or smaller still where the kernel grows during training"
            grown = self._largest_at_he_scale() * float(self.learning_rate or 0) / step_size
            if grown > 2:
                advice = (
                    "the initial weights are small, and training makes the kernel's largest eigenvalue about "
                    f"{grown:.3g} times as large; leave step_size out for a step that allows for it, or give a "
                    "learning_rate"
                )
        raise DivergenceError(
            f"{self.name} diverged by step {self.step}{rate}: the loss went from {first:.4g} to {loss:.4g}; {advice}",
            self.step,
        )

    def save(self, folder: Path) -> None:
        arrays = named_arrays({"state": (self.state.params, self.state.optimizer_state)})
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
            params=self.params | start,
            initial_params=self.initial | start,
            optimizer_params=self.state.params,
            optimizer_state=self.state.optimizer_state,
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


def _own(tree: Any) -> Any:
    """A copy of the arrays, those of numbers of a type as definite as a step's."""

    def copied(leaf: Any) -> Array:
        array = jnp.asarray(leaf)
        is_key = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
        return jnp.copy(array) if is_key else jnp.array(array, array.dtype, copy=True)

    return jax.tree.map(copied, tree)


def _restored(arrays: checkpoints.Arrays, state: State) -> State:
    """``state`` with the leaves that :func:`named_arrays` has stored."""

    def stored(path: Any, leaf: Array) -> Array:
        array = jnp.array(arrays[f"state{jax.tree_util.keystr(path)}"], copy=True)
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf)) if is_key else array

    tree = {"state": (state.params, state.optimizer_state)}
    params, optimizer_state = jax.tree_util.tree_map_with_path(stored, tree)["state"]
    return state._replace(params=params, optimizer_state=optimizer_state)
