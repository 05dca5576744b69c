"""What the parts of the closed-form denoiser are worth: variants of its setting on development crops.

    python experiments/denoise_trials.py --data FOLDER

Crops of 128x128 of the colour set, sigma = 50 of 255, where most is lost to block matching. Writes JSON and a table.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from ntk_nonlocal.denoisers import denoise
from ntk_nonlocal.denoisers.colours import Colours
from ntk_nonlocal.denoisers.ntk import BEST, FAST, Branch, closed_form
from ntk_nonlocal.images import add_noise, crop, psnr
from ntk_nonlocal.results import environment, read_json, write_json

RESULTS = Path(__file__).parent / "results" / "denoise_trials.json"
SIGMA = 50 / 255
SIZE = 128
CENTRES = {
    "House": ("image_House256rgb.png", (128, 128)),
    "Baboon": ("image_Baboon512rgb.png", (150, 200)),
    "F16": ("image_F16_512rgb.png", (260, 250)),
    "Lena": ("image_Lena512rgb.png", (260, 280)),
    "kodim12": ("kodim12.png", (330, 300)),
}
FIRST, SECOND = BEST.passes
VARIANTS = {
    "default": BEST,
    "fast": FAST,
    "one network per pass": dataclasses.replace(BEST, passes=(FIRST[:1], SECOND[:1])),
    "no noise correction": dataclasses.replace(BEST, passes=((Branch(5, 0.6), Branch(3, 1.2)), SECOND)),
    "patches of 7 in pass 1": dataclasses.replace(BEST, passes=((Branch(7, 0.6, corrected=True), FIRST[1]), SECOND)),
    "patches of 7 beside them": dataclasses.replace(BEST, passes=((*FIRST, Branch(7, 0.5, corrected=True)), SECOND)),
    "patches of 5 in pass 2": dataclasses.replace(BEST, passes=(FIRST, (SECOND[0], Branch(5, 0.8)))),
    "narrower in pass 2": dataclasses.replace(BEST, passes=(FIRST, (Branch(1, 0.4), Branch(3, 0.7)))),
    "three passes": dataclasses.replace(BEST, passes=(FIRST, SECOND, SECOND)),
    "window 16": dataclasses.replace(BEST, window=16),
    "four frequency bands": dataclasses.replace(BEST, levels=3),
    "steps up to 10": dataclasses.replace(BEST, steps=(1, 2, 4, 6, 10), early_steps=(1, 3)),
    "one pass": dataclasses.replace(BEST, passes=(FIRST,)),
}


def images(data: Path) -> dict[str, Any]:
    """The development crops, float64 in [0, 1]."""
    from ntk_nonlocal.images import read_photo

    found = {name: crop(read_photo(data / file).image, SIZE, center=at) for name, (file, at) in CENTRES.items()}
    return {name: np.asarray(image, np.float64) for name, image in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the colour set")
    clean = images(parser.parse_args().data)
    noisy = {name: add_noise(image, SIGMA) for name, image in clean.items()}
    rows = list(read_json(RESULTS)["rows"]) if RESULTS.exists() else []
    if not rows:
        quality = {name: psnr(denoise(noisy[name], SIGMA, "nlm").image, clean[name]) for name in clean}
        rows.append({"variant": "non-local means", "setting": None, "psnr": quality, "cpu_seconds": None})
    for variant, setting in VARIANTS.items():
        if any(row["variant"] == variant for row in rows):
            continue
        begin, quality = time.process_time(), {}
        for name, image in noisy.items():
            colours = Colours.opponent(image.shape[2], SIGMA)
            result = closed_form(colours.planes(image), SIGMA, setting)
            quality[name] = psnr(colours.image(result.estimates[result.best], image), clean[name])
        cpu = (time.process_time() - begin) / len(clean)
        rows.append({"variant": variant, "setting": repr(setting), "psnr": quality, "cpu_seconds": cpu})
        write_json(RESULTS, {"sigma": SIGMA, "size": SIZE, "environment": environment(), "rows": rows})
        print(f"{variant}: {np.mean(list(quality.values())):.2f} dB", flush=True)
    RESULTS.with_suffix(".md").write_text(_table(rows, list(clean)))


def _table(rows: list[dict[str, Any]], names: list[str]) -> str:
    lines = ["# What was tried", "", f"PSNR in dB at sigma = 50 of 255 on {SIZE}x{SIZE} crops, step by Stein's risk."]
    lines += ["", f"| variant | {' | '.join(names)} | mean | CPU s per crop |", f"| --- {'| --- ' * (len(names) + 2)}|"]
    for row in rows:
        values = [row["psnr"][name] for name in names]
        cpu = "" if row["cpu_seconds"] is None else f"{row['cpu_seconds']:.1f}"
        cells = " | ".join(f"{value:.2f}" for value in values)
        lines.append(f"| {row['variant']} | {cells} | {np.mean(values):.2f} | {cpu} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
