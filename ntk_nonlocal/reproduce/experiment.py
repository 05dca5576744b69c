"""What an experiment is, and how it is run: parts are completed, judged, stored in one pair of files, and drawn.

An experiment is a module with

    TITLE                       one line
    configure(preset, pictures) its frozen configuration
    parts(config)               the measurements to be made
    summarise(results)          verdicts on the paper's claims, with numbers
    draw(results, folder)       figures, from results alone; returns the figures' names
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from ntk_nonlocal.networks import digest
from ntk_nonlocal.results import read_arrays, read_json, write_arrays, write_json

from .parts import Measured, Part, Progress, Store
from .pictures import Pictures
from .workspace import Arrays

Preset = Literal["quick", "full", "paper"]
Outcome = Literal["holds", "holds in part", "contradicted", "undecided"]
Role = Literal["deciding", "test", "control"]


@dataclass(frozen=True)
class Verdict:
    """One finding.

    Attributes:
      claim: number of the paper's claim (see ``published.CLAIMS``); 0 for what the theory promises beside it.
      statement: what was tested.
      published: the published value, or what is claimed.
      ours: our number, with its uncertainty.
      outcome: how both compare.
      note: likely causes, and what the numbers do not say; where the outcome is "contradicted" or "undecided", what
        was tried and what would change it.
      role: "deciding" for the tests that the scorecard's verdict on the claim is made of, "test" for others of it,
        "control" for what says how far the others can be trusted; controls are counted apart.
      number: of a deciding test, the one number, ours beside the published one, in a few words.
    """

    claim: int
    statement: str
    published: str
    ours: str
    outcome: Outcome
    note: str = ""
    role: Role = "test"
    number: str = ""


def judged(inside: bool | None) -> Outcome:
    """What an interval says that lies inside what was claimed, outside of it, or neither (see ``Interval.within``)."""
    return "undecided" if inside is None else "holds" if inside else "contradicted"


def agreement(inside: Sequence[bool | None]) -> Outcome:
    """Of what is said of several: holds where all do, in part where some do, contradicted where none does and one does
    not; None is neither."""
    if inside and all(inside):
        return "holds"
    return "holds in part" if any(inside) else judged(False if False in inside else None)


@dataclass(frozen=True)
class Results:
    """Finished parts of one experiment, with its preset and configuration as JSON values."""

    experiment: str
    preset: str
    config: dict[str, Any]
    parts: tuple[Measured, ...]
    command: str = ""

    def select(self, kind: str | None = None, **conditions: Any) -> list[Measured]:
        """The parts of a kind whose settings have the given values, looked up at any depth."""
        return [
            part
            for part in self.parts
            if kind in (None, part.kind) and all(setting(part, name) == value for name, value in conditions.items())
        ]

    def one(self, kind: str | None = None, **conditions: Any) -> Measured:
        """The only such part.

        Raises:
          LookupError: none, or several.
        """
        found = self.select(kind, **conditions)
        if len(found) != 1:
            raise LookupError(f"{self.experiment} has {len(found)} parts {kind or ''} with {conditions}")
        return found[0]


class Experiment(Protocol):
    """The shape of an experiment's module."""

    TITLE: str

    def configure(self, preset: Preset, pictures: Pictures) -> Any: ...
    def parts(self, config: Any) -> list[Part]: ...
    def summarise(self, results: Results) -> list[Verdict]: ...
    def draw(self, results: Results, folder: Path) -> list[str]: ...


def setting(part: Measured, name: str) -> Any:
    """A setting of a part by its name, at any depth; None where there is none."""
    waiting = [part.settings]
    while waiting:
        values = waiting.pop(0)
        if name in values:
            return values[name]
        waiting += [value for value in values.values() if isinstance(value, dict)]
    return None


def measure(
    name: str, experiment: Experiment, config: Any, preset: str, store: Store, *, command: str = "",
    progress: Progress | None = None,
) -> Results:  # fmt: skip
    """Completes all parts of an experiment."""
    measured = store.complete(experiment.parts(config), progress)
    return Results(name, preset, dataclasses.asdict(config), tuple(measured), command)


def save(results: Results, verdicts: Sequence[Verdict], folder: Path) -> None:
    """Writes FOLDER/NAME.npz and then FOLDER/NAME.json, which together are all that figures and report need.

    What many parts share is written once: arrays of one name and shape are stacked, beside the numbers of their parts
    (``psnr.0`` and ``psnr.0.parts``), and each part names its entry of "made_with", the code's digest, versions, commit
    and processor.
    """
    stem = folder / results.experiment
    made_with: list[dict[str, Any]] = []
    parts = []
    for part in results.parts:
        own = {key: part.facts[key] for key in _OF_ONE_PART if key in part.facts}
        shared = {key: value for key, value in part.facts.items() if key not in own}
        if shared not in made_with:
            made_with.append(shared)
        parts.append(own | {"made_with": made_with.index(shared)})
    write_arrays(stem.with_suffix(".npz"), **_stacked(results.parts))
    content = {
        "experiment": results.experiment,
        "preset": results.preset,
        "command": results.command,
        "config": results.config,
        "seconds": round(sum(part.facts["seconds"] for part in results.parts), 1),
        "verdicts": [dataclasses.asdict(verdict) for verdict in verdicts],
        "made_with": made_with,
        "parts": parts,
    }
    write_json(stem.with_suffix(".json"), content)


def load(name: str, folder: Path) -> Results:
    """The results that :func:`save` has written.

    Raises:
      ValueError: there are none, or they are damaged or do not belong together.
    """
    content = read_json(folder / f"{name}.json")
    arrays = _by_part(read_arrays(folder / f"{name}.npz"))
    parts = []
    for index, own in enumerate(content["parts"]):
        if digest(arrays.get(index, {})) != own["digest"] or "made_with" not in own:
            raise ValueError(
                f"{folder / name}.npz does not belong to {name}.json, or an earlier version wrote them; "
                "run the experiment again (finished parts are kept)"
            )
        facts = own | content["made_with"][own["made_with"]]
        del facts["made_with"]
        parts.append(Measured(facts["name"], facts["kind"], facts["settings"], arrays[index], facts))
    return Results(content["experiment"], content["preset"], content["config"], tuple(parts), content["command"])


_OF_ONE_PART = ("name", "kind", "settings", "seconds", "finished", "digest")


def _stacked(parts: Sequence[Measured]) -> Arrays:
    """The arrays of all parts, those of one name, type and shape together."""
    members: dict[tuple[str, str, tuple[int, ...]], list[int]] = {}
    for index, part in enumerate(parts):
        for name, array in part.arrays.items():
            members.setdefault((name, array.dtype.str, array.shape), []).append(index)
    numbers: Counter[str] = Counter()
    stacked: Arrays = {}
    for (name, _, _), indices in members.items():
        key = f"{name}.{numbers[name]}"
        numbers[name] += 1
        stacked[key] = np.stack([parts[index][name] for index in indices])
        stacked[f"{key}.parts"] = np.asarray(indices)
    return stacked


def _by_part(stacked: Arrays) -> dict[int, Arrays]:
    """What :func:`_stacked` has put together: index of the part -> its arrays."""
    found: dict[int, Arrays] = {}
    for key, indices in stacked.items():
        if key.endswith(".parts"):
            rows = key.removesuffix(".parts")
            for index, array in zip(indices, stacked[rows], strict=True):
                found.setdefault(int(index), {})[rows.rpartition(".")[0]] = np.asarray(array)
    return found
