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


@dataclass(frozen=True)
class Line:
    """The verdict on a claim.

    ``number`` is what decides, ``but`` names the deciding tests that do not hold, ``figures`` are the experiments whose
    figures show it, ``presets`` those that the tests come from; ``others`` counts the outcomes of tests that do not
    decide, ``controls`` those of controls.
    """

    claim: int
    text: str
    outcome: Outcome
    number: str
    but: tuple[str, ...]
    figures: tuple[str, ...]
    presets: tuple[str, ...]
    others: Mapping[str, int]
    controls: Mapping[str, int]

    @property
    def marked(self) -> str:
        """What to write behind the verdict where quick results decide it."""
        return "" if "quick" not in self.presets else " (quick)" if self.presets == ("quick",) else " (in part quick)"


def largest(folders: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """The stored results of every experiment, of the largest preset that has it, from folders of results."""
    found: dict[str, dict[str, Any]] = {}
    for folder in folders:
        for name in MODULES:
            path = folder / f"{name}.json"
            if path.exists():
                content = read_json(path)
                known = found.get(name)
                if known is None or PRESETS.index(content["preset"]) > PRESETS.index(known["preset"]):
                    found[name] = content
    return {name: found[name] for name in MODULES if name in found}


def scorecard(experiments: Mapping[str, Mapping[str, Any]]) -> list[Line]:
    """One line for every claim, "undecided" where nothing was run that decides it."""
    lines = []
    for claim, text in CLAIMS.items():
        own = [
            (name, content["preset"], verdict)
            for name, content in experiments.items()
            for verdict in content["verdicts"]
            if verdict["claim"] == claim
        ]
        deciding = [entry for entry in own if entry[2]["role"] == "deciding"]
        lines.append(
            Line(
                claim,
                text,
                together([verdict["outcome"] for _, _, verdict in deciding]),
                "; ".join(verdict["number"] for _, _, verdict in deciding) or "not run",
                tuple(
                    f"{verdict['statement']}: {verdict['outcome']}"
                    for _, _, verdict in deciding
                    if verdict["outcome"] != "holds"
                ),
                tuple(dict.fromkeys(name for name, _, _ in deciding)),
                tuple(dict.fromkeys(preset for _, preset, _ in deciding)),
                _count(verdict for _, _, verdict in own if verdict["role"] == "test"),
                _count(verdict for _, _, verdict in own if verdict["role"] == "control"),
            )
        )
    return lines


def together(outcomes: list[Outcome]) -> Outcome:
    """Holds where all hold, contradicted where all are, undecided where none tells; else it holds in part."""
    kinds = set(outcomes)
    if len(kinds) == 1:
        return outcomes[0]
    if not kinds or kinds == {"undecided", "contradicted"}:
        return "undecided"
    return "holds in part"


def markdown(lines: list[Line]) -> str:
    """The scorecard as a table."""
    rows = ["| claim of the paper | verdict | what decides it | figures |", "| --- | --- | --- | --- |"]
    for line in lines:
        figures = ", ".join(line.figures)
        rows.append(f"| {line.claim}. {line.text} | **{line.outcome}**{line.marked} | {line.number} | {figures} |")
    return "\n".join(rows)


def _count(verdicts: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for verdict in verdicts:
        found[verdict["outcome"]] = found.get(verdict["outcome"], 0) + 1
    return dict(sorted(found.items()))
