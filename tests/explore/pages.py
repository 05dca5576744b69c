"""Small pages that the tests share, and the exact filters to compare them with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from compiling import compiled_quickly

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


@cache
def _exact(made: Made, name: str) -> Callable[[float], Any]:
    with compiled_quickly():  # as the page was: programs round differently otherwise, which a training amplifies
        kernel = build(name, made.noisy, SIGMA)
        scale = 1 / np.sqrt(np.asarray(kernel.degrees, np.float64)) if name == "nlm" else np.ones(kernel.shape[0])
        matrix = np.asarray(kernel.as_matrix(), np.float64) * scale / scale[:, None]
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)

    def whole(step: float) -> Any:
        symmetric = (vectors * filtered(values / values[-1], step)) @ vectors.T
        return symmetric * scale[:, None] / scale

    return whole
