"""Judges and draws the stored results anew, from their arrays, by the present code; nothing is measured.

    python experiments/judge_stored.py [NAME ...]

Writes verdicts into ``experiments/results/reproduce-*`` and figures into ``figures/reproduce-*``, carries the numbers
into the README, and says which outcomes changed. To be run after a change of criteria, statistics or figures.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import whole_picture

from ntk_nonlocal.reproduce import MODULES, catalogue, load, save
from ntk_nonlocal.results import read_json

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "experiments" / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments (default: all that are stored)")
    args = parser.parse_args()
    unknown = set(args.names) - set(MODULES)
    if unknown:
        parser.error(f"no experiment {', '.join(sorted(unknown))}; there are {', '.join(MODULES)}")
    for path in sorted(RESULTS.glob("reproduce-*/*.json")):
        if path.stem not in (args.names or MODULES):
            continue
        module, results = catalogue.experiment(path.stem), load(path.stem, path.parent)
        before = {verdict["statement"]: verdict["outcome"] for verdict in read_json(path)["verdicts"]}
        verdicts = module.summarise(results)
        save(results, verdicts, path.parent)
        module.draw(results, ROOT / "figures" / path.parent.name)
        for verdict in verdicts:
            was = before.get(verdict.statement, "not judged")
            if was != verdict.outcome:
                print(f"{path.parent.name}/{path.stem}: {verdict.statement}: {was} -> {verdict.outcome}")
    whole_picture.draw()
    subprocess.run([sys.executable, str(ROOT / "experiments" / "readme_numbers.py")], check=True)


if __name__ == "__main__":
    main()
