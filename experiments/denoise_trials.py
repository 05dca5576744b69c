"""What the parts of the closed-form denoiser are worth: variants of its setting on development crops.

    python experiments/denoise_trials.py --data FOLDER

Crops of 160x160 of the colour set and of scikit-image's pictures, sigma = 25 of 255. Writes JSON and a table.
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
from ntk_nonlocal.images import add_noise, crop, example_image, psnr
from ntk_nonlocal.results import environment, read_json, write_json

RESULTS = Path(__file__).parent / "results" / "denoise_trials.json"
SIGMA = 25 / 255
SIZE = 160
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
    "no noise correction": dataclasses.replace(BEST, passes=((Branch(5, 1.0), Branch(3, 1.2)), SECOND)),
    "a third network in pass 1": dataclasses.replace(BEST, passes=((*FIRST, Branch(7, 1.0)), SECOND)),
    "a third network in pass 2": dataclasses.replace(BEST, passes=(FIRST, (*SECOND, Branch(5, 1.0)))),
    "one pass": dataclasses.replace(BEST, passes=(FIRST,)),
    "three passes": dataclasses.replace(BEST, passes=(FIRST, SECOND, SECOND)),
    "no frequency bands": dataclasses.replace(BEST, levels=0),
    "four frequency bands": dataclasses.replace(BEST, levels=3),
    "window 8": dataclasses.replace(BEST, window=8),
    "window 16": dataclasses.replace(BEST, window=16),
    "one step": dataclasses.replace(BEST, steps=(1,), early_steps=(1,)),
    "mixed per 80x80 pixels": dataclasses.replace(BEST, block=80),
}


def images(data: Path) -> dict[str, Any]:
    """The development crops, float64 in [0, 1]."""
    from skimage.data import coffee

    from ntk_nonlocal.images import read_photo

    found = {name: crop(read_photo(data / file).image, SIZE, center=at) for name, (file, at) in CENTRES.items()}
    found["astronaut"] = crop(example_image(), SIZE, center=(84, 234))
    found["coffee"] = crop(coffee() / 255, SIZE, center=(214, 314))  # type: ignore[no-untyped-call]
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
    lines = ["# What was tried", "", f"PSNR in dB at sigma = 25 of 255 on {SIZE}x{SIZE} crops, step by Stein's risk."]
    lines += ["", f"| variant | {' | '.join(names)} | mean | CPU s per crop |", f"| --- {'| --- ' * (len(names) + 2)}|"]
    for row in rows:
        values = [row["psnr"][name] for name in names]
        cpu = "" if row["cpu_seconds"] is None else f"{row['cpu_seconds']:.1f}"
        cells = " | ".join(f"{value:.2f}" for value in values)
        lines.append(f"| {row['variant']} | {cells} | {np.mean(values):.2f} | {cpu} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
