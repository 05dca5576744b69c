"""A run of all experiments in one process stays far below the memory maps that a process may have, and frees them."""

from __future__ import annotations

import dataclasses
import multiprocessing
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from ntk_nonlocal import xla
from ntk_nonlocal.reproduce import Pictures, Store, catalogue
from ntk_nonlocal.reproduce.parts import Part
from ntk_nonlocal.reproduce.pictures import Picture
from ntk_nonlocal.reproduce.workspace import Arrays, Workspace

pytestmark = pytest.mark.skipif(xla.memory_maps() is None, reason="this system does not count its memory maps")


@dataclasses.dataclass(frozen=True)
class Draw:
    size: int


# What stands for settings of these names, so that a run takes minutes, most of them for compiling.
SMALL: dict[str, Any] = {
    "picture": Pictures().picture("smooth", 16),
    "other": Pictures().picture("texture", 16),
    "at": (2, 4),
    "linear_steps": 4,
    "max_products": 10,
    "shape": (8, 8),
    "widths": (8, 16),
    "width": 16,
    "seeds": 2,
    "seed": 0,
    "steps": 4,
    "reach": 3,
    "rank": 5,
    "vectors": 6,
    "probes": 2,
}


def reduced(settings: Any) -> Any:
    changes = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name in SMALL:
            small = SMALL[field.name]
            changes[field.name] = (1, small) if field.name == "steps" and isinstance(value, tuple) else small
        elif dataclasses.is_dataclass(value) and not isinstance(value, Picture):
            changes[field.name] = reduced(value)
    return dataclasses.replace(settings, **changes)


def small_parts() -> list[Part]:
    """All parts of all experiments, reduced; each once."""
    found = {}
    for name in catalogue.MODULES:
        module = catalogue.experiment(name)
        for part in module.parts(module.configure("quick", Pictures())):
            settings = reduced(part.settings)
            found[part.measure, settings] = Part(f"{name}: {part.name}", part.measure, settings)
    return list(found.values())


def run(folder: Path) -> list[int]:
    """The memory maps after every part, in a process that frees no program."""
    xla._SHARE = 1.0
    counts: list[int] = []

    def record(done: int, total: int, name: str, seconds: float | None) -> None:
        found = xla.memory_maps()
        if seconds and found is not None:
            counts.append(found[0])

    Store(folder, Pictures()).complete(small_parts(), record)
    return counts


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_experiments_in_one_process_stay_far_below_the_limit(tmp_path: Path) -> None:
    """Even without freeing anything: 65530 maps are what Linux allows, unless told otherwise."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        counts = pool.apply(run, (tmp_path,))
    assert len(counts) == len(small_parts()) > 60
    assert max(counts) < 30000


def compiled_maps(settings: Draw, workspace: Workspace) -> Arrays:
    for size in range(settings.size, settings.size + 4):
        jnp.linalg.qr(jnp.eye(size))
    found = xla.memory_maps()
    assert found is not None
    return {"maps": np.asarray(found[0])}


def test_programs_are_freed_between_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ntk_nonlocal.reproduce.parts.code_version", lambda module: "1")
    (tmp_path / "limit").write_text("1")
    monkeypatch.setattr(xla, "_LIMIT", tmp_path / "limit")
    (measured,) = Store(tmp_path, Pictures()).complete([Part("compiles", compiled_maps, Draw(9))])
    found = xla.memory_maps()
    assert found is not None and found[0] < measured["maps"] - 20
