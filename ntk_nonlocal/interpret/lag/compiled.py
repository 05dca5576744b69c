"""How the engine's programs are compiled.

Most of the time of a first call is XLA's. On CPU its lowest optimisation level but one takes a quarter less of it, and
the programs run as fast: what they spend their time in is vectorised at that level too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(*static: int) -> Callable[[Function], Function]:
    """``jax.jit`` with the static arguments at these positions, quicker to compile on CPU."""

    def decorate(function: Function) -> Function:
        plain = jax.jit(function, static_argnums=static)
        quick = jax.jit(function, static_argnums=static, compiler_options={"xla_backend_optimization_level": 1})

        @wraps(function)
        def call(*arguments: Any) -> Any:
            # a program inside another one is compiled with it, and must not ask for options of its own
            leaves = [jnp.zeros(()), *jax.tree.leaves(arguments)]  # what is made inside another one is traced, too
            inside = any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)
            return (plain if inside or jax.default_backend() != "cpu" else quick)(*arguments)

        return call  # type: ignore[return-value]

    return decorate
