"""Experiments that measure several cases on crops of every picture: stored case by case, resumed where they stopped."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from denoise_table import IMAGES, clean_image
from numpy.typing import NDArray

from ntk_nonlocal.images import crop
from ntk_nonlocal.results import atomic_file, read_json, write_json

Picture = NDArray[np.float64]
Entry = dict[str, Any]


def run(
    description: str | None,
    results: Path,
    side: int,
    cases: Iterable[str],
    measure: Callable[[Picture, str], Entry],
    table: Callable[[list[Entry]], str],
) -> None:
    """The command line: measures what ``results`` does not hold yet, and writes the table beside it.

    Args:
      description: the script's docstring.
      results: JSON file of the entries, each with "image" and "case".
      side: of the crop from the middle of every picture.
      cases: names of what is measured.
      measure: the entry of a clean picture and a case.
      table: all entries as Markdown.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the colour set")
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    entries: list[Entry] = list(read_json(results)["entries"]) if results.exists() else []
    known = {(entry["image"], entry["case"]) for entry in entries}
    for name, file in IMAGES.items():
        if arguments.draw or (file is not None and (arguments.data is None or not (arguments.data / file).exists())):
            continue
        clean = np.asarray(crop(clean_image(name, arguments.data or Path()), side), np.float64)
        for case in cases:
            if (name, case) not in known:
                entries.append({"image": name, "case": case, **measure(clean, case)})
                write_json(results, {"side": side, "entries": entries})
                print(entries[-1], flush=True)
    with atomic_file(results.with_suffix(".md")) as output:
        output.write(table(entries).encode())
