"""Pictures into files, as the photo came that they were made from; what a file cannot hold is named.

The suffix names the format. A file appears when it is whole, and the one that was there stays until then.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ntk_nonlocal.results import atomic_file

from ..arrays import as_noisy_image, plain_array
from .codecs import encode
from .decoded import ALPHA, Decoded, TiffKind
from .reading import BYTE, Photo, as_path
from .tiff import TiffWriter

_ROWS_AT_ONCE = 256  # of what is computed in double precision
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP"}


def check_writable(path: str | os.PathLike[str], like: Photo | None = None) -> Path:
    """Whether an image can be written there; to be asked before long work.

    Args:
      path: the file to be written; one that exists is replaced.
      like: the photo whose alpha and kind of samples would go with it.

    Returns:
      The path.

    Raises:
      ValueError: an unknown suffix, a folder that does not exist or cannot be written to, a path that is a folder, or
        transparency in a JPEG, which has none, or samples or channels that the format has not.
    """
    path = as_path(path)
    format_ = _FORMATS.get(path.suffix.lower())
    if format_ is None:
        known = ", ".join(_FORMATS)
        raise ValueError(
            f"cannot write {path}: the format is told by the suffix, got {path.suffix!r}; use one of {known}"
        )
    try:
        is_folder, has_parent = path.is_dir(), path.parent.is_dir()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"cannot write {str(path)[:80]}: {reason}; choose another name") from None
    if is_folder:
        raise ValueError(f"cannot write {path}: it is a folder; name a file in it")
    if not has_parent:
        raise ValueError(f"cannot write {path}: there is no folder {path.parent}; create it first")
    trial = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}; choose a folder that you may write to") from None
    if like is not None and format_ != "TIFF":
        _check_kind(path, format_, like)
    return path


def _check_kind(path: Path, format_: str, like: Photo) -> None:
    if like.sample_type.kind != "u" or like.sample_type.itemsize > 2:
        raise ValueError(f"cannot write {path}: {format_} has no samples of {like.sample_type}; write a TIFF file")
    if like.image.shape[2] not in (1, 3):
        raise ValueError(f"cannot write {path}: {format_} has no {like.image.shape[2]} channels; write a TIFF file")
    if format_ == "JPEG" and like.alpha is not None and like.alpha.min() < _opaque(like.alpha, like.white):
        raise ValueError(f"cannot write {path}: JPEG has no transparency; write a PNG, TIFF or WebP file")


def write_photo(path: str | os.PathLike[str], image: ArrayLike, *, like: Photo | None = None) -> None:
    """Write an image, in the format that the suffix names, as the photo came that it was made from.

    PNG and TIFF, and WebP that came so, are written without loss, so that reading gives back the same values; JPEG and
    WebP with quality 95 and 8 bit. What the file cannot hold of ``like`` is named in a warning. A file that exists is
    replaced, at once and only when the new one is complete, with the permissions of the old one; of a link the link.
    Whole numbers are not rounded to the number that the file has for none.

    Args:
      path: see :func:`check_writable`.
      image: shape (H, W) or (H, W, C), as many channels as ``like`` or 1 or 3, in its units; whole numbers are clipped
        to their range.
      like: where the kind of samples, alpha, colour profile and everything beside come from. Without it: 8 bit, values
        in [0, 1], and none of them. The profile is left out where the number of channels differs.

    Raises:
      TypeError, ValueError: a path that cannot be written, not an image, alpha of another size.
      OSError: the disk is full, for instance; nothing is left behind then, and a file that was there stays.
    """
    with open_writer(path, like, 1) as writer:
        writer.add(image, like)


@contextlib.contextmanager
def open_writer(path: str | os.PathLike[str], like: Photo | None, count: int) -> Iterator[PhotoWriter]:
    """A file for ``count`` pictures, more than one in TIFF only, each given to :meth:`PhotoWriter.add`.

    The file appears when all of them are written.

    Args:
      path, like: as for :func:`write_photo`; ``like`` is the first picture.

    Raises:
      ValueError: the path cannot be written, or not so many pictures into one file.
    """
    if like is not None and not isinstance(like, Photo):
        raise TypeError(f"like must be a photo from read_photo, got {type(like).__name__}")
    path = check_writable(path, like)
    format_ = _FORMATS[path.suffix.lower()]
    if count > 1 and format_ != "TIFF":
        raise ValueError(f"cannot write {path}: {format_} holds one picture, and there are {count}; write a TIFF file")
    try:
        with contextlib.ExitStack() as opened:
            # opened with the first picture: what ends the work on it leaves nothing behind, not even a kill
            writer = PhotoWriter(path, format_, lambda: opened.enter_context(atomic_file(path)), like, count)
            yield writer
            writer.close()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


class PhotoWriter:
    """Takes the pictures of a file that :func:`open_writer` has opened."""

    def __init__(
        self, path: Path, format_: str, begin: Callable[[], IO[bytes]], like: Photo | None, count: int
    ) -> None:
        self._path, self._format, self._begin, self._count, self._written = path, format_, begin, count, 0
        self._lost: list[str] = []
        self._kind = TiffKind() if like is None else like.tiff or TiffKind(like.exif.order if like.exif else "<")
        self._size = 0 if like is None else like.image.nbytes * count
        self._tiff: TiffWriter | None = None

    def add(self, image: ArrayLike, like: Photo | None) -> None:
        """The next picture; arguments as for :func:`write_photo`."""
        decoded = self._decoded(image, like)
        if like is not None:
            self._lost += like.beside.left_out(self._format)
        if self._format == "TIFF":
            if self._tiff is None:
                self._tiff = TiffWriter(self._begin(), self._kind, self._size)
            self._tiff.add(decoded)
        else:
            # a file that never lost anything is not begun to be spoilt
            lossless = like is not None and like.format == "WEBP" and like.lossless
            try:
                data, lost = encode(self._format, decoded, lossless)
            except Exception as error:  # encoders raise all kinds of errors, for WebP of more than 16383 pixels a side
                raise ValueError(f"cannot write {self._path}: {error}; try another format") from error
            self._lost += lost
            self._begin().write(data)
        self._written += 1

    def close(self) -> None:
        """Ends the file, and says what it does not hold."""
        if self._written != self._count:
            raise ValueError(f"{self._path} was opened for {self._count} pictures and got {self._written}")
        if self._tiff is not None:
            self._tiff.close()
        if self._lost:
            names = ", ".join(dict.fromkeys(self._lost))
            warnings.warn(f"{self._path}: left out: {names}", stacklevel=2)

    def _decoded(self, image: ArrayLike, like: Photo | None) -> Decoded:
        if like is None:
            colours = as_noisy_image(image)
            if colours.shape[2] not in (1, 3):
                raise ValueError(
                    f"an image file holds 1 or 3 channels, got {colours.shape[2]}; others are taken from like="
                )
            return Decoded(_quantise(colours, 255.0, BYTE, 255.0))
        values = _values(image, like)
        white, sample_type, bits = like.white, like.sample_type, like.bits
        if self._format in ("JPEG", "WEBP") and sample_type.itemsize > 1:
            warnings.warn(
                f"{self._path}: {self._format} holds 8 bits a channel, the {like.bit_depth} are rounded; PNG and TIFF "
                "keep them",
                stacklevel=4,
            )
            white, sample_type = 255.0, BYTE
        top = white
        if white == like.white:
            top = max(white, float(np.max(like.image, where=np.isfinite(like.image), initial=0)) * white)
        extras, same = like.extras, values.shape[2] == like.image.shape[2]
        gaps = None
        if like.valid is not None and like.nodata is not None and values.shape == like.image.shape:
            gaps = ~like.valid & (values == like.image)
        tiff = like.tiff
        if tiff is not None and tiff.zero_is_white and self._format == "TIFF" and same:
            values = np.concatenate([1 - values[:, :, :1], values[:, :, 1:]], axis=2)
        elif tiff is not None:
            tiff = dataclasses.replace(tiff, zero_is_white=False)
        pixels = _quantise(values, white, sample_type, top)
        if like.nodata is not None and self._format == "TIFF":
            _besides(pixels, values, white, like.nodata)
            if gaps is not None:
                pixels[gaps] = like.nodata
        if not same:
            extras = (ALPHA,) if like.alpha is not None else ()
        if self._format == "JPEG":
            extras = tuple(code for code in extras if code != ALPHA)
        if ALPHA in extras and like.alpha is not None:
            place = pixels.shape[2] + 1 - len(extras) + extras.index(ALPHA)
            pixels = _with_alpha(pixels, like, place)
        profile = like.icc_profile if same else None
        if self._format != "TIFF":
            bits = None
        return Decoded(pixels, extras, like.exif, profile, like.dots_per_inch, bits, None, like.beside, tiff)


def _values(image: ArrayLike, like: Photo) -> NDArray[Any]:
    """The image (H, W, C), of numbers that the file's samples can have."""
    values = np.asarray(plain_array("an image", image))
    if values.dtype.kind not in "fuib":
        raise TypeError(f"the values of an image are numbers, got {values.dtype}")
    if values.dtype.kind in "ub":
        values = as_noisy_image(values)
    if values.ndim == 2:
        values = values[:, :, None]
    if values.ndim != 3 or values.shape[2] not in {1, 3, like.image.shape[2]}:
        raise ValueError(f"the image has shape (H, W, C) of 1, 3 or as many channels as like=, got {values.shape}")
    if like.sample_type.kind != "f":
        gaps = ~np.isfinite(values)
        if gaps.any():
            raise ValueError(f"the image has {int(gaps.sum())} values that are not finite, got for {like.sample_type}")
    return values


def _opaque(alpha: NDArray[Any], white: float) -> float:
    """What stands for no transparency at all."""
    if alpha.dtype.kind == "f":
        return 1.0 if float(alpha.max()) <= 1 else white
    full = float(np.iinfo(alpha.dtype).max)
    return white if float(alpha.max()) <= white < full else full


def _quantise(values: NDArray[Any], white: float, sample_type: np.dtype[Any], top: float) -> NDArray[Any]:
    """Samples of a file: values times ``white``, whole numbers from the least of their type, or zero, to ``top``."""
    found = np.empty(values.shape, sample_type)
    for start in range(0, len(values), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        with np.errstate(over="ignore"):
            scaled = values[rows].astype(np.float64) * white
        if sample_type.kind != "f":
            limits = np.iinfo(sample_type)
            most = min(round(top), limits.max) if sample_type.kind == "u" else limits.max
            scaled = np.clip(np.rint(scaled), limits.min, most)
        found[rows] = scaled
    return found


def _besides(pixels: NDArray[Any], values: NDArray[Any], white: float, nodata: float) -> None:
    """Moves samples that have become the file's number for none, by rounding, to the nearest other one, in place."""
    if pixels.dtype.kind == "f" or not np.isfinite(nodata):
        return
    hit = pixels == nodata
    limits = np.iinfo(pixels.dtype)
    up = (
        (values[hit] * white >= nodata) if limits.min < nodata < limits.max else np.full(hit.sum(), nodata < limits.max)
    )
    pixels[hit] = np.where(up, int(nodata) + 1, int(nodata) - 1)


def _with_alpha(pixels: NDArray[Any], like: Photo, place: int) -> NDArray[Any]:
    alpha = like.alpha
    assert alpha is not None
    if alpha.shape != pixels.shape[:2]:
        raise ValueError(
            f"the alpha channel of the original is {alpha.shape}, the image {pixels.shape[:2]}; keep its size"
        )
    if alpha.dtype != pixels.dtype:
        full = float(np.iinfo(pixels.dtype).max)
        alpha = _quantise(alpha / _opaque(alpha, like.white), full, pixels.dtype, full)
    return np.insert(pixels, place, alpha, axis=2)
