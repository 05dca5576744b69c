"""What an adaptive optimizer divides every gradient by, read off the state that it ends in.

With P = diag(p) an update is -rate P^-1 m, m the gradient or its running mean: at that moment the optimizer follows the
kernel J P^-1 J^T (``empirical_kernel(preconditioner=)``). For Adam p = sqrt(v) + eps with the bias-corrected running
mean v of the squared gradients (Kingma and Ba 2015, algorithm 1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .finite import Params
from .optimizers import NamedOptimizer, relative_names
from .result import TrainingResult


def preconditioner(result: TrainingResult) -> Params:
    """The diagonal of P by which an adaptive optimizer divided the gradients of its last step.

    Args:
      result: of ``train`` with a named optimizer: adam, adamw, nadam, nadamw, yogi, adabelief, amsgrad, rmsprop or
        adagrad, whatever their settings. Factors of ``layer_steps`` are not in it.

    Returns:
      A tree like the parameters (those that training moves), positive, in units of a gradient: for Adam
      sqrt(v) + eps. ``empirical_kernel(..., preconditioner=)`` takes it. (Kingma and Ba 2015.)

    Raises:
      TypeError: no result of ``train``.
      ValueError: an optimizer that divides by nothing, or by something else than one number for each parameter; an
        optax object, whose state does not say its settings; centred RMSprop.
    """
    if not isinstance(result, TrainingResult):
        raise TypeError(f"result must come from train(...), got {type(result).__name__}")
    name, settings = result.settings["optimizer"], result.settings["optimizer_settings"]
    known = ", ".join(_DIVISORS)
    if name == "optax":
        raise ValueError(
            f"the state of an optax object does not say its decay and epsilon; train by name instead, one of {known}"
        )
    if name in relative_names():
        raise ValueError(
            f"{name} divides the gradients by nothing: its kernel is empirical_kernel without a preconditioner "
            f"(those that have one: {known})"
        )
    if name not in _DIVISORS:
        raise ValueError(f"no preconditioner is known for {name!r}, only for {known}")
    return _DIVISORS[name](result.optimizer_state, _defaults(name) | settings)


def _defaults(name: str) -> dict[str, Any]:
    """All settings of a named optimizer, where a stored result has but some."""
    return NamedOptimizer(name).all_settings


def _of_state(state: Any, field: str) -> Any:
    """The optimizer's state that has such a field."""
    found = [
        node
        for node in jax.tree.leaves(state, is_leaf=lambda node: hasattr(node, field))
        if hasattr(node, field)
    ]  # fmt: skip
    if len(found) != 1:
        raise ValueError(f"the optimizer's state has {len(found)} parts with {field!r}, expected one")
    return found[0]


def _unbiased(tree: Params, decay: float, count: Array) -> Params:
    corrected: Params = jax.tree.map(lambda leaf: leaf / (1 - decay ** count.astype(leaf.dtype)), tree)
    return corrected


def _root(tree: Params, inside: float, outside: float) -> Params:
    found: Params = jax.tree.map(lambda leaf: jnp.sqrt(leaf + inside) + outside, tree)
    return found


def _adam(state: Any, settings: Mapping[str, Any]) -> Params:
    own = _of_state(state, "nu")
    return _root(_unbiased(own.nu, settings["b2"], own.count), settings.get("eps_root", 0.0), settings["eps"])


def _adabelief(state: Any, settings: Mapping[str, Any]) -> Params:
    own = _of_state(state, "nu")  # with eps_root in it
    return _root(_unbiased(own.nu, settings["b2"], own.count), 0.0, settings["eps"])


def _amsgrad(state: Any, settings: Mapping[str, Any]) -> Params:
    return _root(_of_state(state, "nu_max").nu_max, settings["eps_root"], settings["eps"])


def _rmsprop(state: Any, settings: Mapping[str, Any]) -> Params:
    if settings["centered"]:
        raise ValueError("centred RMSprop is not supported; leave centered=true out")
    own = _of_state(state, "nu")
    nu = _unbiased(own.nu, settings["decay"], own.count) if settings["bias_correction"] else own.nu
    inside = settings["eps_in_sqrt"]
    return _root(nu, settings["eps"] if inside else 0.0, 0.0 if inside else settings["eps"])


def _adagrad(state: Any, settings: Mapping[str, Any]) -> Params:
    return _root(_of_state(state, "sum_of_squares").sum_of_squares, settings["eps"], 0.0)


_DIVISORS: dict[str, Callable[[Any, Mapping[str, Any]], Params]] = {
    **dict.fromkeys(("adam", "adamw", "nadam", "nadamw", "yogi"), _adam),
    "adabelief": _adabelief,
    "amsgrad": _amsgrad,
    "rmsprop": _rmsprop,
    "adagrad": _adagrad,
}
