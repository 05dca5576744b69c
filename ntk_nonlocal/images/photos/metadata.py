"""EXIF data, carried over byte by byte.

EXIF is a TIFF file without pixels: directories of (tag, type, count, value) with values and sub-directories behind
offsets. They are taken apart and laid out anew here without interpreting the values, so that text of any encoding,
makers' notes and types survive (Pillow turns what is not ASCII into question marks). The embedded thumbnail is left
out: it would show the old picture. Layout: TIFF 6.0, section 2; pointers: EXIF 2.32, section 4.6.3.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from typing import Literal, NamedTuple

ByteOrder = Literal["<", ">"]
SHORT, LONG, UNDEFINED, LONG8 = 3, 4, 7, 16

# Bytes per value: BYTE, ASCII, SHORT, LONG, RATIONAL, their signed kin, UNDEFINED, FLOAT, DOUBLE, IFD; then the
# 64-bit LONG, its signed kin and IFD, which BigTIFF has.
_TYPE_SIZES = {1: 1, 2: 1, SHORT: 2, LONG: 4, 5: 8, 6: 1, UNDEFINED: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_BIG_SIZES = _TYPE_SIZES | {LONG8: 8, 17: 8, 18: 8}
_ORDERS: dict[bytes, ByteOrder] = {b"II*\0": "<", b"MM\0*": ">"}
_MOST_TAGS = 4096
_PREFIX = b"Exif\0\0"
_ORIENTATION = 0x0112
_ACROSS, _DOWN, _RESOLUTION_UNIT = 282, 283, 296
_EXIF, _PIXELS, _FOCAL_PLANE = 0x8769, (0xA002, 0xA003), (0xA20E, 0xA20F)
_PER_INCH = {2: 1.0, 3: 2.54}
_POINTERS = {"image": {_EXIF: "exif", 0x8825: "gps"}, "exif": {0xA005: "interoperability"}}
_POINTER_TAGS = frozenset(_POINTERS["image"])
# Tags that describe the layout of a page in its file, and those that point to other directories.
_LAYOUT_TAGS = frozenset(
    tag
    for first, last in (
        (254, 259), (262, 266), (273, 273), (277, 281), (284, 284), (288, 293), (301, 301), (317, 317), (320, 325),
        (330, 330), (332, 347), (512, 521), (529, 532), (34675, 34675), (37724, 37724),
    )
    for tag in range(first, last + 1)
)  # fmt: skip
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

    @property
    def dots_per_inch(self) -> tuple[float, float] | None:
        """(horizontal, vertical); None where there is none or no unit of length."""
        across = self.tags.get(_ACROSS)
        unit, factor = self.tags.get(_RESOLUTION_UNIT), 1.0  # without a unit it is the inch
        if isinstance(unit, Entry):
            factor = _PER_INCH.get(int.from_bytes(unit.value, "little" if self.order == "<" else "big"), 0.0)
        dots = []
        for entry in (across, self.tags.get(_DOWN, across)):
            if not isinstance(entry, Entry) or len(entry.value) != 8:
                return None
            above, below = struct.unpack(self.order + "II", entry.value)
            dots.append(factor * above / below if below else 0.0)
        return (dots[0], dots[1]) if all(dots) else None

    def upright(self) -> Exif:
        """The same of a picture that has been turned upright."""
        if _ORIENTATION not in self.tags:
            return self
        tags = self.tags | {_ORIENTATION: Entry(SHORT, 1, struct.pack(self.order + "H", 1))}
        if self.orientation >= 5:
            tags = _exchanged(tags, _ACROSS, _DOWN)
            own = tags.get(_EXIF)
            if isinstance(own, dict):
                tags[_EXIF] = _exchanged(_exchanged(own, *_PIXELS), *_FOCAL_PLANE)
        return Exif(self.order, tags)

    def descriptive(self) -> Exif:
        """What does not describe the layout of a TIFF file."""
        return Exif(self.order, {t: e for t, e in self.tags.items() if t in _DESCRIPTIVE_TAGS or isinstance(e, dict)})


def _exchanged(tags: Directory, across: int, down: int) -> Directory:
    """A directory in which what is said of rows is said of columns."""
    others = {tag: entry for tag, entry in tags.items() if tag not in (across, down)}
    found = {to: tags[tag] for tag, to in ((across, down), (down, across)) if tag in tags}
    return others | found


def has_preview(block: bytes) -> bool:
    """Whether an EXIF block has a second directory, that of a preview."""
    block = block.removeprefix(_PREFIX)
    order = _ORDERS[block[:4]]
    (start,) = struct.unpack_from(order + "I", block, 4)
    (count,) = struct.unpack_from(order + "H", block, start)
    following = block[start + 2 + 12 * count : start + 6 + 12 * count]
    return any(following)


def page_tags(block: bytes | mmap.mmap, order: ByteOrder, start: int, big: bool) -> Directory:
    """What the directory of a TIFF's page says beside its layout, EXIF and GPS directories included.

    Raises:
      struct.error: damaged.
    """
    tags = _parse_directory(block, order, start, "image", big)
    return {tag: entry for tag, entry in tags.items() if tag not in _LAYOUT_TAGS}


def is_descriptive(tag: int) -> bool:
    """Whether a tag belongs to EXIF's first directory."""
    return tag in _DESCRIPTIVE_TAGS or tag in _POINTER_TAGS


def _parse_directory(block: bytes | mmap.mmap, order: ByteOrder, start: int, name: str, big: bool = False) -> Directory:
    directory: Directory = {}
    head, long, inline, sizes = ("Q", "Q", 8, _BIG_SIZES) if big else ("H", "I", 4, _TYPE_SIZES)
    first, each = start + struct.calcsize(order + head), 4 + 2 * inline
    (count,) = struct.unpack_from(order + head, block, start)
    if count > _MOST_TAGS:
        raise ValueError(f"a directory of {count} tags")
    for place in range(first, first + each * count, each):
        tag, type_, number = struct.unpack_from(order + "HH" + long, block, place)
        size = sizes.get(type_, 0) * number
        at = place + 4 + inline
        (offset,) = struct.unpack_from(order + long, block, at) if size > inline else (at,)
        value = bytes(block[offset : offset + size])
        pointed = _POINTERS.get(name, {}).get(tag)
        if pointed is not None and size in (4, 8):
            (target,) = struct.unpack(order + {4: "I", 8: "Q"}[size], value)
            directory[tag] = _parse_directory(block, order, target, pointed, big)
        elif size and len(value) == size:  # others are damaged
            directory.setdefault(tag, Entry(type_, number, value))  # tifffile adds a second description
    return directory


def layout(directory: Directory, order: ByteOrder, start: int, *, big: bool = False, following: int = 0) -> bytes:
    """The bytes of a directory that begins at ``start`` of the file, with its values and sub-directories behind it.

    ``following``: where the next directory of the file is; ``big``: as in a BigTIFF.
    """
    head, long, inline, pointer = ("Q", "Q", 8, LONG8) if big else ("H", "I", 4, LONG)
    kept = {tag: entry for tag, entry in directory.items() if big or isinstance(entry, dict) or entry.kind < LONG8}
    size = struct.calcsize(order + head) + (4 + 2 * inline) * len(kept) + inline
    entries, values = struct.pack(order + head, len(kept)), bytearray()
    for tag, entry in sorted(kept.items()):
        place = start + size + len(values)
        if isinstance(entry, dict):
            entries += struct.pack(order + "HH" + 2 * long, tag, pointer, 1, place)
            values += layout(entry, order, place, big=big)
            continue
        entries += struct.pack(order + "HH" + long, tag, entry.kind, entry.number)
        if len(entry.value) <= inline:
            entries += entry.value.ljust(inline, b"\0")
        else:
            entries += struct.pack(order + long, place)
            values += entry.value
        values += bytes(len(values) % 2)
    return entries + struct.pack(order + long, following) + bytes(values)
