"""The kernel benchmark: both sides compute the same, the counts are right, and verdicts follow from the numbers."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ntk_nonlocal.results import plain, read_json

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

import _bench_child as child
import _bench_report as report
import _bench_rows as rows
import bench_kernel

SMALL = "cnn:depth=1,kernel_size=3"


def in_this_process(spec: child.Spec) -> dict[str, Any]:
    """As a child process would answer, if neural-tangents never had enough memory."""
    if spec.what == "calls" and spec.method == "neural-tangents":
        return {"failed": "ValueError: needs more memory"}
    answer: dict[str, Any] = json.loads(json.dumps(plain(child.measure(child.Spec(**asdict(spec))))))
    return answer


@pytest.mark.parametrize("operation", ["product", "matrix"])
def test_both_sides_compute_the_same(operation: Any) -> None:
    spec = child.Spec("calls", architecture=SMALL, side=6, operation=operation)
    image = child.images_of(6, 1)[0]
    columns = np.random.default_rng(1).normal(size=(36, 3)).astype(np.float32)
    ours, theirs = (np.asarray(run(spec)(image, columns)) for run in (child.run_engine, child.run_neural_tangents))
    # compiled, neural-tangents has errors of 1e-4 on the diagonal
    np.testing.assert_allclose(ours, theirs, atol=2e-3 * np.abs(ours).max())
    assert ours.shape == ((36, 3) if operation == "product" else (36, 36))


def test_images_are_the_same_every_time_and_differ_from_each_other() -> None:
    first, second = child.images_of(8, 2)
    assert np.array_equal(first, child.images_of(8, 1)[0])
    assert not np.array_equal(first, second)
    assert first.shape == (8, 8, 3) and first.dtype == np.float32


def test_pair_layers_count_ordered_pairs_per_nonlinearity() -> None:
    assert child.pair_layers("cnn:depth=3", 8) == 3 * 64**2
    # two resolutions: 8x8 at both ends, 4x4 between
    assert child.pair_layers("autoencoder:levels=1", 8) == 2 * 64**2 + 16**2
    place = np.stack(np.meshgrid(np.arange(6), np.arange(6)), -1).reshape(-1, 2)
    near = (np.abs(place[:, None] - place[None]) < 3).all(-1).sum()
    assert child.pair_layers(SMALL, 6, window=3) == near


def test_peak_memory_is_that_of_the_block_that_takes_it() -> None:
    memory = child.Memory()
    np.ones(1 << 23)  # 64 MiB, freed at once
    assert 60 << 20 < memory.above_start() < 200 << 20


def test_a_ratio_is_that_of_medians() -> None:
    ours, theirs = (
        {"seconds": {"warm": times}, "cpu_seconds": {"warm": [4.0]}} for times in ([1.0, 2.0, 9.0], [100.0])
    )
    methods = {"engine": ours, "neural-tangents": theirs}
    line = bench_kernel.judged(rows.Target("warm", limit=50), methods, "cpu")
    assert (line["ratio"], line["ratio_of_best"], line["cpu_ratio"]) == (50, 100, 1)
    assert line["met"] is True
    assert bench_kernel.judged(rows.Target("warm", limit=51), methods, "cpu")["met"] is False
    # a target for one kind of machine is not judged on another
    assert bench_kernel.judged(rows.Target("warm", limit=50), methods, "gpu")["met"] is None


@pytest.mark.parametrize("failing", ["engine", "neural-tangents"])
def test_a_failure_is_a_missed_target(failing: str) -> None:
    well = {"seconds": {"warm": [1.0]}, "cpu_seconds": {"warm": [1.0]}}
    methods = {"engine": well, "neural-tangents": well, failing: {"failed": "why"}}
    line = bench_kernel.judged(rows.Target("warm", limit=0.5), methods, "cpu")
    assert line["met"] is False and line["ratio"] is None


def test_limits_from_above() -> None:
    methods = {"engine": {"peak_bytes": 3e9}}
    judge = [bench_kernel.judged(rows.Target("memory", "value", x, False), methods, "cpu")["met"] for x in (2.9, 3.1)]
    assert judge == [False, True]


def test_processes_are_merged_and_one_failure_is_kept() -> None:
    part = {"seconds": {"cold": [1.0]}, "peak_bytes": 5, "load_after": [1.0]}
    other = {"seconds": {"cold": [3.0]}, "peak_bytes": 4, "load_after": [2.0]}
    assert bench_kernel.merged([part, other])["seconds"] == {"cold": [1.0, 3.0]}
    assert bench_kernel.merged([part, other])["peak_bytes"] == 5
    assert bench_kernel.merged([part, {"failed": "why"}]) == {"failed": "why"}


def test_a_child_process_answers_and_says_why_it_failed() -> None:
    assert "jax" in bench_kernel.run_child(child.Spec("environment"))["versions"]
    failed = bench_kernel.run_child(child.Spec("calls", architecture="cnn:deep=3", side=4))["failed"]
    assert "depth" in failed


def test_the_whole_way_from_measurement_to_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny, and in this process: measured, judged, stored, and written as a table and a figure."""
    calls = rows.both(child.Spec("calls", architecture=SMALL, side=6, calls=1))
    errors = {"engine": child.Spec("error", architecture=SMALL, side=6)}
    targets = rows.Target("warm", limit=1), rows.Target("throughput", "value", 1)
    small = [
        rows.Case("speed", "scaling", "speed", calls, targets, series=("pixels", 36, "exact")),
        rows.Case(
            "error",
            "error",
            "error",
            errors,
            (rows.Target("engine float32", "value", 1e-5, False), rows.Target("engine float64", "value", 1e-10, False)),
        ),
        rows.Case("gpu", "gpu", "gpu", {}, platform="gpu"),
    ]
    monkeypatch.setattr(bench_kernel, "cases", lambda *_: small)
    monkeypatch.setattr(bench_kernel, "run_child", in_this_process)
    out = tmp_path / "bench_kernel.json"
    options = ["--out", str(out), "--figures", str(tmp_path)]
    assert bench_kernel.main(["--only", "speed", *options]) == 0
    before = read_json(out)["cases"]["speed"]
    assert bench_kernel.main(["--only", "error", "--only", "gpu", *options]) == 0
    stored = read_json(out)["cases"]
    assert stored["speed"] == before
    assert [figure["met"] for figure in stored["speed"]["figures"]] == [False, True]
    assert [figure["met"] for figure in stored["error"]["figures"]] == [True, True]
    text = out.with_suffix(".md").read_text()
    assert "**missed**" in text and "failed: ValueError: needs more memory" in text
    assert "skipped: JAX sees no GPU" in text and "jax" in text
    assert list(report.figure_of({"cases": stored})["pixels"]) == ["engine, exact"]
    assert [path.suffix for path in tmp_path.glob("kernel_scaling.*")] == [".png"]


def test_curves_are_ordered_medians_without_what_failed() -> None:
    def case(x: int, *times: float) -> dict[str, Any]:
        result = {"seconds": {"warm": times}} if times else {"failed": "why"}
        return {"series": ["depth", x, "exact"], "methods": {"engine": result}}

    stored = {"cases": {"b": case(8, 3.0, 2.0, 9.0), "a": case(1, 1.0), "c": case(16), "d": {"series": None}}}
    assert report.figure_of(stored) == {"depth": {"engine, exact": [(1, 1.0), (8, 3.0)]}}


def test_an_unknown_name_ends_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_kernel.main(["--only", "speed"]) == 2
    assert capsys.readouterr().err.startswith("error: nothing is called 'speed'")


def test_every_case_of_the_table_fits_its_image() -> None:
    from ntk_nonlocal.architecture import output_signal, parse_architecture

    found = rows.cases(quick=False)
    assert len({case.name for case in found}) == len(found)
    for case in found:
        for spec in case.specs.values():
            assert output_signal(parse_architecture(spec.architecture), (spec.side, spec.side)).size
            assert spec.what in child.MEASUREMENTS and spec.side <= 512
    assert {case.group for case in found} == set(rows.GROUPS)
    assert {case.name for case in rows.cases(quick=True)} & {
        case.name for case in found if case.group == "long"
    } == set()
