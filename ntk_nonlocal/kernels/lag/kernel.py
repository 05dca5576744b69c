"""The exact kernel of a whole image as an operator, evaluated block of lags by block of lags.

A product needs every slice once, each in two roles: K[i, j] V[j] adds to row i, and K[i, j] V[i] to row j, so that
half of the lags suffice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from ntk_nonlocal.architecture import Path, Serial
from ntk_nonlocal.operators import DenseOperator, LinearOperator, static_field
from ntk_nonlocal.xla import alive

from ..blocks import Block, BlockedOperator, all_values, replicated, sum_blocks
from . import budget as memory
from .axes import LagAxis
from .demand import Lags
from .patches import patch_rows, patches_are_cheaper
from .slices import Plan, Slices, diagonal_of, evaluate, margin_of
from .stores import Stores, fill_store, paths, store_elements

Kind = Literal["ntk", "nngp"]
Weights = Mapping[Path, tuple[Array, Array]]  # by position: of a convolution's weights, of its biases
MemoryPlan = Literal["auto", "recompute", "keep", "matrix"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class BlockedKernel(BlockedOperator):
    """The exact kernel of an architecture on one network input, without its matrix.

    ``image`` is the network input (H, W, C); ``corrections`` belong to the resampling layers (see ``slices``).
    ``block`` row lags are evaluated at once. ``kept`` holds the values of all blocks, where memory allows.
    ``weights`` multiplies the convolutions' parts. ``mesh``, if any, is what the blocks are spread over.
    """

    image: Array
    corrections: Mapping[Path, Array]
    stores: Stores
    weights: Weights
    kept: Array | None
    architecture: Serial = static_field()
    kind: Kind = static_field()
    image_shape: tuple[int, int] = static_field()
    block: int = static_field(default=1)
    mesh: Mesh | None = static_field(default=None)
    budget: int | None = static_field(default=None)
    memory_plan: MemoryPlan = static_field(default="auto")

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.image.dtype)

    def rows(self, pixels: ArrayLike) -> Array:
        indices = self.check_pixels(pixels)
        window: int | None = getattr(self, "window", None)
        pairs = self.row_lags * self.shape[0] * min(self.image_shape[1], 2 * (window or self.shape[0]))
        evaluated = self.kept is None and self.mesh is None
        if evaluated and patches_are_cheaper(self.architecture, self.image, pairs, len(indices)):
            described = {"architecture": self.architecture, "kind": self.kind, "weights": self.weights}
            return patch_rows(self.image, jnp.asarray(indices), **described, window=window)
        return self.swept_rows(replicated(self, jnp.asarray(indices)))

    def swept_rows(self, pixels: Array) -> Array:
        """The rows of the pixels, from one evaluation of all blocks."""
        raise NotImplementedError

    def prepared(self) -> LinearOperator:
        if self.memory_plan != "auto" or self.kept is not None or isinstance(self.image, jax.core.Tracer):
            return self
        needed, free = self.kept_bytes(), memory.budget(self.budget)
        memory.report("keeping the slices", needed, free)
        return replace(self, kept=all_values(self)) if needed <= free else self

    def diagonal(self) -> Array:
        return _diagonal(self)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class LagKernel(BlockedKernel):
    """All pairs of pixels: the rows by lag, the columns densely; blocks hold K[lag, position, x, x'].

    A ``window`` multiplies them by the triangle of ``window`` (used where the window is about as large as the image).
    """

    window: int | None = static_field(default=None)

    @property
    def row_lags(self) -> int:
        return self.image_shape[0] // 2 + 1

    def block_values(self, index: Array) -> Array:
        slices, values = evaluated_block(self, index * self.block, Lags(0, self.block, self.block), None)
        if self.window is None:
            return values
        assert isinstance(slices.rows, LagAxis)
        left, right = slices.rows.pairs()
        width = np.arange(self.image_shape[1])
        rows = jnp.maximum(1 - jnp.abs(right - left) / self.window, 0).astype(self.dtype)
        columns = np.maximum(1 - np.abs(width[:, None] - width) / self.window, 0)
        return values * rows[:, :, None, None] * jnp.asarray(columns, self.dtype)

    def axis(self, index: Array, count: int) -> LagAxis:
        """The ``count`` row lags from the block ``index`` on."""
        height = self.image_shape[0]
        return Lags(0, count, count).axis(index * self.block, height, margin_of(self.architecture))

    def counted(self, lags: Any) -> tuple[Array, Array]:
        """Whether a lag's pairs count as (i, j) and, again, as (j, i): every ordered pair exactly once."""
        height = self.image_shape[0]
        return lags <= height // 2, (lags > 0) & (2 * lags < height)

    def _product(self, columns: Array) -> Array:
        return _product(self, replicated(self, columns))

    def swept_rows(self, pixels: Array) -> Array:
        return _rows(self, pixels)

    def as_matrix(self) -> Array:
        memory.check("the matrix of the kernel", 4 * self.shape[0] ** 2 * self.dtype.itemsize, self.budget)
        return _matrix(self)

    def prepared(self) -> LinearOperator:
        if self.memory_plan == "auto" and self.kept is None and self.mesh is None:
            small = 4 * self.shape[0] ** 2 * self.dtype.itemsize
            if small <= memory.budget(self.budget) // 16 and not isinstance(self.image, jax.core.Tracer):
                return DenseOperator(_matrix(self), self.image_shape)
        return super().prepared()


def evaluated_block(op: BlockedKernel, start: Any, rows: Lags, columns: Lags | None) -> tuple[Slices, Array]:
    """The slices at these lags, and the kernel's values there."""
    plan = _plan(op.image, op.architecture, op.kind, op.weights, op.corrections, op.stores)
    stored = bool(op.stores) and columns is None
    slices = evaluate(op.architecture, op.image, replace(plan, start=start), rows, columns, stored)
    return slices, slices.values(op.kind)


def _plan(
    image: Array,
    architecture: Serial,
    kind: Kind,
    weights: Weights,
    corrections: Mapping[Path, Array],
    stores: Stores,
) -> Plan:
    margin = margin_of(architecture)
    return Plan(0, margin, kind == "ntk", alive(image), weights, dict(corrections), stores=dict(stores))


@partial(jax.jit, static_argnames=("architecture", "kind", "blocks"))
def fill_stores(
    image: Array,
    corrections: Mapping[Path, Array],
    architecture: Serial,
    kind: Kind,
    weights: Weights,
    blocks: tuple[int, ...],
) -> Stores:
    """The kernel behind every Downsample, by position; ``blocks`` are the lags at a time for each."""
    stores: dict[Path, tuple[Array, Array | None]] = {}
    for path, block in zip(paths(architecture), blocks, strict=True):
        _, height = store_elements(path, (image.shape[0], image.shape[1]))
        plan = _plan(image, architecture, kind, weights, corrections, stores)
        stores[path[-1][1]] = fill_store(path, image, plan, height, block)
    return stores


@jax.jit
def _diagonal(op: BlockedKernel) -> Array:
    slices, values = evaluated_block(op, 0, Lags(0, 1, 0), Lags(0, 1, 0))
    return diagonal_of(values, slices).reshape(-1)


@jax.jit
def _product(op: LagKernel, columns: Array) -> Array:
    height, width = op.image_shape
    vectors = columns.reshape(height, width, -1)
    pixel = np.arange(height)

    def add(op: LagKernel, extended: Array, out: Array, block: Block, index: Array) -> Array:
        values = block.values()
        axis = op.axis(index, len(values))
        left, right = axis.ends(0, None)
        first, second = op.counted(axis.lags)
        ahead, behind = ((pixel[None, :] + sign * axis.lags[:, None]) % height for sign in (1, -1))

        def received(parts: Array, place: Any, counted: Array) -> Array:
            return jnp.sum(jnp.where(counted[:, None, None, None], axis.take(parts, place, 0), 0), axis=0)

        parts = jnp.einsum("bpxz,bpzk->bpxk", values, extended[right], precision="highest")
        out = out + received(parts, axis.place(pixel[None, :], ahead), first)
        # the values are the second factor here: as the first one they would be transposed, which takes longer
        parts = jnp.einsum("bpxk,bpxz->bpkz", extended[left], values, precision="highest")
        return out + received(parts, axis.place(behind, pixel[None, :]), second).swapaxes(1, 2)

    extended = jnp.pad(vectors, [(0, 1), (0, 0), (0, 0)])
    return sum_blocks(op, add, extended, jnp.zeros_like(vectors), join=True).reshape(height * width, -1)


@jax.jit
def _matrix(op: LagKernel) -> Array:
    height, width = op.image_shape
    values = op.kept if op.kept is not None else all_values(op)
    axis = LagAxis(height, np.arange(values.shape[0] * values.shape[1]), 1, margin_of(op.architecture))
    values = values.reshape(-1, width, width)
    i, j = np.meshgrid(np.arange(height), np.arange(height), indexing="ij")
    stored = (j - i) % height <= height // 2
    place: Any = np.where(stored, axis.place(i, j), axis.place(j, i))
    pairs = jnp.take(values, place, axis=0)
    pairs = jnp.where(stored[:, :, None, None], pairs, pairs.swapaxes(2, 3))
    return pairs.transpose(0, 2, 1, 3).reshape(height * width, height * width)


@jax.jit
def _rows(op: LagKernel, pixels: Array) -> Array:
    height, width = op.image_shape

    def add(op: LagKernel, pixels: Array, out: Array, block: Block, index: Array) -> Array:
        values = block.values()
        y, x = pixels[:, None] // width, pixels[:, None] % width
        axis = op.axis(index, op.block)
        first, second = op.counted(axis.lags)
        flat = values.reshape(-1, width, width)
        count = jnp.arange(len(pixels))[:, None]
        ahead, behind = ((y + sign * axis.lags[None, :]) % height for sign in (1, -1))
        lines = flat[axis.place(y, ahead), x, :]
        out = out.at[count, ahead].add(jnp.where(first[None, :, None], lines, 0))
        lines = flat[axis.place(behind, y), :, x]
        return out.at[count, behind].add(jnp.where(second[None, :, None], lines, 0))

    start = jnp.zeros((len(pixels), height, width), op.dtype)
    return sum_blocks(op, add, pixels, start).reshape(len(pixels), height * width)
