"""What decoders give and encoders take: samples as they stand in a file, and everything beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .beside import Beside
from .kinds import UnreadableError
from .metadata import ByteOrder, Exif

ALPHA = 2  # TIFF's code of an extra sample that is transparency, not premultiplied
UNSPECIFIED = 0


@dataclass(frozen=True)
class TiffKind:
    """How a TIFF file is laid out, so that the next one is laid out like it."""

    order: ByteOrder = "<"
    big: bool = False
    compressed: bool = True
    zero_is_white: bool = False


@dataclass(frozen=True)
class Decoded:
    """A picture of a file.

    Attributes:
      pixels: shape (H, W, S): one colour or three, then extra samples, in the type of the file's samples.
      extras: what the extra samples are, in TIFF's codes (2: transparency, 0: not said).
      bits: of a sample, where they are packed; else those of the type.
      nodata: the value that stands for none, or None.
      tiff: None for other formats.
    """

    pixels: NDArray[Any]
    extras: tuple[int, ...] = ()
    exif: Exif | None = None
    icc_profile: bytes | None = None
    dots_per_inch: tuple[float, float] | None = None
    bits: int | None = None
    nodata: float | None = None
    beside: Beside = field(default_factory=Beside)
    tiff: TiffKind | None = None

    @property
    def colours(self) -> int:
        """One or three samples that are no extra ones."""
        return int(self.pixels.shape[2]) - len(self.extras)


def convert(picture: Image.Image) -> Image.Image:
    """The picture in one of the modes L, LA, RGB, RGBA."""
    transparent = picture.has_transparency_data
    if picture.mode in ("1", "L", "LA"):
        return picture.convert("LA" if transparent else "L")
    if picture.mode in ("P", "PA", "RGB", "RGBA", "YCbCr"):
        return picture.convert("RGBA" if transparent else "RGB")
    advice = (
        "convert it to RGB in a program that knows its colour profile" if picture.mode == "CMYK" else "save it as RGB"
    )
    raise UnreadableError(f"its pixels are of the kind {picture.mode}, which is not supported; {advice}")


def own_white(samples: NDArray[Any], bits: int | None) -> float:
    """What white is in samples of a file: the largest value of as many bits as they have or, where they only use some
    of 16 or more, of as few of 8, 10, 12, 14, ... as they need; of floating-point numbers 1, 255 or 65535 where they
    are of that order, else their largest."""
    if bits is not None:
        return float(2**bits - 1)
    finite = samples[np.isfinite(samples)] if samples.dtype.kind == "f" else samples
    largest = max(float(finite.max()), -float(finite.min())) if finite.size else 1.0
    if samples.dtype.kind == "f":
        return next((white for white in (1.0, 255.0, 65535.0) if white / 16 < largest <= 2 * white), largest or 1.0)
    most = 8 * samples.itemsize - (samples.dtype.kind == "i")
    if samples.itemsize == 1 or largest <= 0:
        return float(2**most - 1)
    used = next((bits for bits in (8, 10, 12, 14, 16, 20, 24, 28) if largest <= 2**bits - 1), most)
    return float(2 ** min(used, most) - 1)
