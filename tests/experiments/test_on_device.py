"""The run for a lent accelerator, at toy size on the CPU: whole, resumed, and in few small files."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ntk_nonlocal.results import read_json

_ROOT = Path(__file__).parents[2]


def test_every_step_is_stored_and_none_is_made_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = os.environ | {"PYTHONPATH": str(_ROOT), "JAX_PLATFORMS": "cpu"}
    script = str(_ROOT / "experiments" / "on_device.py")
    # float64 is switched on for a whole process
    subprocess.run([sys.executable, script, "prepare", "--toy", "--folder", str(tmp_path)], env=environment, check=True)
    monkeypatch.syspath_prepend(str(_ROOT / "experiments"))
    on_device = importlib.import_module("on_device")
    out = tmp_path / "results"
    on_device.main(["run", "--toy", "--folder", str(tmp_path), "--out", str(out), "--minutes", "0"])
    assert not list(out.iterdir())  # no time, no step
    kept = [step for step in on_device.steps(tmp_path, True) if not step[0].startswith("table") or "vanilla" in step[0]]
    monkeypatch.setattr(on_device, "steps", lambda folder, toy: iter(kept))
    on_device.main(["run", "--toy", "--folder", str(tmp_path), "--out", str(out), "--minutes", "10"])
    files = {path.stem: read_json(path) for path in out.iterdir()}
    assert set(files) == {"agreement", "throughput", "table", "figure-4"}
    assert sum(len(content["steps"]) for content in files.values()) == len(kept)
    differences = {k: v for k, v in files["agreement"]["steps"]["agreement"].items() if k != "wall_seconds"}
    assert len(differences) == 12 and max(differences.values()) < 1e-4
    assert all(step["share"] > 0 for step in files["throughput"]["steps"].values())
    before = {path: path.read_bytes() for path in out.iterdir()}
    capsys.readouterr()
    on_device.main(["run", "--toy", "--folder", str(tmp_path), "--out", str(out), "--minutes", "10"])
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    assert capsys.readouterr().out.strip() == '{"left": []}'
