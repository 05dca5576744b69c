"""Operators that are held as arrays: a matrix, and another operator scaled from both sides."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ntk_nonlocal.checks import told, whole
from ntk_nonlocal.images import real_array

from .linear import LinearOperator, check_operator, static_field


def _check_shape(name: str, array: object, expected: tuple[int, ...]) -> None:
    """Raises ValueError for an array of another shape. Anything else may stand in a pytree's leaf, batches
    and ``in_axes`` among them."""
    shape = getattr(array, "shape", None)
    if isinstance(array, np.ndarray | jax.Array) and len(array.shape) < 3 and shape != expected:
        raise ValueError(f"{name} must have shape {expected}, one entry per pixel (and pair of pixels), got {shape}")


def _take_in(op: LinearOperator, *names: str) -> None:
    """Brings arrays of numpy among the fields to a form that JAX computes with; what is one object stays one."""
    taken: dict[int, Any] = {}
    for name in names:
        value = getattr(op, name)
        if isinstance(value, np.ndarray):
            object.__setattr__(op, name, taken.setdefault(id(value), real_array(name, value)))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class DenseOperator(LinearOperator):
    """A kernel held as a matrix of shape (H W, H W)."""

    matrix: Array
    image_shape: tuple[int, int] = static_field()

    def __post_init__(self) -> None:
        if not isinstance(self.image_shape, tuple) or len(self.image_shape) != 2:
            raise ValueError(f"image_shape must be (H, W), got {told(self.image_shape)}")
        pixels = whole("H", self.image_shape[0], 1) * whole("W", self.image_shape[1], 1)
        _check_shape("matrix", self.matrix, (pixels, pixels))
        _take_in(self, "matrix")

    is_symmetric = None

    @property
    def dtype(self) -> np.dtype[Any]:
        if not hasattr(self.matrix, "dtype"):
            raise TypeError(f"matrix must be an array of shape (H W, H W), got {told(self.matrix)}")
        return np.dtype(self.matrix.dtype)

    def _product(self, columns: Array) -> Array:
        return jnp.matmul(self.matrix, columns, precision="highest")

    def _transposed_product(self, columns: Array) -> Array:
        return jnp.matmul(self.matrix.T, columns, precision="highest")

    def rows(self, pixels: ArrayLike) -> Array:
        return self.matrix[self.check_pixels(pixels)]

    def diagonal(self) -> Array:
        return jnp.diagonal(self.matrix)

    def as_matrix(self) -> Array:
        return self.matrix


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class ScaledOperator(LinearOperator):
    """diag(left) K diag(right): a kernel normalised by its degrees, for instance.

    It is symmetric where ``left`` equals ``right`` (D^-1/2 K D^-1/2), and similar to such a one otherwise.
    """

    kernel: LinearOperator
    left: Array
    right: Array

    def __post_init__(self) -> None:
        if isinstance(self.kernel, LinearOperator):
            for name in ("left", "right"):
                _check_shape(name, getattr(self, name), (self.kernel.shape[0],))
            _take_in(self, "left", "right")
        elif isinstance(self.kernel, np.ndarray | jax.Array):
            raise TypeError("kernel must be a kernel operator, got an array; use DenseOperator(matrix, (H, W))")

    @property
    def image_shape(self) -> tuple[int, int]:  # type: ignore[override]
        return self.kernel.image_shape

    @property
    def is_symmetric(self) -> bool | None:  # type: ignore[override]
        return self.kernel.is_symmetric if self.left is self.right else False

    @property
    def T(self) -> LinearOperator:
        return ScaledOperator(self.kernel.T, self.right, self.left)

    @property
    def dtype(self) -> np.dtype[Any]:
        check_operator(self.kernel)
        for name in ("left", "right"):
            if not hasattr(getattr(self, name), "shape"):
                raise TypeError(f"{name} must be an array of shape (H W,), got {getattr(self, name)!r}")
        return self.kernel.dtype

    def prepared(self) -> LinearOperator:
        return dataclasses.replace(self, kernel=self.kernel.prepared())

    def _product(self, columns: Array) -> Array:
        return self.left[:, None] * self.kernel._product(self.right[:, None] * columns)

    def _transposed_product(self, columns: Array) -> Array:
        return self.right[:, None] * self.kernel._transposed_product(self.left[:, None] * columns)

    def rows(self, pixels: ArrayLike) -> Array:
        indices = self.check_pixels(pixels)
        return self.left[indices, None] * self.kernel.rows(indices) * self.right[None, :]

    def diagonal(self) -> Array:
        return self.left * self.kernel.diagonal() * self.right

    def as_matrix(self) -> Array:
        return self.left[:, None] * self.kernel.as_matrix() * self.right[None, :]
