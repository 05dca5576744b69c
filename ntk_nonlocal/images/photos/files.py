"""Image files in and out, so that a photograph comes back as it came.

PNG, JPEG, TIFF and WebP, told by their content and never by their name. 8 and 16 bit, grey and RGB, alpha, ICC profile
and EXIF survive; the EXIF orientation is applied on reading, and the written file says upright. What cannot be kept is
refused in one line rather than guessed: floating-point and 32-bit TIFF, CMYK, premultiplied alpha, several pages,
animations. Black-and-white and palette images become 8-bit grey and RGB. XMP and text chunks are not carried over.
"""

from __future__ import annotations

import os
import secrets
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from ntk_nonlocal.results import atomic_file

from ..arrays import as_image, as_noisy_image
from .codecs import TOO_LARGE, Decoded, UnreadableError, decode, encode, is_lossless
from .metadata import Exif

_MOST_BYTES = 2**30
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP"}


@dataclass(frozen=True, eq=False, repr=False)
class Photo:
    """An image file's content.

    Attributes:
      image: the colours, shape (H, W, 1) or (H, W, 3), float32 in [0, 1] (as they are stored, without linearisation).
      alpha: the transparency as stored, shape (H, W), uint8 or uint16; None where the file has none.
      bit_depth: 8 or 16.
      icc_profile: the colour profile's bytes, or None.
      exif: the EXIF directories, with the orientation "upright" if there was any, or None.
      format: "PNG", "JPEG", "TIFF" or "WEBP", by content.
      path: where it was read.
      lossless: whether the file's compression loses nothing.
      dots_per_inch: (horizontal, vertical) where a PNG or JPEG says so (a TIFF says it among its EXIF data).
    """

    image: NDArray[np.float32]
    alpha: NDArray[np.uint8] | NDArray[np.uint16] | None
    bit_depth: Literal[8, 16]
    icc_profile: bytes | None
    exif: Exif | None
    format: str
    path: Path
    lossless: bool = False
    dots_per_inch: tuple[float, float] | None = None

    @property
    def mode(self) -> Literal["grey", "rgb"]:
        """Whether the file holds one channel or three, alpha apart."""
        return "grey" if self.image.shape[2] == 1 else "rgb"

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        alpha = " with alpha" if self.alpha is not None else ""
        return f"Photo({str(self.path)!r}, {width}x{height} {self.mode}{alpha}, {self.bit_depth} bit, {self.format})"


def read_photo(path: str | os.PathLike[str]) -> Photo:
    """A PNG, JPEG, TIFF or WebP file with everything that writing it back needs.

    Raises:
      ValueError: no such file, not a regular file, empty, damaged, of another format (whatever its name), more than 100
        megapixels, or of a kind that is not supported; one line that names the path and says what to do.
    """
    path = as_path(path)
    try:
        data = _read_bytes(path)
        with warnings.catch_warnings():
            # The limit of this module, checked below, holds instead.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return _decode(data, path)
    except UnreadableError as error:
        raise ValueError(f"cannot read {path}: {error}") from None
    except Image.DecompressionBombError:
        raise ValueError(f"cannot read {path}: {TOO_LARGE}") from None
    except MemoryError:
        raise ValueError(f"cannot read {path}: it does not fit into memory; make it smaller") from None
    except Exception as error:  # decoders raise all kinds of errors on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"cannot read {path}: it is damaged or incomplete ({reason}); save or copy it again"
        ) from error


def _read_bytes(path: Path) -> bytes:
    try:
        status = path.stat()
    except FileNotFoundError:
        raise UnreadableError("there is no such file; check the path") from None
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{getattr(error, 'strerror', None) or error}; check the path") from None
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableError("it is a folder; name an image file in it")
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableError("it is not a regular file; name an image file")
    if status.st_size == 0:
        raise UnreadableError("it is empty; save or copy it again")
    if status.st_size > _MOST_BYTES:
        raise UnreadableError(
            f"it has {status.st_size / 2**30:.1f} GiB, and images up to 1 GiB are read; make it smaller"
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"{error.strerror}; check its permissions") from None


def _decode(data: bytes, path: Path) -> Photo:
    format_, (pixels, exif, icc_profile, dots_per_inch) = decode(data)
    if exif is not None:
        pixels = _upright(pixels, exif.orientation)
        if dots_per_inch is not None and exif.orientation >= 5:
            dots_per_inch = dots_per_inch[::-1]
    has_alpha = pixels.shape[2] in (2, 4)
    return Photo(
        image=as_image(pixels[:, :, :-1] if has_alpha else pixels, dtype=np.float32),
        alpha=np.ascontiguousarray(pixels[:, :, -1]) if has_alpha else None,
        bit_depth=16 if pixels.dtype == np.uint16 else 8,
        icc_profile=icc_profile,
        exif=None if exif is None else exif.upright(),
        format=format_,
        path=path,
        lossless=is_lossless(data),
        dots_per_inch=dots_per_inch,
    )


def _upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """The pixels turned as the EXIF orientation (1 to 8) says."""
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def as_path(path: object) -> Path:
    """A path, which TypeError asks for where there is something else."""
    if not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes):
        raise TypeError(f"a path is text or a pathlib.Path, got {path!r}")
    return Path(path)


def check_writable(path: str | os.PathLike[str], like: Photo | None = None) -> Path:
    """Whether an image can be written there; to be asked before long work.

    Args:
      path: the file to be written; one that exists is replaced.
      like: the photo whose alpha would go with it.

    Returns:
      The path.

    Raises:
      ValueError: an unknown suffix, a folder that does not exist or cannot be written to, a path that is a folder, or
        transparency in a JPEG, which has none.
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
    if format_ == "JPEG" and like is not None and like.alpha is not None and like.alpha.min() < _full(like.alpha):
        raise ValueError(f"cannot write {path}: JPEG has no transparency; write a PNG, TIFF or WebP file")
    return path


def write_photo(path: str | os.PathLike[str], image: ArrayLike, *, like: Photo | None = None) -> None:
    """Write an image, in the format that the suffix names, as the photo came that it was made from.

    PNG and TIFF, and WebP that came so, are written without loss, so that reading gives back the same 8 or 16-bit
    values; JPEG and WebP with quality 95 and 8 bit (with a warning where there were 16). A file that exists is
    replaced, at once and only when the new one is complete, with the permissions of the old one; of a link the link.

    Args:
      path: see :func:`check_writable`.
      image: shape (H, W), (H, W, 1) or (H, W, 3), see :func:`ntk_nonlocal.images.as_noisy_image`; clipped to [0, 1].
      like: where the bit depth, alpha, colour profile and EXIF data come from. Without it: 8 bit and none of them. The
        profile is left out where the number of channels differs.

    Raises:
      TypeError, ValueError: a path that cannot be written, not an image, alpha of another size.
      OSError: the disk is full, for instance; nothing is left behind then, and a file that was there stays.
    """
    if like is not None and not isinstance(like, Photo):
        raise TypeError(f"like must be a photo from read_photo, got {type(like).__name__}")
    path = check_writable(path, like)
    colours = as_noisy_image(image)
    if colours.shape[2] not in (1, 3):
        raise ValueError(f"an image file holds 1 or 3 channels, got {colours.shape[2]}; alpha is taken from like=")
    format_ = _FORMATS[path.suffix.lower()]
    depth = 8 if like is None else like.bit_depth
    if depth == 16 and format_ in ("JPEG", "WEBP"):
        warnings.warn(
            f"{path}: {format_} holds 8 bits a channel, the 16 are rounded; PNG and TIFF keep them", stacklevel=2
        )
        depth = 8
    pixels = _quantise(colours, depth)
    exif = icc_profile = dots_per_inch = None
    if like is not None:
        if like.alpha is not None and format_ != "JPEG":
            pixels = _with_alpha(pixels, like.alpha)
        exif, dots_per_inch = like.exif, like.dots_per_inch
        icc_profile = like.icc_profile if like.image.shape[2] == colours.shape[2] else None
    try:
        # a file that never lost anything is not begun to be spoilt
        lossless = like is not None and like.format == "WEBP" and like.lossless
        data = encode(format_, Decoded(pixels, exif, icc_profile, dots_per_inch), lossless)
    except Exception as error:  # encoders raise all kinds of errors, for WebP of more than 16383 pixels a side
        raise ValueError(f"cannot write {path}: {error}; try another format") from error
    try:
        with atomic_file(path) as file:
            file.write(data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _full(samples: NDArray[Any]) -> int:
    return int(np.iinfo(samples.dtype).max)


def _quantise(values: NDArray[Any], depth: int) -> NDArray[Any]:
    full = 2**depth - 1
    levels: NDArray[Any] = np.rint(np.clip(values, 0, 1) * full)
    return levels.astype(np.uint16 if depth == 16 else np.uint8)


def _with_alpha(pixels: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    if alpha.shape != pixels.shape[:2]:
        raise ValueError(
            f"the alpha channel of the original is {alpha.shape}, the image {pixels.shape[:2]}; keep its size"
        )
    if alpha.dtype != pixels.dtype:
        alpha = _quantise(alpha / _full(alpha), 8 * pixels.itemsize)
    return np.concatenate([pixels, alpha[:, :, None]], axis=2)
