"""The denoisers side by side: PSNR, SSIM, seconds and memory over images and noise levels.

    python experiments/denoise_table.py --data FOLDER        images of the colour set, read by name; the bundled one too
    python experiments/denoise_table.py --draw               table and figure from the stored results

Protocol: image in [0, 1], ``numpy.random.default_rng(0)`` noise, neither clipped nor rounded; PSNR with peak 1 on the
clipped estimate over all channels. Every entry runs in a process of its own, so that its peak memory is its own, and is
kept in the result file at once: an interrupted run goes on where it stopped. BM3D is left out where it is not
installed. CPU seconds are those of all threads; wall-clock ones depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ntk_nonlocal.images import add_noise, example_image, psnr, ssim
from ntk_nonlocal.results import environment, read_json, write_json

RESULTS = Path(__file__).parent / "results" / "denoise_table.json"
TABLE = RESULTS.with_suffix(".md")
FIGURE = Path(__file__).parent.parent / "figures" / "denoise_blind_and_stopping.png"
IMAGES = {
    "House": "image_House256rgb.png",
    "Baboon": "image_Baboon512rgb.png",
    "F16": "image_F16_512rgb.png",
    "Lena": "image_Lena512rgb.png",
    "kodim12": "kodim12.png",
    "bundled": None,
}
SIGMAS = (25, 15, 50)
METHODS = ("noisy", "nlm", "tv", "ntk", "bm3d", "ntk fast", "ntk blind")


def clean_image(name: str, data: Path) -> Any:
    """One of ``IMAGES``, float64 in [0, 1]."""
    from ntk_nonlocal.images import read_photo

    file = IMAGES[name]
    if file is None:
        return example_image()
    return np.round(read_photo(data / file).image.astype(np.float64) * 255) / 255


def measure(name: str, data: Path, sigma: int, method: str) -> dict[str, Any]:
    """One entry of the table."""
    from ntk_nonlocal.denoisers import denoise
    from ntk_nonlocal.denoisers.colours import Colours
    from ntk_nonlocal.denoisers.ntk import BEST, closed_form

    clean = clean_image(name, data)
    noisy = add_noise(clean, sigma / 255)
    begin, cpu = time.perf_counter(), time.process_time()
    entry: dict[str, Any] = {"image": name, "sigma": sigma, "method": method}
    if method == "noisy":
        found = noisy
    elif method == "ntk best step":
        colours = Colours.opponent(noisy.shape[2], sigma / 255)
        result = closed_form(colours.planes(noisy), sigma / 255, BEST)
        estimates = [colours.image(planes, noisy) for planes in result.estimates]
        quality = [psnr(estimate, clean) for estimate in estimates]
        entry |= {"steps": result.steps, "psnr_of_steps": quality, "step": result.steps[int(np.argmax(quality))]}
        found = estimates[int(np.argmax(quality))]
    else:
        base, _, variant = method.partition(" ")
        level = None if variant == "blind" else sigma / 255
        denoised = denoise(noisy, level, base, fast=variant == "fast")  # type: ignore[arg-type]
        found = denoised.image
        error = float(np.mean((found - clean) ** 2))
        entry |= {"sigma_used": 255 * denoised.level, "step": denoised.step, "risk": denoised.risk, "error": error}
        entry |= {"settings": denoised.settings, "network": denoised.network}
    entry |= {"seconds": time.perf_counter() - begin, "cpu_seconds": time.process_time() - cpu}
    entry |= {"psnr": psnr(found, clean), "ssim": ssim(found, clean)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return entry | {"peak_mebibytes": peak, "environment": environment()}


def sweep(data: Path) -> None:
    """Every entry that is not there yet, each in its own process."""
    from importlib.util import find_spec

    for sigma in SIGMAS:
        for method in (*METHODS, "ntk best step"):
            for name, file in IMAGES.items():
                if method == "bm3d" and find_spec("bm3d") is None:
                    continue
                if file is not None and not (data / file).exists():
                    print(f"left out: no {file} in {data}", file=sys.stderr)
                    continue
                if _find(_entries(), name, sigma, method) is not None:
                    continue
                command = [sys.executable, __file__, "--data", str(data), "--one", name, str(sigma), method]
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                entry = json.loads(output.splitlines()[-1])
                write_json(RESULTS, {"entries": [*_entries(), entry]})
                print(f"{name} {sigma} {method}: {entry['psnr']:.2f} dB, {entry['seconds']:.1f} s", flush=True)


def _entries() -> list[dict[str, Any]]:
    return list(read_json(RESULTS)["entries"]) if RESULTS.exists() else []


def _find(entries: list[dict[str, Any]], name: str, sigma: int, method: str) -> dict[str, Any] | None:
    wanted = (name, sigma, method)
    return next((e for e in entries if (e["image"], e["sigma"], e["method"]) == wanted), None)


def table() -> str:
    """The stored results as Markdown."""
    entries = _entries()
    lines = ["# Denoisers side by side", "", "Made by `experiments/denoise_table.py --draw` from `denoise_table.json`."]
    for sigma in sorted({entry["sigma"] for entry in entries}):
        lines += ["", f"## sigma = {sigma} of 255: PSNR in dB / SSIM", ""]
        lines += [
            f"| method | {' | '.join(IMAGES)} | mean of the first five |",
            f"| --- {'| --- ' * (len(IMAGES) + 1)}|",
        ]
        for method in (*METHODS, "ntk best step"):
            row = [_find(entries, name, sigma, method) for name in IMAGES]
            cells = ["" if e is None else f"{e['psnr']:.2f} / {e['ssim']:.3f}" for e in row]
            five = [e["psnr"] for e in row[:5] if e is not None]
            if any(cells):
                lines.append(f"| {method} | {' | '.join(cells)} | {np.mean(five):.2f} |" if len(five) == 5 else
                             f"| {method} | {' | '.join(cells)} | |")  # fmt: skip
    lines += ["", "## sigma = 25: wall-clock seconds (CPU seconds), peak memory in MiB", ""]
    lines += [f"| method | {' | '.join(IMAGES)} |", f"| --- {'| --- ' * len(IMAGES)}|"]
    for method in METHODS[1:]:
        row = [_find(entries, name, 25, method) for name in IMAGES]
        cells = [
            "" if e is None else f"{e['seconds']:.1f} ({e['cpu_seconds']:.1f}), {e['peak_mebibytes']:.0f}" for e in row
        ]
        if any(cells):
            lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw() -> None:
    """What blind estimation and Stein's step cost, over images and noise levels."""
    from ntk_nonlocal import plotting

    entries = _entries()
    pairs = {
        "estimated against known sigma": ("ntk", "ntk blind"),
        "Stein's step against the best": ("ntk best step", "ntk"),
    }
    colours = (plotting.BLUE, plotting.ORANGE, plotting.GREEN)
    with plotting.style():
        figure = plotting.new_figure(7.5, 3.0)
        for axes, (title, (better, other)) in zip(figure.subplots(1, 2, sharey=True), pairs.items(), strict=True):
            for index, sigma in enumerate(sorted(SIGMAS)):
                found = [(_find(entries, n, sigma, better), _find(entries, n, sigma, other)) for n in IMAGES]
                places = [i + 0.25 * (index - 1) for i, (a, b) in enumerate(found) if a is not None and b is not None]
                losses = [a["psnr"] - b["psnr"] for a, b in found if a is not None and b is not None]
                axes.bar(places, losses, 0.22, color=colours[index], label=f"sigma = {sigma}")
            axes.axhline(0.2, color="black", linewidth=0.8, linestyle="--")
            axes.set_xticks(range(len(IMAGES)), IMAGES, rotation=30)
            axes.set_title(title)
        figure.axes[0].set_ylabel("loss of PSNR in dB")
        figure.axes[0].legend()
        plotting.save_figure(figure, FIGURE, small=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(), help="folder of the colour set")
    parser.add_argument("--draw", action="store_true", help="table and figure from what is stored")
    parser.add_argument("--one", nargs=3, metavar=("IMAGE", "SIGMA", "METHOD"), help="print one entry as JSON")
    args = parser.parse_args()
    if args.one:
        from ntk_nonlocal.results import plain

        name, sigma, method = args.one
        print(json.dumps(plain(measure(name, args.data, int(sigma), method))))
        return
    if not args.draw:
        sweep(args.data)
    TABLE.write_text(table())
    draw()


if __name__ == "__main__":
    main()
