"""A stored experiment whose settings were changed: what it has is kept, what it lacks is measured."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ntk_nonlocal.networks import digest
from ntk_nonlocal.reproduce import Pictures, catalogue, load
from ntk_nonlocal.reproduce.experiment import Results, Verdict, save
from ntk_nonlocal.reproduce.measures.sizes import Size, size
from ntk_nonlocal.reproduce.parts import Measured, Part

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

import renew_stored


@dataclass(frozen=True)
class Config:
    widths: tuple[int, ...]


def sizes(config: Config) -> list[Part]:
    return [Part(f"{width} channels", size, Size("cnn:depth=1", width, 3)) for width in config.widths]


def renew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *more: str) -> dict[str, Measured]:
    """The stored 4 and 8 channels, of which the parameters are said to be 1; 8 and 16 are asked for."""
    stored = tmp_path / "stored"
    stored.mkdir(exist_ok=True)
    parts = [
        Measured(
            part.name, part.kind, part.facts["settings"], {"parameters": np.asarray(1)},
            {"name": part.name, **part.facts, "seconds": 1.0, "digest": digest({"parameters": np.asarray(1)})},
        )
        for part in sizes(Config((4, 8)))
    ]  # fmt: skip
    verdict = Verdict(7, "s", "p", "o", "holds", "n")
    save(Results("exact", "full", {}, tuple(parts), "command"), [verdict], stored)
    module = SimpleNamespace(configure=lambda preset, pictures: Config((8, 16)), parts=sizes)
    monkeypatch.setattr(catalogue, "experiment", lambda name: module)
    monkeypatch.setattr(renew_stored, "STORED", stored)
    monkeypatch.setattr(renew_stored, "Pictures", lambda folder: Pictures())
    judged: list[str] = []
    monkeypatch.setattr(renew_stored, "judge", judged.append)
    monkeypatch.setattr(
        sys, "argv", ["renew_stored.py", "exact", "--data", str(tmp_path), "--out", str(tmp_path / "out"), *more]
    )
    renew_stored.main()
    assert judged == ["exact"]
    results = load("exact", stored)
    assert results.command == "command" and results.config == {"widths": [8, 16]}
    return {part.name: part for part in results.parts}


def test_what_is_stored_is_kept_and_what_is_missing_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = renew(monkeypatch, tmp_path)
    assert list(found) == ["8 channels", "16 channels"]
    assert int(found["8 channels"]["parameters"]) == 1 and int(found["16 channels"]["parameters"]) > 100


def test_parts_are_measured_again_where_they_are_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = renew(monkeypatch, tmp_path, "--again", "8 chan")
    assert int(found["8 channels"]["parameters"]) > 50


@pytest.mark.parametrize(("name", "said"), [("table", "has no image_House256rgb.png"), ("vectors", "cannot read")])
def test_what_cannot_be_renewed_is_said_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["renew_stored.py", name, "--data", str(tmp_path), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit):
        renew_stored.main()
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()
