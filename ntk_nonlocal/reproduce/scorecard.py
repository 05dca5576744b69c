"""Eight claims, one line and one verdict each: what the deciding tests of the largest presets say together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ntk_nonlocal.results import read_json

from .catalogue import MODULES
from .experiment import Outcome
from .published import CLAIMS

PRESETS = ("quick", "full", "paper")
_SINGLE = ("exact", "table")  # of which paper has one run of each
# Words and signs, not colours alone.
SIGNS: Mapping[str, str] = {"holds": "✓", "holds in part": "◐", "contradicted": "✗", "undecided": "?"}
# The figure that shows what decides a claim, where it is not called like the experiment.
_FIGURES = {
    ("exact", 4): "exact-psnr", ("exact", 5): "exact-psnr", ("exact", 7): "exact-freedom",
    ("table", 5): "table-steps", ("table", 8): "table-psnr",
    ("features", 5): "features-vectors",
}  # fmt: skip


@dataclass(frozen=True)
class Deciding:
    """A test that decides a claim: the one number, ours beside the published one, and its outcome."""

    number: str
    outcome: Outcome

    def __str__(self) -> str:
        return f"{SIGNS[self.outcome]} {self.number}"


@dataclass(frozen=True)
class Source:
    """An experiment that decides a claim, with the preset and the pictures of its stored results."""

    experiment: str
    preset: str
    picture: str
    claim: int

    @property
    def what(self) -> str:
        """Picture and, of a small one, preset."""
        return ", ".join(filter(None, (self.picture, "quick" if self.preset == "quick" else "")))

    @property
    def figure(self) -> str:
        """The name of its figure's file."""
        return f"reproduce-{self.preset}/{_FIGURES.get((self.experiment, self.claim), self.experiment)}.png"


@dataclass(frozen=True)
class Line:
    """The verdict on a claim: what decides it, and from where; ``others`` counts the outcomes of tests that do not
    decide, ``controls`` those of controls."""

    claim: int
    text: str
    outcome: str
    deciding: tuple[Deciding, ...]
    sources: tuple[Source, ...]
    others: Mapping[str, int]
    controls: Mapping[str, int]

    @property
    def marked(self) -> str:
        """What to write behind the verdict where quick results decide it."""
        presets = {source.preset for source in self.sources}
        return "" if "quick" not in presets else " (quick)" if presets == {"quick"} else " (in part quick)"

    @property
    def beside(self) -> str:
        """How the tests and controls came out that do not decide."""
        texts = [
            f"{kind}: " + ", ".join(f"{count} {SIGNS[outcome]}" for outcome, count in counts.items())
            for kind, counts in (("tests", self.others), ("controls", self.controls))
            if counts
        ]
        return "; ".join(texts)


def largest(folders: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """The stored results of every experiment, of the largest preset that has it, from folders of results.

    Those of the whole picture do not take the place of others with repetitions, of which they have none.
    """
    found: dict[str, dict[str, Any]] = {}
    for folder in folders:
        for name in MODULES:
            path = folder / f"{name}.json"
            if path.exists():
                content = read_json(path)
                known = found.get(name)
                if known is None or _rank(name, content) > _rank(name, known):
                    found[name] = content
    return {name: found[name] for name in MODULES if name in found}


def scorecard(experiments: Mapping[str, Mapping[str, Any]]) -> list[Line]:
    """One line for every claim, "undecided" where nothing was run that decides it."""
    lines = []
    for claim, text in CLAIMS.items():
        own = [
            (name, verdict)
            for name, content in experiments.items()
            for verdict in content["verdicts"]
            if verdict["claim"] == claim
        ]
        deciding = [(name, verdict) for name, verdict in own if verdict["role"] == "deciding"]
        names = dict.fromkeys(name for name, _ in deciding)
        lines.append(
            Line(
                claim,
                text,
                together([verdict["outcome"] for _, verdict in deciding]),
                tuple(Deciding(verdict["number"], verdict["outcome"]) for _, verdict in deciding),
                tuple(Source(name, experiments[name]["preset"], _pictures(experiments[name]), claim) for name in names),
                _count(verdict for _, verdict in own if verdict["role"] == "test"),
                _count(verdict for _, verdict in own if verdict["role"] == "control"),
            )
        )
    return lines


def together(outcomes: Iterable[Outcome]) -> str:
    """One verdict of several: what is open and what is contradicted does not disappear behind what holds."""
    kinds = set(outcomes)
    if not kinds:
        return "undecided"
    if len(kinds) == 1:
        return str(kinds.pop())
    known = kinds - {"undecided"}
    word = str(next(iter(known))) if len(known) == 1 else "holds in part"
    return word + (", part undecided" if "undecided" in kinds else "")


def markdown(lines: Iterable[Line]) -> str:
    """The scorecard as a table, for pages beside the folder ``figures``."""
    rows = ["| claim of the paper | verdict | what decides it | figure |", "| --- | --- | --- | --- |"]
    for line in lines:
        numbers = "<br>".join(map(str, line.deciding)) or "not run"
        figures = "<br>".join(f"[{one.experiment}](figures/{one.figure}), {one.what}" for one in line.sources)
        rows.append(f"| {line.claim}. {line.text} | **{line.outcome}**{line.marked} | {numbers} | {figures} |")
    return "\n".join(rows)


def _pictures(content: Mapping[str, Any]) -> str:
    """The pictures of an experiment's configuration, with their size."""
    known: dict[str, list[str]] = {}
    for value in content["config"].values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, Mapping) and "name" in one and "size" in one:
                names = known.setdefault(f"{one['size']}x{one['size']}", [])
                if one["name"] not in names:
                    names.append(one["name"])
    return ", ".join(f"{' and '.join(names)} {size}" for size, names in known.items())


def _rank(name: str, content: Mapping[str, Any]) -> tuple[bool, int]:
    preset = content["preset"]
    return not (preset == "paper" and name in _SINGLE), PRESETS.index(preset)


def _count(verdicts: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for verdict in verdicts:
        found[verdict["outcome"]] = found.get(verdict["outcome"], 0) + 1
    return dict(sorted(found.items()))
