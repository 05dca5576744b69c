"""Interrupts, kills, a full disk, two runs at once: nothing half-written passes for whole, finished parts are kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ntk_nonlocal.results import read_arrays, read_json

if os.name != "posix":
    pytest.skip("signals and file-size limits of POSIX", allow_module_level=True)

# The command line with the experiment "dynamics" made small: 8x8 pixels, twelve parts.
_REPRODUCE = """
import dataclasses, sys
from ntk_nonlocal.cli import run
from ntk_nonlocal.reproduce import dynamics

real = dynamics.configure

def configure(preset, pictures):
    small = {"architectures": ("cnn:depth=1",), "widths": (8, 32), "seeds": (3, 3), "controls": ()}
    return dataclasses.replace(real(preset, pictures), picture=pictures.picture("smooth", 8), steps=(1, 10), **small)

dynamics.configure = configure
sys.argv[1:1] = ["reproduce", "dynamics", "--out"]
run()
"""
_MAIN = "from ntk_nonlocal.cli import run; run()"
_PATIENCE = 120


def _environment(cache: Path) -> dict[str, str]:
    """Compiled programs are shared by the processes of a test."""
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def _start(script: str, *arguments: str | Path, cache: Path) -> subprocess.Popen[str]:
    """A run that heeds the signals which end it, though nohup or a shell's background may have started these tests."""
    heeded = "import signal; [signal.signal(n, signal.SIG_DFL) for n in (signal.SIGINT, signal.SIGHUP)]; "
    heeded += "signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", heeded + script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment(cache))


def _wait_for_parts(process: subprocess.Popen[str], folder: Path, count: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while len(list(folder.glob("parts/*.json"))) < count:
        assert process.poll() is None, f"the run ended before it could be stopped: {process.communicate()[1]}"
        assert time.monotonic() < deadline, "the run made no part in time"
        time.sleep(0.002)


def _stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("parts/*.json")}


@pytest.mark.slow
def test_a_reproduction_survives_interrupts_kills_and_two_runs_at_once(tmp_path: Path) -> None:
    """Stopped by SIGINT, SIGTERM and SIGKILL in turn, damaged, then finished by two runs into one folder."""
    folder, cache = tmp_path / "out", tmp_path / "cache"
    for count, (number, code) in enumerate(((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9))):
        before = _stamps(folder)
        process = _start(_REPRODUCE, folder, cache=cache)
        _wait_for_parts(process, folder, count + 1)
        process.send_signal(number)
        _, said = process.communicate(timeout=_PATIENCE)
        assert process.returncode == code, said
        assert "Traceback" not in said
        assert not (folder / "dynamics.json").exists()
        after = _stamps(folder)
        assert before.items() <= after.items(), "finished parts were computed again"
        assert len(after) < 12, "stopped too late"
        for path in folder.glob("parts/*.json"):  # what is there is whole
            assert read_json(path)["digest"] and read_arrays(path.with_suffix(".npz"))
    damaged = next(folder.glob("parts/*.json"))
    damaged.write_bytes(damaged.read_bytes()[:-30])
    runs = [_start(_REPRODUCE, folder, cache=cache) for _ in range(2)]
    for run in runs:
        _, said = run.communicate(timeout=2 * _PATIENCE)
        assert run.returncode == 0, said
        assert "Traceback" not in said
        assert f"{damaged.name} is damaged" in said or _stamps(folder)[damaged.name]
    assert len(_stamps(folder)) == 12
    whole = read_json(folder / "dynamics.json")
    assert len(whole["parts"]) == 12 and (folder / "report.html").stat().st_size > 1000
    untouched = tmp_path / "untouched"
    alone = _start(_REPRODUCE, untouched, cache=cache)
    alone.communicate(timeout=_PATIENCE)
    ours, theirs = read_arrays(folder / "dynamics.npz"), read_arrays(untouched / "dynamics.npz")
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(path)
    return path


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -9)]
)
def test_denoise_stopped_in_the_middle_leaves_the_old_file(
    photo: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    target = tmp_path / "clean.png"
    target.write_bytes(b"an older file")
    options = ("--method", "adam", "--steps", "1000000", "--width", "4", "--arch", "cnn:depth=1", "-vv")
    process = _start(_MAIN, "denoise", photo, "-o", target, "--sigma", "10", *options, cache=tmp_path / "cache")
    assert process.stderr is not None and "photo.png" in process.stderr.readline()  # the first line of progress
    time.sleep(1.0)
    process.send_signal(number)
    _, said = process.communicate(timeout=_PATIENCE)
    assert process.returncode == code, said
    assert "Traceback" not in said
    assert target.read_bytes() == b"an older file"
    assert {path.name for path in tmp_path.iterdir()} - {"cache"} == {"photo.png", "clean.png"}


def test_an_interrupted_compilation_ends_with_the_promised_code(photo: Path, tmp_path: Path) -> None:
    process = _start(_MAIN, "denoise", photo, "-o", tmp_path / "clean.png", "--no-compile-cache", cache=tmp_path)
    assert process.stderr is not None and "photo.png" in process.stderr.readline()
    time.sleep(1.0)  # now and for seconds to come it compiles
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 130 and "interrupted" in said
    assert not (tmp_path / "clean.png").exists()


def _with_full_disk(*arguments: str | Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """The command where no file may grow beyond 200 bytes."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200)); {_MAIN}"
    command = [sys.executable, "-c", limit, *map(str, arguments), "--no-compile-cache"]
    environment = {name: value for name, value in _environment(cache).items() if "CACHE" not in name}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=_PATIENCE)


def test_a_full_disk_is_one_line_and_leaves_the_old_file(photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "clean.png"
    target.write_bytes(b"an older file")
    done = _with_full_disk("denoise", photo, "-o", target, "--method", "tv", "--quiet", cache=tmp_path / "cache")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "clean.png" in done.stderr
    assert target.read_bytes() == b"an older file"
    assert {path.name for path in tmp_path.iterdir()} == {"photo.png", "clean.png"}


def test_a_full_disk_leaves_no_half_of_a_result(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    small = ("--arch", "vanilla_cnn:kernel_size=3", "--crop", "8", "--width", "8", "--steps", "6", "--quiet")
    done = _with_full_disk("compare", *small, "--out", folder, cache=tmp_path / "cache")
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "too large" in done.stderr.lower()
    assert list(folder.iterdir()) == []


def test_results_that_were_cut_off_are_named_and_not_drawn(tmp_path: Path) -> None:
    (tmp_path / "dynamics.json").write_text(json.dumps({"parts": []})[:-3])
    process = _start(_MAIN, "reproduce", "dynamics", "--draw", "--out", tmp_path, cache=tmp_path / "cache")
    out, said = process.communicate(timeout=_PATIENCE)
    assert (process.returncode, out) == (2, "")
    assert "dynamics.json is not whole" in said and said.count("\n") == 1
