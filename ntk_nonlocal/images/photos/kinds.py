"""What kind of file this is, by its first bytes: those that are read, and a sentence for those that are not."""

from __future__ import annotations

import re

SIGNATURES = {
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
}
_READ = "PNG, JPEG, TIFF and WebP files are read"
_OTHERS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "a GIF"),
    (0, b"BM", "a BMP"),
    (0, b"\0\0\1\0", "an icon (ICO)"),
    (0, b"\0\0\2\0\0\0\0\0", "a Targa image (TGA)"),
    (0, b"\0\0\2\0", "a cursor (CUR)"),
    (0, b"8BPS", "a Photoshop document (PSD)"),
    (0, b"v/1\1", "an OpenEXR image"),
    (0, b"#?RADIANCE", "a Radiance HDR image"),
    (0, b"SIMPLE  =", "a FITS file"),
    (128, b"DICM", "a DICOM file"),
    (0, b"\x89HDF\r\n", "an HDF5 file"),
    (0, b"CDF\1", "a netCDF file"),
    (0, b"\x93NUMPY", "an array of numpy (NPY)"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (0, b"\xffO\xffQ", "a JPEG 2000"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL"),
    (0, b"\xff\x0a", "a JPEG XL"),
    (0, b"qoif", "a QOI image"),
    (0, b"DDS ", "a DDS texture"),
    (0, b"\x0a\x05\x01\x08", "a PCX image"),
    (0, b"\x01\xda", "an SGI image"),
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"PK\3\4", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw file"),
    (0, b"IIRO", "a camera's raw file"),
    (0, b"IIRS", "a camera's raw file"),
    (0, b"IIU\0", "a camera's raw file"),
    (0, b"MMOR", "a camera's raw file"),
    (0, b"\0MRM", "a camera's raw file"),
    (0, b"FOVb", "a camera's raw file"),
)
_BRANDS = {
    b"avif": "an AVIF image", b"avis": "an AVIF image", b"crx ": "a camera's raw file", b"heic": "a HEIC image",
    b"heix": "a HEIC image", b"hevc": "a HEIC image", b"heim": "a HEIC image", b"heis": "a HEIC image",
    b"hevx": "a HEIC image", b"mif1": "a HEIF image", b"msf1": "a HEIF image",
}  # fmt: skip
_TEXT = {rb"<svg|<\?xml": "an SVG drawing or another XML file", rb"<!doctype|<html": "a web page"}


class UnreadableError(Exception):
    """What is wrong with a file and what to do about it."""


def sniff(data: bytes) -> str:
    """The format of a file that is read, by its first kilobyte.

    Raises:
      UnreadableError: another; says which, where that is known.
    """
    tagged = data[128:132] == b"DICM" and data.startswith(SIGNATURES["TIFF"])  # DICOM, whose preamble is free
    for format_, signatures in SIGNATURES.items():
        if data.startswith(signatures) and not tagged:
            return format_
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    kind = _kind(data[:1024])
    what = "its content is not a PNG, JPEG, TIFF or WebP image" if kind is None else f"it is {kind}, and only {_READ}"
    raise UnreadableError(f"{what}; convert it to one of them")


def _kind(data: bytes) -> str | None:
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "a film or another file of the MP4 family")
    for place, signature, kind in _OTHERS:
        if data[place : place + len(signature)] == signature:
            return kind
    if re.match(rb"P[1-7fF]\s", data):
        return "a portable anymap (PBM, PGM, PPM, PFM or PAM)"
    text = data.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((kind for pattern, kind in _TEXT.items() if re.match(pattern, text)), None)


_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # but those without a segment
_FRAMES_OF_JPEG = {
    0xC3: "its compression is lossless JPEG",
    0xC5: "its compression is hierarchical JPEG",
    0xC6: "its compression is hierarchical JPEG",
    0xC7: "its compression is hierarchical JPEG",
    0xF7: "it is a JPEG-LS",
}


def check_jpeg(data: bytes) -> None:
    """Raises UnreadableError for kinds of JPEG that are not read."""
    for marker, content in jpeg_segments(data):
        if marker in _FRAMES_OF_JPEG:
            raise UnreadableError(f"{_FRAMES_OF_JPEG[marker]}, which is not read; convert it to PNG or TIFF")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if content[:1] not in (b"\x08", b""):
                raise UnreadableError(f"it has {content[0]} bits a sample, and of JPEG 8 are read; convert it to TIFF")
            return


def jpeg_segments(data: bytes) -> list[tuple[int, bytes]]:
    """Markers and contents of a JPEG's segments up to its first scan."""
    found, place = [], 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # filling
            place += 1
            continue
        if marker == 0xDA or marker == 0xD9:
            break
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        if length < 2:
            break
        found.append((marker, data[place + 4 : place + 2 + length]))
        place += 2 + length
    return found


def end_of_jpeg(data: bytes) -> int:
    """Where a JPEG's first picture ends; the length of the data where no end is marked."""
    place = 2 + sum(4 + len(content) for _, content in jpeg_segments(data))
    while (found := _MARKER.search(data, place)) is not None:
        place = found.end()
        if data[place - 1] == 0xD9:
            return place
        place += int.from_bytes(data[place : place + 2], "big")
    return len(data)


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Names and contents of a PNG's chunks; of image data the name alone."""
    found, place = [], 8
    while place + 8 <= len(data):
        length, name = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        found.append((name, b"" if name in (b"IDAT", b"fdAT") else data[place + 8 : place + 8 + length]))
        place += 12 + length
    return found
