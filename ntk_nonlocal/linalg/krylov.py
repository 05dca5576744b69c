"""Block Krylov spaces of a kernel, grown one product at a time.

The space of a kernel K and start columns V is span{V, K V, K^2 V, ...}. Its orthonormal basis Q and the block
tridiagonal T = Q^T K Q come from the block Lanczos process (Golub & Van Loan, Matrix Computations, section 10.3) with
full reorthogonalisation ("twice is enough"), which needs ONE product with a few columns per step and stays accurate in
float32. All columns share one space, which holds the space of every single column: nothing is more accurate for the
same products. The loop runs in Python, because a product takes seconds on a large image: it can be reported, and ends
as soon as an error estimate allows. The basis takes (products + 1) * columns * H W numbers of the kernel's type.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntk_nonlocal.checks import seed as check_seed
from ntk_nonlocal.operators import LinearOperator, MultipleOperator, ScaledOperator

Progress = Callable[[int, int], None]
"""Called after every product with (products done, estimated total)."""

Small = np.ndarray[Any, np.dtype[np.float64]]

_CHUNK = 64  # basis vectors per array: every array has one shape, so that the helpers below compile once


@dataclass(frozen=True)
class Estimate:
    """Random estimates and their standard errors (zero where the value is exact), arrays of one shape."""

    value: Small
    standard_error: Small


@jax.jit
def _coefficients(chunk: Array, block: Array) -> Array:
    return jnp.matmul(chunk, block, precision="highest")


@jax.jit
def _without(block: Array, chunk: Array, coefficients: Array) -> Array:
    return block - jnp.matmul(chunk.T, coefficients, precision="highest")


@jax.jit
def _combination(chunk: Array, coefficients: Array) -> Array:
    return jnp.matmul(chunk.T, coefficients, precision="highest")


@functools.partial(jax.jit, donate_argnums=0)
def _insert(chunk: Array, rows: Array, start: int) -> Array:
    return jax.lax.dynamic_update_slice(chunk, rows, (start, 0))


class _Basis:
    """Orthonormal columns of length d, kept as rows of equal chunks."""

    def __init__(self, length: int, dtype: np.dtype[Any]) -> None:
        self._chunks: list[Array] = []
        self._length, self._dtype = length, dtype
        self.count = 0

    def append(self, block: Array) -> None:
        taken = 0
        while taken < block.shape[1]:
            place = self.count % _CHUNK
            if place == 0:
                self._chunks.append(jnp.zeros((_CHUNK, self._length), self._dtype))
            rows = block[:, taken : taken + _CHUNK - place].T
            self._chunks[-1] = _insert(self._chunks[-1], rows, place)
            taken += rows.shape[0]
            self.count += rows.shape[0]

    def remove_from(self, block: Array) -> tuple[Array, Small]:
        """The block without its components in the basis, and those components."""
        parts = [_coefficients(chunk, block) for chunk in self._chunks]
        for chunk, part in zip(self._chunks, parts, strict=True):
            block = _without(block, chunk, part)
        components = [np.asarray(part, np.float64) for part in parts]
        return block, np.concatenate(components)[: self.count] if parts else np.zeros((0, block.shape[1]))

    def combine(self, coefficients: Small) -> Array:
        padded = np.zeros((len(self._chunks) * _CHUNK, coefficients.shape[1]))
        padded[: len(coefficients)] = coefficients
        result = jnp.zeros((self._length, coefficients.shape[1]), self._dtype)
        for index, chunk in enumerate(self._chunks):
            if index * _CHUNK < len(coefficients):
                part = padded[index * _CHUNK : (index + 1) * _CHUNK]
                result = result + _combination(chunk, jnp.asarray(part, self._dtype))
        return result


def _factor(block: Array, threshold: float) -> tuple[Array, Small, Small]:
    """block = N F with orthonormal columns N, and its whole factor; directions not above the threshold are dropped."""
    orthonormal, triangle = jnp.linalg.qr(block)
    small = np.asarray(triangle, np.float64)
    left, sizes, right = np.linalg.svd(small, full_matrices=False)
    factor = sizes[:, None] * right
    keep = sizes > threshold
    turned = jnp.matmul(orthonormal, jnp.asarray(left[:, keep], block.dtype), precision="highest")
    return turned, factor[keep], factor


class BlockKrylov:
    """The block Krylov space of a symmetric kernel and some start columns (H W, k).

    Attributes:
      start: the start columns in the basis, shape (their rank, k); zero columns and dependent ones cost nothing.
      remainder: what the last product added beyond the basis: K Q = Q T + N remainder E_last^T, N orthonormal.
      exhausted: whether that is nothing above rounding: the space is invariant.
      products: products made so far, each with ``width`` columns.
      noise: norm of the rounding seen in T, that of the kernel's products and of the orthogonalisation.
    """

    def __init__(self, op: LinearOperator, start: Array) -> None:
        columns = jnp.asarray(start, op.dtype)
        self.op = op.prepared()
        self._epsilon = float(np.finfo(op.dtype).eps)
        self._basis = _Basis(columns.shape[0], op.dtype)
        lengths = np.asarray(jnp.linalg.norm(columns, axis=0), np.float64)
        scales = np.where(lengths > 0, lengths, 1.0)
        block, kept, _ = _factor(columns / jnp.asarray(scales, op.dtype), 30 * self._epsilon)
        self.width = block.shape[1]
        self._block = block
        self._basis.append(block)
        self.start: Small = kept * scales
        self.remainder: Small = np.zeros((0, self.width))
        self.products = 0
        self.exhausted = self.width == 0
        self._matrix = np.zeros((0, 0))
        self._previous = 0  # columns of the block before the last one with a product
        self._noise_square = 0.0
        self._ritz: tuple[Small, Small] | None = None

    @property
    def dimension(self) -> int:
        """Rows of T."""
        return int(self._matrix.shape[0])

    @property
    def noise(self) -> float:
        return 2 * math.sqrt(self._noise_square / max(self.dimension, 1))

    @property
    def last(self) -> slice:
        """The rows of T that belong to the last block."""
        return slice(self.dimension - self.remainder.shape[1], self.dimension)

    def extend(self) -> None:
        """Make one product and add its block. Does nothing where the space is exhausted."""
        if self.exhausted:
            return
        size = self._block.shape[1]
        # Always the same number of columns: another number would compile the kernel's product anew.
        columns = jnp.pad(self._block, ((0, 0), (0, self.width - size)))
        product = (self.op @ columns)[:, :size]
        self.products += 1
        product, components = self._basis.remove_from(product)
        if not np.isfinite(components).all():
            raise ValueError("the kernel's product is not finite; check the network input for NaN and overflow")
        self._enlarge(components, size)
        scale = float(np.linalg.norm(components, 2)) if components.size else 0.0
        new, factor, whole = _factor(product, 10 * self._epsilon * scale)
        if new.shape[1]:
            new, _ = self._basis.remove_from(new)
            new, again, _ = _factor(new, 0.1)
            factor = again @ factor
        self.remainder = whole
        if new.shape[1] == 0:
            self.exhausted = True
            return
        self._coupling = factor
        self._block = new
        self._basis.append(new)

    def _enlarge(self, components: Small, size: int) -> None:
        """Add the last block's rows and columns to T; what lies outside its band is rounding."""
        old = self.dimension
        matrix = np.zeros((old + size, old + size))
        matrix[:old, :old] = self._matrix
        diagonal = components[old:]
        matrix[old:, old:] = (diagonal + diagonal.T) / 2
        if old:
            before = slice(old - self._previous, old)
            matrix[old:, before] = self._coupling
            matrix[before, old:] = self._coupling.T
            self._noise_square += 2 * float(np.sum(components[: old - self._previous] ** 2))
        self._matrix, self._previous, self._ritz = matrix, size, None

    def ritz(self) -> tuple[Small, Small]:
        """Eigenvalues of T (ascending) and its eigenvectors."""
        if self._ritz is None:
            values, vectors = np.linalg.eigh(self._matrix)
            self._ritz = values, vectors
        return self._ritz

    def residuals(self, vectors: Small) -> Small:
        """Norms |K u - theta u| for the given eigenvectors of T, without a product."""
        residual: Small = np.linalg.norm(self.remainder @ vectors[self.last], axis=0)
        return residual

    def add_random(self, rng: np.random.Generator) -> None:
        """Go on with random columns orthogonal to an exhausted space, if anything is left outside it."""
        length = self.op.shape[0]
        if not self.exhausted or self.dimension >= length:
            return
        width = min(self.width or 1, length - self.dimension)
        columns = random_columns(rng, length, width, self.op.dtype)
        new, _, _ = _factor(self._basis.remove_from(columns)[0], 0.0)
        new, _, _ = _factor(self._basis.remove_from(new)[0], 0.1)
        if new.shape[1] == 0:
            return
        self._coupling = np.zeros((new.shape[1], self._previous))
        self.width = max(self.width, new.shape[1])
        self._block = new
        self._basis.append(new)
        self.exhausted = False

    def combine(self, coefficients: Small) -> Array:
        """Q coefficients, for coefficients of shape (dimension, k)."""
        return self._basis.combine(coefficients)


def grow(
    space: BlockKrylov,
    excess: Callable[[BlockKrylov], float],
    *,
    max_products: int,
    guess: int,
    progress: Progress | None = None,
) -> bool:
    """Extend the space until ``excess`` (estimated error over what is allowed) is at most one.

    Returns False where ``max_products`` ended it first.
    """
    history: list[tuple[int, float]] = []
    due, expected = 1, guess
    while not space.exhausted:
        if space.products >= max_products:
            return False
        space.extend()
        done = space.products
        if done >= due or done == max_products or space.exhausted:
            due = done + 1 + done // 20
            history.append((done, math.log(min(max(excess(space), 1e-300), 1e300))))
            expected = _expected_total(history, expected)
        finished = history[-1][1] <= 0 or space.exhausted
        if progress is not None:
            progress(done, done if finished else max(done + 1, min(expected, max_products)))
        if finished:
            return True
    return True


def _expected_total(history: list[tuple[int, float]], expected: int) -> int:
    """Where the straight line through the last logarithms of the excess reaches zero."""
    if len(history) < 4:
        return expected
    (first, high), (last, low) = history[-4], history[-1]
    slope = (high - low) / (last - first)
    return expected if slope <= 0 else last + math.ceil(min(max(low, 0.0) / slope, 1e9))


def probe_generator(seed: int) -> np.random.Generator:
    """A stream of its own: noise drawn by ``numpy.random.default_rng(seed)`` must not be its own probe."""
    return np.random.default_rng([check_seed(seed), 0x50524F42])


def random_columns(rng: np.random.Generator, length: int, count: int, dtype: np.dtype[Any]) -> Array:
    """Independent signs (Rademacher probes), shape (length, count)."""
    return jnp.asarray(rng.integers(0, 2, (length, count)) * 2 - 1, dtype)


def symmetric_form(op: LinearOperator) -> tuple[LinearOperator, Array | None]:
    """A symmetric kernel similar to ``op``, and the scale s with op = diag(s) symmetric diag(1 / s) (None: op itself).

    diag(l) K diag(r) is similar to diag(sqrt(l r)) K diag(sqrt(l r)) with s = sqrt(l / r). Pixels without any affinity
    (K[p, p] = 0, hence a zero row and column) may have zero scales.

    Raises:
      ValueError: scales that are neither equal nor positive, or an operator that is not symmetric otherwise.
    """
    if isinstance(op, MultipleOperator):
        symmetric, scale = symmetric_form(op.operator)
        return op.factor * symmetric, scale
    if not isinstance(op, ScaledOperator):
        if op.is_symmetric is False:
            raise ValueError(
                f"a symmetric kernel is needed, or diag(left) K diag(right) of one, got {op!r}, which is not; "
                "nnl.twicing iterates with any operator"
            )
        return op, None
    kernel, left, right = op.kernel, op.left, op.right
    while isinstance(kernel, ScaledOperator):
        left, right, kernel = left * kernel.left, kernel.right * right, kernel.kernel
    if bool(jnp.array_equal(left, right)):
        return ScaledOperator(kernel, left, right), None
    odd = ~((left > 0) & (right > 0))
    if bool(odd.any()):
        if bool((kernel.diagonal()[odd] != 0).any()):
            raise ValueError(
                "a scaled kernel diag(left) K diag(right) needs positive scales, or left equal to right, to be similar "
                f"to a symmetric one; got {int(odd.sum())} pixels where one is zero, negative or NaN although their "
                "kernel is not zero; replace zero degrees by positive ones before dividing by them"
            )
        left, right = jnp.where(odd, 1, left), jnp.where(odd, 1, right)
    middle = jnp.sqrt(left * right)
    return ScaledOperator(kernel, middle, middle), jnp.sqrt(left / right)
