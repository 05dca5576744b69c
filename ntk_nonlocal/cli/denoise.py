"""``ntk-nonlocal denoise``: photographs in, photographs of the same kind without their noise out."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import files, parsing

if TYPE_CHECKING:
    from ntk_nonlocal.denoisers import Denoised
    from ntk_nonlocal.images import Photo

_METHODS = ("ntk", "nlm", "tv", "bm3d", "gd", "adam")

_DESCRIPTION = """\
Removes noise from photographs. Grey and RGB, further channels, 8 to 32 bits and floating point come back as they came;
transparency, colour profile, EXIF and what else a file holds are kept, or their loss is said; pixels that transparency
hides are denoised, and counted, like all others, those without a value (NaN, nodata) are left as they are. Any size
from 8x8 up; large images are worked on in overlapping tiles, the pages of a TIFF one after another. PNG, TIFF and
lossless WebP are written without loss, JPEG and other WebP anew with quality 95.

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
  ntk-nonlocal denoise cells.tif -o clean.tif --noise poisson-gaussian:gain=2.1,offset=100,read=3
  ntk-nonlocal denoise map.tif -o clean.tif --mask land.png --fill

Noise levels are in 255ths of the picture's own range: of 0 to 4095 where a file uses no more of its 16 bits, of 0 to 1
for floating-point numbers up to 1; where that is not 0 to 255 or 0 to 65535, the level is also told in the file's
numbers. Gain, offset and read noise are in the file's numbers. The noise level is estimated from the image. The
estimate takes noise for white: it is too low after strong JPEG compression, resizing or demosaicing, and reads fine
texture of a clean image as some noise; give --sigma where it misleads.

The pages of a TIFF have one range, that of the brightest. A page without values, or with none as large as --sigma,
comes back as it came, and is named. Hidden files of a folder are passed over, and what else is no image is named."""


_MASK = """\
an image of the same size, black where a pixel has no value; of more than two grey levels, as a JPEG has them, those
below half of the brightest count as black, which is said"""


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
    add("images", nargs="+", type=parsing.path, metavar="IMAGE", help="PNG, JPEG, TIFF, WebP files or folders of them")
    add(
        "-o", "--output", type=parsing.path, required=True, metavar="PATH",
        help="file to write; for several images or a folder: an existing folder, names are kept",
    )  # fmt: skip
    add(
        "--sigma", type=_levels, default=None, metavar="S|auto",
        help="noise level in 8-bit units, such as 10, or by channel, such as 10,10,40 (default: auto, estimated; 0 "
        "changes no pixel)",
    )  # fmt: skip
    add(
        "--noise", type=_noise, default="gaussian", metavar="NOISE",
        help="gaussian (default), or poisson-gaussian[:gain=G,offset=O,read=R] as cameras and microscopes make it, "
        "estimated unless given; by channel gain=1/2/4",
    )  # fmt: skip
    add("--mask", type=Path, metavar="FILE", help=_MASK)
    add("--fill", action="store_true", help="fill pixels without a value with estimates")
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
    from ntk_nonlocal.xla import free_programs

    from .progress import Progress

    if args.method == "bm3d":
        require_bm3d()
    _check_options(args)
    jobs = files.jobs(args)
    figures = files.figures(args.compare, args.mask, jobs)
    mask = None if args.mask is None else files.mask(args.mask, args.quiet)
    failed = 0
    with Progress(float(len(jobs)), quiet=args.quiet) as progress:
        for (source, target), figure in zip(jobs, figures, strict=True):
            progress.stage(source.name, 1.0)
            try:
                _one(source, target, figure, mask, args, progress)
                free_programs()
            except (ValueError, OSError) as error:
                if len(jobs) == 1:
                    raise
                failed += 1  # one bad picture does not cost the others
                where = "" if str(source) in str(error) else parsing.one_line(f"{source}:") + " "
                print(f"ntk-nonlocal denoise: error: {where}{parsing.spoken(error)}", file=sys.stderr, flush=True)
    if failed:
        print(f"ntk-nonlocal: {failed} of {len(jobs)} pictures were not denoised", file=sys.stderr)
    return 2 if failed else 0


def _one(source: Path, target: Path, figure: Path | None, mask: Any, args: argparse.Namespace, progress: Any) -> None:
    """One file, page by page, and what was done."""
    from ntk_nonlocal.images import open_photos, open_writer

    begin = time.perf_counter()
    results: list[Denoised | None] = []
    kept: dict[str, list[int]] = {}
    with open_photos(source, mask=mask) as photos:
        first, count = photos[0], len(photos)
        with open_writer(target, first, count) as writer:
            for number in range(count):
                photo = first if number == 0 else photos[number]
                where = f"{source}, page {number + 1}: " if count > 1 else ""

                def tell(share: float, number: int = number) -> None:
                    progress.update((number + share) / count)

                valid = _valid(photo, mask, args)
                reason = _untouched(photo, valid, args.sigma, args.noise)
                if reason is not None and count > 1:  # one bad page does not cost the others
                    kept.setdefault(reason, []).append(number + 1)
                    writer.add(photo.image, photo)
                    results.append(None)
                    continue
                if _without_values(valid):
                    raise ValueError(f"{source}: {reason}")
                try:
                    result = _denoised(photo, valid, args, tell)
                except ValueError as error:
                    raise ValueError(f"{where}{error}") from error
                writer.add(result.image, photo)
                if figure is not None and all(earlier is None for earlier in results):
                    from ntk_nonlocal.denoisers import draw_side_by_side

                    shown = (
                        _shown(photo.image, photo.valid),
                        dataclasses.replace(result, image=_shown(result.image, photo.valid)),
                    )
                    draw_side_by_side(*shown, figure)
                results.append(result if count == 1 else dataclasses.replace(result, image=result.image[:1, :1]))
            if all(result is None for result in results):
                raise ValueError(f"none of the {count} pages of {source} can be denoised: {'; '.join(kept)}")
    for reason, pages in kept.items():
        _tell_kept(target, reason, pages, args.quiet)
    _tell(first, target, results, time.perf_counter() - begin, args)


def _valid(photo: Photo, mask: Any, args: argparse.Namespace) -> Any:
    """Which pixels have a value, channel by channel where the channels differ, (H, W, 1) or (H, W, C); None: all."""
    if mask is not None and mask.shape[:2] != photo.image.shape[:2]:
        size, own = (f"{shape[1]}x{shape[0]}" for shape in (mask.shape, photo.image.shape))
        raise ValueError(f"--mask {args.mask} has {size} pixels, and {photo.path} {own}")
    valid = photo.valid
    if valid is not None and (valid == valid[:, :, :1]).all():
        valid = valid[:, :, :1]
    return valid if mask is None else mask if valid is None else valid & mask


def _without_values(valid: Any) -> str | None:
    """What has no value at all, of a page or of some of its channels; None: there are some in all."""
    import numpy as np

    there = np.ones(1, bool) if valid is None else valid.any(axis=(0, 1))
    if there.all():
        return None
    empty = ", ".join(str(number) for number in np.flatnonzero(~there) + 1)
    return f"no pixel {f'of channel {empty} ' if there.any() else ''}has a value, for NaN, nodata or the mask"


def _untouched(photo: Photo, valid: Any, sigma: float | tuple[float, ...] | None, noise: object) -> str | None:
    """Why a page cannot be denoised, None where it can: nothing is there, or nothing as large as the noise, or nothing
    that tells what it is."""
    import numpy as np

    empty = _without_values(valid)
    if empty:
        return empty
    level = 0.0 if sigma is None else float(np.max(sigma))
    there = np.abs(photo.image).max(initial=0, where=True if valid is None else valid)
    if noise == "poisson-gaussian" and photo.image.max() == photo.image.min():
        return "all values are the same, which tells no gain and no read noise"
    if there < level:
        told = f"{photo.white * level:.4g} in the file's numbers"
        return f"no value reaches the level of --sigma, {told}; without it every page has its own"
    return None


def _tell_kept(target: Path, reason: str, pages: list[int], quiet: bool) -> None:
    if quiet:
        return
    numbers = ", ".join(map(str, pages[: files.NAMED])) + f" and {len(pages) - files.NAMED} more" * (
        len(pages) > files.NAMED
    )
    who = f"page {numbers} comes back as it" if len(pages) == 1 else f"pages {numbers} come back as they"
    print(parsing.one_line(f"{target}: {who} came: {reason}"), file=sys.stderr)


def _denoised(photo: Photo, valid: Any, args: argparse.Namespace, tell: Callable[[float], None]) -> Denoised:
    from ntk_nonlocal.denoisers import denoise
    from ntk_nonlocal.images import PoissonGaussian

    sigma, noise = args.sigma, args.noise
    if isinstance(noise, dict):
        noise = PoissonGaussian(**noise).scaled(1 / photo.white)
    if isinstance(sigma, tuple) and len(sigma) != photo.image.shape[2]:
        raise ValueError(f"{photo.path} has {photo.image.shape[2]} channels, and --sigma has {len(sigma)} levels")
    channels = photo.image.shape[2]
    stored = photo.tiff is not None and photo.tiff.zero_is_white and noise != "gaussian"  # counts are as in the file
    image = 1 - photo.image if stored else photo.image
    result = denoise(
        image,
        sigma,
        args.method,
        mask=valid,
        fill=args.fill,
        noise=noise,
        axes="YXC" if channels > 1 else None,
        fast=args.fast,
        seed=args.seed,
        architecture=args.arch,
        width=args.width,
        steps=args.steps,
        progress=tell,
    )
    return dataclasses.replace(result, image=1 - result.image) if stored else result


def _shown(image: Any, valid: Any) -> Any:
    """Grey or RGB for a figure, black where there is no value."""
    import numpy as np

    colours = image if image.shape[2] in (1, 3) else image[:, :, : 3 if image.shape[2] > 3 else 1]
    return np.nan_to_num(colours if valid is None else np.where(valid[:, :, :1], colours, 0))


def _tell(photo: Photo, target: Path, pages: list[Denoised | None], seconds: float, args: argparse.Namespace) -> None:
    """What was done, on stdout; what may be missed, on stderr."""
    from ntk_nonlocal.denoisers import told_level

    results = [result for result in pages if result is not None]
    first = results[0]
    levels = [result.level for result in results]
    if args.json:
        facts = _facts(photo, target, pages, seconds)
        text = json.dumps(facts, ensure_ascii=False)
        try:
            text.encode(sys.stdout.encoding or "utf-8")
        except UnicodeEncodeError:
            text = json.dumps(facts)
        print(text, flush=True)
    elif not args.quiet:
        coarse = any("correlation" in result.settings for result in results)
        compressed = any("compressed" in result.settings for result in results)
        kind = ", coarser than pixels" * coarse + ", before JPEG compression" * compressed
        how = "given" if first.settings["sigma_given"] else "estimated" + kind
        several = len(pages) > 1
        least, most = told_level(255 * min(levels)), told_level(255 * max(levels))
        sigma = least if least == most else f"{least} to {most}"
        sigma = sigma if several else first.told_sigma()
        plain = photo.white == 255 or (photo.white == 65535 and not several and 255 * min(levels) >= 1)
        unit = "" if plain else f" of 255, {_in_file(levels, photo.white)} in the file's numbers"
        count = f"{len(pages)} pages, " if several else ""
        step = "" if several else _chosen(first)
        line = f"{target}: {count}sigma {sigma}{unit} ({how}){step}{_camera(results, photo.white)}, {seconds:.1f} s"
        print(parsing.one_line(line), flush=True)
    advice = None if args.quiet else _advice(photo, results)
    if advice is not None:
        print(parsing.one_line(f"{target}: {advice}"), file=sys.stderr)


def _advice(photo: Photo, results: list[Denoised]) -> str | None:
    """What may be wrong with the noise that was assumed, and what to do then."""
    first, levels = results[0], [result.level for result in results]
    every = [result.settings for result in results]
    if any("grows" in settings for settings in every):
        return "the noise grows with the brightness; give --noise poisson-gaussian"
    if "gain" in first.settings and photo.sample_type.kind in "iu" and photo.white * min(levels) < 1:
        return (
            "the noise is less than one of the file's whole numbers, to which estimates are rounded; give a "
            "floating-point TIFF for fractions"
        )
    if cut := max(settings.get("cut", 0.0) for settings in every):
        return (
            f"{100 * cut:.0f} % of the values stand at an end of their range, where noise is cut off; there is "
            "probably more of it than was estimated; where you see noise that is left, give --sigma"
        )
    if doubts := [settings["coarse_sigma"] for settings in every if "coarse_sigma" in settings]:
        return (
            "not all of what is there is white noise; where you see noise that is left, coarser than pixels, as JPEG "
            f"compression, demosaicing and resizing leave it, give --sigma, such as {255 * max(doubts):.0f}"
        )
    if not first.settings["sigma_given"] and 255 * max(map(_contrast, results)) < 1:
        return (
            "almost no noise was found, and little was changed; where you see noise, give --sigma, such as 10, in "
            f"255ths of the picture's range of 0 to {photo.white:g} (strong JPEG compression and resizing hide it from "
            "the estimate)"
        )
    return None


def _contrast(result: Denoised) -> float:
    """The noise in units of what the middle 99.8 % of the picture's values span."""
    return result.level / (float(result.settings["span"]) or 1.0)


def _in_file(levels: list[float], white: float) -> str:
    return _range([white * level for level in levels])


def _range(numbers: Any) -> str:
    least, most = f"{min(numbers):.4g}", f"{max(numbers):.4g}"
    return least if least == most else f"{least} to {most}"


def _camera(results: list[Denoised], white: float) -> str:
    """Gain and dark variance in the file's numbers, of several pages from the least to the largest."""
    import numpy as np

    found = [noise for noise in (_noise_of(result, white) for result in results) if noise is not None]
    if not found:
        return ""
    gain, dark = (_by_channel([np.atleast_1d(noise[key]) for noise in found]) for key in ("gain", "dark_variance"))
    return f", gain {gain}, read^2 - gain * offset {dark}"


def _by_channel(pages: list[Any]) -> str:
    """Numbers by channel, of several pages the range of each; of pages of which some have one number, over all."""
    import numpy as np

    if len({len(page) for page in pages}) > 1:
        pages = [np.atleast_1d(number) for page in pages for number in page]
    return "/".join(_range(numbers) for numbers in zip(*pages, strict=True))


def _noise_of(result: Denoised, white: float) -> dict[str, Any] | None:
    """Gain and dark variance in the file's numbers, by channel where they were; None where it is not of that kind."""
    import numpy as np

    if "gain" not in result.settings:
        return None
    scales = {"gain": white, "dark_variance": white**2}
    return {name: np.multiply(scale, result.settings[name]) for name, scale in scales.items()}


def _chosen(result: Denoised) -> str:
    step = "" if result.step is None else f", step {result.step}"
    if result.expected_psnr is None:
        return step
    return f"{step}, expected PSNR {result.expected_psnr:.1f} dB"


def _facts(photo: Photo, target: Path, pages: list[Denoised | None], seconds: float) -> dict[str, Any]:
    """For --json; of pages that came back as they came null."""
    from ntk_nonlocal.results import plain

    height, width, channels = photo.image.shape
    result = next(one for one in pages if one is not None)
    sigmas = [None if one is None else 255 * one.sigma for one in pages]
    several = len(pages) > 1
    facts = {
        "input": str(photo.path),
        "output": str(target),
        "size": [height, width, channels],
        "white": photo.white,
        "sigma_8bit": sigmas if several else sigmas[0],
        "step": [one and one.step for one in pages] if several else result.step,
        "risk": [one and one.risk for one in pages] if several else result.risk,
        "expected_psnr": None if several else result.expected_psnr,
        "seconds": seconds,
        "network": result.network,
        "settings": result.settings,
    }
    if several:
        facts["pages"] = len(pages)
    noises = [one and _noise_of(one, photo.white) for one in pages]
    if any(noises):
        facts["noise"] = noises if several else noises[0]
    return dict(plain(facts))


def _levels(text: str) -> float | tuple[float, ...] | None:
    if "," not in text:
        return parsing.sigma_or_auto(text)
    found = tuple(parsing.sigma_or_auto(part) for part in text.split(","))
    if None in found:
        raise argparse.ArgumentTypeError(f"by channel, every level is a number, got {text!r}; such as 10,10,40")
    return found  # type: ignore[return-value]


def _noise(text: str) -> str | dict[str, Any]:
    """ "gaussian", "poisson-gaussian", or its parameters."""
    name, _, rest = text.partition(":")
    if name not in ("gaussian", "poisson-gaussian") or (name == "gaussian" and rest):
        raise argparse.ArgumentTypeError(
            f"must be gaussian, poisson-gaussian or poisson-gaussian:gain=G,offset=O,read=R, got {text!r}"
        )
    if not rest:
        return name
    found: dict[str, Any] = {}
    for part in rest.split(","):
        key, _, value = part.partition("=")
        key = key.strip()
        if key in found:
            raise argparse.ArgumentTypeError(f"{key} is given twice in {text!r}; by channel it is {key}=1/2/4")
        try:
            numbers = tuple(float(number) for number in value.split("/"))
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{key} of {text!r} is a number, or one for each channel, such as 1/2/4, got {value!r}"
            ) from None
        found[key] = numbers if len(numbers) > 1 else numbers[0]
    if unknown := sorted(set(found) - {"gain", "offset", "read"}):
        raise argparse.ArgumentTypeError(f"poisson-gaussian has gain, offset and read, got {unknown[0]!r} in {text!r}")
    if "gain" not in found:
        raise argparse.ArgumentTypeError(f"the gain has to be given with the others, got {text!r}")
    from ntk_nonlocal.images import PoissonGaussian

    try:
        PoissonGaussian(**found)
    except ValueError as error:
        raise argparse.ArgumentTypeError(parsing.one_line(error)) from None
    return found


def _check_options(args: argparse.Namespace) -> None:
    if args.noise != "gaussian" and args.sigma is not None:
        raise ValueError("--sigma is for --noise gaussian, and poisson-gaussian noise has its own level; leave it out")
    if args.mask is not None and args.method != "ntk":
        raise ValueError(f"--mask is for --method ntk, got --method {args.method}; leave it out")
    if args.fast and args.method != "ntk":
        raise ValueError(f"--fast is for --method ntk, got --method {args.method}; leave it out")
    for name in ("steps", "width", "arch"):
        if getattr(args, name) is not None and args.method not in ("gd", "adam"):
            raise ValueError(f"--{name} is for --method gd and adam, got --method {args.method}; leave it out")
