"""``ntk-nonlocal explore``: filters of one picture as a page to look at."""

from __future__ import annotations

import argparse
import json
from typing import Any

from . import files, parsing

_DESCRIPTION = """\
Adds noise to a picture and writes one HTML page on which its filters can be looked at: point at a pixel, and see what
non-local means and neural networks, infinitely wide ones or a real one, average there; move a slider, and see it after
1 to 1000000 training steps. The page needs no network and no other file. It holds whole filters of 32x32 pixels, made
in a minute or two; of larger parts it holds the leading patterns, says how far every row that it draws can be off, and
takes 5 minutes of a core at 64x64 pixels and 25 at 96x96."""

_EXAMPLES = """\
examples:
  ntk-nonlocal explore -o page.html                                   the bundled picture
  ntk-nonlocal explore photo.png --crop 64 --sigma 15 -o page.html
  ntk-nonlocal explore --crop 48x64 --kernels nlm,vanilla-ntk-noise,unet-ntk-image -o page.html

kernels:
"""


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Adds the command and its options."""
    from ntk_nonlocal.explore import DEFAULT_KERNELS, KERNELS

    names = "\n".join(f"  {name:<24}{about}" for name, about in KERNELS.items())
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "explore",
        help="filters of a picture, as a page to look at",
        description=_DESCRIPTION,
        epilog=f"{_EXAMPLES}{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "image", nargs="?", type=parsing.path, metavar="IMAGE",
        help="clean image, PNG, JPEG, TIFF or WebP (default: bundled)",
    )  # fmt: skip
    add("--crop", type=parsing.size, default=(32, 32), metavar="N|HxW", help="part that is used (default: 32)")
    add("--center", type=parsing.position, metavar="ROW,COLUMN", help="its centre (default: the image's middle)")
    add("--sigma", type=parsing.sigma, default=25 / 255, metavar="S", help="noise in 8-bit units (default: 25)")
    add(
        "--kernels",
        default=",".join(DEFAULT_KERNELS),
        metavar="NAME,...",
        help=f"see below (default: {', '.join(DEFAULT_KERNELS)})",
    )
    add("--seed", type=parsing.whole_number(0), default=0, metavar="N", help="of noise and weights (default: 0)")
    add("--json", action="store_true", help="print what was found of each kernel as JSON")
    add("-o", "--out", type=parsing.path, required=True, metavar="PAGE", help="the HTML file to write")
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs the command; raises ValueError on bad input, before long work."""
    from ntk_nonlocal.explore import explore
    from ntk_nonlocal.images import add_noise, crop, example_image

    from .progress import Progress

    parsing.check_no_input([args.out], [args.image], "--out")
    whole = example_image(256) if args.image is None else files.clean_image(args.image)
    center = args.center or ((64, 112) if args.image is None else None)
    clean = crop(whole, args.crop, center=center).astype("float32")
    noisy = add_noise(clean, args.sigma, seed=args.seed)
    name = "bundled picture" if args.image is None else args.image.name
    height, width = clean.shape[:2]
    with Progress(1.0, quiet=args.quiet) as progress:
        progress.stage("filters", 1.0)
        found = explore(
            noisy,
            args.out,
            clean=clean,
            sigma=args.sigma,
            kernels=args.kernels,
            seed=args.seed,
            title=f"{name}, {height}x{width} pixels, noise of {255 * args.sigma:g} grey levels",
            progress=lambda done, total: progress.update(done / total),
        )
    if args.json:
        kernels = {
            key: {"rank": one.rank, "stop": one.best_step, "best_psnr": float(one.psnr.max())}
            for key, one in found.filters.items()
        }
        print(json.dumps({"page": str(args.out), "bytes": args.out.stat().st_size, "kernels": kernels}))
    elif not args.quiet:
        print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB; open it in a browser")
    return 0
