"""Image files in and out, so that a photograph comes back as it came.

PNG, JPEG, TIFF and WebP, told by their content and never by their name. Grey and RGB, alpha, further channels, 8 to 32
bits, floating-point and packed samples, the pages of a TIFF, ICC profile, EXIF, XMP and what else stands beside the
pixels survive in a file of the same format; in another one what it cannot hold is named in a warning. The EXIF
orientation is applied on reading, and the written file says upright. What cannot be kept is refused in one line rather
than guessed: CMYK, premultiplied alpha, animations. Samples of fewer than 8 bits and palette images become 8-bit grey
and RGB, which is said.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..noise import coded_as_none
from .beside import Beside
from .codecs import decode, is_lossless
from .decoded import ALPHA, Decoded, TiffKind, own_white
from .kinds import UnreadableError, sniff
from .metadata import Exif
from .tiff import TOO_LARGE, TiffPages

BYTE = np.dtype(np.uint8)
_LEAST_SINGLE = 1e-30  # where single precision keeps its digits, with room for values that are smaller
_MOST_BYTES = 2**30
_KIND_NOT_READ = (
    "not supported",
    "unsupported",
    "not implemented",
    "requires the",
    "unknown compression",
    "unknown data",
)


@dataclass(frozen=True, eq=False, repr=False)
class Photo:
    """A picture of an image file.

    Attributes:
      image: the channels, shape (H, W, C), float32 (float64 of 32-bit and double samples, and where ``white`` is below
        1e-30 or above 1e30), as they are stored, without linearisation: the file's values divided by ``white``, and
        1 less that where zero is white (``tiff``). C is 1 or 3, and more where a TIFF has further channels.
      alpha: the transparency as stored, shape (H, W); None where the file has none.
      bit_depth: bits of a sample: 8, 16, or what a TIFF has.
      white: what 1 stands for in the file: 255, 65535, or 4095 where no more of 16 bits are used; of signed and
        floating-point samples likewise, so that units follow the picture's own range; of several pages that of the
        brightest.
      sample_type: the type of the file's samples.
      valid: shape (H, W, C), where there is a value; None: everywhere. NaN, infinity, and what the file calls nodata.
      icc_profile: the colour profile's bytes, or None.
      exif: the EXIF directories, with the orientation "upright" if there was any, or None.
      format: "PNG", "JPEG", "TIFF" or "WEBP", by content.
      path: where it was read.
      lossless: whether the file's compression loses nothing.
      dots_per_inch: (horizontal, vertical) where a PNG or JPEG says so (a TIFF says it among its EXIF data).
      beside: XMP and what else the file holds.
      extras: TIFF's codes of the samples beyond one or three colours, in their order (2: ``alpha``).
      bits: of a sample, where they are packed.
      nodata: the file's value for none.
      tiff: how a TIFF is laid out.
    """

    image: NDArray[Any]
    alpha: NDArray[Any] | None
    bit_depth: int
    icc_profile: bytes | None
    exif: Exif | None
    format: str
    path: Path
    lossless: bool = False
    dots_per_inch: tuple[float, float] | None = None
    white: float = 255.0
    sample_type: np.dtype[Any] = BYTE
    valid: NDArray[np.bool_] | None = None
    beside: Beside = field(default_factory=Beside)
    extras: tuple[int, ...] = ()
    bits: int | None = None
    nodata: float | None = None
    tiff: TiffKind | None = None

    @property
    def mode(self) -> Literal["grey", "rgb"]:
        """Whether the file holds one colour or three, alpha and further channels apart."""
        return "grey" if self.image.shape[2] + (self.alpha is not None) - len(self.extras) == 1 else "rgb"

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        further = len(self.extras) - (self.alpha is not None)
        more = f" with {further} further channel{'s' * (further > 1)}" if further else ""
        more += " with alpha" if self.alpha is not None else ""
        return f"Photo({str(self.path)!r}, {width}x{height} {self.mode}{more}, {self.bit_depth} bit, {self.format})"


class Photos:
    """The pictures of an open file, read when they are asked for: pages of a TIFF, one of other formats.

    A context manager with ``len`` and whole-number indices; see :func:`open_photos`. Among several pages one may be
    without any value, NaN or nodata everywhere (:attr:`Photo.valid`).
    """

    def __init__(
        self, path: Path, data: bytes | None, pages: TiffPages | None, mask: NDArray[np.bool_] | None = None
    ) -> None:
        self.path, self._data, self._pages, self._mask = path, data, pages, mask
        self._white: float | None = None

    def __len__(self) -> int:
        return 1 if self._pages is None else len(self._pages)

    def __getitem__(self, number: int) -> Photo:
        if not 0 <= number < len(self):
            raise IndexError(f"{self.path} has {len(self)} pictures, got number {number}")
        white = self._white_of_all() if len(self) > 1 else None
        with self._reading(number):
            if self._pages is not None:
                return _photo(self._pages.read(number), "TIFF", self.path, True, white, self._mask)
            assert self._data is not None
            format_ = sniff(self._data)
            return _photo(decode(self._data, format_), format_, self.path, is_lossless(self._data), None, self._mask)

    def _white_of_all(self) -> float:
        """What white is in all pages of a file, that of its brightest: they have one unit. Every page is read once."""
        if self._white is None:
            assert self._pages is not None
            whites = []
            for number in range(len(self)):
                with self._reading(number):
                    warnings.simplefilter("ignore")  # they come again with the page
                    decoded = self._pages.read(number)
                samples, valid = _samples(_turned(decoded))
                valid = _left(valid, self._mask)
                if valid.any():
                    whites.append(own_white(samples if valid.all() else samples[valid], decoded.bits))
            if not whites:
                raise ValueError(
                    f"cannot read {self.path}: none of its {len(self)} pages holds a value, NaN or nodata everywhere; "
                    "check how it was made"
                )
            self._white = max(whites)
        return self._white

    def _reading(self, number: int) -> contextlib.AbstractContextManager[None]:
        return _explained(self.path, f"page {number + 1} of {len(self)}: " if len(self) > 1 else "")

    def __iter__(self) -> Iterator[Photo]:
        return (self[number] for number in range(len(self)))

    def __enter__(self) -> Photos:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pages is not None:
            self._pages.close()


def open_photos(path: str | os.PathLike[str], *, mask: NDArray[np.bool_] | None = None) -> Photos:
    """A file's pictures, one by one.

    Args:
      mask: shape (H, W, 1), of the pictures when they are upright: what white is follows from where it is True.

    Raises:
      ValueError: as :func:`read_photo`; that a page is damaged is said when the first of several is asked for.
    """
    path = as_path(path)
    with _explained(path):
        head = _first_bytes(path)
        if sniff(head) == "TIFF":
            return Photos(path, None, TiffPages(path), mask)
        return Photos(path, _read_bytes(path), None, mask)


def read_photo(path: str | os.PathLike[str]) -> Photo:
    """A PNG, JPEG, TIFF or WebP file with everything that writing it back needs.

    Raises:
      ValueError: no such file, not a regular file, empty, damaged, of another format (whatever its name), more than 100
        megapixels, several pages, or of a kind that is not supported; one line that names the path and says what to do.
    """
    with open_photos(path) as photos:
        if len(photos) > 1:
            raise ValueError(
                f"cannot read {photos.path}: it holds several pages, {len(photos)} of them, where one picture is "
                "needed; save one by itself (only the command denoise takes them all, and in Python open_photos)"
            )
        return photos[0]


@contextlib.contextmanager
def _explained(path: Path, page: str = "") -> Iterator[None]:
    """Whatever decoders raise becomes a ValueError of one line."""
    where = f"cannot read {path}: {page}"
    try:
        with warnings.catch_warnings():
            # The limit of this module, checked elsewhere, holds instead.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    except UnreadableError as error:
        raise ValueError(f"{where}{error}") from None
    except Image.DecompressionBombError:
        raise ValueError(f"{where}{TOO_LARGE}") from None
    except MemoryError:
        raise ValueError(f"{where}it does not fit into memory; make it smaller") from None
    except Exception as error:  # decoders raise all kinds of errors on damaged files
        reason = re.sub(r"\s*<_io\.\w+ object at \w+>", "", " ".join(str(error).split())) or type(error).__name__
        if isinstance(error, NotImplementedError | ImportError) or any(w in reason.lower() for w in _KIND_NOT_READ):
            raise ValueError(
                f"{where}it is of a kind that is not read ({reason}); save it as a plain PNG or TIFF"
            ) from error
        raise ValueError(f"{where}it is damaged or incomplete ({reason}); save or copy it again") from error


def _first_bytes(path: Path) -> bytes:
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
    try:
        with path.open("rb") as file:
            return file.read(1024)
    except OSError as error:
        raise UnreadableError(f"{error.strerror}; check its permissions") from None


def _read_bytes(path: Path) -> bytes:
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise UnreadableError(f"it has {size / 2**30:.1f} GiB, and images up to 1 GiB are read; make it smaller")
    return path.read_bytes()


def _turned(decoded: Decoded) -> Decoded:
    """The same upright, but for what its EXIF data say."""
    if decoded.exif is None:
        return decoded
    dots = decoded.dots_per_inch
    if dots is not None and decoded.exif.orientation >= 5:
        dots = dots[::-1]
    return dataclasses.replace(decoded, pixels=_upright(decoded.pixels, decoded.exif.orientation), dots_per_inch=dots)


def _left(valid: NDArray[np.bool_], mask: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """What a mask leaves of the values, all where it is of another size, which others refuse, or leaves none."""
    if mask is None or mask.shape[:2] != valid.shape[:2]:
        return valid
    left = valid & mask
    return left if left.any() else valid


def _photo(
    decoded: Decoded, format_: str, path: Path, lossless: bool, white: float | None, mask: NDArray[np.bool_] | None
) -> Photo:
    decoded = _turned(decoded)
    pixels, exif = decoded.pixels, decoded.exif
    place = _alpha_place(decoded)
    samples, valid = _samples(decoded)
    if white is None and not valid.any():
        raise UnreadableError("it holds no value at all, NaN or nodata everywhere; check how it was made")
    whole = bool(valid.all())
    left = _left(valid, mask)
    white = white or own_white(samples if left.all() else samples[left], decoded.bits)
    wide = not _LEAST_SINGLE < white < 1 / _LEAST_SINGLE  # of a page whose numbers lie far below those of another
    precise = np.float64 if wide or samples.dtype in (np.float64, np.uint32, np.int32) else np.float32
    with np.errstate(over="ignore"):  # of the number for none
        image = np.asarray(samples, precise) / np.asarray(white, precise)
    if decoded.tiff is not None and decoded.tiff.zero_is_white:
        image[:, :, 0] = 1 - image[:, :, 0]
    return Photo(
        image=image,
        alpha=None if place is None else np.ascontiguousarray(pixels[:, :, place]),
        bit_depth=decoded.bits or 8 * samples.itemsize,
        icc_profile=decoded.icc_profile,
        exif=None if exif is None else exif.upright(),
        format=format_,
        path=path,
        lossless=lossless,
        dots_per_inch=decoded.dots_per_inch,
        white=white,
        sample_type=samples.dtype,
        valid=None if whole else valid,
        beside=decoded.beside,
        extras=decoded.extras,
        bits=decoded.bits,
        nodata=decoded.nodata,
        tiff=decoded.tiff,
    )


def _alpha_place(decoded: Decoded) -> int | None:
    return decoded.colours + decoded.extras.index(ALPHA) if ALPHA in decoded.extras else None


def _samples(decoded: Decoded) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """All samples but transparency, and where they are values."""
    place = _alpha_place(decoded)
    samples = decoded.pixels if place is None else np.delete(decoded.pixels, place, axis=2)
    valid = np.isfinite(samples) if samples.dtype.kind == "f" else np.ones(samples.shape, bool)
    if decoded.nodata is not None and np.isfinite(decoded.nodata):
        valid &= samples != samples.dtype.type(decoded.nodata)
    for channel in range(samples.shape[2] if samples.dtype.kind != "u" else 0):
        own = valid[:, :, channel]
        values = samples[:, :, channel][own]
        coded = coded_as_none(values)
        if coded.any():
            numbers = " or ".join(f"{number:g}" for number in np.unique(values[coded]))
            warnings.warn(
                f"{coded.sum()} samples are {numbers}, far below all others, and are taken for no data", stacklevel=2
            )
            own[own] = ~coded
    return samples, valid


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
