"""Measures what a stored experiment lacks after its settings were changed, and keeps what it has.

    python experiments/renew_stored.py NAME --data DIR --out OUT [--again TEXT]

Of ``experiments/results/reproduce-full`` the parts whose settings are still asked for are taken over, with their own
date, code and processor; the others are measured into OUT, like those whose names contain TEXT. May be interrupted, and
started twice at once. At the end results, verdicts, figures and the README's numbers are written.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

from ntk_nonlocal.reproduce import MODULES, Pictures, Store, Verdict, catalogue, load, print_progress, save
from ntk_nonlocal.reproduce.experiment import Results
from ntk_nonlocal.results import read_json

ROOT = Path(__file__).resolve().parent.parent
STORED = ROOT / "experiments" / "results" / "reproduce-full"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=MODULES)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder with House and Baboon")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="keeps finished parts")
    parser.add_argument("--again", metavar="TEXT", help="measure parts anew whose name contains this")
    args = parser.parse_args()
    try:
        module, stored, pictures = catalogue.experiment(args.name), load(args.name, STORED), Pictures(args.data)
    except ValueError as problem:
        parser.error(str(problem))
    config = module.configure("full", pictures)
    known = {(part.kind, json.dumps(part.settings, sort_keys=True)): part for part in stored.parts}
    parts = module.parts(config)
    kept = {}
    for part in parts:
        same = known.get((part.kind, json.dumps(part.facts["settings"], sort_keys=True)))
        if same is not None and not (args.again and args.again in part.name):
            kept[part] = dataclasses.replace(same, name=part.name, facts=same.facts | {"name": part.name})
    missing = [part for part in parts if part not in kept]
    print(f"{args.name}: {len(kept)} parts are kept, {len(missing)} measured", flush=True)
    measured = iter(Store(args.out, pictures).complete(missing, print_progress(args.name)))
    found = tuple(kept[part] if part in kept else next(measured) for part in parts)
    verdicts = [Verdict(**one) for one in read_json(STORED / f"{args.name}.json")["verdicts"]]
    save(Results(args.name, "full", dataclasses.asdict(config), found, stored.command), verdicts, STORED)
    judge(args.name)


def judge(name: str) -> None:
    """Verdicts, figures and the README from what is stored now."""
    subprocess.run([sys.executable, str(ROOT / "experiments" / "judge_stored.py"), name], check=True)


if __name__ == "__main__":
    main()
