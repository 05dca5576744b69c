"""Noise that is not what the denoiser assumes: what ``denoise`` and its blind noise estimate make of it.

    python experiments/denoise_unusual.py --data FOLDER      images of the colour set too; without it the bundled image
    python experiments/denoise_unusual.py --draw             only the table, from the stored results

Every picture is a 128x128 crop from the middle. "loss" is the PSNR of the input less that of the output, in dB, so that
a positive number says that denoising did harm. Results are stored picture by picture; what is stored is not run again.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from _by_picture import Entry, Picture, run
from PIL import Image

from ntk_nonlocal.denoisers import denoise
from ntk_nonlocal.images import estimate_sigma, psnr

RESULTS = Path(__file__).parent / "results" / "denoise_unusual.json"
SIDE = 128
GIVEN = {"blind": None, "sigma 1": 1, "sigma 5": 5}  # in 8-bit units


def white(clean: Picture, sigma: float) -> Picture:
    return np.asarray(clean + np.random.default_rng(0).normal(size=clean.shape) * sigma / 255)


def photon(clean: Picture) -> Picture:
    """Poisson noise of 50 photons at white."""
    return np.asarray(np.random.default_rng(0).poisson(50 * clean) / 50)


def jpeg(clean: Picture, sigma: float, quality: int) -> Picture:
    """White noise behind a JPEG encoder, colour at half the resolution: correlated, and partly gone."""
    file = io.BytesIO()
    noisy = np.clip(np.round(255 * white(clean, sigma)), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), np.float64) / 255


def enlarged(clean: Picture) -> Picture:
    """By 1.5, bilinear."""
    from skimage.transform import resize

    height, width, channels = clean.shape
    return np.asarray(resize(clean, (3 * height // 2, 3 * width // 2, channels), order=1))


def demosaiced(clean: Picture) -> Picture:
    """What a Bayer pattern sees, bilinear."""
    from scipy.ndimage import convolve

    rows, columns = np.indices(clean.shape[:2]) % 2
    seen = np.stack([(rows == 0) & (columns == 0), rows != columns, (rows == 1) & (columns == 1)], axis=2)
    tent = np.outer([1, 2, 1], [1, 2, 1])[:, :, None] / 4
    return np.asarray(convolve(clean * seen, tent) / convolve(seen.astype(float), tent))


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
    "JPEG 90, no noise": (lambda clean: (clean, jpeg(clean, 0, 90)), None),
    "sigma 10, then JPEG 90": (lambda clean: (clean, jpeg(clean, 10, 90)), 10),
    "sigma 10, then JPEG 75": (lambda clean: (clean, jpeg(clean, 10, 75)), 10),
    "sigma 25, then JPEG 50": (lambda clean: (clean, jpeg(clean, 25, 50)), 25),
    "sigma 25, then demosaiced": (lambda clean: (demosaiced(clean), demosaiced(white(clean, 25))), 25),
    "sigma 25, then enlarged": (lambda clean: (enlarged(clean), enlarged(white(clean, 25))), 25),
    "enlarged, no noise": (lambda clean: (enlarged(clean), enlarged(clean)), None),
}


def measure(clean: Picture, kind: str) -> Entry:
    """The entry of one picture and one kind of noise: PSNR in dB (None where the picture is met exactly)."""
    make, true = KINDS[kind]
    target, given = make(clean)
    entry: Entry = {"input": _decibel(given, target), "blind sigma": 255 * estimate_sigma(given)}
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


def table(entries: list[Entry]) -> str:
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
        for entry in (e for e in entries if e["case"] == kind):
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


if __name__ == "__main__":
    run(__doc__, RESULTS, SIDE, KINDS, measure, table)
