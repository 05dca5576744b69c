"""What the compiler must be told: which values it computes once and stores, what is computed outside of traces, and
when to let go of what it has compiled.

XLA's CPU compiler fuses an elementwise expression into each of its readers, and so evaluates it k^2 times where the
reader is a k x k window; an optimisation barrier is gone before it fuses. It does not reach into a conditional.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax

P = ParamSpec("P")
R = TypeVar("R")

_MAPS = Path("/proc/self/maps")
_LIMIT = Path("/proc/sys/vm/max_map_count")
# The share of the memory maps that a process may have, above which programs are freed. The rest is for one more part.
_SHARE = 0.4


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
    traced = jax.jit(function)  # so that the shapes and the branch come from one trace
    shapes = jax.eval_shape(traced, *operands)

    def never(*_: Any) -> Any:
        # taken if that value is not a number
        return jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), shapes)

    return lax.cond(truth, traced, never, *operands)


def memory_maps() -> tuple[int, int] | None:
    """The memory maps of this process and how many it may have; None where the system does not tell."""
    try:
        with _MAPS.open("rb") as lines:
            return sum(1 for _ in lines), int(_LIMIT.read_text())
    except (OSError, ValueError):  # not Linux
        return None


def free_programs() -> bool:
    """Frees all compiled programs where their memory maps come near the limit, and says whether it did.

    Every program takes dozens to hundreds of maps, and beyond the limit the compiler ends the process. Long runs call
    this between their parts; what is needed again is compiled again.
    """
    found = memory_maps()
    if found is None or found[0] <= _SHARE * found[1]:
        return False
    jax.clear_caches()
    return True
