"""What every exact kernel asks of its network input, and how much memory there is for it."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ..checks import real_array


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


_processes = 1


def share_memory(processes: int) -> None:
    """From now on this process leaves room for others that do the same: its part of what is free is available to it."""
    global _processes
    _processes = processes


def available_memory() -> int | None:
    """Bytes that this process may take for arrays on the default device, None where that cannot be found out."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        statistics = device.memory_stats() or {}
        limit = statistics.get("bytes_limit")
        return None if limit is None else int(limit) - int(statistics.get("bytes_in_use", 0))
    amounts = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                amounts.append(int(line.split()[1]) * 1024)
    except OSError:  # not Linux
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            amounts.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    try:
        group = Path("/sys/fs/cgroup")
        limit_in_group = int((group / "memory.max").read_text())
        amounts.append(limit_in_group - int((group / "memory.current").read_text()))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        pass
    return min(amounts) // _processes if amounts else None
