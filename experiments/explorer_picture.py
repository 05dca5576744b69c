"""The opening picture of the README: the page of ``ntk-nonlocal explore``, as a browser shows it.

    python experiments/explorer_picture.py [--page build/explorer.html]

Needs Chromium, and the page that `make docs` makes.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, default=ROOT / "build" / "explorer.html")
    parser.add_argument("--view", default="", help="the part of a copied link behind #")
    args = parser.parse_args()
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None or not args.page.exists():
        parser.error(f"needs Chromium and {args.page}; run make docs")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        subprocess.run(
            [
                browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}",
                "--window-size=1240,830", "--force-device-scale-factor=1", "--virtual-time-budget=20000",
                f"--screenshot={ROOT / 'figures' / 'explorer.png'}", f"{args.page.resolve().as_uri()}#{args.view}",
            ],
            check=True, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    picture = ROOT / "figures" / "explorer.png"
    Image.open(picture).convert("RGB").quantize(256).save(picture, optimize=True)


if __name__ == "__main__":
    main()
