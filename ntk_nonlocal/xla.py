"""Values that XLA computes once and stores, instead of once for everything that reads them.

XLA's CPU compiler fuses an elementwise expression into each of its readers, and so evaluates it k^2 times where the
reader is a k x k window; an optimisation barrier is gone before it fuses. It does not reach into a conditional.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax


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
