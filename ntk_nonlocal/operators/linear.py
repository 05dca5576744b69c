"""Linear operators between images, and their algebra.

A :class:`LinearOperator` says what the matrix is; what is done with it (products in a Krylov space, spectra, filters)
stands in ``ntk_nonlocal.linalg`` and above. Pixels are numbered row by row, p = row * W + column. A kernel is an
operator from one image to itself; domain and range may be different images too. ``A @ B``, ``A + B``, ``2 * A`` and
``A.T`` are operators again, evaluated product by product, never as matrices. Every operator is a
pytree, so that it passes through ``jax.jit``, ``jax.vmap`` and ``jax.grad``.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ntk_nonlocal.checks import told
from ntk_nonlocal.images import real_array, to_jax
from ntk_nonlocal.memory import available_memory

if TYPE_CHECKING:
    from jaxtyping import Float

# Rows, and whole matrices, are made by products with this many unit vectors at a time where there is no better way.
_COLUMNS_AT_ONCE = 256
# The share of the free memory that a matrix may take which nobody asked for by as_matrix().
_SHARE = 0.5


def static_field(**kwargs: Any) -> Any:
    """A dataclass field that is part of the pytree's structure, not of its leaves."""
    return dataclasses.field(metadata={"static": True}, **kwargs)


class LinearOperator:
    """A linear operator from images of ``domain_shape`` to images of ``range_shape``, over their pixels.

    A subclass over one image (a kernel) defines ``image_shape`` (H, W), ``dtype`` and ``_product``; another one defines
    ``domain_shape`` and ``range_shape`` instead, and ``is_symmetric = False``. The rest follows, and is overridden
    where there is a cheaper way.
    """

    image_shape: tuple[int, int]
    # True where that is known, False where it is known not to be, None where nobody knows (and users are trusted).
    is_symmetric: bool | None = True
    # numpy arrays leave products with operators to them
    __array_ufunc__ = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The floating-point type of its products."""
        raise NotImplementedError

    @property
    def domain_shape(self) -> tuple[int, ...]:
        """Shape of the images that it takes, (H, W) or (H, W, C)."""
        return self.image_shape

    @property
    def range_shape(self) -> tuple[int, ...]:
        """Shape of the images that it gives, (H, W) or (H, W, C)."""
        return self.image_shape

    @property
    def shape(self) -> tuple[int, int]:
        """(entries of an image of the range, entries of one of the domain); (H W, H W) for a kernel."""
        return math.prod(self.range_shape), math.prod(self.domain_shape)

    def _product(self, columns: Array) -> Array:
        """The product with columns of shape (shape[1], k), k at least one."""
        raise NotImplementedError

    def _transposed_product(self, columns: Array) -> Array:
        """The transpose's product with columns of shape (shape[0], k), k at least one."""
        if self.is_symmetric:
            return self._product(columns)
        of_domain = jax.ShapeDtypeStruct((self.shape[1], columns.shape[1]), columns.dtype)
        (result,) = jax.linear_transpose(self._product, of_domain)(columns)
        return result

    # --- algebra -----------------------------------------------------------------------------------------------------

    def __matmul__(self, other: ArrayLike | LinearOperator) -> Any:
        """The operator applied to v of shape (shape[1],) or (shape[1], k); or behind another operator.

        Raises:
          ValueError: another shape, or not real numbers.
        """
        if isinstance(other, LinearOperator):
            return product(self, other)
        columns = to_jax(real_array("v", other), self.dtype)
        if columns.ndim not in (1, 2) or columns.shape[0] != self.shape[1]:
            raise ValueError(
                f"{self._what()} multiplies vectors of shape ({self.shape[1]},) or ({self.shape[1]}, k), got "
                f"{columns.shape}; reshape an image with y.reshape({self.shape[1]}, -1)"
            )
        if columns.ndim == 1:
            return self._product(columns[:, None])[:, 0]
        if columns.shape[1] == 0:
            return jnp.zeros((self.shape[0], 0), self.dtype)
        return self._product(columns)

    def __rmatmul__(self, other: ArrayLike) -> Array:
        """v applied from the left, v of shape (shape[0],) or (k, shape[0]).

        Raises:
          ValueError: another shape, or not real numbers.
        """
        rows = to_jax(real_array("v", other), self.dtype)
        if rows.ndim not in (1, 2) or rows.shape[-1] != self.shape[0]:
            raise ValueError(
                f"{self._what()} is multiplied from the left by vectors of shape ({self.shape[0]},) or "
                f"(k, {self.shape[0]}), got {rows.shape}"
            )
        result: Array = (self.T @ rows.T).T
        return result

    @property
    def T(self) -> LinearOperator:
        """The transpose; the operator itself where it is symmetric."""
        return self if self.is_symmetric else TransposedOperator(self)

    def __add__(self, other: LinearOperator) -> LinearOperator:
        return total(self, other) if isinstance(other, LinearOperator) else NotImplemented

    def __radd__(self, other: object) -> LinearOperator:
        return self if isinstance(other, int | float) and other == 0 else NotImplemented  # sum([...]) starts at 0

    def __sub__(self, other: LinearOperator) -> LinearOperator:
        return total(self, -other) if isinstance(other, LinearOperator) else NotImplemented

    def __neg__(self) -> LinearOperator:
        return self * -1

    def __mul__(self, factor: ArrayLike) -> LinearOperator:
        """The operator times a number.

        Raises:
          TypeError: something else than one real number.
        """
        return multiple(factor, self)

    __rmul__ = __mul__

    def __truediv__(self, factor: ArrayLike) -> LinearOperator:
        return multiple(1 / jnp.asarray(_number(factor), self.dtype), self)

    # --- entries -----------------------------------------------------------------------------------------------------

    def prepared(self) -> LinearOperator:
        """The same operator, readied for many products where that costs memory; callers of many products ask for it."""
        return self

    def rows(self, pixels: ArrayLike) -> Float[Array, "pixels {self.shape[1]}"]:
        """The rows A[p, :] of the given pixels of the range, shape (number of pixels, shape[1]).

        Raises:
          ValueError: a pixel outside the image, or indices that are not integers.
        """
        indices = self.check_pixels(pixels)
        identity = jnp.zeros((self.shape[0], len(indices)), self.dtype).at[indices, np.arange(len(indices))].set(1)
        return self._transposed_product(identity).T

    def diagonal(self) -> Float[Array, " {min(self.shape)}"]:
        """A[p, p] for every pixel, shape (min(shape),)."""
        count = min(self.shape)
        starts = range(0, count, _COLUMNS_AT_ONCE)
        parts = []
        for start in starts:
            pixels = np.arange(start, min(start + _COLUMNS_AT_ONCE, count))
            parts.append(self.rows(pixels)[np.arange(len(pixels)), pixels])
        return jnp.concatenate(parts)

    def as_matrix(self) -> Float[Array, "{self.shape[0]} {self.shape[1]}"]:
        """The whole matrix, of ``shape``."""
        count = self.shape[0]
        starts = range(0, count, _COLUMNS_AT_ONCE)
        return jnp.concatenate([self.rows(np.arange(s, min(s + _COLUMNS_AT_ONCE, count))) for s in starts])

    def check_pixels(self, pixels: ArrayLike) -> np.ndarray[Any, np.dtype[np.intp]]:
        """The pixel indices of the range as a flat integer array, after checking them."""
        indices = np.atleast_1d(np.asarray(pixels))
        if indices.ndim != 1 or indices.size == 0 or not np.issubdtype(indices.dtype, np.integer):
            raise ValueError(f"pixels must be a non-empty list of integers, got {told(pixels)}")
        if indices.min() < 0 or indices.max() >= self.shape[0]:
            raise ValueError(
                f"pixels of a {_times(self.range_shape)} image lie in 0..{self.shape[0] - 1} "
                f"(row * {self.range_shape[1]} + column), got {int(indices.min())}..{int(indices.max())}"
            )
        return indices.astype(np.intp)

    # --- other libraries ---------------------------------------------------------------------------------------------

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """The matrix for numpy.

        Raises:
          ValueError: it takes more than half of the free memory.
        """
        needed, free = math.prod(self.shape) * self.dtype.itemsize, available_memory()
        if free is not None and needed > _SHARE * free:
            raise ValueError(
                f"the matrix of {self!r} takes {needed / 2**30:.1f} GiB, and half of the free memory is "
                f"{_SHARE * free / 2**30:.1f} GiB; use products (op @ v), op.rows(pixels), or a smaller image"
            )
        if copy is False:
            raise ValueError("the matrix of an operator is computed: numpy.asarray(op) without copy=False")
        return np.asarray(self.as_matrix(), dtype)

    def matvec(self, v: ArrayLike) -> np.ndarray[Any, Any]:
        """``A v`` as a numpy array: the protocol of ``scipy.sparse.linalg.aslinearoperator``."""
        return np.asarray(self @ v)

    matmat = matvec

    def rmatvec(self, v: ArrayLike) -> np.ndarray[Any, Any]:
        """``A^T v`` as a numpy array."""
        return np.asarray(self.T @ v)

    rmatmat = rmatvec

    # --- words -------------------------------------------------------------------------------------------------------

    def _what(self) -> str:
        if self.domain_shape == self.range_shape:
            return f"the kernel of a {_times(self.domain_shape)} image"
        return f"the operator from {_times(self.domain_shape)} to {_times(self.range_shape)} images"

    def _repr_html_(self) -> str:
        """What it is, as a small table for notebooks."""
        rows = {"kernel": type(self).__name__, "image": _maps(self, " x "), "type": self.dtype}
        rows |= {"shape": " x ".join(map(str, self.shape))}
        cells = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows.items())
        return f"<table>{cells}</table>"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_maps(self, 'x')} image, {self.shape[0]}x{self.shape[1]}, {self.dtype})"


def _times(shape: tuple[int, ...], sign: str = "x") -> str:
    return sign.join(map(str, shape))


def _maps(op: LinearOperator, sign: str) -> str:
    domain, to = _times(op.domain_shape, sign), _times(op.range_shape, sign)
    return domain if domain == to else f"{domain} to {to}"


def check_operator(op: object) -> None:
    """Raises TypeError unless it is an operator, ValueError unless it is one over a single image (H, W)."""
    if not isinstance(op, LinearOperator):
        raise TypeError(
            "an operator is needed, such as tangent_kernel(architecture, image) or DenseOperator(matrix, (H, W)), "
            f"got {type(op).__name__}"
        )
    if op.domain_shape != op.range_shape or len(op.domain_shape) != 2:
        raise ValueError(
            f"a kernel over the pixels of one image (H, W) is needed, got one from {_times(op.domain_shape)} to "
            f"{_times(op.range_shape)}; combine it to one, such as A @ kernel @ A.T on the range"
        )


# --- combinations ----------------------------------------------------------------------------------------------------


class _Combination(LinearOperator):
    """What operators made of operators have in common."""

    @property
    def image_shape(self) -> tuple[int, int]:  # type: ignore[override]
        """(H, W) of the one image that domain and range are.

        Raises:
          ValueError: it maps between different images.
        """
        check_operator(self)
        height, width = self.domain_shape
        return height, width

    @property
    def _parts(self) -> tuple[LinearOperator, ...]:
        raise NotImplementedError

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(jnp.result_type(*(part.dtype for part in self._parts)))

    @property
    def domain_shape(self) -> tuple[int, ...]:
        return self._parts[-1].domain_shape

    @property
    def range_shape(self) -> tuple[int, ...]:
        return self._parts[0].range_shape


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class TransposedOperator(_Combination):
    """A^T; made by ``A.T``."""

    operator: LinearOperator

    @property
    def is_symmetric(self) -> bool | None:  # type: ignore[override]
        return self.operator.is_symmetric

    @property
    def _parts(self) -> tuple[LinearOperator, ...]:
        return (self.operator,)

    @property
    def domain_shape(self) -> tuple[int, ...]:
        return self.operator.range_shape

    @property
    def range_shape(self) -> tuple[int, ...]:
        return self.operator.domain_shape

    @property
    def T(self) -> LinearOperator:
        return self.operator

    def prepared(self) -> LinearOperator:
        return TransposedOperator(self.operator.prepared())

    def _product(self, columns: Array) -> Array:
        return self.operator._transposed_product(columns)

    def _transposed_product(self, columns: Array) -> Array:
        return self.operator._product(columns)

    def diagonal(self) -> Array:
        return self.operator.diagonal()

    def as_matrix(self) -> Array:
        return self.operator.as_matrix().T


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class SumOperator(_Combination):
    """A + B + ...; made by ``A + B``."""

    terms: tuple[LinearOperator, ...]

    @property
    def is_symmetric(self) -> bool | None:  # type: ignore[override]
        known = {term.is_symmetric for term in self.terms}
        return False if False in known else None if None in known else True

    @property
    def _parts(self) -> tuple[LinearOperator, ...]:
        return self.terms

    def prepared(self) -> LinearOperator:
        return SumOperator(tuple(term.prepared() for term in self.terms))

    def _product(self, columns: Array) -> Array:
        return _add([term._product(columns) for term in self.terms])

    def _transposed_product(self, columns: Array) -> Array:
        return _add([term._transposed_product(columns) for term in self.terms])

    def rows(self, pixels: ArrayLike) -> Array:
        return _add([term.rows(pixels) for term in self.terms])

    def diagonal(self) -> Array:
        return _add([term.diagonal() for term in self.terms])

    def as_matrix(self) -> Array:
        return _add([term.as_matrix() for term in self.terms])


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class MultipleOperator(_Combination):
    """a A for a number a; made by ``a * A``."""

    factor: Array
    operator: LinearOperator

    @property
    def is_symmetric(self) -> bool | None:  # type: ignore[override]
        return self.operator.is_symmetric

    @property
    def _parts(self) -> tuple[LinearOperator, ...]:
        return (self.operator,)

    def prepared(self) -> LinearOperator:
        return MultipleOperator(self.factor, self.operator.prepared())

    def _product(self, columns: Array) -> Array:
        return self.factor * self.operator._product(columns)

    def _transposed_product(self, columns: Array) -> Array:
        return self.factor * self.operator._transposed_product(columns)

    def rows(self, pixels: ArrayLike) -> Array:
        return self.factor * self.operator.rows(pixels)

    def diagonal(self) -> Array:
        return self.factor * self.operator.diagonal()

    def as_matrix(self) -> Array:
        return self.factor * self.operator.as_matrix()


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class ProductOperator(_Combination):
    """A B ..., the last one applied first; made by ``A @ B``."""

    factors: tuple[LinearOperator, ...]

    @property
    def is_symmetric(self) -> bool | None:  # type: ignore[override]
        """Where the factors read alike from both ends, as in A K A^T."""
        ends = zip(self.factors, reversed(self.factors), strict=True)
        return all(_are_transposes(one, other) for one, other in ends)

    @property
    def _parts(self) -> tuple[LinearOperator, ...]:
        return self.factors

    def prepared(self) -> LinearOperator:
        return ProductOperator(tuple(factor.prepared() for factor in self.factors))

    def _product(self, columns: Array) -> Array:
        for factor in reversed(self.factors):
            columns = factor._product(columns)
        return columns

    def _transposed_product(self, columns: Array) -> Array:
        for factor in self.factors:
            columns = factor._transposed_product(columns)
        return columns


def _are_transposes(one: LinearOperator, other: LinearOperator) -> bool:
    if one is other:
        return one.is_symmetric is not False
    return (isinstance(one, TransposedOperator) and one.operator is other) or (
        isinstance(other, TransposedOperator) and other.operator is one
    )


def _add(values: list[Array]) -> Array:
    result = values[0]
    for value in values[1:]:
        result = result + value
    return result


def total(*terms: LinearOperator) -> LinearOperator:
    """The sum of operators between the same images, nested sums taken apart.

    Raises:
      ValueError: operators between different images.
    """
    flat = [inner for term in terms for inner in (term.terms if isinstance(term, SumOperator) else (term,))]
    for term in flat[1:]:
        if (term.domain_shape, term.range_shape) != (flat[0].domain_shape, flat[0].range_shape):
            raise ValueError(
                f"operators between the same images can be added, got {_maps(flat[0], 'x')} and {_maps(term, 'x')}"
            )
    return SumOperator(tuple(flat))


def product(*factors: LinearOperator) -> LinearOperator:
    """The product of operators, nested products taken apart; the last factor is applied first.

    Raises:
      ValueError: the range of a factor is not the domain of the one in front of it.
    """
    flat = [inner for one in factors for inner in (one.factors if isinstance(one, ProductOperator) else (one,))]
    for left, right in pairwise(flat):
        if left.domain_shape != right.range_shape:
            raise ValueError(
                f"A @ B applies B first: A takes {_times(left.domain_shape)} images, and B gives "
                f"{_times(right.range_shape)} ones"
            )
    return ProductOperator(tuple(flat))


def multiple(factor: ArrayLike, op: LinearOperator) -> LinearOperator:
    """The operator times a real number.

    Raises:
      TypeError: not one real number.
    """
    number = jnp.asarray(_number(factor), op.dtype)
    if isinstance(op, MultipleOperator):
        return MultipleOperator(number * op.factor, op.operator)
    return MultipleOperator(number, op)


def _number(factor: ArrayLike) -> ArrayLike:
    shape, kind = np.shape(factor), jnp.result_type(factor) if not isinstance(factor, str | list | dict) else None
    if kind is None or shape != () or not (jnp.issubdtype(kind, jnp.floating) or jnp.issubdtype(kind, jnp.integer)):
        got = f"an array of shape {shape}" if shape else repr(factor)
        raise TypeError(
            f"an operator is multiplied by one real number, got {got}; use op @ v for products with vectors and "
            "ScaledOperator(op, left, right) for factors of its rows and columns"
        )
    return factor
