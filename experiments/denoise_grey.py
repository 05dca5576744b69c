"""Grey pictures beside block matching: PSNR of ``denoise`` and of the package bm3d, by ``denoise_table``'s protocol.

    python experiments/denoise_grey.py --data FOLDER      the colour set, every picture the mean of its channels
    python experiments/denoise_grey.py --draw             only the table, from the stored results

Entries are stored one by one; what is stored is not run again. Without bm3d its columns stay empty.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from denoise_table import IMAGES, SIGMAS, clean_image

from ntk_nonlocal.denoisers import denoise
from ntk_nonlocal.images import add_noise, psnr
from ntk_nonlocal.results import environment, read_json, write_json

RESULTS = Path(__file__).parent / "results" / "denoise_grey.json"
METHODS = ("ntk", "bm3d")
NAMES = [name for name, file in IMAGES.items() if file is not None]


def sweep(data: Path, entries: list[dict[str, Any]]) -> None:
    """Every picture, level and method that is not there yet."""
    for sigma in sorted(SIGMAS):
        for name in NAMES:
            grey = clean_image(name, data).mean(axis=2, keepdims=True)
            noisy = add_noise(grey, sigma / 255)
            for method in METHODS:
                known = any((e["image"], e["sigma"], e["method"]) == (name, sigma, method) for e in entries)
                if known or (method == "bm3d" and find_spec("bm3d") is None):
                    continue
                begin = time.process_time()
                found = denoise(noisy, sigma / 255, method).image  # type: ignore[arg-type]
                entry = {"image": name, "sigma": sigma, "method": method, "psnr": psnr(found, grey)}
                entries.append(entry | {"cpu_seconds": time.process_time() - begin})
                write_json(RESULTS, {"environment": environment(), "entries": entries})
                print(entries[-1], flush=True)


def table(entries: list[dict[str, Any]]) -> str:
    """Rows: level and method; columns: pictures."""
    lines = [
        "# Grey pictures beside block matching",
        "",
        "PSNR in dB; made by `experiments/denoise_grey.py --draw`.",
        "",
    ]
    lines += [f"| sigma | method | {' | '.join(NAMES)} | mean |", f"| --- | --- |{' --- |' * (len(NAMES) + 1)}"]
    for sigma in sorted(SIGMAS):
        for method in METHODS:
            found = {e["image"]: e["psnr"] for e in entries if (e["sigma"], e["method"]) == (sigma, method)}
            cells = [f"{found[name]:.2f}" if name in found else "" for name in NAMES]
            mean = f"{np.mean(list(found.values())):.2f}" if len(found) == len(NAMES) else ""
            lines.append(f"| {sigma} | {method} | {' | '.join(cells)} | {mean} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the colour set")
    parser.add_argument("--draw", action="store_true", help="only write the table")
    arguments = parser.parse_args()
    entries = list(read_json(RESULTS)["entries"]) if RESULTS.exists() else []
    if not arguments.draw:
        if arguments.data is None:
            sys.exit("give the folder of the colour set by --data, or --draw")
        sweep(arguments.data, entries)
    RESULTS.with_suffix(".md").write_text(table(entries))


if __name__ == "__main__":
    main()
