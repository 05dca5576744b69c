"""Processes that share the measurements of a run: the same results, every part once, nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ntk_nonlocal.cli import main
from ntk_nonlocal.kernels.lag import budget as memory
from ntk_nonlocal.reproduce import Pictures, Store, catalogue, workers
from ntk_nonlocal.reproduce.parts import Part

several_cores = pytest.mark.skipif(workers.most_workers() < 2, reason="there is one core")


def parts() -> list[Part]:
    """The smallest trainings there are."""
    module = catalogue.experiment("dynamics")
    config = module.configure("quick", Pictures())
    return [part for part in module.parts(config) if "width 16 seed" in part.name and "vanilla" in part.name]


def wait_for(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 300
    while len(list((folder / "parts").glob("*.json"))) < count:
        assert time.monotonic() < deadline, "the helper has not completed the parts"
        time.sleep(0.2)


@pytest.mark.slow
@several_cores
def test_helpers_take_parts_and_leave_everything_as_it_was(tmp_path: Path) -> None:
    store, wanted = Store(tmp_path / "two", Pictures()), parts()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    budget = memory.budget(None)
    with workers.helpers(2, store, {"dynamics": wanted}, quiet=True):
        assert memory.budget(None) < 0.75 * budget
        wait_for(tmp_path / "two", len(wanted))  # all of them by the helper
        together = store.complete(wanted)
    assert memory.budget(None) > 0.75 * budget
    if cores is not None:
        assert os.sched_getaffinity(0) == cores
        assert {part.facts["cpus"] for part in together} <= set(range(1, len(cores)))
    alone = Store(tmp_path / "one", Pictures()).complete(wanted)
    for one, other in zip(alone, together, strict=True):
        assert one.name == other.name and one.arrays.keys() == other.arrays.keys()
        for name in one.arrays:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-3)


def test_one_worker_is_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_start", lambda *_: pytest.fail("a process was started"))
    with workers.helpers(1, Store(tmp_path, Pictures()), {}, quiet=True):
        pass


def test_more_workers_than_cores_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    too_many = str(workers.most_workers() + 1)
    assert main(["reproduce", "dynamics", "--workers", too_many, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert f"--workers {too_many}" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@several_cores
def test_workers_share_cores_not_accelerators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    monkeypatch.setattr(workers, "_start", lambda *_: pytest.fail("a process was started"))
    store = Store(tmp_path, Pictures())
    with pytest.raises(ValueError, match="gpu"), workers.helpers(2, store, {}, quiet=True):
        pass
    before = workers._cores()
    with workers.helpers(None, store, {}, quiet=True):
        assert workers._cores() == before


@several_cores
def test_helpers_import_nothing_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "numpy.py").write_text('raise SystemExit("shadowed")')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [path for path in sys.path if path])
    store, wanted = Store(tmp_path / "out", Pictures()), parts()[:1]
    with workers.helpers(2, store, {"dynamics": wanted}, quiet=False):
        wait_for(tmp_path / "out", len(wanted))
    assert "shadowed" not in capfd.readouterr().err


@several_cores
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in /proc")
def test_helpers_end_with_a_run_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ntk_nonlocal", "reproduce", "width", "--workers", "2", "--out", str(tmp_path)]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
    deadline = time.monotonic() + 120
    try:
        while not list((tmp_path / "parts").glob("*.json")):
            assert run.poll() is None and time.monotonic() < deadline, "no part was completed"
            time.sleep(0.2)
        (helper,) = (int(word) for word in children.read_text().split())
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    while Path(f"/proc/{helper}").exists() and "\nState:\tZ" not in Path(f"/proc/{helper}/status").read_text():
        assert time.monotonic() < deadline, "the helper goes on"
        time.sleep(0.2)
