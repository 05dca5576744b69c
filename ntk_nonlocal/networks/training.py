"""``train``: one network on one image, by full-image gradient steps on 1/2 ||z - y||^2.

The settings of Tachella, Tang and Davies 2021: gradient descent with a step size relative to the stable one of the
network's own tangent kernel, or Adam (Kingma and Ba 2015); and any other optimizer, by its name or as an optax object.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike

from ntk_nonlocal.checks import seed as check_seed
from ntk_nonlocal.checks import told, whole
from ntk_nonlocal.images import finite_jax

from .checkpoint import digest, named_arrays
from .empirical import check_network_type, check_params
from .finite import START, FlaxNetwork, Params
from .optimizers import NamedOptimizer, parse_optimizer
from .result import TrainingResult
from .run import Run
from .steps import Problem, check_memory
from .updates import scales_exactly

Optimizer: TypeAlias = str | NamedOptimizer | optax.GradientTransformation | optax.MultiSteps
_MOST_STEPS = 10**8


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
      network: from ``to_flax``. Of a centered one the start is kept from the optimizer, its weight decay too.
      network_input: what the network is fed, (H, W, C): the noisy image, or ``noise_input``.
      y: the target, of the output's shape (H, W, output channels).
      optimizer: a name of ``OPTIMIZERS`` such as "gd" or "adam", with settings or without
        ("lion:learning_rate=3e-4,b1=0.95"), or an optax object with its own learning rate. Those that want more than
        the gradient (lbfgs, polyak_sgd, ...) get it; wrappers (lookahead, MultiSteps, sam, ...) work; and where an
        optimizer is judged by other weights than it steps from (schedule_free, lookahead), so is all that is reported.
      steps: number of steps.
      step_size: for gradient descent, with momentum or without: relative to 1 / lambda_max of the initial tangent
        kernel over all pixels and channels. While the kernel stays where it is, "gd" is stable below 2, with momentum b
        below 2 (1 + b), with Nesterov's below 2 (1 + b) / (1 + 2 b). Without, the optimizer's default (1 for "gd")
        relative to that kernel, or to that of the same network with weights at He's scale where its lambda_max is
        larger: small initial weights grow in training, and the kernel with them.
      learning_rate: the step size per unit of gradient, in place of the optimizer's default or of ``step_size``.
      params: initial parameters; drawn with ``seed`` without.
      seed: seed of the parameters' draw.
      clean: clean image, for the history's PSNR.
      keep_outputs: numbers of steps after which the output is kept (0 is the initial one).
      layer_steps: factors of the updates, one number per parameter; "tangent" for those with which gradient descent
        follows Theta in the standard parametrisation too (``network.tangent_steps``). Not for optimizers whose updates
        have to be made as they are (schedule_free, lookahead, sam, line searches, ...).
      record_every: steps between two entries of the history; the first and the last step are always recorded. Without,
        every step that is a tenth more than the one before, then every hundredth of the run: Adam may pass its best
        within the first steps.
      progress: called at every recorded step as progress(step, steps, loss).
      checkpoint: folder of this run's checkpoints. One of the same settings is resumed, to the same bits on a CPU; a
        damaged one is reported and passed over. The optimizer counts among them: an optax object is known by the
        program of its step, so that other hyperparameters, schedules, or versions of JAX and optax make another run.
      checkpoint_every: steps between two checkpoints (a tenth of the run without).

    Returns:
      the outputs, parameters, history and settings.

    Raises:
      ValueError: inputs that do not fit together, an optimizer that cannot train the network, a step that does not fit
        into the memory, or a checkpoint of other settings.
      TypeError: neither the name of an optimizer nor an optax object.
      DivergenceError: the loss is not finite any more, or gradient descent raised it a hundredfold.
    """
    check_network_type(network)
    x = network.check_input(network_input)
    seed = check_seed(seed)
    steps = whole("steps", steps, 1, _MOST_STEPS)
    recorded = _recorded(steps, record_every)
    checkpoint_every = whole(
        "checkpoint_every", max(1, steps // 10) if checkpoint_every is None else checkpoint_every, 1
    )
    if not isinstance(keep_outputs, Iterable):
        raise ValueError(f"keep_outputs must be a list of steps such as [1, 10], got {told(keep_outputs)}")
    kept_steps = sorted({whole("keep_outputs", step, 0) for step in keep_outputs})
    if kept_steps and kept_steps[-1] > steps:
        raise ValueError(f"keep_outputs asks for step {kept_steps[-1]}, but the run has {steps} steps")
    chosen = _chosen(optimizer, step_size, learning_rate)
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
        **_described(chosen),
        "steps": steps,
        "record_every": record_every,
        "keep_outputs": kept_steps,
        "seed": seed if params is None else None,
        "data": digest(named_arrays({"input": x, "target": target, "clean": clean_image, "factors": factors})),
        "initial_params": digest(named_arrays(initial)),
    }
    run = Run(network, chosen, Problem(x, target, factors, offset), moved, start, clean_image, settings)
    if layer_steps is not None and not scales_exactly(run.state.optimizer_state):
        raise ValueError(f"the updates of {run.name} have to be made as they are; leave layer_steps out")
    folder = None if checkpoint is None else Path(checkpoint)
    check_memory(network, run.update, run.problem, run.state)
    run.begin(folder)
    if run.step == 0:
        run.record(progress)
        if 0 in kept_steps:
            run.keep()
    while run.step < steps:
        record = recorded[bisect.bisect(recorded, run.step)]
        save = (run.step // checkpoint_every + 1) * checkpoint_every if folder else steps
        run.advance_to(min(record, save, steps, *(step for step in kept_steps if step > run.step)))
        if run.step in (record, steps):
            run.record(progress)
        if run.step in kept_steps:
            run.keep()
        if folder is not None and (run.step % checkpoint_every == 0 or run.step == steps):
            run.save(folder)
    return run.result()


def _recorded(steps: int, record_every: int | None) -> Sequence[int]:
    """The steps that are recorded beside the first and the last, and one beyond."""
    if record_every is not None:
        every = whole("record_every", record_every, 1)
        return range(every, steps + every + 1, every)
    every = max(1, steps // 100)
    found = [1]
    while found[-1] <= steps:
        sooner = found[-1] + max(1, found[-1] // 10)
        found.append(min(sooner, (found[-1] // every + 1) * every))
    return found


def _chosen(
    optimizer: Any, step_size: float | None, learning_rate: float | None
) -> NamedOptimizer | optax.GradientTransformation:
    """The optimizer, a named one with its rates.

    Raises:
      TypeError: it is none.
      ValueError: an unknown name or setting, or a rate that it does not take.
    """
    if isinstance(optimizer, str):
        optimizer = parse_optimizer(optimizer)
    if isinstance(optimizer, NamedOptimizer):
        return optimizer.with_rates(learning_rate=learning_rate, step_size=step_size)
    if not _is_optax(optimizer):
        raise TypeError(
            "optimizer must be a name such as 'gd' or 'lion:learning_rate=3e-4', or an optax GradientTransformation "
            f"such as optax.adam(1e-3), got {told(optimizer)}"
        )
    for name, value in (("step_size", step_size), ("learning_rate", learning_rate)):
        if value is not None:
            raise ValueError(f"an optax object has its own learning rate; leave {name} out")
    return optimizer


def _is_optax(optimizer: Any) -> TypeGuard[optax.GradientTransformation]:
    """Whether it has the two functions of optax; ``MultiSteps`` is no GradientTransformation, but has them."""
    functions = [getattr(optimizer, name, None) for name in ("init", "update")]
    return not isinstance(optimizer, type) and all(map(callable, functions))


def _described(optimizer: NamedOptimizer | optax.GradientTransformation) -> dict[str, Any]:
    if not isinstance(optimizer, NamedOptimizer):
        return {"optimizer": "optax", "optimizer_settings": None, "step_size": None, "learning_rate": None}
    return {
        "optimizer": optimizer.name,
        "optimizer_settings": optimizer.all_settings,
        "step_size": optimizer.step_size,
        "learning_rate": optimizer.learning_rate,
    }


def _image(name: str, value: ArrayLike, shape: tuple[int, ...], like: Array) -> Array:
    return finite_jax(name, value, shape, whose="the network's output ", floats=True, dtype=like.dtype)


def _layer_factors(network: FlaxNetwork, params: Params, layer_steps: Params | str | None) -> Params:
    """One factor per parameter."""
    if layer_steps is None:
        layer_steps = jax.tree.map(lambda _: 1.0, params)
    elif isinstance(layer_steps, str):
        if layer_steps != "tangent":
            raise ValueError(f"layer_steps must be 'tangent' or a tree of numbers, got {told(layer_steps)}")
        layer_steps = network.tangent_steps(params)
    same_structure = bool(jax.tree.structure(layer_steps) == jax.tree.structure(params))  # type: ignore[operator]
    if not same_structure or not all(np.ndim(leaf) == 0 for leaf in jax.tree.leaves(layer_steps)):
        raise ValueError(
            "layer_steps must have one number for each parameter, in the structure of network.tangent_steps(params)"
        )
    factors: Params = jax.tree.map(lambda step, leaf: jnp.asarray(step, leaf.dtype), layer_steps, params)
    return factors
