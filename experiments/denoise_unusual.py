"""Noise that is not what the denoiser assumes: what ``denoise`` and its blind noise estimate make of it.

    python experiments/denoise_unusual.py --data FOLDER      images of the colour set too; without it the bundled image
    python experiments/denoise_unusual.py --draw             only the table, from the stored results

Every picture is a 128x128 crop from the middle. "loss" is the PSNR of the input less that of the output, in dB, so that
a positive number says that denoising did harm. Results are stored picture by picture; what is stored is not run again.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
from denoise_table import IMAGES, clean_image
from numpy.typing import NDArray
from PIL import Image

from ntk_nonlocal.filters.denoise import denoise
from ntk_nonlocal.images import crop, psnr
from ntk_nonlocal.noise import estimate_sigma
from ntk_nonlocal.results import atomic_file, read_json, write_json

RESULTS = Path(__file__).parent / "results" / "denoise_unusual.json"
SIDE = 128
GIVEN = {"blind": None, "sigma 1": 1, "sigma 5": 5}  # in 8-bit units
Picture = NDArray[np.float64]


def white(clean: Picture, sigma: float) -> Picture:
    return np.asarray(clean + np.random.default_rng(0).normal(size=clean.shape) * sigma / 255)


def photon(clean: Picture) -> Picture:
    """Poisson noise of 50 photons at white."""
    return np.asarray(np.random.default_rng(0).poisson(50 * clean) / 50)


def jpeg(clean: Picture) -> Picture:
    """White noise of 10 behind a JPEG encoder of quality 75: correlated, and partly gone."""
    file = io.BytesIO()
    noisy = np.clip(np.round(255 * white(clean, 10)), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file), np.float64) / 255


def saturated(clean: Picture) -> tuple[Picture, Picture]:
    """Overexposed by a half and clipped, the noise too."""
    bright = np.clip(1.5 * clean, 0, 1)
    return bright, np.clip(white(bright, 25), 0, 1)


def one_colour(clean: Picture) -> tuple[Picture, Picture]:
    """Everything in the red channel."""
    red = clean * np.array([1.0, 0.0, 0.0])
    return red, white(red, 25)


def constant(clean: Picture) -> tuple[Picture, Picture]:
    flat = np.full_like(clean, 0.5)
    return flat, flat.copy()


def constant_noisy(clean: Picture) -> tuple[Picture, Picture]:
    flat = np.full_like(clean, 0.5)
    return flat, white(flat, 25)


# kind: (the picture to be found and what is given, from a clean one; the true sigma in 8-bit units, if there is one)
KINDS: dict[str, tuple[Any, int | None]] = {
    "already clean": (lambda clean: (clean, clean.copy()), None),
    "white, sigma 1": (lambda clean: (clean, white(clean, 1)), 1),
    "white, sigma 2": (lambda clean: (clean, white(clean, 2)), 2),
    "white, sigma 5": (lambda clean: (clean, white(clean, 5)), 5),
    "white, sigma 100": (lambda clean: (clean, white(clean, 100)), 100),
    "Poisson, 50 photons": (lambda clean: (clean, photon(clean)), None),
    "saturated, sigma 25": (saturated, 25),
    "one colour, sigma 25": (one_colour, 25),
    "constant image": (constant, None),
    "constant image, sigma 25": (constant_noisy, 25),
    "sigma 10, then JPEG 75": (lambda clean: (clean, jpeg(clean)), 10),
}


def measure(clean: Picture, kind: str) -> dict[str, Any]:
    """The entry of one picture and one kind of noise: PSNR in dB (None where the picture is met exactly)."""
    make, true = KINDS[kind]
    target, given = make(clean)
    entry: dict[str, Any] = {"kind": kind, "input": _decibel(given, target), "blind sigma": 255 * estimate_sigma(given)}
    for name, level in {**GIVEN, "true sigma": true}.items():
        if name == "true sigma" and level is None:
            continue
        found = denoise(given, None if level is None else level / 255)
        entry[name] = _decibel(found.image, target)
        entry[f"{name}, largest change"] = 255 * float(np.abs(found.image - given).max())
    return entry


def _decibel(found: Picture, target: Picture) -> float | None:
    value = psnr(found, target)
    return value if np.isfinite(value) else None


def _entries() -> list[dict[str, Any]]:
    return list(read_json(RESULTS)["entries"]) if RESULTS.exists() else []


def table(entries: list[dict[str, Any]]) -> str:
    """The stored results as Markdown."""
    lines = ["# Noise that is not what the denoiser assumes", "", (__doc__ or "").strip().split("\n\n")[-1], ""]
    lines.append(
        "A dash: the input is the picture itself; the largest change of a value, in 8-bit units, stands beside it."
    )
    columns = (*GIVEN, "true sigma")
    for kind in KINDS:
        lines += ["", f"## {kind}", ""]
        heads = [f"loss, {name}" + ("" if name == "blind" else " given") for name in columns]
        lines.append(f"| picture | input, dB | blind estimate of sigma | {' | '.join(heads)} |")
        lines.append("| --- " * (3 + len(columns)) + "|")
        for entry in (e for e in entries if e["kind"] == kind):
            cells = [entry["image"], "-" if entry["input"] is None else f"{entry['input']:.2f}"]
            cells.append(f"{entry['blind sigma']:.2f}")
            for name in columns:
                if name not in entry:
                    cells.append("")
                elif entry["input"] is None:
                    cells.append(f"- (change {entry[f'{name}, largest change']:.2f})")
                else:
                    output = entry[name]
                    cells.append("exact" if output is None else f"{entry['input'] - output:+.2f}")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the colour set")
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    for name, file in IMAGES.items():
        if arguments.draw or (file is not None and (arguments.data is None or not (arguments.data / file).exists())):
            continue
        clean = np.asarray(crop(clean_image(name, arguments.data or Path()), SIDE), np.float64)
        for kind in KINDS:
            if any(entry["image"] == name and entry["kind"] == kind for entry in _entries()):
                continue
            entry = {"image": name, **measure(clean, kind)}
            write_json(RESULTS, {"side": SIDE, "entries": [*_entries(), entry]})
            print(entry, flush=True)
    with atomic_file(RESULTS.with_suffix(".md")) as output:
        output.write(table(_entries()).encode())


if __name__ == "__main__":
    main()
