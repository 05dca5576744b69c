"""What the README says runs, as it stands there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

import ntk_nonlocal as nnl
from ntk_nonlocal import results
from ntk_nonlocal.reproduce import CompareSettings

_ROOT = Path(__file__).parent.parent
_README = _ROOT / "README.md"


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """The names defined by the README's Python blocks, run one after another."""
    blocks = re.findall(r"^```python\n(.*?)^```$", _README.read_text(), re.DOTALL | re.MULTILINE)
    assert blocks
    found: dict[str, Any] = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, str(_README), "exec", dont_inherit=True), found)
    return found


def test_the_ten_lines_denoise(names: dict[str, Any]) -> None:
    best = max(nnl.psnr(z, names["clean"]) for z in nnl.gradient_descent(names["kernel"], names["noisy"], [100, 1000]))
    assert best > nnl.psnr(names["noisy"], names["clean"]) + 2


def test_the_pictures_are_those_of_the_command_with_its_defaults() -> None:
    stored = results.read_json(_ROOT / "experiments" / "results" / "compare" / "result.json")
    assert stored["complete"] and stored["image"] == "bundled"
    assert stored["settings"] == results.plain(CompareSettings().as_dict())


def test_what_the_captions_say_holds_in_the_stored_result() -> None:
    stored = results.read_json(_ROOT / "experiments" / "results" / "compare" / "result.json")
    for one in stored["inputs"].values():
        assert one["adam"]["psnr_at_end"] > one["theory"]["psnr_at_end"] + 3
        assert one["adam"]["distance_to_theory"][-1] > one["gd"]["distance_to_theory"][-1]


def test_it_is_short() -> None:
    assert len(_README.read_text().splitlines()) <= 150


def test_links_lead_to_files() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", _README.read_text())
    local = [target for target in targets if "://" not in target]
    assert local and all((_ROOT / target).exists() for target in local)


def test_the_numbers_are_those_of_the_stored_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(_ROOT / "experiments"))
    numbers = importlib.import_module("readme_numbers")
    text = _README.read_text(encoding="utf-8")
    assert numbers.filled(text) == text, "run python experiments/readme_numbers.py"
