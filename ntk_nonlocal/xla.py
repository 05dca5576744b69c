"""What the compiler must be told: which values it computes once and stores, and what is computed outside of traces.

XLA's CPU compiler fuses an elementwise expression into each of its readers, and so evaluates it k^2 times where the
reader is a k x k window; an optimisation barrier is gone before it fuses. It does not reach into a conditional.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax

P = ParamSpec("P")
R = TypeVar("R")


def by_value(function: Callable[P, R]) -> Callable[P, R]:
    """For a function that looks at the values it computes: with known arrays it works inside ``jit`` as outside.

    Raises:
      TypeError: an argument is traced.
    """

    @functools.wraps(function)
    def known(*args: P.args, **kwargs: P.kwargs) -> R:
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((args, kwargs))):
            raise TypeError(
                f"{function.__name__} looks at values, which a traced argument has not; call it outside jax.jit, "
                "jax.vmap and jax.grad, or take products with the operator in their place"
            )
        with jax.ensure_compile_time_eval():
            return function(*args, **kwargs)

    return known


def alive(values: Array) -> Array:
    """A truth that the compiler cannot know, from any finite array."""
    return values.reshape(-1)[0] > -jnp.inf


def computed_once(function: Callable[..., Any], truth: Array, *operands: Any) -> Any:
    """``function(*operands)``, stored; ``truth`` comes from :func:`alive`."""
    if jax.default_backend() != "cpu":
        return lax.optimization_barrier(function(*operands))
    shapes = jax.eval_shape(function, *operands)

    def never(*_: Any) -> Any:
        # taken if that value is not a number
        return jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), shapes)

    return lax.cond(truth, function, never, *operands)
