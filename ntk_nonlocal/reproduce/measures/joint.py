"""The kernel of a finite network over pixels and colours together: what its frozen Jacobian follows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntk_nonlocal.dynamics import Trajectory, trajectory
from ntk_nonlocal.networks import FlaxNetwork, Params
from ntk_nonlocal.operators import LinearOperator, static_field

FloatArray = np.ndarray[Any, Any]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class JointKernel(LinearOperator):
    """J diag(steps) J^T over all pixels AND colours of a finite network: what its frozen Jacobian follows.

    An image (H, W, C) counts as one of H rows and W C columns with a single channel.
    """

    params: Params
    network_input: Array
    steps: Params
    network: FlaxNetwork = static_field()
    image_shape: tuple[int, int] = static_field()

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.network_input.dtype)

    def _product(self, columns: Array) -> Array:
        parts = [_joint_product(self, columns[:, i]) for i in range(columns.shape[1])]
        return jnp.stack(parts, axis=1)


def joint_kernel(
    network: FlaxNetwork, params: Params, network_input: FloatArray, preconditioner: Params | None = None
) -> JointKernel:
    """The kernel of all colours at ``params``, with P^-1 between the Jacobians where a ``preconditioner`` is given."""
    x = jnp.asarray(network_input)
    shape = jax.eval_shape(network.apply, params, x).shape
    steps = jax.tree.map(jnp.ones_like, params)
    if preconditioner is not None:
        steps = jax.tree.map(jnp.divide, steps, preconditioner)
    return JointKernel(params, x, steps, network, (shape[0], shape[1] * shape[2]))


def joint_flow(
    kernel: LinearOperator, y: FloatArray, times: FloatArray, max_products: int, start: FloatArray | None = None
) -> tuple[FloatArray, Trajectory]:
    """Gradient flow with a kernel of all colours, (len(times), H, W, C), and its trajectory, which tells its errors."""
    flat = (*kernel.image_shape, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the errors are stored
        path = trajectory(
            kernel, y.reshape(flat), start=None if start is None else start.reshape(flat), steps=[1, int(times[-1])],
            tolerance=1e-2, max_products=max_products,
        )  # fmt: skip
    return np.asarray(path.flow(times)).reshape(-1, *y.shape), path


@jax.jit
def _joint_product(op: JointKernel, column: Array) -> Array:
    def output(params: Params) -> Array:
        return op.network.apply(params, op.network_input)

    with jax.default_matmul_precision("highest"):
        out, pullback = jax.vjp(output, op.params)
        (gradient,) = pullback(column.reshape(out.shape))
        moved: Array = jax.jvp(output, (op.params,), (jax.tree.map(jnp.multiply, op.steps, gradient),))[1]
        return moved.reshape(-1)
