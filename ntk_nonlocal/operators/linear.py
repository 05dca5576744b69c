"""Kernels as linear operators over the pixels of an image.

A :class:`LinearOperator` says what the matrix is; what is done with it (products in a Krylov space, spectra,
filters) stands in ``ntk_nonlocal.filters``. Pixels are numbered row by row, p = row * W + column. Every operator is a
pytree, so that it passes through ``jax.jit``, ``jax.vmap`` and ``jax.grad``.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ntk_nonlocal.images import real_array, to_jax

# Rows, and whole matrices, are made by products with this many unit vectors at a time where there is no better way.
_COLUMNS_AT_ONCE = 256


class LinearOperator:
    """A symmetric kernel over the d = H W pixels of an image, as an operator.

    Subclasses define ``image_shape`` (H, W), ``dtype`` and ``_product``; the rest follows, and is overridden where
    there is a cheaper way.
    """

    image_shape: tuple[int, int]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The floating-point type of its products."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, int]:
        """(H W, H W)."""
        pixels = self.image_shape[0] * self.image_shape[1]
        return (pixels, pixels)

    def _product(self, columns: Array) -> Array:
        """The product with columns of shape (H W, k), k at least one."""
        raise NotImplementedError

    def __matmul__(self, v: ArrayLike) -> Array:
        """K v for v of shape (H W,) or (H W, k).

        Raises:
          ValueError: another shape, or not real numbers.
        """
        columns = to_jax(real_array("v", v), self.dtype)
        if columns.ndim not in (1, 2) or columns.shape[0] != self.shape[1]:
            height, width = self.image_shape
            raise ValueError(
                f"the kernel of a {height}x{width} image multiplies vectors of shape ({self.shape[1]},) or "
                f"({self.shape[1]}, k), got {columns.shape}; reshape an image with y.reshape({self.shape[1]}, -1)"
            )
        if columns.ndim == 1:
            return self._product(columns[:, None])[:, 0]
        if columns.shape[1] == 0:
            return columns
        return self._product(columns)

    def prepared(self) -> LinearOperator:
        """The same kernel, readied for many products where that costs memory; callers of many products ask for it."""
        return self

    def rows(self, pixels: ArrayLike) -> Array:
        """The kernel's rows K[p, :] of the given pixels, shape (number of pixels, H W).

        Raises:
          ValueError: a pixel outside 0 .. H W - 1, or indices that are not integers.
        """
        indices = self.check_pixels(pixels)
        identity = jnp.zeros((self.shape[0], len(indices)), self.dtype).at[indices, np.arange(len(indices))].set(1)
        return self._product(identity).T

    def diagonal(self) -> Array:
        """K[p, p] for every pixel, shape (H W,)."""
        count = self.shape[0]
        starts = range(0, count, _COLUMNS_AT_ONCE)
        parts = []
        for start in starts:
            pixels = np.arange(start, min(start + _COLUMNS_AT_ONCE, count))
            parts.append(self.rows(pixels)[np.arange(len(pixels)), pixels])
        return jnp.concatenate(parts)

    def as_matrix(self) -> Array:
        """The whole kernel, shape (H W, H W)."""
        count = self.shape[0]
        starts = range(0, count, _COLUMNS_AT_ONCE)
        return jnp.concatenate([self.rows(np.arange(s, min(s + _COLUMNS_AT_ONCE, count))) for s in starts])

    def check_pixels(self, pixels: ArrayLike) -> np.ndarray[Any, np.dtype[np.intp]]:
        """The pixel indices as a flat integer array, after checking them."""
        indices = np.atleast_1d(np.asarray(pixels))
        if indices.ndim != 1 or indices.size == 0 or not np.issubdtype(indices.dtype, np.integer):
            raise ValueError(f"pixels must be a non-empty list of integers, got {pixels!r}")
        if indices.min() < 0 or indices.max() >= self.shape[0]:
            height, width = self.image_shape
            raise ValueError(
                f"pixels of a {height}x{width} image lie in 0..{self.shape[0] - 1} (row * {width} + column), "
                f"got {int(indices.min())}..{int(indices.max())}"
            )
        return indices.astype(np.intp)

    def _repr_html_(self) -> str:
        """What it is, as a small table for notebooks."""
        height, width = self.image_shape
        rows = {"kernel": type(self).__name__, "image": f"{height} x {width}", "type": self.dtype}
        rows |= {"shape": " x ".join(map(str, self.shape))}
        cells = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows.items())
        return f"<table>{cells}</table>"

    def __repr__(self) -> str:
        height, width = self.image_shape
        return f"{type(self).__name__}({height}x{width} image, {self.shape[0]}x{self.shape[1]}, {self.dtype})"


def check_operator(op: object) -> None:
    """Raises TypeError unless it is a kernel operator."""
    if not isinstance(op, LinearOperator):
        raise TypeError(
            "an operator is needed, such as tangent_kernel(architecture, image) or DenseOperator(matrix, (H, W)), "
            f"got {type(op).__name__}"
        )


def static_field(**kwargs: Any) -> Any:
    """A dataclass field that is part of the pytree's structure, not of its leaves."""
    return dataclasses.field(metadata={"static": True}, **kwargs)
