"""What is accepted as the input of a network or of an exact kernel."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ntk_nonlocal.checks import real_array


def checked_input(network_input: ArrayLike) -> Array:
    """The network input as a float array (H, W, C), after checking it; float64 without 64-bit JAX becomes float32,
    with a warning."""
    given = real_array("network_input", network_input)
    if not jnp.issubdtype(given.dtype, jnp.floating):
        raise ValueError(f"network_input must be a floating-point array, got {given.dtype}; divide 8-bit values by 255")
    if given.ndim != 3 or 0 in given.shape:
        raise ValueError(
            f"network_input must have shape (H, W, C), none of them zero, got {given.shape}; "
            "give a grey image of shape (H, W) as image[..., None]"
        )
    if not isinstance(given, jax.core.Tracer) and not bool(jnp.isfinite(given).all()):
        raise ValueError("network_input holds NaN or infinite values; replace them first")
    if given.dtype != np.float64:
        return jnp.asarray(given, np.float32)
    if jnp.result_type(float) != np.float64:
        warnings.warn(
            "the network input is float64 but JAX has no 64-bit types enabled: the kernel is computed in float32; "
            'call jax.config.update("jax_enable_x64", True) first, or pass float32',
            stacklevel=3,
        )
        return jnp.asarray(given, np.float32)
    return jnp.asarray(given)
