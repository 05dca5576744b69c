"""Parts of experiments: one measurement with its settings, computed once, kept whole, whatever interrupts the run.

A part is a function, frozen settings and a name. Its key is a digest of the settings and of the code (see
``versions``): a finished part is read, never computed again, and a change of either makes a new one. Files are written
under temporary names and renamed, the JSON file last with the digest of the arrays; what was damaged since is reported
and computed anew. Every part is locked while it is computed, so that several runs into one folder share the work.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from ntk_nonlocal.networks import digest
from ntk_nonlocal.results import environment, read_arrays, read_json, write_arrays, write_json
from ntk_nonlocal.xla import free_programs

from .pictures import Pictures
from .versions import code_version
from .workspace import Arrays, Workspace

Settings: TypeAlias = Any  # a frozen dataclass of JSON values, and of such dataclasses


@dataclass(frozen=True)
class Part:
    """A measurement to be made: ``measure(settings, workspace)`` gives named arrays."""

    name: str
    measure: Callable[[Any, Workspace], Arrays]
    settings: Settings

    @property
    def kind(self) -> str:
        """The measurement's name."""
        return self.measure.__name__

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the result, JSON values."""
        settings = json.loads(json.dumps(dataclasses.asdict(self.settings)))
        return {"kind": self.kind, "settings": settings, "code": code_version(self.measure.__module__)}

    @property
    def key(self) -> str:
        """Digest of ``facts``."""
        return _key(self.facts)


@dataclass(frozen=True)
class Measured:
    """A finished part: its settings as JSON values, its arrays, and where, with what and how long it was computed."""

    name: str
    kind: str
    settings: dict[str, Any]
    arrays: Arrays
    facts: dict[str, Any]

    @property
    def key(self) -> str:
        """That of the part whose measurement this is."""
        return _key({name: self.facts[name] for name in ("kind", "settings", "code")})

    def __getitem__(self, array: str) -> np.ndarray[Any, Any]:
        return self.arrays[array]


class Progress(Protocol):
    """Called before and after every part: ``seconds`` is None before, and 0 where the part was there already.

    ``done`` counts the parts that are there, whichever process made them.
    """

    def __call__(self, done: int, total: int, name: str, seconds: float | None) -> None: ...


class Store:
    """The folder in which parts are kept.

    Args:
      folder: is made where it does not exist.
      pictures: for the measurements.
      checkpoint_every: steps between two checkpoints of a training.
      resume: go on from the checkpoints of interrupted trainings; they are removed otherwise.
    """

    def __init__(
        self, folder: Path, pictures: Pictures, *, checkpoint_every: int | None = None, resume: bool = True
    ) -> None:
        self.folder, self._pictures = folder / "parts", pictures
        self._work = folder / ".work"
        self._checkpoint_every, self._resume = checkpoint_every, resume
        for path in (self.folder, self._work):
            path.mkdir(parents=True, exist_ok=True)

    def complete(
        self, parts: Sequence[Part], progress: Progress | None = None, *, patient: bool = True
    ) -> list[Measured]:
        """All parts, those that are missing computed. Parts that another run is busy with come last.

        Args:
          parts: what is to be there.
          progress: is told.
          patient: wait for the parts that another run is busy with; they are left out of the result otherwise.
        """
        results: dict[int, Measured] = {}
        waiting = list(range(len(parts)))
        paths = [self._path(part) for part in parts]

        def tell(name: str, seconds: float | None) -> None:
            if progress is not None:
                progress(sum(path.exists() for path in paths), len(parts), name, seconds)

        for wait in (False, True) if patient else (False,):
            for index in list(waiting):
                measured = self._complete(parts[index], wait, tell)
                if measured is not None:
                    results[index] = measured
                    waiting.remove(index)
        return [results[index] for index in sorted(results)]

    def find(self, part: Part) -> Measured | None:
        """A finished part, None where it is missing or damaged."""
        found = _read(self._path(part))
        # An experiment that shares the part may call it otherwise.
        return found and dataclasses.replace(found, name=part.name, facts=found.facts | {"name": part.name})

    def _complete(self, part: Part, wait: bool, tell: Callable[[str, float | None], None]) -> Measured | None:
        found = self.find(part)
        if found is None:
            with self._lock(part, wait) as locked:
                if not locked:
                    return None
                found = self.find(part)  # another run may just have finished it
                if found is None:
                    tell(part.name, None)
                    found = self._compute(part)
                    tell(part.name, found.facts["seconds"])
                    return found
        tell(part.name, 0.0)
        return found

    def _compute(self, part: Part) -> Measured:
        scratch = self._work / part.key
        if not self._resume:
            shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        arrays = {
            name: np.asarray(array)
            for name, array in part.measure(
                part.settings, Workspace(self._pictures, scratch, self._checkpoint_every)
            ).items()
        }
        seconds = time.perf_counter() - started
        free_programs()
        facts = {
            "name": part.name,
            **part.facts,
            **environment(),
            "seconds": round(seconds, 3),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "digest": digest(arrays),
        }
        path = self._path(part)
        write_arrays(path.with_suffix(".npz"), **arrays)
        write_json(path, facts)
        shutil.rmtree(scratch, ignore_errors=True)
        return Measured(part.name, part.kind, part.facts["settings"], arrays, facts)

    def _path(self, part: Part) -> Path:
        return self.folder / f"{part.kind}-{part.key}.json"

    @contextmanager
    def _lock(self, part: Part, wait: bool) -> Iterator[bool]:
        """An exclusive lock that ends with the process, however that ends."""
        with open(self._work / f"{part.key}.lock", "w", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True


def _key(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def finished(folder: Path) -> list[Measured]:
    """All parts of a folder of a :class:`Store` that are whole, by the names of their files."""
    return [found for path in sorted((folder / "parts").glob("*.json")) if (found := _read(path)) is not None]


def _read(path: Path) -> Measured | None:
    """A finished part, None where it is missing or damaged."""
    if not path.exists():
        return None
    try:
        facts = read_json(path)
        arrays = read_arrays(path.with_suffix(".npz"))
        if facts["digest"] != digest(arrays):
            raise ValueError("its arrays are not those that were written")
        return Measured(facts["name"], facts["kind"], facts["settings"], arrays, facts)
    except (ValueError, KeyError, TypeError) as problem:
        reason = " ".join(str(problem).split())
        warnings.warn(f"the result {path} is damaged and computed anew ({reason})", RuntimeWarning, stacklevel=2)
        return None
