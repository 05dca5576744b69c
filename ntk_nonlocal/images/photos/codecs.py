"""The bytes of PNG, JPEG and WebP files to and from pixels, and what they say beside them.

Pillow reads metadata and 8-bit pixels, but turns 16-bit RGB into 8 bits without a word. Therefore 16-bit PNG goes
through imagecodecs (libpng, kept up to date). TIFF has a module of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import struct
import warnings
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, PngImagePlugin

from .beside import of_jpeg, of_png, of_webp, png_additions, png_chunk, with_jpeg_segments
from .decoded import ALPHA, Decoded, convert
from .kinds import UnreadableError, check_jpeg, end_of_jpeg
from .metadata import Exif, has_preview
from .tiff import check_size

_LOSSY_QUALITY = 95
_MOST_TEXT = 2**26
_LONGEST_JPEG_EXIF = 65533
_JFIF_LENGTHS = (1, 2)  # units of its resolution: inch, centimetre


def is_lossless(data: bytes) -> bool:
    """Whether a file's pixels were compressed without loss: PNG, TIFF, and WebP with a VP8L chunk."""
    if data[:4] != b"RIFF":
        return not data.startswith(b"\xff\xd8\xff")
    place = 12
    while place + 8 <= len(data):
        if data[place : place + 4] in (b"VP8L", b"VP8 "):
            return data[place : place + 4] == b"VP8L"
        place += 8 + (int.from_bytes(data[place + 4 : place + 8], "little") + 1) // 2 * 2
    return False


def decode(data: bytes, format_: str) -> Decoded:
    """The content of a PNG, JPEG or WebP file, before any turning.

    Raises:
      UnreadableError: not supported, or too large.
      Exception: a damaged file makes decoders raise all kinds of errors.
    """
    if format_ == "JPEG":
        check_jpeg(data)
    if format_ == "PNG" and data[12:16] == b"CgBI":
        raise UnreadableError("it is Apple's own variant of PNG; convert it to a plain PNG")
    with _long_chunks(), Image.open(io.BytesIO(data), formats=[format_]) as picture:
        check_size(*picture.size)
        # The further frames of a JPEG are a telephone's depth and gain maps.
        frames = getattr(picture, "n_frames", 1)
        if format_ in ("PNG", "WEBP") and frames > 1:
            raise UnreadableError(f"it is an animation of {frames} frames; save one of them as an image")
        if format_ == "PNG" and data[24] == 16:
            import imagecodecs

            pixels = np.asarray(imagecodecs.png_decode(data))
        else:
            pixels = np.asarray(convert(picture))
        icc_profile = picture.info.get("icc_profile") or None
        block = picture.info.get("exif") or b""
        exif = _read_exif(block)
        dots = picture.info.get("dpi") if format_ in ("PNG", "JPEG") else None
        if format_ == "JPEG" and picture.info.get("jfif_unit") not in _JFIF_LENGTHS:
            dots = None if exif is None else exif.dots_per_inch  # Pillow says 72 where there is none
        if dots is not None and not all(1 <= number <= 65535 for number in dots):  # more no JPEG can say
            dots = None
        if format_ == "PNG":
            beside = of_png(
                data, changes_colours=data[24] < 8 or data[25] == 3 or b"tRNS" in data[: data.find(b"IDAT")]
            )
        elif format_ == "JPEG":
            behind = 0 if frames > 1 else len(data) - end_of_jpeg(data)
            beside = of_jpeg(data, frames - 1, behind)
        else:
            beside = of_webp(picture.info.get("xmp"))
    if exif is not None and has_preview(block):
        beside = dataclasses.replace(beside, lost=(*beside.lost, "the preview, which shows the picture as it was"))
    pixels = np.atleast_3d(pixels)
    extras = (ALPHA,) if pixels.shape[2] in (2, 4) else ()
    return Decoded(pixels, extras, exif, icc_profile, dots, beside=beside)


@contextlib.contextmanager
def _long_chunks() -> Iterator[None]:
    """Pillow reads text, XMP and profiles of a PNG up to 1 MB; some are longer."""
    before = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = _MOST_TEXT, _MOST_TEXT
    try:
        yield
    finally:
        PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = before


def _read_exif(block: bytes) -> Exif | None:
    if not block:
        return None
    try:
        exif = Exif.parse(block)
    except (ValueError, struct.error) as error:  # that does not make the picture worthless
        warnings.warn(f"the EXIF data is damaged and left out ({error})", stacklevel=2)
        return None
    return exif if exif.tags else None


def encode(format_: str, decoded: Decoded, lossless: bool) -> tuple[bytes, list[str]]:
    """A PNG, JPEG or WebP file of pixels (H, W, 1 to 4), uint8, or uint16 for PNG; alpha not for JPEG.

    ``lossless`` is how WebP is compressed. Also what did not fit into it, in words.
    """
    if format_ == "WEBP":
        return _encode_webp(decoded, lossless), []
    return _encode_png(decoded) if format_ == "PNG" else _encode_jpeg(decoded)


def _encode_png(decoded: Decoded) -> tuple[bytes, list[str]]:
    import imagecodecs

    data = bytes(imagecodecs.png_encode(np.ascontiguousarray(decoded.pixels)))
    end_of_header = 8 + 25  # signature, IHDR
    chunks = png_additions(decoded.beside, same_colours=True)
    if decoded.icc_profile is not None:
        chunks += png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(decoded.icc_profile))
    if decoded.dots_per_inch is not None:
        dots = (round(dots / 0.0254) for dots in decoded.dots_per_inch)
        chunks += png_chunk(b"pHYs", struct.pack(">IIB", *dots, 1))
    if decoded.exif is not None:
        chunks += png_chunk(b"eXIf", decoded.exif.tobytes())
    return data[:end_of_header] + chunks + data[end_of_header:], []


def _encode_jpeg(decoded: Decoded) -> tuple[bytes, list[str]]:
    block, lost = b"" if decoded.exif is None else b"Exif\0\0" + decoded.exif.tobytes(), []
    if len(block) > _LONGEST_JPEG_EXIF:
        lost, block = ["the EXIF data, longer than a JPEG file can hold"], b""
    buffer = io.BytesIO()
    pixels = np.ascontiguousarray(decoded.pixels)
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    given = decoded.dots_per_inch
    dots = (0, 0) if given is None else tuple(round(dots) for dots in given)
    profile = decoded.icc_profile
    picture.save(buffer, "JPEG", quality=_LOSSY_QUALITY, subsampling=0, exif=block, icc_profile=profile, dpi=dots)
    data, too_long = with_jpeg_segments(buffer.getvalue(), decoded.beside)
    return data, [*lost, *too_long]


def _encode_webp(decoded: Decoded, lossless: bool) -> bytes:
    pixels = decoded.pixels
    if pixels.shape[2] <= 2:  # the format has no grey
        pixels = np.concatenate([pixels[:, :, :1]] * 3 + [pixels[:, :, 1:]], axis=2)
    buffer = io.BytesIO()
    block = b"" if decoded.exif is None else decoded.exif.tobytes()
    how = {"lossless": lossless, "quality": _LOSSY_QUALITY, "exact": True}
    beside = {"icc_profile": decoded.icc_profile or b"", "xmp": decoded.beside.xmp or b""}
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "WEBP", **how, exif=block, **beside)
    return buffer.getvalue()
