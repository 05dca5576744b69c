"""``ntk-nonlocal reproduce``: the paper's experiments, their verdicts, figures and a report."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import parsing

if TYPE_CHECKING:
    from ntk_nonlocal.reproduce import Verdict

_DESCRIPTION = """\
Computes the experiments of the paper (Tachella, Tang and Davies, CVPR 2021) and says of every claim whether it holds.

The folder given by --out receives

  NAME.json, NAME.npz   an experiment's verdicts, settings, versions and times; its arrays
  figures/              PNG and PDF, drawn from these files alone
  report.html           everything on one page that needs nothing else
  parts/                single measurements, so that nothing is computed twice

Measurements are known by their settings and by the code that makes them: a run that was interrupted, or is repeated
with other experiments, goes on where the last one ended, to the same bits on as many cores for each worker. Two runs
into one folder share the work."""

_EXAMPLES = """\
examples:
  ntk-nonlocal reproduce all                              everything, small, bundled pictures: 16 minutes, 2 cores
  ntk-nonlocal reproduce width --preset full              hours on two cores
  ntk-nonlocal reproduce all --data images --preset paper   House and Baboon at full size, for a GPU
  ntk-nonlocal reproduce all --draw --out results         figures and report again, nothing is computed

--data is a folder with image_House256rgb.png and image_Baboon512rgb.png; without it the astronaut and the photograph of
grass that scikit-image ships play their parts."""


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Adds the command and its options."""
    from ntk_nonlocal.reproduce import MODULES

    parser: argparse.ArgumentParser = subparsers.add_parser(
        "reproduce",
        help="the paper's experiments, with verdicts, figures and a report",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("name", metavar="NAME", help=f"all, or one of {', '.join(MODULES)}")
    add(
        "--preset", choices=("quick", "full", "paper"), default="quick", metavar="NAME",
        help="how much: quick, full or paper (default: quick)",
    )  # fmt: skip
    add("--data", type=Path, metavar="DIR", help="folder with House and Baboon (default: bundled pictures)")
    add("--out", type=Path, default=Path("reproduction"), metavar="DIR", help="results (default: reproduction)")
    add(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on from the checkpoints of interrupted trainings (default), or begin these anew",
    )
    add(
        "--workers", type=parsing.whole_number(1), metavar="N",
        help="processes that share the work, each on its own cores (default: 2 on a CPU for full and for all of quick)",
    )  # fmt: skip
    add("--json", action="store_true", help="print the verdicts as one JSON document instead of lines")
    add("--draw", action="store_true", help="compute nothing: verdicts, figures and report from the results in --out")
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from ntk_nonlocal.reproduce import (
        Pictures,
        Store,
        catalogue,
        helpers,
        load,
        measure,
        print_progress,
        save,
        write_report,
    )

    names = list(catalogue.MODULES) if args.name == "all" else [args.name]
    modules = {name: catalogue.experiment(name) for name in names}
    if args.data is not None and not args.data.is_dir():
        raise ValueError(f"--data {args.data} is not a folder; give the one that holds House and Baboon")
    if args.out.exists() and not args.out.is_dir():
        raise ValueError(f"--out {args.out} is not a folder; give another one")
    if args.draw:
        stored = [name for name in names if (args.out / f"{name}.json").exists()]
        if not stored:
            raise ValueError(f"{args.out} has no results of {args.name}; leave out --draw to compute them")
        for name in stored:
            results = load(name, args.out)
            try:
                verdicts = modules[name].summarise(results)
            except (LookupError, TypeError) as problem:  # settings or arrays that are not there
                raise ValueError(
                    f"{args.out / name}.json was made by an earlier version that measured something else ({problem}); "
                    f"run ntk-nonlocal reproduce {name} again without --draw"
                ) from problem
            save(results, verdicts, args.out)
            modules[name].draw(results, args.out / "figures")
        _print_end(args, stored, write_report(args.out))
        return 0
    workers = _workers(args)
    pictures = Pictures(args.data)
    configurations = {name: modules[name].configure(args.preset, pictures) for name in names}
    _check_writable(args.out)
    store = Store(args.out, pictures, resume=args.resume)
    parts = {name: modules[name].parts(configurations[name]) for name in names}
    with helpers(workers, store, parts, quiet=args.quiet):
        for name in names:
            results = measure(
                name, modules[name], configurations[name], args.preset, store, command=_command(args, name),
                progress=None if args.quiet else print_progress(name),
            )  # fmt: skip
            verdicts = modules[name].summarise(results)
            save(results, verdicts, args.out)
            modules[name].draw(load(name, args.out), args.out / "figures")
            for verdict in [] if args.json or args.quiet else verdicts:
                _print_verdict(verdict)
            report = write_report(args.out)
    _print_end(args, names, report)
    return 0


def _print_verdict(verdict: Verdict) -> None:
    claim = f"claim {verdict.claim}" if verdict.claim else "theory"
    published = f" (published: {verdict.published})" if verdict.published else ""
    found = f"{verdict.statement}: {verdict.ours}{published}"
    print(f"{verdict.outcome:14} {claim}: {found}", flush=True)


def _print_end(args: argparse.Namespace, names: list[str], report: Path) -> None:
    """The report's path, or with --json everything that was found."""
    if args.json:
        from ntk_nonlocal.results import read_json

        found = {name: read_json(args.out / f"{name}.json") for name in names}
        kept = ("preset", "command", "seconds", "verdicts")
        experiments = {name: {key: content[key] for key in kept} for name, content in found.items()}
        print(json.dumps({"report": str(report), "experiments": experiments}, ensure_ascii=False))
    elif not args.quiet:
        print(report)


def _command(args: argparse.Namespace, name: str) -> str:
    """The command that gives these results; the folder of the pictures is whoever's runs it."""
    words = ["ntk-nonlocal", "reproduce", name, "--preset", args.preset]
    return shlex.join(words) + (" --data DIR" if args.data is not None else "")


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--out {folder} cannot be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise ValueError(f"--out {folder} cannot be written to; give another folder")


def _workers(args: argparse.Namespace) -> int | None:
    """The processes that share the work, None for what is fastest."""
    from ntk_nonlocal.reproduce import most_workers

    if args.workers is not None:
        if args.workers > most_workers():
            raise ValueError(f"--workers {args.workers}: there are {most_workers()} cores; every worker needs one")
        return int(args.workers)
    # The images of paper need all the memory; a single quick experiment is over before a second process has begun.
    return None if args.preset == "full" or (args.preset == "quick" and args.name == "all") else 1
