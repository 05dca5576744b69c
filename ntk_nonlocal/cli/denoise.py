"""``ntk-nonlocal denoise``: photographs in, photographs of the same kind without their noise out."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import parsing

if TYPE_CHECKING:
    from ntk_nonlocal.denoisers import Denoised
    from ntk_nonlocal.images import Photo

_METHODS = ("ntk", "nlm", "tv", "bm3d", "gd", "adam")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")

_DESCRIPTION = """\
Removes noise from photographs. Grey and RGB, 8 and 16 bit come back as they came; transparency, colour profile and EXIF
are kept; pixels that transparency hides are denoised, and counted, like all others. Any size from 8x8 up; large images
are worked on in overlapping tiles. PNG, TIFF and lossless WebP are written without loss, JPEG and other WebP anew with
quality 95.

methods:
  ntk    infinitely wide networks in closed form, mixed and stopped by an estimate of the error (default)
  nlm    non-local means          tv   total variation
  bm3d   block matching; needs the optional package bm3d, whose licence allows non-commercial use only
  gd     a finite network fed the image and trained on it by gradient descent
  adam   the deep image prior: a finite network fed random values, trained by Adam; minutes for a small image"""

_EXAMPLES = """\
examples:
  ntk-nonlocal denoise photo.jpg -o clean.png
  ntk-nonlocal denoise photo.jpg -o clean.png --sigma 10 --compare comparison.png
  ntk-nonlocal denoise scans/ -o cleaned/ --fast          every image of a folder, into an existing folder

The noise level is estimated from the image. The estimate takes noise for white: it is too low after strong JPEG
compression, resizing or demosaicing, and reads fine texture of a clean image as some noise; give --sigma where it
misleads."""


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Adds the command and its options."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "denoise",
        help="remove the noise from photographs",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("images", nargs="+", type=Path, metavar="IMAGE", help="PNG, JPEG, TIFF or WebP files, or folders of them")
    add(
        "-o", "--output", type=parsing.path, required=True, metavar="PATH",
        help="file to write; for several images or a folder: an existing folder, names are kept",
    )  # fmt: skip
    add(
        "--sigma", type=parsing.sigma_or_auto, default=None, metavar="S|auto",
        help="noise level in 8-bit units, such as 10 (default: auto, estimated; 0 changes no pixel)",
    )  # fmt: skip
    add("--method", choices=_METHODS, default="ntk", metavar="NAME", help="see above (default: ntk)")
    add(
        "--fast",
        action="store_true",
        help="ntk in one pass and a small window: about 5 times as fast, 0.3 to 0.7 dB worse",
    )
    add("--compare", type=Path, metavar="FIGURE", help="also write a side-by-side figure (.png, .pdf or .svg)")
    add("--json", action="store_true", help="print what was done as JSON, one line per image")
    add("--steps", type=parsing.whole_number(1), metavar="N", help="gd and adam: the most training steps (2000)")
    add("--width", type=parsing.whole_number(1, 4096), metavar="N", help="gd and adam: channels (64)")
    add("--arch", type=parsing.architecture, metavar="NAME[:key=value,...]", help="gd and adam (autoencoder:levels=3)")
    add("--seed", type=parsing.whole_number(0), default=0, metavar="N", help="of everything random (default: 0)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs the command; raises ValueError on bad input, before long work."""
    from ntk_nonlocal.denoisers import require_bm3d
    from ntk_nonlocal.images import read_photo

    from .progress import Progress

    if args.method == "bm3d":
        require_bm3d()
    _check_options(args)
    jobs = _jobs(args.images, args.output)
    figures = _figures(args.compare, jobs)
    failed = 0
    with Progress(float(len(jobs)), quiet=args.quiet) as progress:
        for (source, target), figure in zip(jobs, figures, strict=True):
            progress.stage(source.name, 1.0)
            try:
                _one(read_photo(source), target, figure, args, progress)
            except (ValueError, OSError) as error:
                if len(jobs) == 1:
                    raise
                failed += 1  # one bad picture does not cost the others
                where = "" if str(source) in str(error) else f"{source}: "
                message = parsing.one_line(f"ntk-nonlocal denoise: error: {where}{error}")
                print(message, file=sys.stderr, flush=True)
    if failed:
        print(f"ntk-nonlocal: {failed} of {len(jobs)} pictures were not denoised", file=sys.stderr)
    return 2 if failed else 0


def _one(photo: Photo, target: Path, figure: Path | None, args: argparse.Namespace, progress: Any) -> None:
    from ntk_nonlocal.denoisers import denoise
    from ntk_nonlocal.images import check_writable, write_photo

    check_writable(target, photo)
    begin = time.perf_counter()
    result = denoise(
        photo.image,
        args.sigma,
        args.method,
        fast=args.fast,
        seed=args.seed,
        architecture=args.arch,
        width=args.width,
        steps=args.steps,
        progress=progress.update,
    )
    write_photo(target, result.image, like=photo)
    if not result.settings["sigma_given"] and 255 * result.sigma < 1 and not args.quiet:
        print(
            parsing.one_line(f"{target}: almost no noise was found, and little was changed; where you see noise, give")
            + " --sigma, such as 10 (strong JPEG compression and resizing hide it from the estimate)",
            file=sys.stderr,
        )
    if figure is not None:
        from ntk_nonlocal.denoisers import draw_side_by_side

        draw_side_by_side(photo.image, result, figure)
    if args.json:
        print(json.dumps(_facts(photo, target, result), ensure_ascii=False), flush=True)
    elif not args.quiet:
        how = "given" if result.settings["sigma_given"] else "estimated"
        seconds = time.perf_counter() - begin
        line = f"{target}: sigma {255 * result.sigma:.1f} ({how}){_chosen(result)}, {seconds:.1f} s"
        print(parsing.one_line(line), flush=True)


def _chosen(result: Denoised) -> str:
    step = "" if result.step is None else f", step {result.step}"
    if result.expected_psnr is None:
        return step
    return f"{step}, expected PSNR {result.expected_psnr:.1f} dB"


def _facts(photo: Photo, target: Path, result: Denoised) -> dict[str, Any]:
    from ntk_nonlocal.results import plain

    height, width, channels = photo.image.shape
    facts = {
        "input": str(photo.path),
        "output": str(target),
        "size": [height, width, channels],
        "sigma_8bit": 255 * result.sigma,
        "step": result.step,
        "risk": result.risk,
        "expected_psnr": result.expected_psnr,
        "seconds": result.seconds,
        "network": result.network,
        "settings": result.settings,
    }
    return dict(plain(facts))


def _check_options(args: argparse.Namespace) -> None:
    if args.fast and args.method != "ntk":
        raise ValueError(f"--fast is for --method ntk, got --method {args.method}; leave it out")
    for name in ("steps", "width", "arch"):
        if getattr(args, name) is not None and args.method not in ("gd", "adam"):
            raise ValueError(f"--{name} is for --method gd and adam, got --method {args.method}; leave it out")


def _jobs(images: list[Path], output: Path) -> list[tuple[Path, Path]]:
    """Pairs (file to read, file to write), every one of them checked for what can be known before reading.

    Raises:
      ValueError: a missing file or folder, nothing to do, two images of one name, or an output over an input.
    """
    from ntk_nonlocal.images import check_writable

    sources: list[Path] = []
    for image in images:
        if image.is_dir():
            found = sorted(path for path in image.iterdir() if path.suffix.lower() in _SUFFIXES and path.is_file())
            if not found:
                raise ValueError(f"{image} holds no image; supported are {', '.join(_SUFFIXES)}")
            sources += found
        elif not image.exists():
            raise ValueError(f"cannot read {image}: there is no such file; check the path")
        else:
            sources.append(image)
    several = len(sources) > 1 or any(image.is_dir() for image in images)
    if several and not output.is_dir():
        raise ValueError(f"several images are written into a folder, and {output} is none; create it first")
    if not output.suffix and not output.exists():
        raise ValueError(
            f"there is no folder {output}, and as a file it has no ending; create the folder first, or end the name "
            f"in {', '.join(_SUFFIXES)}"
        )
    targets = [output / source.name if output.is_dir() else output for source in sources]
    inputs = {source.resolve() for source in sources}
    for index, target in enumerate(targets):
        if target.resolve() in inputs:
            raise ValueError(f"{target} is an input and would be overwritten; choose another output")
        if target in targets[:index]:
            raise ValueError(f"two images would be written to {target}; name different ones or use two folders")
        check_writable(target)
    return list(zip(sources, targets, strict=True))


def _figures(figure: Path | None, jobs: list[tuple[Path, Path]]) -> list[Path | None]:
    """Where the side-by-side figures go: that path, or for several images one beside it per image."""
    if figure is None:
        return [None] * len(jobs)
    if figure.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise ValueError(f"cannot write {figure}: a figure ends in .png, .pdf or .svg")
    if not figure.parent.is_dir():
        raise ValueError(f"cannot write {figure}: there is no folder {figure.parent}; create it first")
    found: list[Path | None] = [figure]
    if len(jobs) > 1:
        stems = Counter(source.stem for source, _ in jobs)
        names = [source.stem if stems[source.stem] == 1 else source.name for source, _ in jobs]  # a.png beside a.jpg
        found = [figure.with_name(f"{figure.stem}-{name}{figure.suffix}") for name in names]
    taken = {path.resolve() for job in jobs for path in job}
    for path in found:
        if path is not None and path.resolve() in taken:
            raise ValueError(f"{path} is an image of this run and would be overwritten; choose another --compare")
    return found
