"""What was finished with the poster's whole picture, House at 256x256: stored without images, and drawn.

    ntk-nonlocal reproduce table --preset paper --data DIR --out OUT     takes days; may be interrupted
    python experiments/whole_picture.py --out OUT                        its finished parts, stored
    python experiments/whole_picture.py                                  only the figures, from what is stored

A part that is stored already, by its settings, is replaced by one that was finished later. Images would be too large to
be kept: they are drawn (outputs.png) and left out. docs/poster.md reads what is stored.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ntk_nonlocal.networks import digest
from ntk_nonlocal.reproduce.parts import Measured
from ntk_nonlocal.reproduce.poster import whole_picture
from ntk_nonlocal.reproduce.poster_figures import draw_cells, draw_outputs, draw_steps
from ntk_nonlocal.results import read_json, write_arrays, write_json

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "experiments" / "results"
STORED = RESULTS / "reproduce-paper"
FIGURES = ROOT / "figures" / STORED.name
IMAGE = 3  # axes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, metavar="OUT", help="the folder of a run of the preset paper")
    out = parser.parse_args().out
    if out is not None:
        new = whole_picture([out])
        if not new:
            parser.error(f"{out} holds no finished parts of House at 256x256; is it the --out of the run?")
        for part in new:
            print(store(part) or f"{part.name}: what is stored was finished later")
        if any("output" in part.arrays for part in new):
            print(draw_outputs(new, FIGURES))
    for path in draw():
        print(path)


def draw() -> list[Path]:
    """The figures that follow from what is stored."""
    folders = sorted(RESULTS.glob("reproduce-*"))
    return [draw_cells(folders, FIGURES), draw_steps(folders, FIGURES)]


def store(part: Measured) -> Path | None:
    """Writes a part without its images, in the place of one of the same settings; None where that is a later one."""
    same = []
    for path in (STORED / "parts").glob("*.json"):
        facts = read_json(path)
        if (facts["kind"], facts["settings"]) == (part.kind, part.settings):
            same.append(path)
            if facts["finished"] > part.facts["finished"]:
                return None
    arrays = {name: array for name, array in part.arrays.items() if array.ndim < IMAGE}
    path = STORED / "parts" / f"{part.kind}-{part.key}.json"
    write_arrays(path.with_suffix(".npz"), **arrays)
    write_json(path, part.facts | {"digest": digest(arrays)})
    for older in same:
        if older != path:
            older.unlink()
            older.with_suffix(".npz").unlink()
    return path


if __name__ == "__main__":
    main()
