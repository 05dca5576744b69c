"""The fourteen cells of the poster's table beside ours, from stored results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from . import settings as settings_experiment
from .drawing import LABELS
from .exact import NYSTROM_SHARE
from .experiment import Results, load, setting
from .parts import Measured, finished
from .published import POSTER_PSNR
from .scorecard import PRESETS
from .table_runs import best, is_deep, is_slow, is_stated, passed

NEAR = 0.5  # dB
WHOLE = 256  # the poster's picture has so many rows and columns


@dataclass(frozen=True)
class Tried:
    """Runs of a cell under one setting, on pictures of one size.

    ``share`` is that of the columns, of Nystrom. ``last`` and ``best`` are the mean PSNR after the last step (where the
    last one is a choice) and after the best, ``least`` is the lowest on the way; ``rising`` of ``runs`` have their best
    step among the last tenth.
    """

    label: str
    size: int
    share: float | None
    last: float | None
    best: float
    least: float
    rising: int
    runs: int

    @property
    def values(self) -> tuple[float, ...]:
        """The numbers that are compared with the poster's."""
        return (self.best,) if self.last is None else (self.last, self.best)

    def near(self, published: float) -> bool:
        """Whether one of them is the poster's."""
        return any(abs(value - published) <= NEAR for value in self.values)

    def passes(self, published: float) -> bool:
        """Whether some step on the way to the best is the poster's number."""
        return self.least <= published <= self.best

    def __str__(self) -> str:
        some = "" if self.rising == self.runs else f" in {self.rising} of {self.runs}"
        return " / ".join(f"{value:.1f}" for value in self.values) + (f", rising{some}" if self.rising else "")


@dataclass(frozen=True)
class Cell:
    """A cell of the poster's table, with what was run under the stated settings, with PyTorch's weights, and else."""

    source: str
    method: str
    network: str
    published: float
    stated: Tried | None
    pytorch: Tried | None
    others: tuple[Tried, ...]

    @property
    def tried(self) -> list[Tried]:
        """All that was run."""
        return [one for one in (self.stated, self.pytorch, *self.others) if one is not None]

    @property
    def hits(self) -> list[str]:
        """The settings of which a last or a best step is near the poster's number."""
        return [f"{one.label}, {one.size}x{one.size}" for one in self.tried if one.near(self.published)]

    @property
    def values(self) -> list[float]:
        """All numbers."""
        return [value for one in self.tried for value in one.values]

    @property
    def name(self) -> str:
        """What a sentence calls it."""
        method = LABELS.get(self.method, "Nystrom")
        return f"{LABELS[self.network]} by {method} from {LABELS[self.source]} ({self.published})"


def poster_table(folders: Iterable[Path]) -> str:
    """A Markdown table: the poster's number, ours, and what is near it; below, the cells that nothing is near to.

    Of every experiment the largest preset that was run with House counts; in place of its crops, finished parts of the
    whole picture, also where their experiment is not complete.
    """
    head = (
        "fed with", "method", "network", "poster, 256x256", "size", "stated settings, last / best step",
        "PyTorch's weights, last / best step", "settings tried", "range over them", "stated settings within 0.5 dB",
        "some setting within 0.5 dB",
    )  # fmt: skip
    found = cells(folders)
    rows = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *map(_row, found))]
    return "\n".join(rows) + "\n\n" + _unexplained(found)


def _row(cell: Cell) -> tuple[str, ...]:
    stated, pytorch = cell.stated, cell.pytorch
    first = stated or pytorch
    named = f" ({stated.label})" if stated is not None and cell.method == "nystrom" else ""
    apart = (
        f" ({pytorch.size}x{pytorch.size})" if pytorch is not None and pytorch.size != (first or pytorch).size else ""
    )
    return (
        LABELS[cell.source],
        LABELS.get(cell.method, "Nystrom"),
        LABELS[cell.network],
        str(cell.published),
        "" if first is None else f"{first.size}x{first.size}",
        "" if stated is None else f"{stated}{named}",
        "" if pytorch is None else f"{pytorch}{apart}",
        str(len({one.label for one in cell.tried})),
        f"{min(cell.values):.1f} to {max(cell.values):.1f}" if cell.values else "not run",
        "" if stated is None else ("yes" if stated.near(cell.published) else "no"),
        "; ".join(cell.hits) or ("none" if cell.values else ""),
    )


def _unexplained(found: Sequence[Cell]) -> str:
    """The cells to whose number nothing is near, as a paragraph."""
    missed = [cell for cell in found if cell.values and not cell.hits]
    if not missed:
        return f"Every cell that was run is met within {NEAR} dB under some setting."
    between = [cell.name for cell in missed if any(one.passes(cell.published) for one in cell.tried)]
    never = [cell.name for cell in missed if cell.name not in between]
    sentences = []
    if never:
        sentences.append(f"No setting that was tried explains {', '.join(never)}.")
    if between:
        sentences.append(
            f"Met by no last or best step, but passed on the way by a run that goes beyond (the poster's steps are not "
            f"printed): {', '.join(between)}."
        )
    return " ".join(sentences)


def cells(folders: Iterable[Path]) -> list[Cell]:
    """The fourteen cells."""
    known = list(folders)
    whole = whole_picture(known)
    crops = [part for name in ("table", "exact") for part in _house(_largest(known, name))]
    settings = _house(_largest(known, "settings"))
    found = []
    for (source, method, network), published in POSTER_PSNR.items():
        own = partial(_own, source, network)
        others: list[Tried]
        if method == "nystrom":
            tried = _shares(own((*whole, *crops), "low_rank"))
            stated = next((one for one in tried if abs((one.share or 0) - NYSTROM_SHARE) < NYSTROM_SHARE / 10), None)
            found.append(Cell(source, method, network, published, stated, None, tuple(o for o in tried if o != stated)))
            continue
        he, pytorch, others = [], [], []
        for parts in (whole, crops):
            trained = [part for part in own(parts, "training") if setting(part, "optimizer") == method]
            others += _tried("two levels more", [part for part in trained if is_deep(part)])
            trained = [part for part in trained if not is_deep(part)]
            he += _tried("stated settings", [p for p in trained if "weight_std" not in setting(p, "architecture")])
            small = [p for p in trained if "weight_std" in setting(p, "architecture")]
            pytorch += _tried("PyTorch's weights", [p for p in small if not is_slow(p)])
            others += _tried("PyTorch's weights, a tenth of Adam's rate", [p for p in small if is_slow(p)])
            if method == "gd":
                others += _tried("exact limit", own(parts, "theory"), last=False)
            if network == "unet":
                narrow = [*_own(source, "dip", parts, "training"), *_own(source, "dip", parts, "limit_quality")]
                others += _tried("narrow skips", [p for p in narrow if setting(p, "optimizer") == method])
                if method == "gd":
                    closed = [p for p in narrow if p.kind == "limit_quality"]
                    others += _tried("exact limit, narrow skips", closed, last=False)
        if method == "gd" and network != "vanilla_cnn":  # that one's have cells of their own
            others += [replace(one, label=f"limit by Nystrom, {one.label}") for one in _shares(own(whole, "low_rank"))]
        for part in own(settings, "training"):
            if setting(part, "optimizer") == method:
                others += _tried(part.name.partition(": ")[2], [part])
        others += he[1:] + pytorch[1:]
        stated, scaled = (next(iter(one), None) for one in (he, pytorch))
        found.append(Cell(source, method, network, published, stated, scaled, tuple(others)))
    return found


def _own(source: str, network: str, parts: Iterable[Measured], kind: str) -> list[Measured]:
    """The parts of one kind that belong to a network and what it is fed."""
    return [
        part
        for part in parts
        if part.kind == kind and setting(part, "architecture").startswith(network) and setting(part, "input") == source
    ]


def _tried(label: str, runs: Sequence[Measured], *, last: bool = True, share: float | None = None) -> list[Tried]:
    """One entry, of the runs that did not diverge; none where there are none."""
    kept = [run for run in runs if np.isfinite(best(run))]
    if not kept:
        return []
    ends = float(np.mean([run["psnr"][-1] for run in kept])) if last else None
    tops = float(np.mean([best(run) for run in kept]))
    rising = sum(not passed(run) for run in kept)
    least = min(float(np.min(run["psnr"])) for run in kept)
    return [Tried(label, setting(kept[0], "size"), share, ends, tops, least, rising, len(kept))]


def _shares(runs: Sequence[Measured]) -> list[Tried]:
    """Nystrom's runs by share of the columns, means over the draws; those of the largest picture first."""
    groups: dict[tuple[int, int], list[Measured]] = {}
    for run in runs:
        groups.setdefault((setting(run, "size"), setting(run, "rank")), []).append(run)
    ordered = sorted(groups.items(), key=lambda item: (-item[0][0], item[0][1]))
    return [
        one
        for (size, rank), found in ordered
        for one in _tried(f"{rank / size**2:.1%} of the columns", found, last=False, share=rank / size**2)
    ]


def simple_filters(folders: Iterable[Path]) -> str:
    """What filters without any network reach on the whole picture, one line of Markdown."""
    found = [part for part in whole_picture(folders) if part.kind == "baselines"]
    if not found:
        return "Simple filters were not run on the whole picture yet."
    names = {"noisy": "noisy", "blur": "best Gaussian blur", "shrinkage": "ideal shrinkage",
             "nlm": "non-local means", "bm3d": "CBM3D"}  # fmt: skip
    known = {label: float(found[0][name]) for name, label in names.items() if name in found[0].arrays}
    values = ", ".join(f"{label} {value:.1f}" for label, value in known.items() if np.isfinite(value))
    return f"On the same {WHOLE}x{WHOLE} picture: {values} dB."


def whole_picture_line(folders: Iterable[Path]) -> str:
    """What was trained with the whole picture under the stated settings, beside the poster, as one line of Markdown;
    empty where nothing was."""
    known = list(folders)
    texts = []
    for cell in cells(known):
        if cell.stated is not None and cell.stated.size == WHOLE and cell.method != "nystrom":
            rising = ", rising" if cell.stated.rising else ""
            method, source = LABELS[cell.method], LABELS[cell.source]
            value = f"{cell.stated.best:.1f} dB{rising}"
            texts.append(f"{LABELS[cell.network]} by {method} from {source} {value} (poster {cell.published})")
    if not texts:
        return ""
    return f"On the whole picture, House {WHOLE}x{WHOLE}, one run of each, best steps: {'; '.join(texts)}."


def whole_picture(folders: Iterable[Path]) -> list[Measured]:
    """The finished parts of the whole House under the stated settings, but for initial weights and Adam's rate; of
    trainings of different lengths the longest."""
    found: dict[object, Measured] = {}
    for part in (part for folder in folders for part in finished(folder)):
        if setting(part, "name") != "House" or setting(part, "size") != WHOLE or not is_stated(part):
            continue
        lengths = {"steps": None} if part.kind == "training" else {}
        key = (part.kind, json.dumps(part.settings | lengths, sort_keys=True))
        if key not in found or (setting(part, "steps") or 0) > (setting(found[key], "steps") or 0):
            found[key] = part
    return list(found.values())


def _house(results: Results | None) -> list[Measured]:
    """The parts of an experiment that were made with House."""
    return [] if results is None else [part for part in results.parts if setting(part, "name") == "House"]


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
