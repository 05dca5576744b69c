"""One step of any optax object: what its update is given, what it is judged by, and how it is told from others.

An update may want more than the gradient, under the names that optax's own have for it:

  value, grad      the loss at the parameters, and its gradient (momo, polyak_sgd, line searches, reduce_on_plateau)
  value_fn         the loss as a function of the parameters (lbfgs and its line searches)
  obj_fn           the same, fit for derivatives forward too (sophia)
  grad_fn          its gradient as a function of (parameters, number) (sam in its opaque mode)

``lookahead`` steps with a second set of parameters, which is kept in its state here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from .finite import Params

Loss = Callable[[Params], Array]
_ARGUMENTS = ("value", "grad", "value_fn", "obj_fn", "grad_fn")
# States of optimizers that count on their updates being made as they are: they lead to a place that was worked out.
_EXACT = (
    optax.contrib.ScheduleFreeState,
    optax.contrib.SAMState,
    optax.contrib.MechanicState,
    optax.contrib.MadgradState,
    optax.contrib.COCOBState,
    optax.ScaleByZoomLinesearchState,
    optax.ScaleByBacktrackingLinesearchState,
    optax.LookaheadState,
)


class _Lookahead(NamedTuple):
    """The state of ``lookahead`` and its slow parameters."""

    state: Any
    slow: Params


@dataclass(frozen=True)
class Update:
    """An optax object in the one form that steps ask for; hashable, and equal where the object is the same.

    Made by :func:`as_update`.
    """

    transformation: optax.GradientTransformation
    arguments: tuple[str, ...] = ()
    lookahead: bool = False

    def init(self, params: Params) -> Any:
        """The state before the first step."""
        if not self.lookahead:
            return self.transformation.init(params)
        return _Lookahead(self.transformation.init(optax.LookaheadParams(params, params)), params)

    def step(self, loss: Loss, value: Array, gradient: Params, state: Any, params: Params) -> tuple[Params, Any]:
        """What is added to the parameters, and the next state.

        Args:
          loss: as a function of the parameters, without rules of its own for derivatives.
          value: its value at ``params``.
          gradient: its gradient there.
          state: from ``init`` or the step before.
          params: where the optimizer stands.
        """
        known = {
            "value": value,
            "grad": gradient,
            "value_fn": loss,
            "obj_fn": loss,
            "grad_fn": lambda at, _=None: jax.grad(loss)(at),
        }
        extra = {name: known[name] for name in self.arguments}
        if not self.lookahead:
            updates, new = self.transformation.update(gradient, state, params, **extra)
            return updates, new
        both = optax.LookaheadParams(params, state.slow)
        updates, new = self.transformation.update(gradient, state.state, both, **extra)
        return updates.fast, _Lookahead(new, optax.apply_updates(state.slow, updates.slow))

    def judged(self, state: Any, params: Params) -> Params:
        """The parameters that the optimizer is judged by: an average (schedule-free), the slow ones (lookahead)."""
        if self.lookahead:
            slow: Params = state.slow
            return slow
        found = next(_states(state, optax.contrib.ScheduleFreeState), None)
        if found is None:
            return params

        def average(z: Any, leaf: Any) -> Any:
            masked = isinstance(z, optax.MaskedNode)
            return leaf if masked else optax.contrib.schedule_free_eval_params(found._replace(z=z), leaf)

        averaged: Params = jax.tree.map(average, found.z, params, is_leaf=lambda z: isinstance(z, optax.MaskedNode))
        return averaged


def as_update(optimizer: Any, params: Params, name: str) -> Update:
    """Finds out, without computing, what the update of an optax object wants.

    Args:
      optimizer: anything with ``init`` and ``update`` as optax has them.
      params: of the network.
      name: what messages call it.

    Raises:
      ValueError: it does not work with such parameters; says what it raised.
    """
    if not isinstance(optimizer, optax.GradientTransformation):
        optimizer = optax.GradientTransformation(optimizer.init, optimizer.update)
    update = Update(optimizer, _ARGUMENTS, _is_lookahead(optimizer, params))
    try:
        while True:
            try:
                updates, state = jax.eval_shape(_trial(update), params)
                break
            except TypeError as error:
                unwanted = _unwanted(error) & set(update.arguments)
                if not unwanted:
                    raise
                update = replace(update, arguments=tuple(a for a in update.arguments if a not in unwanted))
        before = jax.eval_shape(update.init, params)
    except Exception as error:  # an optimizer may raise anything
        reason = (str(error).strip().splitlines() or [""])[0]
        raise ValueError(
            f"{name} cannot train this network: it raised {type(error).__name__}: {reason} (its update is given the "
            f"gradient, its state, the parameters, and of {', '.join(_ARGUMENTS)} what it takes"
            f"{'; lookahead has to be the outermost wrapper' if update.lookahead else ''})"
        ) from error
    for what, found, expected in (("updates", updates, params), ("a state", state, before)):
        if _structure(found) != _structure(expected):
            raise ValueError(
                f"{name} cannot train this network: its update gives {what} of another structure, shape or type than "
                f"{'the parameters' if expected is params else 'its init'}"
            )
    return update


def scales_exactly(state: Any) -> bool:
    """Whether the updates of an optimizer with such a state may be scaled parameter by parameter."""
    return next(_states(state, (*_EXACT, _Lookahead)), None) is None


def fingerprint(update: Update, params: Params) -> str:
    """SHA-256 of what an update computes: equal for equal arithmetic with equal numbers, and for nothing else.

    It is taken from the program that JAX makes of one step, in which all hyperparameters and schedules are constants,
    so that ``adam(1e-4)`` and ``adam(1e-1)`` differ. Other versions of JAX and optax may write it differently. What
    ``init`` puts into the state is not in it.
    """
    state = jax.eval_shape(update.init, params)
    arguments = jax.eval_shape(lambda: (params, state, params))
    program = jax.jit(_trial_step(update)).trace(*arguments).lower(lowering_platforms=("cpu",))
    return hashlib.sha256(program.as_text().encode()).hexdigest()


def describe_state(state: Any) -> str:
    """The structure of a state in short: how many arrays, and a digest of their places, shapes and types."""
    return (
        f"{len(jax.tree.leaves(state))} arrays, structure {hashlib.sha256(_structure(state).encode()).hexdigest()[:16]}"
    )


def _structure(tree: Any) -> str:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return "; ".join(f"{jax.tree_util.keystr(path)} {leaf.shape} {leaf.dtype}" for path, leaf in leaves)


def _states(tree: Any, kinds: Any) -> Iterator[Any]:
    """The states of these kinds within a state."""
    leaves = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, kinds))
    return (leaf for leaf in leaves if isinstance(leaf, kinds))


def _unwanted(error: TypeError) -> set[str]:
    """The arguments that an update refused: Python's words for it, or those of optax's line searches."""
    return set(re.findall(r"'(\w+)'", str(error))) if "keyword argument" in str(error) else set()


def _is_lookahead(optimizer: optax.GradientTransformation, params: Params) -> bool:
    try:
        state = jax.eval_shape(optimizer.init, optax.LookaheadParams(params, params))
    except Exception:  # it counts on the parameters' own structure, as no lookahead does
        return False
    return next(_states(state, optax.LookaheadState), None) is not None


def _quadratic(params: Params) -> Array:
    """A loss that stands in for that of the network, which need not be traced for what an optimizer does with it."""
    return sum((jnp.sum(leaf**2) for leaf in jax.tree.leaves(params)), start=jnp.zeros(()))


def _trial_step(update: Update) -> Callable[[Params, Any, Params], Any]:
    def step(gradient: Params, state: Any, params: Params) -> Any:
        return update.step(_quadratic, _quadratic(params), gradient, state, params)

    return step


def _trial(update: Update) -> Callable[[Params], Any]:
    def trial(params: Params) -> Any:
        return _trial_step(update)(params, update.init(params), params)

    return trial
