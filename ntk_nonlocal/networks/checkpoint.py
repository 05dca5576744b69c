"""Checkpoints of a run: named arrays with the settings they belong to, written whole or not at all.

A checkpoint is a folder "step-N" within the run's folder, holding the arrays as orbax writes them and a JSON file with
settings, progress and a digest of the arrays. It is written under a temporary name and renamed, then older ones are
removed; so whatever interrupts a run, what lies there is whole, and a second run beside it cannot mix with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Arrays = dict[str, np.ndarray[Any, Any]]

_PREFIX = "step-"
_TEMPORARY = ".unfinished-"
_ABANDONED_AFTER_SECONDS = 3600


class CheckpointError(ValueError):
    """A checkpoint that belongs to other settings."""


def save(folder: Path, step: int, arrays: Arrays, settings: dict[str, Any], progress: dict[str, Any]) -> None:
    """Writes the checkpoint of ``step`` and removes those before it.

    Args:
      folder: the run's own folder, made where it does not exist.
      step: number of steps done.
      arrays: by name.
      settings: what the run is, JSON values; a run with others refuses this checkpoint.
      progress: what else the run needs to go on, JSON values.
    """
    import orbax.checkpoint

    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{_TEMPORARY}{uuid.uuid4().hex}"
    with orbax.checkpoint.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(temporary.resolve() / "arrays", arrays)
    facts = {"step": step, "settings": settings, "progress": progress, "digest": digest(arrays)}
    (temporary / "facts.json").write_text(json.dumps(facts, indent=1))
    target = folder / f"{_PREFIX}{step:09d}"
    if target.exists():
        os.replace(target, folder / f"{_TEMPORARY}{uuid.uuid4().hex}")
    os.replace(temporary, target)
    for old in _checkpoints(folder):
        if old.name < target.name:
            shutil.rmtree(old, ignore_errors=True)
    for rest in folder.glob(f"{_TEMPORARY}*"):
        if time.time() - rest.stat().st_mtime > _ABANDONED_AFTER_SECONDS:
            shutil.rmtree(rest, ignore_errors=True)


def load(folder: Path, settings: dict[str, Any]) -> tuple[int, Arrays, dict[str, Any]] | None:
    """The newest whole checkpoint as (step, arrays, progress), None where there is none.

    A damaged one is reported by a warning and passed over.

    Raises:
      CheckpointError: it belongs to other settings; names the first that differs.
    """
    for path in reversed(_checkpoints(folder)):
        try:
            facts = json.loads((path / "facts.json").read_text())
            found, step, progress = facts["settings"], int(facts["step"]), facts["progress"]
        except (OSError, ValueError, KeyError, TypeError) as problem:
            _warn_damaged(path, problem)
            continue
        _check_settings(path, found, settings)
        try:
            arrays = _restore(path / "arrays")
            if digest(arrays) != facts["digest"]:
                raise ValueError("its arrays are not those that were written")
        except Exception as problem:  # orbax and tensorstore raise many kinds for a damaged file
            _warn_damaged(path, problem)
            continue
        return step, arrays, progress
    return None


def named_arrays(tree: Any) -> Arrays:
    """The leaves of a tree as arrays named by their path, random keys as numbers."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {f"state{jax.tree_util.keystr(path)}": np.asarray(_numbers(leaf)) for path, leaf in leaves}


def _numbers(leaf: Any) -> Any:
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else leaf


def digest(arrays: Arrays) -> str:
    """SHA-256 of the arrays' names, types, shapes and bytes."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype} {np.shape(arrays[name])};".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if path.is_dir())


def _restore(path: Path) -> Arrays:
    import orbax.checkpoint

    with orbax.checkpoint.PyTreeCheckpointer() as checkpointer:
        restored = checkpointer.restore(path.resolve())
    return {name: np.asarray(array) for name, array in restored.items()}


def _check_settings(path: Path, found: dict[str, Any], settings: dict[str, Any]) -> None:
    expected, found = _flat(json.loads(json.dumps(settings))), _flat(found)
    for name in expected | found:
        if expected.get(name) != found.get(name):
            raise CheckpointError(
                f"{path} belongs to a run with {name} = {found.get(name)!r}, not {expected.get(name)!r}; "
                "remove it, or give this run a folder of its own"
            )


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings within settings as ``outer.inner``."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
    return found


def _warn_damaged(path: Path, problem: Exception) -> None:
    reason = str(problem).strip().splitlines()
    warnings.warn(
        f"the checkpoint {path} is damaged and passed over ({reason[0] if reason else type(problem).__name__})",
        RuntimeWarning,
        stacklevel=4,
    )
