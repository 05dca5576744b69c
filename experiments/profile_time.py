"""Where the time goes: the start of an exact kernel, and one step of training, as stacked bars.

    python experiments/profile_time.py            about two minutes on 2 cores
    python experiments/profile_time.py --draw     only the figure, from the stored results

The start: a fresh process multiplies the kernel of ``autoencoder(levels=2)`` on 64x64 pixels once, with an empty folder
of compiled programs and with the folder that this left, by the events that JAX reports. The step:
``autoencoder(levels=3)`` under Adam, by XLA's own record of what every thread ran, sorted by the operation that each
piece was made for.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ntk_nonlocal.results import environment, plain, read_json, write_json

_HERE = Path(__file__).resolve().parent
RESULTS = _HERE / "results" / "profile_time.json"
FIGURE = _HERE.parent / "figures" / "profile_time.png"
ARCHITECTURE = "autoencoder:levels=2"
SIZES = ((64, 64), (128, 64), (128, 128))  # (side, channels)
_STEPS = 20
KINDS = (
    "convolutions, forward",
    "convolutions, gradients",
    "weights' gradients, by rows",
    "resampling",
    "elementwise, Adam",
    "without a name",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    parser.add_argument("--child", metavar="SPEC", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        spec = json.loads(options.child)
        print(json.dumps(plain(start() if spec is None else step(*spec))))
        return
    if not options.draw:
        starts = {}
        with tempfile.TemporaryDirectory() as folder:
            for cache in ("empty cache", "filled cache"):
                print(f"start, {cache}", flush=True)
                starts[cache] = _child(None, folder)
        steps = {}
        for side, channels in SIZES:
            print(f"training step, {side}x{side}, {channels} channels", flush=True)
            steps[f"{side}x{side}, {channels} channels"] = _child([side, channels], None)
        write_json(RESULTS, {"start": starts, "step": steps, "environment": environment()})
    draw()


def _child(spec: list[int] | None, cache: str | None) -> Any:
    settings = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    if cache:
        settings = {
            "JAX_ENABLE_COMPILATION_CACHE": "true",
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
    command = [sys.executable, str(Path(__file__).resolve()), "--child", json.dumps(spec)]
    done = subprocess.run(command, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def start() -> dict[str, float]:
    """Seconds of every part of a process up to the first product."""
    import numpy as np

    began = time.perf_counter()
    import jax

    with_jax = time.perf_counter()
    import jax.monitoring

    spent: collections.Counter[str] = collections.Counter()
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, seconds, **_: spent.update({name.rpartition("/")[2]: seconds})
    )
    from ntk_nonlocal.architecture import parse_architecture
    from ntk_nonlocal.kernels import tangent_kernel

    rng = np.random.default_rng(0)
    image, columns = (rng.random(shape, np.float32) for shape in ((64, 64, 3), (4096, 3)))
    op = tangent_kernel(parse_architecture(ARCHITECTURE), image, backend="lag", memory_plan="recompute")
    jax.block_until_ready(op @ columns)
    end = time.perf_counter()
    found = {
        "importing JAX": with_jax - began,
        "tracing": spent["jaxpr_trace_duration"],
        "lowering": spent["jaxpr_to_mlir_module_duration"],
        "compiling, or loading": spent["backend_compile_duration"],
    }
    return {**found, "running, and the rest": end - began - sum(found.values())}


def step(side: int, channels: int) -> dict[str, float]:
    """Milliseconds of a step, of all cores together, by what they are spent on."""
    import jax
    import numpy as np

    import ntk_nonlocal as nnl
    from ntk_nonlocal.networks import steps

    noisy = np.random.default_rng(0).random((side, side, 3), np.float32)
    network = nnl.to_flax(nnl.autoencoder(levels=3), width=channels, out_channels=3, parameterization="standard")
    program: list[str] = []
    one_step = steps._one_step

    def recorded(*arguments: Any) -> Any:
        if not program:
            program.append(one_step.lower(*arguments).compile().as_text())
        return one_step(*arguments)

    def run(steps: int = _STEPS) -> Any:
        begun = np.array([time.perf_counter(), time.process_time()])
        nnl.train(network, nnl.noise_input((side, side)), noisy, optimizer="adam", steps=steps, record_every=_STEPS)
        return np.array([time.perf_counter(), time.process_time()]) - begun

    steps._one_step = recorded
    run()
    # without what comes before the steps
    wall, processor = np.median([run(5 * _STEPS) - run() for _ in range(3)], axis=0) / (4 * _STEPS) * 1e3
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            run()
        with gzip.open(next(Path(folder).rglob("*.trace.json.gz"))) as file:
            events = json.load(file)["traceEvents"]
    made_for = {}
    for line in program[0].splitlines():
        if named := re.match(r"\s*(?:ROOT )?%?([\w.\-]+) = ", line):
            operation = re.search(r'op_name="([^"]*)"', line)
            made_for[named[1]] = operation[1] if operation else ""
    spent: collections.Counter[str] = collections.Counter()
    for event in events:
        name = event.get("name", "")
        # what holds other pieces is not counted again
        if event.get("ph") == "X" and name in made_for and not re.match("cond|while|call", name):
            spent[_kind(made_for[name])] += event["dur"] / 1e3 / _STEPS
    found = {kind: spent[kind] for kind in KINDS}
    found["by threads that XLA does not record"] = max(processor - sum(found.values()), 0)
    return {**found, "idle": max((os.cpu_count() or 1) * wall - processor, 0)}


def _kind(operation: str) -> str:
    backward = "transpose(" in operation
    if "/cond/" in operation:
        return "weights' gradients, by rows"
    if "conv_general_dilated" in operation:
        return "convolutions, gradients" if backward else "convolutions, forward"
    if "_resize" in operation or "reduce_window" in operation or "reduce_sum" in operation:
        return "resampling"
    return "elementwise, Adam" if operation else "without a name"


def draw() -> None:
    from ntk_nonlocal.plotting import new_figure, save_figure

    stored = read_json(RESULTS)
    figure = new_figure(9.5, 5.2)
    above, below = figure.subplots(2, 1, height_ratios=(2, 3))
    _bars(above, stored["start"], "seconds", "A fresh process up to the first product of autoencoder(2), 64x64")
    _bars(below, stored["step"], "milliseconds, all cores together", "A step of Adam, autoencoder(3)")
    figure.suptitle(f"Where the time goes: {stored['environment']['processor']}", fontsize=10)
    print(save_figure(figure, FIGURE, small=True))


def _bars(axes: Any, rows: dict[str, dict[str, float]], unit: str, title: str) -> None:
    colours = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#CC79A7", "#777777", "#F0E442", "#DDDDDD")
    labels = list(next(iter(rows.values())))
    left = dict.fromkeys(rows, 0.0)
    for colour, label in zip(colours, labels, strict=False):
        values = [parts[label] for parts in rows.values()]
        axes.barh(list(rows), values, left=list(left.values()), color=colour, label=label, edgecolor="white")
        for place, (name, value) in enumerate(zip(rows, values, strict=True)):
            if value > 0.06 * max(sum(parts.values()) for parts in rows.values()):
                dark = colour in ("#0072B2", "#009E73")
                axes.text(
                    left[name] + value / 2, place, f"{value:.2g}" if value < 10 else f"{value:.0f}", fontsize=8,
                    ha="center", va="center", color="white" if dark else "black",
                )  # fmt: skip
            left[name] += value
    axes.invert_yaxis()
    axes.set_xlabel(unit, fontsize=8)
    axes.set_title(title, fontsize=9, loc="left")
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
