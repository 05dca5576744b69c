"""Small pages that the tests share, and the exact filters to compare them with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ntk_nonlocal.explore import Explorer, build
from ntk_nonlocal.explore.stored import filtered

KERNELS = ("nlm", "vanilla-ntk-noise", "autoencoder-ntk-image", "empirical-adam", "vanilla-nngp-image")
SIGMA = 25 / 255
STEPS = (1, 100, 10**4, 10**6)


@dataclass(frozen=True, eq=False)
class Made:
    """A page and what it is of."""

    explorer: Explorer
    path: Path
    noisy: Any
    clean: Any

    def exact(self, name: str) -> Callable[[float], Any]:
        """step -> the whole filter, from all eigenpairs of the exact kernel in double precision."""
        return _exact(self, name)


@contextmanager
def compiled_quickly() -> Iterator[None]:
    """Programs with few optimizations, which round differently: a training amplifies that, so both sides share it."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


@cache
def _exact(made: Made, name: str) -> Callable[[float], Any]:
    with compiled_quickly():
        kernel = build(name, made.noisy, SIGMA)
        scale = 1 / np.sqrt(np.asarray(kernel.degrees, np.float64)) if name == "nlm" else np.ones(kernel.shape[0])
        matrix = np.asarray(kernel.as_matrix(), np.float64) * scale / scale[:, None]
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)

    def whole(step: float) -> Any:
        symmetric = (vectors * filtered(values / values[-1], step)) @ vectors.T
        return symmetric * scale[:, None] / scale

    return whole
