"""Any function of one real variable as a layer, known by what it computes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntk_nonlocal.checks import told

from .layer import Nonlinearity

# Parameters of JAX's primitives that say nothing of what is computed.
_IGNORED = {"name", "jvp_jaxpr_fun", "jvp_jaxpr_thunk", "fwd_jaxpr_thunk", "bwd", "out_trees", "ctx_mesh", "debug_info"}


@dataclass(frozen=True, repr=False, eq=False)
class Pointwise(Nonlinearity):
    """A function of one real variable that JAX can trace and differentiate, such as ``jax.nn.gelu``, ``jnp.sin`` or
    ``lambda x: x * jnp.exp(-x)``.

    Two are equal where they compute the same: equality, hash and repr come from the traced function and its
    derivative, not from its name. In the limit its kernel is a Hermite series (``kernels.lag.hermite``), exact to 1e-5
    of the diagonal in float32 and 1e-9 in float64 for smooth functions; one with a kink is refused there, with the
    error that was reached.

    Raises:
      TypeError: a function that JAX cannot trace, or that does not give one real number for one.
    """

    function: Callable[[Array], Array]
    _name: str = field(init=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "_name", _name(self.function))

    def __call__(self, x: Array) -> Array:
        """The function of every element."""
        return _each(self.function, x)

    def derivative(self, x: Array) -> Array:
        """The derivative at every element."""
        return _each(jax.grad(self.function), x)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pointwise) and self._name == other._name

    def __hash__(self) -> int:
        return hash(self._name)

    def __repr__(self) -> str:
        return f"Pointwise(<{self._name}>)"


def _each(function: Callable[[Array], Array], x: Array) -> Array:
    values: Array = jax.vmap(function)(x.reshape(-1))
    return values.reshape(x.shape).astype(x.dtype)


def _name(function: Callable[[Array], Array]) -> str:
    """The operations of a function by name, and a digest of them, their constants and those of its derivative."""
    if not callable(function):
        raise TypeError(f"Pointwise needs a function such as jnp.sin, got {function!r}")
    x = jax.ShapeDtypeStruct((), np.dtype(np.float64))
    with jax.enable_x64(True):  # constants with all their digits
        try:
            # a lambda of ours: jax.jit of a NumPy function, which cannot be weakly referenced, ends the process
            out = jax.eval_shape(lambda x: function(x), x)
            traced = jax.make_jaxpr(lambda x: (function(x), jax.grad(function)(x)))(x)
            operations = jax.make_jaxpr(lambda x: function(x))(x).eqns
        except Exception as error:  # whatever a function of the user's raises
            raise TypeError(
                f"Pointwise: {function!r} is no differentiable function of one real number that JAX can trace: "
                f"{type(error).__name__}: {str(error).splitlines()[0]}"
            ) from None
        if not (getattr(out, "shape", None) == () and jnp.issubdtype(out.dtype, jnp.floating)):
            raise TypeError(f"Pointwise: {function!r} must give one real number for one, got {told(out)}")
        digest = hashlib.sha256()
        _add(digest, traced.jaxpr, traced.consts)
    names = list(dict.fromkeys(equation.primitive.name for equation in _flat(operations)))
    shown = " ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    return f"{shown} {digest.hexdigest()[:12]}".strip()


def _inner(value: Any) -> Any:
    """(jaxpr, constants) of a parameter that is a traced function, else None."""
    if hasattr(value, "jaxpr") and hasattr(value, "consts"):
        return value.jaxpr, value.consts
    return (value, ()) if hasattr(value, "eqns") else None


def _flat(equations: Any) -> Any:
    for equation in equations:
        inner = [found for value in equation.params.values() if (found := _inner(value))]
        if inner:
            for jaxpr, _ in inner:
                yield from _flat(jaxpr.eqns)
        else:
            yield equation


def _add(digest: Any, jaxpr: Any, constants: Any) -> None:
    """Adds a traced function to a digest, variables by the order in which they occur."""
    numbers: dict[Any, int] = {}

    def variable(atom: Any) -> str:
        if hasattr(atom, "val"):
            return f"{atom.aval.dtype}{atom.aval.shape}{np.asarray(atom.val).tobytes().hex()}"
        return f"v{numbers.setdefault(atom, len(numbers))}:{atom.aval}"

    def add(text: str) -> None:
        digest.update(text.encode() + b";")

    for constant in constants:
        array = np.asarray(constant)
        add(f"{array.dtype}{array.shape}{array.tobytes().hex()}")
    add(" ".join(map(variable, [*jaxpr.constvars, *jaxpr.invars])))
    for equation in jaxpr.eqns:
        add(equation.primitive.name)
        for name in sorted(set(equation.params) - _IGNORED):
            for value in _as_tuple(equation.params[name]):
                if inner := _inner(value):
                    _add(digest, *inner)
                elif " at 0x" in repr(value):
                    raise TypeError(
                        f"Pointwise: what {equation.primitive.name} computes here cannot be told: {value!r}"
                    )
                else:
                    add(f"{name}={value!r}")
        add(" ".join(map(variable, [*equation.invars, *equation.outvars])))
    add(" ".join(map(variable, jaxpr.outvars)))


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) and any(map(_inner, value)) else (value,)
