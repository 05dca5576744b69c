"""EXIF data, carried over byte by byte.

EXIF is a TIFF file without pixels: directories of (tag, type, count, value) with values and sub-directories behind
offsets. They are taken apart and laid out anew here without interpreting the values, so that text of any encoding,
makers' notes and types survive (Pillow turns what is not ASCII into question marks). The embedded thumbnail is left
out: it would show the old picture. Layout: TIFF 6.0, section 2; pointers: EXIF 2.32, section 4.6.3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal, NamedTuple

ByteOrder = Literal["<", ">"]
SHORT, LONG, UNDEFINED = 3, 4, 7

# Bytes per value: BYTE, ASCII, SHORT, LONG, RATIONAL, their signed kin, UNDEFINED, FLOAT, DOUBLE, IFD.
_TYPE_SIZES = {1: 1, 2: 1, SHORT: 2, LONG: 4, 5: 8, 6: 1, UNDEFINED: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_ORDERS: dict[bytes, ByteOrder] = {b"II*\0": "<", b"MM\0*": ">"}
_PREFIX = b"Exif\0\0"
_ORIENTATION = 0x0112
_POINTERS = {"image": {0x8769: "exif", 0x8825: "gps"}, "exif": {0xA005: "interoperability"}}
# The tags of a TIFF's first directory that describe the picture, not its layout in the file: description, camera,
# orientation, resolution (3), software, date, artist, rating (2), copyright, and what Windows adds (title to subject).
_DESCRIPTIVE_TAGS = frozenset(
    (270, 271, 272, _ORIENTATION, 282, 283, 296, 305, 306, 315, 18246, 18249, 33432, *range(40091, 40096))
)


class Entry(NamedTuple):
    """A value of a directory: its type, how many of it, and their bytes in the order of the file."""

    kind: int
    number: int
    value: bytes


Directory = dict[int, "Entry | Directory"]


@dataclass(frozen=True)
class Exif:
    """The first directory, its sub-directories in the place of their pointers."""

    order: ByteOrder
    tags: Directory

    @classmethod
    def parse(cls, block: bytes) -> Exif:
        """The directories of an EXIF block, or of a whole TIFF file.

        Raises:
          ValueError, struct.error: damaged.
        """
        block = block.removeprefix(_PREFIX)
        order = _ORDERS.get(block[:4])
        if order is None:
            raise ValueError("EXIF data starts with a byte order")
        (start,) = struct.unpack_from(order + "I", block, 4)
        return cls(order, _parse_directory(block, order, start, "image"))

    def tobytes(self) -> bytes:
        """The block, without the "Exif" that JPEG puts before it."""
        head = b"II*\0" if self.order == "<" else b"MM\0*"
        return head + struct.pack(self.order + "I", 8) + layout(self.tags, self.order, 8)

    @property
    def orientation(self) -> int:
        """1 to 8; 1, upright, where there is none or another value."""
        entry = self.tags.get(_ORIENTATION)
        if not isinstance(entry, Entry) or entry.kind != SHORT or entry.number != 1:
            return 1
        (value,) = struct.unpack(self.order + "H", entry.value)
        return int(value) if 1 <= value <= 8 else 1

    def upright(self) -> Exif:
        """The same of a picture that has been turned upright."""
        if _ORIENTATION not in self.tags:
            return self
        return Exif(self.order, self.tags | {_ORIENTATION: Entry(SHORT, 1, struct.pack(self.order + "H", 1))})

    def descriptive(self) -> Exif:
        """What does not describe the layout of a TIFF file."""
        return Exif(self.order, {t: e for t, e in self.tags.items() if t in _DESCRIPTIVE_TAGS or isinstance(e, dict)})


def _parse_directory(block: bytes, order: ByteOrder, start: int, name: str) -> Directory:
    directory: Directory = {}
    (count,) = struct.unpack_from(order + "H", block, start)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        tag, type_, number = struct.unpack_from(order + "HHI", block, place)
        size = _TYPE_SIZES.get(type_, 0) * number
        (offset,) = struct.unpack_from(order + "I", block, place + 8) if size > 4 else (place + 8,)
        value = block[offset : offset + size]
        pointed = _POINTERS.get(name, {}).get(tag)
        if pointed is not None and size == 4:
            (target,) = struct.unpack(order + "I", value)
            directory[tag] = _parse_directory(block, order, target, pointed)
        elif size and len(value) == size:  # others are damaged
            directory[tag] = Entry(type_, number, value)
    return directory


def layout(directory: Directory, order: ByteOrder, start: int) -> bytes:
    """The bytes of a directory that begins at ``start`` of the file, with its values and sub-directories behind it."""
    values_start = start + 2 + 12 * len(directory) + 4
    entries, values = struct.pack(order + "H", len(directory)), b""
    for tag, entry in sorted(directory.items()):
        place = values_start + len(values)
        if isinstance(entry, dict):
            entries += struct.pack(order + "HHII", tag, LONG, 1, place)
            values += layout(entry, order, place)
            continue
        entries += struct.pack(order + "HHI", tag, entry.kind, entry.number)
        if len(entry.value) <= 4:
            entries += entry.value.ljust(4, b"\0")
        else:
            entries += struct.pack(order + "I", place)
            values += entry.value
        values += bytes(len(values) % 2)
    return entries + bytes(4) + values
