"""Kernels that are evaluated block of row lags by block of row lags, and sums over their blocks.

A block holds the kernel's values at some row lags, in a form of the operator's own. Blocks are evaluated anew in every
product (the least memory), or kept. They are independent: on a mesh of devices each takes its share, and one sum at the
end joins them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ntk_nonlocal.operators import LinearOperator

Sum = TypeVar("Sum")


class BlockedOperator(LinearOperator):
    """A kernel by blocks: subclasses are dataclasses with these fields, and define ``row_lags`` and ``block_values``.

    ``kept`` holds the values of all blocks, where memory allows; ``block`` row lags are evaluated at once; ``mesh``, if
    any, is what the blocks are spread over.
    """

    kept: Array | None
    block: int = 1
    mesh: Mesh | None = None

    @property
    def row_lags(self) -> int:
        """How many row lags cover all pairs."""
        raise NotImplementedError

    @property
    def block_count(self) -> int:
        """Blocks that each device evaluates, times the number of devices."""
        blocks = -(-self.row_lags // self.block)
        return blocks if self.mesh is None else -(-blocks // self.mesh.size) * self.mesh.size

    def block_values(self, index: Array) -> Array:
        """The kernel's values of one block; the first axis is that of its row lags."""
        raise NotImplementedError

    def kept_bytes(self) -> int:
        """What keeping all blocks takes on one device."""
        block = jax.eval_shape(lambda op: op.block_values(jnp.int32(0)), replace(self, kept=None))  # type: ignore[type-var]
        share = self.block_count // (1 if self.mesh is None else self.mesh.size)
        return share * block.size * block.dtype.itemsize


class Block(NamedTuple):
    """The values of one block, at ``place`` of a stack that may hold more: what is needed is sliced from there."""

    stack: Array
    place: Array

    def values(self) -> Array:
        if len(self.stack) == 1:
            return self.stack[0]
        return lax.dynamic_index_in_dim(self.stack, self.place, keepdims=False)


# (operator, operands, sum so far, the block, its index) -> sum
Add = Callable[[Any, Any, Sum, Block, Array], Sum]


def sum_blocks(op: BlockedOperator, add: Add[Sum], operands: Any, start: Sum, join: bool = False) -> Sum:
    """``start`` plus every block's part: add(op, operands, sum, block, index) for each block, on all devices.

    With ``join``, blocks that are kept are given to ``add`` as a single one, with the index of the first: a block by
    itself would be copied before it is multiplied.
    """

    def over(op: BlockedOperator, operands: Any, start: Sum, indices: Array) -> Sum:
        if join and op.kept is not None:
            joined = op.kept.reshape(1, -1, *op.kept.shape[2:])
            return add(op, operands, start, Block(joined, jnp.int32(0)), indices[0])

        def step(total: Sum, index: tuple[Array, Array]) -> tuple[Sum, None]:
            if op.kept is not None:
                return add(op, operands, total, Block(op.kept, index[1]), index[0]), None
            return add(op, operands, total, Block(op.block_values(index[0])[None], jnp.int32(0)), index[0]), None

        total, _ = lax.scan(step, start, (indices, jnp.arange(len(indices))))
        return total

    result: Sum = _on_mesh(op, over, (operands, start), True)
    return result


def _on_mesh(op: BlockedOperator, function: Callable[..., Any], arguments: tuple[Any, ...], add_up: bool) -> Any:
    """function(op, *arguments, block indices), with the blocks spread over the mesh of the operator."""
    indices = jnp.arange(op.block_count, dtype=jnp.int32)
    if op.mesh is None:
        return function(op, *arguments, indices)
    names = tuple(op.mesh.axis_names)
    split, whole = PartitionSpec(names), PartitionSpec()

    def local(op: BlockedOperator, *rest: Any) -> Any:
        result = function(op, *rest)
        return lax.psum(result, names) if add_up else result

    op_spec: Any = jax.tree.map(lambda _: whole, op)
    op_spec = op_spec if op.kept is None else replace(op_spec, kept=split)
    specs = (op_spec, *(jax.tree.map(lambda _: whole, argument) for argument in arguments), split)
    mapped = jax.shard_map(local, mesh=op.mesh, in_specs=specs, out_specs=whole if add_up else split, check_vma=False)
    return mapped(op, *arguments, indices)


def replicated(op: BlockedOperator, values: Array) -> Array:
    """``values`` on every device of the operator's mesh."""
    if op.mesh is None or isinstance(values, jax.core.Tracer):
        return values
    return jax.device_put(np.asarray(values), NamedSharding(op.mesh, PartitionSpec()))


@jax.jit
def all_values(op: BlockedOperator) -> Array:
    """The values of every block, the first axis over blocks (and over the devices of a mesh)."""

    def over(op: BlockedOperator, indices: Array) -> Array:
        values: Array = lax.map(op.block_values, indices)
        return values

    values: Array = _on_mesh(replace(op, kept=None), over, (), False)  # type: ignore[type-var]
    return values
