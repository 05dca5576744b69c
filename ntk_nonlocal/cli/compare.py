"""``ntk-nonlocal compare``: trained networks beside their infinite-width limit, on one image."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ntk_nonlocal.networks import OPTIMIZERS, relative_names

from . import files, parsing

if TYPE_CHECKING:
    from ntk_nonlocal.reproduce import Comparison

_DESCRIPTION = """\
Adds noise to an image and denoises it in three ways, each from two network inputs:

  theory   what gradient descent makes of an infinitely wide network, in closed form, from the exact tangent kernel
  gd       a finite network trained by gradient descent ("ntk" parametrisation, same relative step size)
  adam     the same network trained by Adam ("standard" parametrisation), or by the --optimizer of your choice

  input: the noisy image itself, or iid noise (the setting of the deep image prior)

The folder given by --out receives

  result.json, arrays.npz   settings, curves, times, versions; outputs, kernel weights, eigenvectors
  outputs                   all images with their PSNR
  psnr                      PSNR against steps, the theory's curve over those of the networks
  kernel                    exact kernel and filter weights of a few pixels, drawn over the image
  eigenvectors              of the exact kernel, and of the networks' last layer before and after training

figures as PNG. What is finished is kept when the command is interrupted."""

_EXAMPLES = """\
examples:
  ntk-nonlocal compare                                   the bundled image, under three minutes on two cores
  ntk-nonlocal compare photo.png --crop 96x64 --sigma 15
  ntk-nonlocal compare --arch unet:levels=2 --width 128 --steps 3000 --out unet
  ntk-nonlocal compare --arch vanilla_cnn:kernel_size=7 --width 256
  ntk-nonlocal compare --optimizer lion:learning_rate=3e-4,b1=0.95

architectures: vanilla_cnn:kernel_size=11  cnn:depth=3,kernel_size=3
  autoencoder:levels=3,kernel_size=3,down=average|stride,up=bilinear|nearest  unet (keys as autoencoder)
  With levels=L the crop's height and width must be divisible by 2^L.

optimizers, with learning_rate and the settings that they have in optax, such as lion:learning_rate=3e-4,b1=0.95:
{others}
  and with step_size, relative to 1 / lambda_max, such as momentum:step_size=0.5,momentum=0.8:
{relative}"""

# The face in the bundled image, reduced to half its size.
_EXAMPLE_SIZE, _EXAMPLE_CENTRE = 256, (64, 112)


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Adds the command and its options."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "compare",
        help="trained networks beside their infinite-width limit, on one image",
        description=_DESCRIPTION,
        epilog=_EXAMPLES.format(
            others=_listed(name for name in OPTIMIZERS if name not in relative_names()),
            relative=_listed(relative_names()),
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "image", nargs="?", type=parsing.path, metavar="IMAGE",
        help="clean image, PNG, JPEG, TIFF or WebP (default: bundled)",
    )  # fmt: skip
    add("--crop", type=parsing.size, default=(64, 64), metavar="N|HxW", help="part that is used (default: 64)")
    add("--center", type=parsing.position, metavar="ROW,COLUMN", help="its centre (default: the image's middle)")
    add("--sigma", type=parsing.sigma, default=25 / 255, metavar="S", help="noise in 8-bit units (default: 25)")
    add(
        "--arch",
        type=parsing.architecture,
        default="autoencoder:levels=2",
        metavar="NAME[:key=value,...]",
        help="architecture (default: autoencoder:levels=2)",
    )
    add("--width", type=parsing.whole_number(1, 4096), default=64, metavar="N", help="channels (default: 64)")
    add("--steps", type=parsing.whole_number(1), default=1000, metavar="N", help="training steps (default: 1000)")
    add(
        "--step-size",
        type=parsing.positive_number(1.999),
        default=0.5,
        metavar="X",
        help="of gradient descent, relative to 1 / lambda_max (default: 0.5; stable below 2, less for narrow networks)",
    )
    add(
        "--optimizer",
        type=parsing.optimizer,
        metavar="NAME[:key=value,...]",
        help="what trains the other network (default: adam, at its learning rate of 0.001)",
    )
    add("--noise-scale", type=parsing.positive_number(), default=0.3, metavar="X", help="of the noise (default: 0.3)")
    add("--seed", type=parsing.whole_number(0), default=0, metavar="N", help="of noise and weights (default: 0)")
    add("--json", action="store_true", help="print the content of result.json, and its folder, instead of the table")
    add("--out", type=Path, default=Path("ntk-nonlocal-compare"), metavar="DIR", help="(default: ntk-nonlocal-compare)")
    return parser


def _listed(names: Iterable[str]) -> str:
    return textwrap.fill(" ".join(names), 110, initial_indent="  ", subsequent_indent="  ")


def run(args: argparse.Namespace) -> int:
    """Runs the command; raises ValueError on bad input, before long work."""
    from ntk_nonlocal.reproduce import DRAWINGS, CompareSettings, Comparison, draw_comparison
    from ntk_nonlocal.results import plain

    from .progress import Progress

    names = ("result.json", "arrays.npz", *(f"{name}.png" for name in DRAWINGS))
    parsing.check_no_input((args.out / name for name in names), [args.image], "--out")
    settings = CompareSettings(
        architecture=args.arch,
        sigma=args.sigma,
        width=args.width,
        steps=args.steps,
        step_size=args.step_size,
        optimizer=str(args.optimizer or "adam"),
        noise_scale=args.noise_scale,
        seed=args.seed,
    )
    comparison = Comparison(_clean_image(args), settings)
    comparison.facts["image"] = "bundled" if args.image is None else args.image.name
    folder = parsing.output_folder(args.out)
    stages = [(text, weight, work) for text, weight, work in comparison.stages()]
    drawing = 4.0
    with Progress(sum(weight for _, weight, _ in stages) + drawing, quiet=args.quiet) as progress:
        try:
            for text, weight, work in stages:
                progress.stage(text, weight)
                work(progress.update)
                comparison.save(folder)
        except KeyboardInterrupt:
            print(f"interrupted; the finished stages are in {folder}", file=sys.stderr)
            raise
        progress.stage("figures", drawing)
        draw_comparison(folder)
    if args.json:
        print(json.dumps(plain(comparison.facts | {"folder": folder}), ensure_ascii=False))
    elif not args.quiet:
        _print_table(comparison, folder)
    return 0


def _clean_image(args: argparse.Namespace) -> Any:
    from ntk_nonlocal.images import crop, example_image

    if min(args.crop) < 8:  # gradient descent at the default step size diverges there
        height, width = args.crop
        raise ValueError(f"--crop must be at least 8x8 pixels, got {height}x{width}")
    if args.image is None:
        return crop(example_image(_EXAMPLE_SIZE), args.crop, center=args.center or _EXAMPLE_CENTRE)
    return crop(files.clean_image(args.image), args.crop, center=args.center)


def _print_table(comparison: Comparison, folder: Path) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    facts = comparison.facts
    steps = facts["settings"]["steps"]
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False, soft_wrap=not sys.stdout.isatty())
    table = Table(box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False)
    headings = ("input", "method", f"dB after {steps} steps", "best dB", "at step", "distance to theory", "seconds")
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if index < 2 else "right")
    for name, results in facts["inputs"].items():
        for method in ("theory", *facts["trained"]):
            one = results[method]
            seconds = one["seconds"] + (results["kernel"]["seconds"] if method == "theory" else 0)
            distance = f"{one['distance_to_theory'][-1]:.3f}" if "distance_to_theory" in one else ""
            table.add_row(
                {"image": "noisy image", "noise": "iid noise"}[name],
                method,
                f"{one['psnr_at_end']:.2f}",
                f"{one['best_psnr']:.2f}",
                str(one["best_step"]),
                distance,
                f"{seconds:.1f}",
            )
    console.print(f"noisy image: {facts['noisy_psnr']:.2f} dB")
    console.print(table)
    console.print(f"figures and data: {folder}", markup=False)
