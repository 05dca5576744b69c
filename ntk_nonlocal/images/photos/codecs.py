"""The bytes of image files: PNG, JPEG, TIFF and WebP to and from pixels, EXIF and colour profile.

Pillow reads metadata and 8-bit pixels, but turns 16-bit RGB into 8 bits without a word. Therefore 16-bit PNG goes
through imagecodecs (libpng, kept up to date; compressed TIFF needs it as well), and TIFF is read by tifffile (which
scikit-image brings along) and written here (tifffile does not write EXIF data; TIFF 6.0, sections 3 to 6).
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .metadata import LONG, SHORT, UNDEFINED, Directory, Entry, Exif, layout

MOST_PIXELS = 100_000_000
TOO_LARGE = f"it has more than {MOST_PIXELS // 10**6} megapixels; make it smaller or cut it into parts"

_LOSSY_QUALITY = 95
_LONGEST_JPEG_EXIF = 65533
_SIGNATURES = {"PNG": (b"\x89PNG\r\n\x1a\n",), "JPEG": (b"\xff\xd8\xff",), "TIFF": (b"II*\0", b"MM\0*")}
_ICC_TAG = 34675
_DESCRIPTION_TAG = 270


class UnreadableError(Exception):
    """What is wrong with a file and what to do about it."""


class Decoded(NamedTuple):
    """Pixels (H, W, 1 to 4) of uint8 or uint16 (grey, grey and alpha, RGB, RGBA), EXIF, colour profile."""

    pixels: NDArray[Any]
    exif: Exif | None
    icc_profile: bytes | None
    dots_per_inch: tuple[float, float] | None = None


def decode(data: bytes) -> tuple[str, Decoded]:
    """The format and the content of an image file, before any turning.

    Raises:
      UnreadableError: not supported, or too large.
      Exception: a damaged file makes decoders raise all kinds of errors.
    """
    format_ = _sniff(data)
    return format_, _decode_tiff(data) if format_ == "TIFF" else _decode_by_pillow(data, format_)


def _sniff(data: bytes) -> str:
    for format_, signatures in _SIGNATURES.items():
        if data.startswith(signatures):
            return format_
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"II+\0", b"MM\0+")):
        raise UnreadableError("it is a BigTIFF, which is not supported; save it as a plain TIFF or a PNG")
    raise UnreadableError("its content is not a PNG, JPEG, TIFF or WebP image; convert it to one of them")


def is_lossless(data: bytes) -> bool:
    """Whether a file's pixels were compressed without loss: PNG, TIFF, and WebP with a VP8L chunk."""
    if data[:4] != b"RIFF":
        return not data.startswith(_SIGNATURES["JPEG"])
    place = 12
    while place + 8 <= len(data):
        if data[place : place + 4] in (b"VP8L", b"VP8 "):
            return data[place : place + 4] == b"VP8L"
        place += 8 + (int.from_bytes(data[place + 4 : place + 8], "little") + 1) // 2 * 2
    return False


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise UnreadableError(TOO_LARGE)


def _decode_by_pillow(data: bytes, format_: str) -> Decoded:
    """Pixels (H, W, 1 to 4), EXIF and colour profile of anything but a TIFF with plain samples."""
    with Image.open(io.BytesIO(data), formats=[format_]) as picture:
        _check_size(*picture.size)
        # The further frames of a JPEG are a telephone's depth and gain maps, those of a TIFF are looked at before.
        frames = getattr(picture, "n_frames", 1)
        if format_ in ("PNG", "WEBP") and frames > 1:
            raise UnreadableError(f"it is an animation of {frames} frames; save one of them as an image")
        if format_ == "PNG" and data[24] == 16:
            import imagecodecs

            pixels = np.asarray(imagecodecs.png_decode(data))
        else:
            pixels = np.asarray(_convert(picture))
        icc_profile = picture.info.get("icc_profile") or None
        exif = _read_exif(picture.info.get("exif"), format_)
        dots = picture.info.get("dpi") if format_ in ("PNG", "JPEG") else None
        if dots is not None and not all(1 <= number <= 65535 for number in dots):  # more no JPEG can say
            dots = None
        return Decoded(np.atleast_3d(pixels), exif, icc_profile, dots)


def _convert(picture: Image.Image) -> Image.Image:
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


def _read_exif(block: bytes | None, format_: str) -> Exif | None:
    if not block:
        return None
    try:
        exif = Exif.parse(block)
    except (ValueError, struct.error) as error:  # that does not make the picture worthless
        warnings.warn(f"the EXIF data is damaged and left out ({error})", stacklevel=2)
        return None
    exif = exif.descriptive() if format_ == "TIFF" else exif
    description = exif.tags.get(_DESCRIPTION_TAG)
    if isinstance(description, Entry) and description.value.startswith(b'{"shape":'):  # tifffile's, of its own layout
        exif = Exif(exif.order, {tag: entry for tag, entry in exif.tags.items() if tag != _DESCRIPTION_TAG})
    return exif if exif.tags else None


def _decode_tiff(data: bytes) -> Decoded:
    """The same for TIFF: plain 8 and 16-bit samples by tifffile, the rest (bilevel, palette, YCbCr) by Pillow."""
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        # Thumbnails do not count.
        pages = [page for page in file.pages if isinstance(page, tifffile.TiffPage) and not page.is_reduced]
        if len(pages) != 1 or pages[0] is not file.pages.first:
            raise UnreadableError(
                "it holds several pages, or is a camera's raw file; save the picture you want by itself"
            )
        page, exif = pages[0], _read_exif(data, "TIFF")
        _check_size(page.imagewidth, page.imagelength)
        if page.sampleformat != tifffile.SAMPLEFORMAT.UINT or page.bitspersample > 16:
            kind = f"{page.bitspersample}-bit {tifffile.SAMPLEFORMAT(page.sampleformat).name}"
            raise UnreadableError(f"its samples are {kind}, which is not supported; save it with 8 or 16 bit")
        colour = tifffile.PHOTOMETRIC
        plain = page.photometric in (colour.MINISBLACK, colour.MINISWHITE, colour.RGB) and page.bitspersample in (8, 16)
        if not plain:
            decoded = _decode_by_pillow(data, "TIFF")  # which has turned the pixels
            return decoded._replace(exif=exif.upright() if exif is not None else None)
        extra = page.samplesperpixel - (3 if page.photometric == colour.RGB else 1)
        if extra not in (0, 1) or tifffile.EXTRASAMPLE.ASSOCALPHA in page.extrasamples or page.imagedepth != 1:
            raise UnreadableError(
                "it has premultiplied alpha, several extra channels or depth; save it as RGB with plain alpha or none"
            )
        pixels = np.atleast_3d(page.asarray())
        if page.axes == "SYX":
            pixels = np.moveaxis(pixels, 0, -1)
        if page.photometric == colour.MINISWHITE:
            pixels[:, :, 0] = np.iinfo(pixels.dtype).max - pixels[:, :, 0]
        icc_profile = page.tags.valueof(_ICC_TAG)
    return Decoded(pixels, exif, icc_profile)


def encode(format_: str, decoded: Decoded, lossless: bool) -> bytes:
    """An image file of pixels (H, W, 1 to 4), uint8, or uint16 for PNG and TIFF; alpha not for JPEG.

    ``lossless`` is how WebP is compressed.
    """
    content = decoded._replace(pixels=np.ascontiguousarray(decoded.pixels))
    if format_ == "WEBP":
        return _encode_webp(content, lossless)
    return {"PNG": _encode_png, "TIFF": _encode_tiff, "JPEG": _encode_jpeg}[format_](content)


def _encode_png(decoded: Decoded) -> bytes:
    import imagecodecs

    pixels, exif, icc_profile, dots_per_inch = decoded
    data = bytes(imagecodecs.png_encode(pixels))
    end_of_header = 8 + 25  # signature, IHDR
    chunks = b""
    if icc_profile is not None:
        chunks += _png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc_profile))
    if dots_per_inch is not None:
        chunks += _png_chunk(b"pHYs", struct.pack(">IIB", *(round(dots / 0.0254) for dots in dots_per_inch), 1))
    if exif is not None:
        chunks += _png_chunk(b"eXIf", exif.tobytes())
    return data[:end_of_header] + chunks + data[end_of_header:]


def _png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _encode_tiff(decoded: Decoded) -> bytes:
    """Deflate compression with horizontal differences, in strips of about a megabyte."""
    pixels, exif, icc_profile, _ = decoded
    order = "<" if exif is None else exif.order
    height, width, samples = pixels.shape
    differences = pixels.astype(pixels.dtype.newbyteorder(order))
    differences[:, 1:] -= pixels[:, :-1]
    strip_rows = min(height, max(1, 2**20 // differences[0].nbytes))
    strips = [zlib.compress(differences[top : top + strip_rows].tobytes()) for top in range(0, height, strip_rows)]
    strips = [strip + bytes(len(strip) % 2) for strip in strips]
    sizes = [len(strip) for strip in strips]

    def numbers(type_: int, *values: int) -> Entry:
        return Entry(type_, len(values), struct.pack(order + {SHORT: "H", LONG: "I"}[type_] * len(values), *values))

    tags: Directory = {
        256: numbers(LONG, width),
        257: numbers(LONG, height),
        258: numbers(SHORT, *[8 * pixels.itemsize] * samples),
        259: numbers(SHORT, 8),  # compression: deflate
        262: numbers(SHORT, 2 if samples >= 3 else 1),  # RGB, or grey with black as zero
        273: numbers(LONG, *(8 + sum(sizes[:i]) for i in range(len(sizes)))),
        277: numbers(SHORT, samples),
        278: numbers(LONG, strip_rows),
        279: numbers(LONG, *sizes),
        284: numbers(SHORT, 1),  # the samples of a pixel stand together
        317: numbers(SHORT, 2),  # horizontal differences
    }
    if samples in (2, 4):
        tags[338] = numbers(SHORT, 2)  # unassociated alpha
    if icc_profile is not None:
        tags[_ICC_TAG] = Entry(UNDEFINED, len(icc_profile), icc_profile)
    if exif is not None:
        tags = exif.descriptive().tags | tags
    start = 8 + sum(sizes)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    return head + b"".join(strips) + layout(tags, order, start)


def _encode_jpeg(decoded: Decoded) -> bytes:
    pixels, exif, icc_profile, dots_per_inch = decoded
    block = b"" if exif is None else b"Exif\0\0" + exif.tobytes()
    if len(block) > _LONGEST_JPEG_EXIF:
        warnings.warn("the EXIF data is longer than a JPEG file can hold, and left out", stacklevel=2)
        block = b""
    buffer = io.BytesIO()
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    dots = (0, 0) if dots_per_inch is None else tuple(round(dots) for dots in dots_per_inch)
    picture.save(buffer, "JPEG", quality=_LOSSY_QUALITY, subsampling=0, exif=block, icc_profile=icc_profile, dpi=dots)
    return buffer.getvalue()


def _encode_webp(decoded: Decoded, lossless: bool) -> bytes:
    pixels, exif, icc_profile, _ = decoded
    if pixels.shape[2] <= 2:  # the format has no grey
        pixels = np.concatenate([pixels[:, :, :1]] * 3 + [pixels[:, :, 1:]], axis=2)
    buffer = io.BytesIO()
    picture = Image.fromarray(pixels)
    block = b"" if exif is None else exif.tobytes()
    how = {"lossless": lossless, "quality": _LOSSY_QUALITY, "exact": True}
    picture.save(buffer, "WEBP", **how, exif=block, icc_profile=icc_profile or b"")
    return buffer.getvalue()
