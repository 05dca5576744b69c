"""Operators of scico (https://scico.readthedocs.io) as operators here, and the other way round.

Both packages are built on JAX, so that nothing is copied. scico's operators take pictures (H, W), those here take their
pixels as a vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntk_nonlocal.operators import LinearOperator, check_operator, static_field


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class ScicoOperator(LinearOperator):
    """A linear operator of scico over pictures; made by :func:`from_scico`."""

    operator: Any = static_field()
    domain: tuple[int, ...] = static_field()
    range: tuple[int, ...] = static_field()
    is_symmetric: bool | None = static_field(default=None)

    @property
    def image_shape(self) -> tuple[int, int]:  # type: ignore[override]
        return self.domain[0], self.domain[1]

    @property
    def domain_shape(self) -> tuple[int, ...]:
        return self.domain

    @property
    def range_shape(self) -> tuple[int, ...]:
        return self.range

    @property
    def dtype(self) -> np.dtype[Any]:
        kind: np.dtype[Any] = np.dtype(self.operator.input_dtype)
        return kind

    def _product(self, columns: Array) -> Array:
        return _columns(self.operator, columns, self.domain)

    def _transposed_product(self, columns: Array) -> Array:
        return _columns(self.operator.adj, columns, self.range)


def from_scico(operator: Any, *, is_symmetric: bool | None = None) -> ScicoOperator:
    """A ``scico.linop.LinearOperator`` as an operator here.

    Args:
      operator: real, from pictures (H, W) or (H, W, C) to such.
      is_symmetric: say so where it is; what needs a kernel (``gradient_descent``, ``eigenpairs``) believes it.

    Raises:
      ImportError: scico is not installed.
      TypeError, ValueError: no linear operator of scico, a complex one, or one over something else than pictures.
    """
    linop = _scico()
    if not isinstance(operator, linop.LinearOperator):
        raise TypeError(f"operator must be a scico.linop.LinearOperator, got {type(operator).__name__}")
    shapes = operator.input_shape, operator.output_shape
    if not all(isinstance(n, int) for shape in shapes for n in shape) or not all(len(s) in (2, 3) for s in shapes):
        raise ValueError(f"operator must take and give pictures (H, W) or (H, W, C), got {shapes[0]} to {shapes[1]}")
    if any(np.issubdtype(kind, np.complexfloating) for kind in (operator.input_dtype, operator.output_dtype)):
        raise ValueError("operator must be real, got a complex one")
    return ScicoOperator(operator, tuple(shapes[0]), tuple(shapes[1]), is_symmetric)


def to_scico(op: LinearOperator) -> Any:
    """An operator here as a ``scico.linop.LinearOperator`` from pictures to pictures, with its adjoint.

    Raises:
      ImportError: scico is not installed.
      TypeError: ``op`` is no operator.
    """
    check_operator(op)
    linop = _scico()
    return linop.LinearOperator(
        input_shape=op.domain_shape,
        output_shape=op.range_shape,
        input_dtype=op.dtype,
        output_dtype=op.dtype,
        eval_fn=lambda x: (op @ jnp.ravel(x)).reshape(op.range_shape),
        adj_fn=lambda y: (op.T @ jnp.ravel(y)).reshape(op.domain_shape),
    )


def _columns(function: Any, columns: Array, shape: tuple[int, ...]) -> Array:
    parts = [jnp.ravel(function(columns[:, k].reshape(shape))) for k in range(columns.shape[1])]
    return jnp.stack(parts, axis=1)


def _scico() -> Any:
    try:
        from scico import linop
    except ImportError as error:
        raise ImportError(
            "scico is not installed; pip install scico, or this package with its extra: ntk-nonlocal[scico]"
        ) from error
    return linop
