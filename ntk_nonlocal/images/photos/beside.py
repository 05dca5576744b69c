"""What a file holds beside pixels, colour profile and EXIF: kept in a file of the same format, named where it is lost.

XMP goes into every format (XMP specification, part 3); PNG's chunks, JPEG's segments and TIFF's tags stay in theirs. A
preview would show the old picture, and is left out.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

from .kinds import jpeg_segments, png_chunks
from .metadata import Directory, Entry

XMP_TAG = 700
PALETTE = "the palette, whose colours are written in full"
_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_JPEG_LONGEST = 65533
_NOTABLE = 1024  # bytes behind a JPEG: more than filling
_PNG_XMP = b"XML:com.adobe.xmp\0"
# Chunks that stay true of other pixels, with what they are called; others that are known say what only the file needs.
_PNG_KEPT = {
    b"tEXt": "text", b"zTXt": "text", b"iTXt": "text", b"tIME": "the time of its last change", b"gAMA": "gamma",
    b"cHRM": "primaries", b"sRGB": "the mark of sRGB", b"cICP": "the colour space", b"mDCV": "the mastering display",
    b"cLLI": "the light level", b"sBIT": "significant bits", b"sCAL": "the scale", b"oFFs": "the offset",
    b"pCAL": "the calibration", b"sTER": "the mark of stereo",
}  # fmt: skip
_PNG_DESCRIBED = (b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"pHYs", b"hIST", b"bKGD", b"sPLT")
_COLOUR_CHUNKS = (b"sBIT", b"gAMA", b"cHRM", b"sRGB", b"cICP")
_TIFF_NAMES = {
    33723: "IPTC", 34377: "Photoshop's data", 50838: "ImageJ's metadata", 50839: "ImageJ's metadata",
    42112: "GDAL's metadata", 42113: "GDAL's nodata", 33550: "the georeference", 33922: "the georeference",
    34264: "the georeference", 34735: "the georeference", 34736: "the georeference", 34737: "the georeference",
}  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """Something that one format can hold: its key and content there (chunk, segment, tag), and what it is called."""

    format: str
    key: bytes | int
    content: bytes | Entry | Directory
    name: str


@dataclass(frozen=True)
class Beside:
    """What a file holds beside pixels, colour profile and EXIF.

    Attributes:
      xmp: XMP, or None.
      pieces: what only the same format can hold.
      lost: what is left out in any case, in words.
    """

    xmp: bytes | None = None
    pieces: tuple[Piece, ...] = ()
    lost: tuple[str, ...] = ()

    def of(self, format_: str) -> list[Piece]:
        """What goes into a file of this format."""
        return [piece for piece in self.pieces if piece.format == format_]

    def left_out(self, format_: str) -> list[str]:
        """What does not, in words."""
        names = [*self.lost, *(piece.name for piece in self.pieces if piece.format != format_)]
        return list(dict.fromkeys(names))


def few_bits(bits: int) -> str:
    """What is lost of samples of fewer than 8 bits, in words."""
    return f"the depth of {bits} bit{'s' * (bits > 1)} a sample, which becomes 8"


def of_png(data: bytes, changes_colours: bool) -> Beside:
    """Of a PNG; ``changes_colours``: whether its palette or bit depth is not kept."""
    xmp, pieces, lost = None, [], []
    for name, content in png_chunks(data):
        if name == b"iTXt" and content.startswith(_PNG_XMP):
            xmp = _upright(_png_text(content))
        elif name == b"sBIT" and changes_colours:
            continue
        elif name in _PNG_KEPT:
            pieces.append(Piece("PNG", name, content, _PNG_KEPT[name]))
        elif name == b"PLTE" and data[25] == 3:
            lost.append(PALETTE)
        elif name not in _PNG_DESCRIBED and name[:1].islower():
            lost.append(f"the chunk {name.decode('latin-1')}")
    if data[24] < 8 and data[25] != 3:
        lost.append(few_bits(data[24]))
    return Beside(xmp, tuple(pieces), tuple(lost))


def _png_text(content: bytes) -> bytes:
    compressed = content[len(_PNG_XMP)] == 1
    _, _, text = content[len(_PNG_XMP) + 2 :].split(b"\0", 2)
    return zlib.decompress(text) if compressed else text


def of_jpeg(data: bytes, further_pictures: int, behind: int = 0) -> Beside:
    """Of a JPEG, of which MPF and motion photographs hold further pictures, or so many bytes ``behind``."""
    xmp, pieces, lost = None, [], []
    for marker, content in jpeg_segments(data):
        if marker == 0xE1 and content.startswith(_JPEG_XMP):
            xmp = _upright(content[len(_JPEG_XMP) :])
        elif marker == 0xED and content.startswith(b"Photoshop"):
            pieces.append(Piece("JPEG", marker, content, "IPTC and Photoshop's data"))
        elif marker == 0xFE:
            pieces.append(Piece("JPEG", marker, content, "the comment"))
        elif marker in range(0xE2, 0xF0) and not content.startswith((b"ICC_PROFILE", b"Adobe", b"MPF\0")):
            name = content.split(b"\0")[0][:20].decode("latin-1")
            name = name if name.isprintable() and name else "without a name"
            lost.append(f"the segment APP{marker - 0xE0} {name}")
    if further_pictures:
        lost.append(f"{further_pictures} further picture{'s' * (further_pictures > 1)}, such as gain and depth maps")
    if behind >= _NOTABLE:
        lost.append(f"{behind} bytes behind the picture, such as a film")
    return Beside(xmp, tuple(pieces), tuple(lost))


def of_webp(xmp: bytes | None) -> Beside:
    return Beside(None if not xmp else _upright(xmp))


def of_tiff(tags: Directory, lost: tuple[str, ...]) -> Beside:
    """Of the tags of a TIFF's page that describe neither its layout nor, as EXIF does, its picture."""
    xmp, pieces = None, []
    for tag, entry in tags.items():
        if tag == XMP_TAG and isinstance(entry, Entry):
            xmp = _upright(entry.value)
        else:
            pieces.append(Piece("TIFF", tag, entry, _TIFF_NAMES.get(tag, f"the tag {tag}")))
    return Beside(xmp, tuple(pieces), lost)


def _upright(xmp: bytes) -> bytes:
    """XMP of a picture that has been turned upright."""
    xmp = re.sub(rb'(tiff:Orientation\s*=\s*["\'])[2-8](["\'])', rb"\g<1>1\g<2>", xmp)
    return re.sub(rb"(<tiff:Orientation>)[2-8](</tiff:Orientation>)", rb"\g<1>1\g<2>", xmp)


def png_additions(beside: Beside, same_colours: bool) -> bytes:
    """Chunks to stand behind a PNG's header."""
    found = b""
    for piece in beside.of("PNG"):
        if same_colours or piece.key not in _COLOUR_CHUNKS:
            assert isinstance(piece.key, bytes) and isinstance(piece.content, bytes)
            found += png_chunk(piece.key, piece.content)
    if beside.xmp is not None:
        found += png_chunk(b"iTXt", _PNG_XMP + b"\0\0\0\0" + beside.xmp)
    return found


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_jpeg_segments(data: bytes, beside: Beside) -> tuple[bytes, list[str]]:
    """A JPEG with what belongs into one, behind the segments APP0 and APP1 that it has; and what was too long."""
    added, too_long = b"", []
    pieces = [(piece.key, piece.content, piece.name) for piece in beside.of("JPEG")]
    if beside.xmp is not None:
        pieces.insert(0, (0xE1, _JPEG_XMP + beside.xmp, "XMP"))
    for marker, content, name in pieces:
        assert isinstance(marker, int) and isinstance(content, bytes)
        if len(content) > _JPEG_LONGEST:
            too_long.append(f"{name}, too long for a JPEG")
        else:
            added += bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
    place = 2
    while data[place : place + 2] in (b"\xff\xe0", b"\xff\xe1"):
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return data[:place] + added + data[place:], too_long
