"""The exact kernel engine against neural-tangents: time, memory and error, as a table and a figure.

    python experiments/bench_kernel.py                     everything, about half an hour on 2 cores
    python experiments/bench_kernel.py --quick             without the long cases, fewer repetitions
    python experiments/bench_kernel.py --only product      one group, or one case; may be repeated
    python experiments/bench_kernel.py --draw              only the table and the figure, from the stored results

Every measurement runs in a process of its own, engine and neural-tangents in turn on the same images, without a
persistent compilation cache. Results are stored after every case in --out (JSON), with the table beside it (.md); cases
that are not run again keep their stored results. The figure is drawn from the JSON alone. What the numbers mean stands
in ``_bench_child``; on a busy machine compare the ratios of processor time too, which are stored beside those of wall
time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from _bench_child import Spec, measure
from _bench_report import draw, figure_of, table
from _bench_rows import Case, Target, cases, selected

from ntk_nonlocal.results import atomic_file, plain, read_json, write_json

_HERE = Path(__file__).resolve().parent
_LONGEST = 3600  # seconds of one process


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.child:
        print(json.dumps(plain(measure(Spec(**json.loads(options.child))))))
        return 0
    try:
        if not options.draw:
            options.out = _run(options)
        _report(options.out or _HERE / "results" / "bench_kernel.json", options.figures)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="leave out the long cases, repeat less")
    parser.add_argument("--only", action="append", metavar="NAME", help="a group or a case (see the stored table)")
    parser.add_argument("--side", type=int, help="the side of every image instead of its own: to see that all runs")
    parser.add_argument(
        "--out", type=Path, metavar="JSON", help="default: results/bench_kernel.json, or bench_kernel_gpu.json on a GPU"
    )
    parser.add_argument("--figures", type=Path, default=_HERE.parent / "figures", metavar="FOLDER")
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    parser.add_argument("--child", metavar="SPEC", help=argparse.SUPPRESS)
    return parser


def _run(options: argparse.Namespace) -> Path:
    """Measures, storing after every case; gives the path of the results back."""
    chosen = selected(cases(options.quick, options.side), options.only)
    machine = run_child(Spec("environment"))
    if "failed" in machine:
        raise ValueError(f"JAX does not run here: {machine['failed']}")
    platform = "cpu" if machine["backend"] == "cpu" else "gpu"
    out: Path = options.out or _HERE / "results" / f"bench_kernel{'' if platform == 'cpu' else '_gpu'}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    stored: dict[str, Any] = read_json(out)["cases"] if out.exists() else {}
    print(f"{machine['device']}, {machine['cpu']}, {machine['cpus']} cores; load {os.getloadavg()[0]:.1f}", flush=True)
    for number, case in enumerate(chosen, 1):
        print(f"[{number}/{len(chosen)}] {case.name}: {case.title}", flush=True)
        stored[case.name] = {**_case(case, platform), "quick": options.quick, "environment": machine}
        order = [name for name in (known.name for known in cases(False)) if name in stored]
        order += [name for name in stored if name not in order]
        write_json(out, {"about": "experiments/bench_kernel.py", "cases": {name: stored[name] for name in order}})
    return out


def _case(case: Case, platform: str) -> dict[str, Any]:
    result: dict[str, Any] = {"group": case.group, "title": case.title, "series": case.series}
    if case.platform not in (None, platform):
        print("    skipped: JAX sees no GPU", flush=True)
        return {**result, "skipped": "JAX sees no GPU", "figures": []}
    parts: dict[str, list[dict[str, Any]]] = {method: [] for method in case.specs}
    for process in range(case.processes):
        for method, spec in case.specs.items():
            part = run_child(spec)
            parts[method].append(part)
            which = f" (process {process + 1} of {case.processes})" if case.processes > 1 else ""
            print(f"    {method}{which}: {_line(part)}", flush=True)
    methods = {method: {"spec": asdict(case.specs[method]), **merged(parts[method])} for method in parts}
    figures = [judged(target, methods, platform) for target in case.targets]
    for figure in figures:
        if figure["met"] is not None:
            print(f"    {figure['figure']}: {'met' if figure['met'] else 'MISSED'} ({figure['judged']})", flush=True)
    return {**result, "methods": methods, "figures": figures}


def run_child(spec: Spec) -> dict[str, Any]:
    """The measurement in a fresh process: its numbers, or {"failed": why}."""
    hidden = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [sys.executable, str(_HERE / "bench_kernel.py"), "--child", json.dumps(asdict(spec))]
    try:
        done = subprocess.run(
            command,
            env={**environment, "JAX_ENABLE_COMPILATION_CACHE": "false"},
            capture_output=True,
            text=True,
            timeout=_LONGEST,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {_LONGEST} s"}
    if done.returncode:
        last = next(reversed(done.stderr.strip().splitlines()), "")
        return {"failed": last or f"ended with code {done.returncode} (-9: out of memory)"}
    return json.loads(done.stdout.strip().splitlines()[-1])  # type: ignore[no-any-return]


def merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The processes' results as one: all times, the largest peak, the best throughput, the first failure."""
    failed = next((part for part in parts if "failed" in part), None)
    if failed is not None:
        return failed
    result = dict(parts[0])
    for name in ("seconds", "cpu_seconds"):
        if name in result:
            result[name] = {stage: [t for part in parts for t in part[name][stage]] for stage in result[name]}
    for name in ("peak_bytes", "warm_peak_bytes", "throughput"):
        if name in result:
            result[name] = max(part[name] for part in parts)
    result["load_after"] = parts[-1]["load_after"]
    return result


def judged(target: Target, methods: dict[str, dict[str, Any]], platform: str) -> dict[str, Any]:
    """A target's line: the figure of each method, their ratios, and whether it is met (None: not to be judged)."""
    line: dict[str, Any] = {"figure": target.figure, "limit": target.limit, "at_least": target.at_least}
    values = {method: value_of(result, target.figure) for method, result in methods.items()}
    line.update(values=values, compare=target.compare, ratio=None, cpu_ratio=None, ratio_of_best=None)
    if target.compare == "ratio" and "neural-tangents" in values:
        line["ratio"] = _ratio(values)
        for name, options in (("cpu_ratio", {"times": "cpu_seconds"}), ("ratio_of_best", {"pick": min})):
            if target.figure in methods["engine"].get("seconds", {}):
                other = {m: value_of(result, target.figure, **options) for m, result in methods.items()}
                line[name] = _ratio(other)
    line["judged"] = line["ratio"] if target.compare == "ratio" else values["engine"]
    line["met"] = None
    if target.limit is not None and target.platform in (None, platform):
        found = line["judged"]
        line["met"] = found is not None and (found >= target.limit if target.at_least else found <= target.limit)
    return line


def value_of(
    result: dict[str, Any], figure: str, times: str = "seconds", pick: Any = statistics.median
) -> float | None:
    """A figure of a method's result: a stage's seconds, memory in GB (1e9 bytes), an error, ...; None if it failed."""
    if "failed" in result:
        return None
    if figure in result.get(times, {}):
        return float(pick(result[times][figure]))
    if figure == "memory":
        return float(result["peak_bytes"]) / 1e9
    if figure in result.get("errors", {}):
        return float(result["errors"][figure]["largest"])
    return float(result[figure.replace(" ", "_")])


def _ratio(values: dict[str, float | None]) -> float | None:
    ours, theirs = values["engine"], values["neural-tangents"]
    return None if ours is None or theirs is None or ours <= 0 else theirs / ours


def _line(part: dict[str, Any]) -> str:
    if "failed" in part:
        return f"FAILED: {part['failed']}"
    if "errors" in part:
        return ", ".join(f"{name} {values['largest']:.1e}" for name, values in part["errors"].items())
    stages = [f"{stage} {statistics.median(times):.3f} s" for stage, times in part["seconds"].items()]
    memory = [f"peak {part['peak_bytes'] / 1e9:.2f} GB"] if "peak_bytes" in part else []
    return ", ".join([*stages, *memory, f"load {part['load_after'][0]:.1f}"])


def _report(path: Path, figures: Path) -> None:
    results = read_json(path)
    text = table(results)
    with atomic_file(path.with_suffix(".md")) as file:
        file.write(text.encode())
    print(f"\n{text}\n{path}\n{path.with_suffix('.md')}")
    if figure_of(results):
        figures.mkdir(parents=True, exist_ok=True)
        name = f"kernel_scaling{path.stem.removeprefix('bench_kernel')}.png"
        print(draw(results, figures / name))


if __name__ == "__main__":
    sys.exit(main())
