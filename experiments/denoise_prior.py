"""The closed form beside networks trained on the one picture: by gradient descent, by Adam (the deep image prior).

    python experiments/denoise_prior.py --data FOLDER      images of the colour set too; about an hour on 2 cores
    python experiments/denoise_prior.py --draw             only the table, from the stored results

Every picture is a 96x96 crop from the middle with noise of sigma 25 (of 255), which is told to every method; each is
``denoise`` with its default settings. PSNR in dB, and the CPU seconds of one call, compilation included. Results are
stored picture by picture and method by method; what is stored is not run again.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from _by_picture import Entry, Picture, run
from denoise_table import IMAGES

from ntk_nonlocal.denoisers import denoise
from ntk_nonlocal.images import add_noise, psnr

RESULTS = Path(__file__).parent / "results" / "denoise_prior.json"
SIDE, SIGMA = 96, 25 / 255
METHODS: dict[str, dict[str, Any]] = {
    "noisy": {},
    "nlm": {"method": "nlm"},
    "gd": {"method": "gd"},
    "adam": {"method": "adam"},
    "ntk": {"method": "ntk"},
    "ntk fast": {"method": "ntk", "fast": True},
}


def measure(clean: Picture, method: str) -> Entry:
    """PSNR, step and CPU seconds of one method."""
    noisy = add_noise(clean, SIGMA, seed=0)
    if method == "noisy":
        return {"psnr": psnr(noisy, clean), "step": None, "cpu_seconds": 0.0}
    begin = time.process_time()
    found = denoise(noisy, SIGMA, **METHODS[method])
    seconds = time.process_time() - begin
    return {"psnr": psnr(found.image, clean), "step": found.step, "cpu_seconds": seconds}


def table(entries: list[Entry]) -> str:
    """The stored results as Markdown."""
    lines = ["# The closed form beside trained networks", "", (__doc__ or "").strip().split("\n\n")[-1], ""]
    lines += [f"| picture | {' | '.join(METHODS)} |", "| --- " * (1 + len(METHODS)) + "|"]
    found = {(entry["image"], entry["case"]): entry for entry in entries}
    pictures = [name for name in IMAGES if all((name, method) in found for method in METHODS)]

    def row(title: str, cells: list[str]) -> str:
        return f"| {title} | {' | '.join(cells)} |"

    for name in pictures:
        lines.append(row(name, [f"{found[name, method]['psnr']:.2f}" for method in METHODS]))
    for title, key, form in (("mean", "psnr", ".2f"), ("CPU seconds", "cpu_seconds", ".0f")):
        values = [np.mean([found[name, method][key] for name in pictures]) for method in METHODS]
        lines.append(row(title, [f"{value:{form}}" for value in values]))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run(__doc__, RESULTS, SIDE, METHODS, measure, table)
