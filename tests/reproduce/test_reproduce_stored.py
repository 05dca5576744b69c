"""The stored results: verdicts and figures follow from the files, and the claims are all judged."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from ntk_nonlocal.reproduce import CRITERIA, catalogue, largest, load, scorecard
from ntk_nonlocal.reproduce.experiment import setting
from ntk_nonlocal.reproduce.published import CLAIMS
from ntk_nonlocal.reproduce.scorecard import together
from ntk_nonlocal.results import plain, read_json

_FOLDER = Path(__file__).parents[2] / "experiments" / "results"
_FIGURES = Path(__file__).parents[2] / "figures"
_STORED = sorted(path for path in _FOLDER.glob("reproduce-*/*.json") if path.stem in catalogue.MODULES)


@pytest.mark.parametrize("path", _STORED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_stored_verdicts_are_those_of_the_stored_arrays(path: Path) -> None:
    verdicts = catalogue.experiment(path.stem).summarise(load(path.stem, path.parent))
    assert plain([dataclasses.asdict(verdict) for verdict in verdicts]) == read_json(path)["verdicts"]


@pytest.mark.parametrize("path", _STORED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_stored_results_can_be_drawn(path: Path, tmp_path: Path) -> None:
    for figure in catalogue.experiment(path.stem).draw(load(path.stem, path.parent), tmp_path):
        assert (tmp_path / f"{figure}.png").stat().st_size > 5000


def test_every_experiment_has_stored_results() -> None:
    assert {path.stem for path in _STORED} == set(catalogue.MODULES)


def test_every_claim_has_a_deciding_verdict_and_every_deciding_verdict_a_criterion() -> None:
    experiments = largest(sorted(_FOLDER.glob("reproduce-*")))
    written = {(one.claim, one.experiment) for one in CRITERIA}
    for line in scorecard(experiments):
        assert line.sources and line.deciding, f"claim {line.claim} is not decided"
        for source in line.sources:
            assert (line.claim, source.experiment) in written
            assert (_FIGURES / source.figure).exists() and re.search(r"^\w+( and \w+)? \d+x\d+", source.what)
    assert {one.experiment for one in CRITERIA} <= set(catalogue.MODULES)
    assert {one.claim for one in CRITERIA} == {0, *CLAIMS}  # 0: the open question


def test_what_does_not_hold_says_what_was_tried() -> None:
    for path in _STORED:
        for verdict in read_json(path)["verdicts"]:
            if verdict["role"] != "control" and verdict["outcome"] in ("contradicted", "undecided"):
                assert verdict["note"], f"{path.stem}: {verdict['statement']}"


def test_no_test_image_is_stored() -> None:
    for path in _STORED:
        results = load(path.stem, path.parent)
        if any(setting(part, "name") in ("House", "Baboon", "Lena") for part in results.parts):
            images = {name for part in results.parts for name, array in part.arrays.items() if array.ndim >= 2}
            assert not {"clean", "noisy", "input"} & images


def test_nothing_disappears_where_several_tests_decide() -> None:
    assert together(["holds", "holds"]) == "holds" and together([]) == "undecided"
    assert together(["contradicted", "contradicted"]) == "contradicted"
    assert together(["holds", "contradicted"]) == together(["holds in part", "holds"]) == "holds in part"
    assert together(["holds", "undecided"]) == "holds, part undecided"
    assert together(["contradicted", "undecided"]) == "contradicted, part undecided"
    assert together(["contradicted", "undecided", "holds"]) == "holds in part, part undecided"
