"""Finished parts of the poster's whole picture: stored once each, without images, and drawn."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ntk_nonlocal.networks import digest
from ntk_nonlocal.reproduce.parts import Measured, finished
from ntk_nonlocal.results import write_arrays, write_json

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

import whole_picture


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script's own folders are left alone."""
    results = tmp_path / "results"
    monkeypatch.setattr(whole_picture, "RESULTS", results)
    monkeypatch.setattr(whole_picture, "STORED", results / "reproduce-paper")
    monkeypatch.setattr(whole_picture, "FIGURES", tmp_path / "figures")
    (results / "reproduce-paper" / "parts").mkdir(parents=True)


def run(optimizer: str, psnr: list[float], code: str = "a", day: int = 1) -> Measured:
    picture = {"name": "House", "size": 256, "noise_seed": 0}
    settings = {"picture": picture, "architecture": "autoencoder:levels=3", "input": "noise", "optimizer": optimizer}
    arrays = {
        "psnr": np.asarray(psnr), "steps": np.arange(len(psnr)), "output": np.full((256, 256, 3), 0.5, np.float16)
    }  # fmt: skip
    facts = {"name": "n", "kind": "training", "settings": settings, "code": code, "seconds": 1.0}
    facts["finished"] = f"2026-11-0{day}"
    return Measured("n", "training", settings, arrays, facts | {"digest": digest(arrays)})


def keep(part: Measured, folder: Path) -> None:
    """As a run keeps it."""
    path = folder / "parts" / f"training-{part.key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(path.with_suffix(".npz"), **part.arrays)
    write_json(path, part.facts)


def test_parts_are_stored_without_images_and_once_for_the_same_settings() -> None:
    for part in (run("adam", [1, 2.0]), run("gd", [3, 4.0]), run("adam", [5, 6.0], code="b", day=3)):
        assert whole_picture.store(part) is not None
    assert whole_picture.store(run("adam", [7, 8.0], code="c", day=2)) is None  # finished before
    stored = {part.settings["optimizer"]: part for part in finished(whole_picture.STORED)}
    assert set(stored) == {"adam", "gd"} and len(list((whole_picture.STORED / "parts").iterdir())) == 4
    assert list(stored["adam"]["psnr"]) == [5, 6] and "output" not in stored["adam"].arrays
    assert stored["adam"].key == run("adam", [5, 6.0], code="b", day=3).key


def test_a_run_is_stored_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in (run("adam", [10, 30.0, 28]), run("gd", [10, 12.0, 16])):
        keep(part, tmp_path / "out")
    monkeypatch.setattr(sys, "argv", ["whole_picture.py", "--out", str(tmp_path / "out")])
    whole_picture.main()
    assert len(finished(whole_picture.STORED)) == 2
    said = capsys.readouterr().out
    for name in ("outputs", "poster", "steps"):
        with Image.open(whole_picture.FIGURES / f"{name}.png") as image:
            assert np.asarray(image.convert("L")).std() > 1
        assert f"{name}.png" in said


def test_a_folder_without_finished_parts_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = run("adam", [1, 2.0])
    settings = small.settings | {"picture": {"name": "House", "size": 64}}
    keep(dataclasses.replace(small, settings=settings, facts=small.facts | {"settings": settings}), tmp_path / "out")
    monkeypatch.setattr(sys, "argv", ["whole_picture.py", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit):
        whole_picture.main()
    assert "no finished parts of House at 256x256" in capsys.readouterr().err
    assert finished(whole_picture.STORED) == []
