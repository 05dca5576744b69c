"""The table and the figure of the kernel benchmark, from its stored results alone."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_AXES = ("pixels", "depth", "kernel size", "window")

Point = tuple[float, float]
_GREY = "#8C8C8C"


# --- the table -------------------------------------------------------------------------------------------------------


def table(results: dict[str, Any]) -> str:
    """The results as Markdown: one line per figure, and what they were measured on."""
    found = results["cases"]
    lines = [
        "# The exact kernel: engine and neural-tangents",
        "",
        "Written by `experiments/bench_kernel.py`. Median over repetitions; cold: fresh process, compilation included; "
        "warm: later calls on other images; ratios are neural-tangents over engine, by wall time and by processor time "
        "(CPU); memory above the process's size after one small compiled call; throughput in ordered pixel-pair-layers "
        "per second; errors relative to the diagonal, against neural-tangents run eagerly in float64.",
        "",
        "| case | figure | engine | neural-tangents | ratio | ratio (CPU) | target | |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    notes = []
    for name, case in found.items():
        if case.get("skipped"):
            lines.append(f"| {case['title']} | | | | | | | skipped: {case['skipped']} |")
        for figure in case["figures"]:
            lines.append(_table_line(case, figure))
        for method, result in case.get("methods", {}).items():
            if "failed" in result:
                notes.append(f"* `{name}`, {method}: failed: {result['failed']}")
    if not found:
        return "\n".join([*lines, ""])
    return "\n".join([*lines, "", *_measured_on(found), *(["", "Failures:", "", *notes] if notes else []), ""])


def _table_line(case: dict[str, Any], figure: dict[str, Any]) -> str:
    values = figure["values"]
    ours, theirs = (
        _number(values[method], figure["figure"]) if method in values else ""
        for method in ("engine", "neural-tangents")
    )
    if case["group"] == "error":  # both methods are measured by one process
        errors = case["methods"]["engine"].get("errors", {})
        other = errors.get(figure["figure"].replace("engine", "neural-tangents"))
        theirs = f"{other['largest']:.1e} (compiled)" if other else ""
    ratios = [f"{ratio:.1f}x" if (ratio := figure[name]) is not None else "" for name in ("ratio", "cpu_ratio")]
    limit, target = figure["limit"], ""
    if limit is not None:
        amount = f"{limit:g}x" if figure["compare"] == "ratio" else _number(limit, figure["figure"])
        target = f"{'≥' if figure['at_least'] else '≤'} {amount}"
    verdict = {None: "", True: "met", False: "**missed**"}[figure["met"]]
    name = figure["figure"].replace("engine ", "error ")
    return f"| {case['title']} | {name} | {ours} | {theirs} | {ratios[0]} | {ratios[1]} | {target} | {verdict} |"


def _number(value: float | None, figure: str) -> str:
    if value is None:
        return "failed"
    if figure == "memory":
        return f"{value:.3g} GB"
    if figure == "throughput" or figure.startswith("engine"):
        return f"{value:.1e}"
    if figure.endswith("share"):
        return f"{100 * value:.0f} %"
    return f"{value:.3g} s"


def _measured_on(found: dict[str, Any]) -> list[str]:
    """One line per machine and set of versions."""
    machines: dict[str, list[dict[str, Any]]] = {}
    for case in found.values():
        at = case["environment"]
        versions = ", ".join(f"{name} {at['versions'].get(name)}" for name in ("jax", "jaxlib", "neural-tangents"))
        device = "" if at["backend"] == "cpu" else f"{at['device']}; "
        machine = f"{device}{at['cpu']}, {at['cpus']} cores, {at['memory_bytes'] / 2**30:.0f} GiB"
        text = f"{machine}; Python {at['python']}, {versions}"
        machines.setdefault(text, []).append(case)
    lines = []
    for text, its_cases in machines.items():
        parts = [part for case in its_cases for part in case.get("methods", {}).values() if "failed" not in part]
        if parts:
            loads = [part[when][0] for part in parts for when in ("load_before", "load_after")]
            dates = sorted(part["started"][:10] for part in parts)
            when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
            text += f"; {when}; load average {min(loads):.1f} to {max(loads):.1f} (the measurement's own included)"
        lines.append(f"Measured on {text}.")
    return lines


# --- the figure ------------------------------------------------------------------------------------------------------


def figure_of(results: dict[str, Any]) -> dict[str, dict[str, list[Point]]]:
    """Axis -> curve -> (x, median warm seconds), from the cases that are points of the figure."""
    curves: dict[str, dict[str, list[Point]]] = {}
    for case in results["cases"].values():
        if not case["series"]:
            continue
        axis, x, curve = case["series"]
        for method, result in case.get("methods", {}).items():
            if "failed" not in result:
                label = f"engine, {curve}" if method == "engine" else method
                points = curves.setdefault(axis, {}).setdefault(label, [])
                points.append((x, statistics.median(result["seconds"]["warm"])))
    return {axis: {label: sorted(points) for label, points in found.items()} for axis, found in curves.items()}


def draw(results: dict[str, Any], path: Path) -> Path:
    """The figure, written to the path: how the time of a product grows."""
    from ntk_nonlocal.plotting import new_figure, save_figure, style

    curves = figure_of(results)
    with style():
        figure = new_figure(10.5, 3.4)
        panels = figure.subplots(1, len(_AXES), sharey=True)
        shown: dict[str, Line2D] = {}
        for axes, axis in zip(panels, _AXES, strict=True):
            shown |= _panel(axes, axis, curves.get(axis, {}), _setting(results, axis))
        panels[0].set_ylabel("seconds of op @ V, 3 columns, warm")
        figure.legend(list(shown.values()), list(shown), loc="outside lower center", ncols=len(shown))
        written: Path = save_figure(figure, path, small=True)
    return written


def _panel(axes: Axes, axis: str, curves: dict[str, list[Point]], setting: str) -> dict[str, Line2D]:
    """Draws one panel; gives its lines by what the legend calls them."""
    from matplotlib.ticker import NullLocator

    from ntk_nonlocal.plotting import BLUE, GREEN, RED

    axes.set_title(setting)
    axes.set_yscale("log")
    axes.set_xscale("log", base=2)
    shown = {}
    for label, points in sorted(curves.items()):
        windowed = "window" in label or axis == "window"
        name = "engine, search window" if windowed else label
        colour, marker = (RED, "s") if label == "neural-tangents" else (GREEN, "^") if windowed else (BLUE, "o")
        (shown[name],) = axes.plot(*zip(*points, strict=True), color=colour, marker=marker)
    places = sorted({x for points in curves.values() for x, _ in points})
    if axis == "pixels":
        _guide(axes, curves.get("engine, exact", []), 2, "∝ pixels²", ":")
        _guide(axes, curves.get("engine, window 16", []), 1, "∝ pixels", "--")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower right", fontsize=8)
        places = [x for x in places if round(x**0.5) in (16, 32, 64, 128, 256)]
        axes.set_xticks(places, [f"{round(x**0.5)}²" for x in places])
    else:
        axes.set_xticks(places, [f"{x:g}" for x in places])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(axis)
    return shown


def _guide(axes: Axes, points: list[Point], power: int, label: str, line: str) -> None:
    """A thin line of this slope through the last point, and what it stands for."""
    if len(points) < 2:
        return
    last_x, last_y = points[-1]
    guide = [(x, last_y * (x / last_x) ** power) for x, _ in points]
    axes.plot(*zip(*guide, strict=True), color=_GREY, linestyle=line, linewidth=1, label=label)


def _setting(results: dict[str, Any], axis: str) -> str:
    """What a panel holds fixed, as its measurements say."""
    specs = [
        case["methods"]["engine"]["spec"]
        for case in results["cases"].values()
        if case["series"] and case["series"][0] == axis and "methods" in case
    ]
    if not specs:
        return "not measured"
    side = f", {specs[0]['side']}x{specs[0]['side']}" if axis != "pixels" else ""
    return {"depth": "cnn(depth, 3)", "kernel size": "cnn(3, kernel size)"}.get(axis, "cnn(3, 3)") + side
