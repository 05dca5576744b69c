"""The fourteen cells of the poster's table beside ours, from stored results."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from . import settings as settings_experiment
from . import table as table_experiment
from .drawing import LABELS
from .exact import best, path
from .experiment import Results, load, setting
from .parts import Measured, finished
from .published import POSTER_PSNR
from .scorecard import PRESETS

NEAR = 0.5  # dB
WHOLE = 256  # the poster's picture has so many rows and columns


def poster_table(folders: Iterable[Path]) -> str:
    """A Markdown table: the poster's number, ours after the last and the best step, and the range over what was tried.

    Of every experiment the largest preset that was run with House counts; in place of its crops, finished parts of the
    whole picture, also where their experiment is not complete.
    """
    known = list(folders)
    whole = _whole(known)
    trained, exact, tried = (_largest(known, name) for name in ("table", "exact", "settings"))
    rows = [
        "| fed with | method | network | poster, 256x256 | ours, last step | ours, best step | range over all that "
        "was tried | "
        "within 0.5 dB | size, experiment |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (source, method, network), published in POSTER_PSNR.items():
        last, top, values, where = _cell(source, method, network, trained, exact, tried)
        runs = _runs(whole, source, method, network)
        if runs:
            ends = [float(run["psnr"][-1]) for run in runs if run.kind == "training"]
            tops = [float(np.max(run["psnr"])) for run in runs]
            last, top = ends[0] if ends else None, tops[0] if ends else max(tops)
            values, where = [*values, *ends, *tops], f"{WHOLE}x{WHOLE}"
        cells = ["" if value is None else f"{value:.1f}" for value in (last, top)]
        spread = f"{min(values):.1f} to {max(values):.1f}" if values else "not run"
        near = [value for value in values if abs(value - published) <= NEAR]
        inside = bool(values) and min(values) - NEAR <= published <= max(values) + NEAR
        said = "yes" if near else ("inside the range" if inside else ("no" if values else ""))
        rows.append(
            f"| {LABELS[source]} | {LABELS.get(method, 'Nystrom')} | {LABELS[network]} | {published} | {cells[0]} | "
            f"{cells[1]} | {spread} | {said} | {where} |"
        )
    return "\n".join(rows)


def simple_filters(folders: Iterable[Path]) -> str:
    """What filters without any network reach on the whole picture, one line of Markdown."""
    found = [part for part in _whole(list(folders)) if part.kind == "baselines"]
    if not found:
        return "Simple filters were not run on the whole picture yet."
    names = {"noisy": "noisy", "blur": "best Gaussian blur", "shrinkage": "ideal shrinkage",
             "nlm": "non-local means", "bm3d": "CBM3D"}  # fmt: skip
    known = {label: float(found[0][name]) for name, label in names.items() if name in found[0].arrays}
    values = ", ".join(f"{label} {value:.1f}" for label, value in known.items() if np.isfinite(value))
    return f"On the same {WHOLE}x{WHOLE} picture: {values} dB."


def _whole(folders: list[Path]) -> list[Measured]:
    """The finished parts of the whole House."""
    parts = [part for folder in folders for part in finished(folder)]
    return [part for part in parts if setting(part, "name") == "House" and setting(part, "size") == WHOLE]


def _runs(whole: list[Measured], source: str, method: str, network: str) -> list[Measured]:
    """Those of one cell, He's initial weights first."""
    kind, optimizer = ("low_rank", None) if method == "nystrom" else ("training", method)
    runs = [
        part
        for part in whole
        if part.kind == kind
        and setting(part, "architecture").startswith(network)
        and (setting(part, "input"), setting(part, "optimizer")) == (source, optimizer)
    ]
    return sorted(runs, key=lambda run: "weight_std" in setting(run, "architecture"))


def tried_table(folders: Iterable[Path]) -> str:
    """All settings that were tried with the autoencoder fed noise, also those that matched nothing, as Markdown."""
    tried = _largest(list(folders), "settings")
    if tried is None:
        return "The experiment `settings` was not run with House yet."
    rows = ["| setting | gradient descent, last | best | Adam, last | best |", "| --- | --- | --- | --- | --- |"]
    tables = {optimizer: settings_experiment.table(tried, optimizer) for optimizer in ("gd", "adam")}
    for name in dict.fromkeys((*tables["gd"], *tables["adam"])):
        cells = []
        for optimizer in ("gd", "adam"):
            found = tables[optimizer].get(name)
            cells += ["", ""] if found is None else [f"{value:.1f}" for value in found[:2]]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _largest(folders: list[Path], name: str) -> Results | None:
    """The results of the largest preset that were made with House."""
    found = [load(name, folder) for folder in folders if (folder / f"{name}.json").exists()]
    house = [results for results in found if any(setting(part, "name") == "House" for part in results.parts)]
    return max(house, key=lambda results: PRESETS.index(results.preset), default=None)


def _cell(
    source: str, method: str, network: str, trained: Results | None, exact: Results | None, tried: Results | None
) -> tuple[float | None, float | None, list[float], str]:
    """Last step, best step, everything that was tried, and where it comes from."""
    if method == "nystrom":
        if exact is None:
            return None, None, [], ""
        architecture = next(a for a in exact.config["architectures"] if a.startswith(network))
        runs = exact.select("low_rank", architecture=architecture, input=source)
        values = [float(run["psnr"].max()) for run in runs]
        top = float(np.max(values)) if values else None
        return None, top, values, _where(exact) if values else ""
    values = []
    if exact is not None and method == "gd":
        architecture = next(a for a in exact.config["architectures"] if a.startswith(network))
        values.append(best(path(exact, architecture, source))[0])
    if tried is not None and network == "autoencoder":
        for part in tried.select(optimizer=method, input=source):
            values += [float(part["psnr"][-1]), float(part["psnr"].max())]
    found = None
    if trained is not None:
        known = [a for a in trained.config["architectures"] if a.startswith(network)]
        found = table_experiment.cell(trained, known[0], source, method) if known else None
        for run in trained.select("training", optimizer=method, input=source, name="House"):
            if setting(run, "architecture").startswith(network):
                values += [float(run["psnr"][-1]), float(run["psnr"].max())]
    finite = [value for value in values if np.isfinite(value)]
    last, top = found or (None, None)
    return last, top, finite, _where(trained) if found and trained is not None else ""


def _where(results: Results) -> str:
    size = next(setting(part, "size") for part in results.parts if setting(part, "size") is not None)
    return f"{size}x{size}, {results.experiment}, {results.preset}"
