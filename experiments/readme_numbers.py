"""The numbers of the README, from the stored results.

    python experiments/readme_numbers.py        writes them between the two marks in README.md

A test says when the README and the results have drifted apart.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from denoise_table import IMAGES

from ntk_nonlocal.reproduce import largest, markdown, scorecard, simple_filters, whole_picture_line
from ntk_nonlocal.results import atomic_file, read_json

README = Path(__file__).parent.parent / "README.md"
RESULTS = Path(__file__).parent / "results"
BEGIN, END = "<!-- numbers: python experiments/readme_numbers.py -->\n", "<!-- end of numbers -->\n"
KERNEL = "product-cnn"  # the case of the kernel benchmark that is quoted


def quality() -> str:
    """Mean PSNR of denoisers over the five pictures of the set."""
    entries = read_json(RESULTS / "denoise_table.json")["entries"]
    pictures = [name for name, file in IMAGES.items() if file is not None]
    found = {(e["image"], e["sigma"], e["method"]): e["psnr"] for e in entries}
    ntk, nlm, bm3d = (np.mean([found[name, 25, method] for name in pictures]) for method in ("ntk", "nlm", "bm3d"))
    return (
        f"- **{ntk:.2f} dB** on {len(pictures)} colour images with noise of 25 grey levels, by infinitely wide "
        f"networks in closed form: no training, no clean image (non-local means {nlm:.2f} dB, CBM3D {bm3d:.2f} dB; "
        "[all denoisers](docs/comparison.md#denoisers))."
    )


def trained() -> str:
    """The closed form beside networks trained on the picture, on small crops."""
    stored = read_json(RESULTS / "denoise_prior.json")
    entries = stored["entries"]
    ntk, means, adam = (np.mean([e["psnr"] for e in entries if e["case"] == case]) for case in ("ntk", "nlm", "adam"))
    pictures = len({entry["image"] for entry in entries})
    return (
        f"- **{ntk:.1f} dB** on {pictures} crops of {stored['side']}x{stored['side']} pixels, where non-local means "
        f"has {means:.1f} dB and a small network trained on each, our deep image prior, {adam:.1f} dB "
        "([table](docs/comparison.md#beside-trained-networks))."
    )


def speed() -> str:
    """The exact kernel beside neural-tangents."""
    case = read_json(RESULTS / "bench_kernel.json")["cases"][KERNEL]
    line = next(line for line in case["figures"] if line["figure"] == "warm")
    ours, theirs = line["values"]["engine"], line["values"]["neural-tangents"]
    return (
        f"- **{line['ratio']:.0f} times** as fast as neural-tangents in a product with the exact kernel of 64x64 "
        f"pixels and three layers ({ours:.2g} s after {theirs:.3g} s; "
        "[all cases](docs/comparison.md#the-kernel-beside-neural-tangents))."
    )


def claims() -> str:
    """The scorecard; of each experiment the largest preset counts."""
    return markdown(scorecard(largest(sorted(RESULTS.glob("reproduce-*")))))


def whole_picture() -> str:
    """What was trained at the poster's own size."""
    folders = sorted(RESULTS.glob("reproduce-*"))
    line = whole_picture_line(folders)
    return f"\n{line} {simple_filters(folders)} [All cells of the poster](docs/poster.md)." if line else ""


def section() -> str:
    """What stands between the marks."""
    return "\n".join((quality(), trained(), speed(), "", claims(), whole_picture())) + "\n"


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
