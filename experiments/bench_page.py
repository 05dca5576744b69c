"""How long a hover of the explorer's page takes, beside NumPy computing the same numbers on the same machine.

    python experiments/bench_page.py [--side 96] [--rank 170] [--filters 4]

Prints milliseconds of the page's own thread for one hover (weights and errors of all filters, and their drawing), those
of NumPy for the same rows and errors without any drawing, and their ratio. Filters of random patterns. Needs Chromium.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ntk_nonlocal.explore import KERNELS, Explorer, StoredFilter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from explore.browser import Browser, installed

_HOVERS = 60
_HOVER = """(async () => {
  const c = document.querySelector('canvas.weights'), b = c.getBoundingClientRect();
  for (let i = 0; i < COUNT; i++) {
    c.dispatchEvent(new PointerEvent('pointermove', {
      clientX: b.left + b.width * (i + 0.5) / COUNT, clientY: b.top + b.height * (i % 7 + 0.5) / 7 }));
    await new Promise(requestAnimationFrame);
  }
})()""".replace("COUNT", str(_HOVERS))


def made_up(name: str, side: int, rank: int) -> StoredFilter:
    """A filter of random patterns: as much work to draw as a real one."""
    pixels, rng = side * side, np.random.default_rng(0)
    return StoredFilter(
        name=name,
        image_shape=(side, side, 3),
        x=np.geomspace(1, 1e-3, rank),
        levels=rng.integers(-50, 51, (pixels, rank)).astype(np.int16),
        grain=np.full(rank, 0.02 / np.sqrt(pixels)),
        middle=1e-4,
        low=1e-5,
        high=1e-3,
        weight=np.full(pixels, 0.9),
        mean=np.full(pixels, 1e-4),
        scale=np.ones(pixels),
        times=np.ones((73, 4)),
        layers=rng.integers(0, 200, (4, 3 * pixels)).astype(np.int16),
        layer_grain=1e-3,
        risk=np.linspace(1, 2, 73),
        psnr=np.asarray([]),
    )


def of_page(browser: Browser) -> float:
    """Milliseconds of the page's own thread for one hover."""

    def busy() -> float:
        metrics = browser.call("Performance.getMetrics")["metrics"]
        return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))

    before = busy()
    browser.value(_HOVER)
    return 1000 * (busy() - before) / _HOVERS


def of_numpy(filters: dict[str, StoredFilter], side: int) -> float:
    """Milliseconds of NumPy for the rows and errors of one hover."""
    start = time.process_time()
    for hover in range(_HOVERS):
        for stored in filters.values():
            stored.weights(hover % 7, hover % side, 100)
            stored.error(hover % 7, hover % side, 100)
    return 1000 * (time.process_time() - start) / _HOVERS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--rank", type=int, default=170)
    parser.add_argument("--filters", type=int, default=4, choices=range(1, 5))
    args = parser.parse_args()
    if installed() is None:
        parser.error("no Chromium found: install it (Debian: apt-get install chromium)")
    filters = {name: made_up(name, args.side, args.rank) for name in list(KERNELS)[: args.filters]}
    noisy = np.random.default_rng(0).random((args.side, args.side, 3))
    with tempfile.TemporaryDirectory() as folder, Browser() as browser:
        browser.open(Explorer(filters, noisy, None, 0.1, "made up").write(Path(folder) / "page.html"))
        browser.call("Performance.enable", timeDomain="threadTicks")
        browser.frame()
        for _ in range(3):  # both sides in turn
            page, numpy = of_page(browser), of_numpy(filters, args.side)
            print(f"page {page:.1f} ms   NumPy, undrawn {numpy:.1f} ms   ratio {page / numpy:.2f}")


if __name__ == "__main__":
    main()
