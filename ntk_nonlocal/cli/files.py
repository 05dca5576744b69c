"""Which files ``ntk-nonlocal denoise`` reads and writes: known and checked before the work."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from . import parsing

NAMED = 3  # of files, pages and the like that are told
_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")


def jobs(args: argparse.Namespace) -> list[tuple[Path, Path]]:
    """Pairs (file to read, file to write), every one of them checked for what can be known before reading.

    Raises:
      ValueError: a missing file or folder, nothing to do, two images of one name, or an output over an input.
    """
    from ntk_nonlocal.images import check_writable

    images, output = args.images, args.output
    sources: list[Path] = []
    for image in images:
        if image.is_dir():
            sources += _images_in(image, output, args.quiet)
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
    parsing.check_no_input(targets, [*sources, args.mask], "output")
    written: set[Path] = set()
    for target in targets:
        if target in written:
            raise ValueError(f"two images would be written to {target}; name different ones or use two folders")
        written.add(target)
        check_writable(target)
    return list(zip(sources, targets, strict=True))


def _images_in(folder: Path, output: Path, quiet: bool) -> list[Path]:
    """The images of a folder, without hidden files, such as macOS's companions; what else it holds is told."""
    seen = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    found = [path for path in seen if path.suffix.lower() in _SUFFIXES and path.is_file()]
    if not found:
        raise ValueError(f"{folder} holds no image; supported are {', '.join(_SUFFIXES)}")
    others = [path for path in seen if path not in found and path.resolve() != output.resolve()]
    if others and not quiet:
        names = [f"{path.name}/" if path.is_dir() else path.name for path in others[:NAMED]]
        names += [f"{len(others) - NAMED} more"] * (len(others) > NAMED)
        told = f"{folder}: {len(others)} left out, as no PNG, JPEG, TIFF or WebP files: {', '.join(names)}"
        print(parsing.one_line(told), file=sys.stderr)
    return found


def figures(figure: Path | None, mask: Path | None, jobs: list[tuple[Path, Path]]) -> list[Path | None]:
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
        if path is not None:
            parsing.check_no_input([path], [mask], "--compare")
    return found


def clean_image(path: Path) -> Any:
    """A picture (H, W, C) with values in [0, 1], all of whose pixels have one."""
    import numpy as np

    from ntk_nonlocal.images import as_image, read_photo

    photo = read_photo(path)
    if photo.valid is not None:
        raise ValueError(
            f"{path} has {np.count_nonzero(~photo.valid)} samples without a value, NaN or nodata, and a clean picture "
            "is needed; fill them first, with ntk-nonlocal denoise --fill"
        )
    try:
        return as_image(photo.image)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def mask(path: Path, quiet: bool) -> Any:
    """Where a mask's file is not black, shape (H, W, 1): not below half of its brightest."""
    import numpy as np

    from ntk_nonlocal.images import read_photo

    try:
        photo = read_photo(path)
    except ValueError as error:
        raise ValueError(f"--mask: {error}") from error
    if photo.alpha is not None and (photo.alpha < photo.alpha.max()).any():
        raise ValueError(f"--mask {path} has transparency; say by black and white which pixels have a value")
    seen = photo.image if photo.valid is None else np.where(photo.valid, photo.image, 0)
    brightness = seen.max(axis=2, keepdims=True)
    brightest = float(brightness.max())
    if brightest <= 0:
        raise ValueError(f"--mask {path} is black everywhere, and no pixel has a value; make it white where one has")
    found = brightness >= brightest / 2
    if np.mean(found) < 0.5 and not quiet:
        told = f"--mask {path}: {np.mean(~found):.1%} of the pixels have no value, being black there"
        print(parsing.one_line(told), file=sys.stderr)
    between = int(((brightness > 0) & (brightness < brightest)).sum())
    if between and not quiet:
        told = f"--mask {path}: {between} pixels are neither black nor of the brightest grey; those below half of it "
        told += (
            f"({photo.white * brightest / 2:g}) count as black, and {np.mean(~found):.1%} of the pixels have no value"
        )
        print(parsing.one_line(told), file=sys.stderr)
    return found
