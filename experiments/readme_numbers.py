"""The numbers of the README, from the stored results.

    python experiments/readme_numbers.py        writes them between the two marks in README.md

A test says when the README and the results have drifted apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from denoise_table import IMAGES

from ntk_nonlocal.reproduce import largest, markdown, scorecard
from ntk_nonlocal.results import atomic_file, read_json

README = Path(__file__).parent.parent / "README.md"
RESULTS = Path(__file__).parent / "results"
BEGIN, END = "<!-- numbers: python experiments/readme_numbers.py -->\n", "<!-- end of numbers -->\n"
# cases of the kernel benchmark: figure -> unit
KERNEL = {
    "product-cnn": ("warm", "cold"),
    "product-autoencoder": ("warm", "cold"),
    "matrix-cnn": ("warm",),
    "memory-cnn": ("memory",),
    "long-recompute": ("cold", "memory"),
    "long-keep": ("further product", "memory"),
    "long-window": ("total", "memory"),
}
METHODS = {
    "noisy": "the noisy image",
    "tv": "total variation (scikit-image)",
    "nlm": "non-local means (scikit-image)",
    "ntk fast": "`ntk`, fast setting",
    "ntk blind": "`ntk`, noise level estimated",
    "ntk": "`ntk`",
    "bm3d": "CBM3D",
}


def denoising() -> str:
    """Mean PSNR over the five pictures of the set, of every method that has them all."""
    entries = read_json(RESULTS / "denoise_table.json")["entries"]
    pictures = [name for name, file in IMAGES.items() if file is not None]
    found = {(e["image"], e["sigma"], e["method"]): e for e in entries}
    sigmas = sorted({entry["sigma"] for entry in entries})
    lines = [f"| mean of {len(pictures)} colour images, dB | " + " | ".join(f"sigma {s}" for s in sigmas) + " |"]
    lines.append("| --- " * (1 + len(sigmas)) + "|")
    for method, title in METHODS.items():
        cells = []
        for sigma in sigmas:
            values = [found[name, sigma, method]["psnr"] for name in pictures if (name, sigma, method) in found]
            cells.append(f"{np.mean(values):.2f}" if len(values) == len(pictures) else "")
        if any(cells):
            lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def trained() -> str:
    """The closed form beside networks trained on the picture, on small crops."""
    stored = read_json(RESULTS / "denoise_prior.json")
    entries = stored["entries"]
    means = {
        case: float(np.mean([entry["psnr"] for entry in entries if entry["case"] == case]))
        for case in dict.fromkeys(entry["case"] for entry in entries)
    }
    pictures = len({entry["image"] for entry in entries})
    return (
        f"Beside a network trained on the picture ({pictures} crops of {stored['side']}x{stored['side']}, sigma 25): "
        f"the deep image prior (`adam`) {means['adam']:.2f} dB, non-local means {means['nlm']:.2f} dB, `ntk` "
        f"{means['ntk']:.2f} dB."
    )


def kernels() -> str:
    """The exact kernel beside neural-tangents."""
    cases = read_json(RESULTS / "bench_kernel.json")["cases"]
    lines = ["| exact kernel on 2 CPU cores | | here | neural-tangents | ratio |", "| --- | --- | --- | --- | --- |"]
    for name, figures in KERNEL.items():
        for line in cases[name]["figures"]:
            if line["figure"] in figures:
                lines.append(_kernel_line(cases[name]["title"], line))
    return "\n".join(lines)


def _kernel_line(title: str, line: dict[str, Any]) -> str:
    unit = "GB" if line["figure"] == "memory" else "s"
    values = [line["values"].get(method) for method in ("engine", "neural-tangents")]
    cells = ["" if value is None else f"{value:.3g} {unit}" for value in values]
    ratio = "" if line["ratio"] is None else f"{line['ratio']:.3g}x"
    return f"| {title} | {line['figure']} | {cells[0]} | {cells[1]} | {ratio} |"


def claims() -> str:
    """The scorecard; of each experiment the largest preset counts."""
    return markdown(scorecard(largest(sorted(RESULTS.glob("reproduce-*")))))


def section() -> str:
    """What stands between the marks."""
    return "\n\n".join((denoising(), trained(), kernels(), claims())) + "\n"


def filled(text: str) -> str:
    """The README with the present numbers.

    Raises:
      ValueError: the marks are not there.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"README.md must have {BEGIN.strip()} and {END.strip()} once each")
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + section() + END + rest.partition(END)[2]


def main() -> None:
    text = filled(README.read_text(encoding="utf-8"))
    with atomic_file(README) as file:
        file.write(text.encode())


if __name__ == "__main__":
    main()
