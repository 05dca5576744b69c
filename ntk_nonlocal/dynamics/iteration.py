"""Plain iteration with any filter: twicing (Tukey 1977)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ntk_nonlocal.linalg import check_image, check_steps
from ntk_nonlocal.operators import LinearOperator

if TYPE_CHECKING:
    from jaxtyping import Float, Real


def twicing(
    w: LinearOperator, y: Real[ArrayLike, "H W C"], steps: Sequence[int] | ArrayLike
) -> Float[Array, "S H W C"]:
    """z(t+1) = z(t) + W (y - z(t)) from zero, after each asked step, shape (len(steps), H, W, C).

    Step 1 is W y itself, later ones give back detail and noise. Plain iteration, one product per step; for many steps
    with a positive semi-definite kernel ``gradient_descent`` is the faster way.

    Raises:
      ValueError: wrong shapes, values that are not finite, or steps outside their range.
    """
    times = check_steps(steps)
    image = check_image(w, y, "y")
    target = image.reshape(w.shape[0], -1)
    wanted = set(times.tolist())
    estimate = jnp.zeros_like(target)
    kept = {0: estimate}
    for step in range(1, int(times.max()) + 1):
        estimate = estimate + w @ (target - estimate)
        if step in wanted:
            kept[step] = estimate
    return jnp.stack([kept[int(step)].reshape(image.shape) for step in times])
