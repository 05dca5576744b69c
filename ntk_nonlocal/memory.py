"""How much memory there is for arrays."""

from __future__ import annotations

import os
from pathlib import Path

import jax

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
