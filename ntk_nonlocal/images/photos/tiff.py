"""TIFF files, page by page: samples by tifffile, directories here, for it writes no EXIF data (TIFF 6.0, part 1).

Whole numbers of 8 to 16 bits, packed ones included, and 32, with and without sign, floating-point numbers; classic and
BigTIFF. Pages are read when they are asked for and written as they come, data first and directories at the end, so that
uncompressed stacks are contiguous, as ImageJ expects.
"""

from __future__ import annotations

import dataclasses
import json
import math
import mmap
import struct
import warnings
import zlib
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .beside import PALETTE, XMP_TAG, Beside, few_bits, of_tiff
from .decoded import ALPHA, Decoded, TiffKind, convert
from .kinds import UnreadableError
from .metadata import (
    LONG,
    LONG8,
    SHORT,
    UNDEFINED,
    ByteOrder,
    Directory,
    Entry,
    Exif,
    is_descriptive,
    layout,
    page_tags,
)

MOST_PIXELS = 100_000_000
TOO_LARGE = f"it has more than {MOST_PIXELS // 10**6} megapixels; make it smaller or cut it into parts"

_ICC_TAG = 34675
_DESCRIPTION_TAG = 270
_NODATA_TAG = 42113
_LARGEST_CLASSIC = 2**32 - 2**26
_RAW_TAGS = (50706, 33422)  # DNG's version, the pattern of colour filters
_KINDS = {"u": 1, "i": 2, "f": 3}


def check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise UnreadableError(TOO_LARGE)


class TiffPages:
    """The pages of a TIFF file that is open for reading.

    Raises:
      UnreadableError: not supported; a damaged file makes tifffile raise all kinds of errors.
    """

    def __init__(self, path: Path) -> None:
        import tifffile

        self._path = path
        self._tifffile: Any = tifffile
        self._file: Any = tifffile.TiffFile(path)
        self._bytes = path.open("rb")
        try:
            self._map = mmap.mmap(self._bytes.fileno(), 0, access=mmap.ACCESS_READ)
            self._pages, self._lost = self._choose()
            self._planes = self._contiguous()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._file.close()
        if hasattr(self, "_map"):
            self._map.close()
        self._bytes.close()

    def __len__(self) -> int:
        return len(self._pages) if self._planes is None else len(self._planes)

    def _choose(self) -> tuple[list[Any], tuple[str, ...]]:
        """The pages that are pictures, all of one kind, and what is left out."""
        every = [self._file.pages[number] for number in range(len(self._file.pages))]
        first = every[0]
        if not isinstance(first, self._tifffile.TiffPage):
            raise UnreadableError("its first page has no directory of its own; save it anew")
        raw = any(tag in first.tags for tag in _RAW_TAGS) or first.photometric == self._tifffile.PHOTOMETRIC.CFA
        if raw or first.is_reduced:
            raise UnreadableError(
                "it is a camera's raw file, or begins with a preview; develop it, and save a TIFF or PNG"
            )
        self._check_end(every)
        pages = [page for page in every if not (isinstance(page, self._tifffile.TiffPage) and page.is_reduced)]
        previews = len(every) - len(pages)
        lost = [f"{previews} smaller cop{'y' if previews == 1 else 'ies'} of the picture"] if previews else []
        if any(330 in getattr(page, "tags", ()) for page in pages):
            lost.append("pictures in sub-directories, such as smaller copies")
        kinds = {(page.shape, page.dtype, getattr(page, "photometric", None)) for page in pages}
        if len({kind[:2] for kind in kinds}) > 1:
            shapes = ", ".join(sorted({f"{'x'.join(map(str, page.shape))} {page.dtype}" for page in pages}))
            raise UnreadableError(
                f"its {len(pages)} pages differ in size or kind ({shapes}); save each of them by itself"
            )
        return pages, tuple(lost)

    def _check_end(self, pages: list[Any]) -> None:
        """Raises UnreadableError where the last directory that can be read points to another."""
        head, pointer, each = ("Q", "Q", 20) if self._file.is_bigtiff else ("H", "I", 12)
        order, start = self._file.byteorder, pages[-1].offset
        (count,) = struct.unpack_from(order + head, self._map, start)
        end = start + struct.calcsize(order + head) + each * count
        (following,) = struct.unpack_from(order + pointer, self._map, end)
        if following and following not in [page.offset for page in pages]:
            raise UnreadableError(
                f"it is damaged or incomplete (only {len(pages)} of its pages can be read); save or copy it again"
            )

    def _contiguous(self) -> Any:
        """The frames (T, H, W[, S]) behind one directory, as large stacks of ImageJ have them; else None."""
        first = self._pages[0]
        series = self._file.series[0]
        if len(self._pages) > 1 or series.size <= first.size or first.imagedepth != 1:
            return None
        return series.asarray(out="memmap").reshape(-1, *first.shape)

    def read(self, number: int) -> Decoded:
        """A page, before any turning."""
        tifffile, page = self._tifffile, self._pages[number if self._planes is None else 0]
        if not isinstance(page, tifffile.TiffPage):
            page = page.aspage()
        check_size(page.imagewidth, page.imagelength)
        order: ByteOrder = "<" if self._file.byteorder == "<" else ">"
        big = bool(self._file.is_bigtiff)
        exif, beside, tags = self._beside(page, order, big)
        kind = TiffKind(order, big, page.compression != tifffile.COMPRESSION.NONE)
        colour, bits = tifffile.PHOTOMETRIC, page.bitspersample
        plain = page.photometric in (colour.MINISBLACK, colour.MINISWHITE, colour.RGB)
        self._check(page, plain)
        if not plain or bits < 8 or page.dtype is None:
            try:
                return self._by_pillow(number, exif, beside, kind)
            except UnidentifiedImageError:
                told = f"{bits}-bit {getattr(page.photometric, 'name', page.photometric)}"
                raise UnreadableError(
                    f"its samples are {told}, which is not supported; save it with 8 or 16 bit, as grey or RGB"
                ) from None
        if page.imagedepth != 1:
            raise UnreadableError("it has a depth, voxels in three directions; save its slices as pages")
        pixels = page.asarray() if self._planes is None else np.array(self._planes[number])
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
        pixels = np.atleast_3d(pixels)
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        if pixels.dtype == np.float16:
            pixels = pixels.astype(np.float32)
        packed = bits if bits != 8 * pixels.itemsize and pixels.dtype.kind == "u" else None
        if page.photometric == colour.MINISWHITE:
            if pixels.dtype.kind != "u":
                raise UnreadableError("its numbers have a sign and zero is white; save it with zero as black")
            kind = dataclasses.replace(kind, zero_is_white=True)
        extra = pixels.shape[2] - (3 if page.photometric == colour.RGB else 1)
        if extra < 0:
            raise UnreadableError("it says RGB and has fewer than three samples a pixel; save it as grey")
        codes = [int(code) for code in page.extrasamples][:extra]
        codes += [0] * (extra - len(codes))
        icc_profile = page.tags.valueof(_ICC_TAG)
        nodata = _nodata(tags, pixels.dtype)
        return Decoded(pixels, tuple(codes), exif, icc_profile or None, None, packed, nodata, beside, kind)

    def _check(self, page: Any, plain: bool) -> None:
        tifffile = self._tifffile
        kind, bits = page.sampleformat, page.bitspersample
        names = {member.value: member.name for member in tifffile.SAMPLEFORMAT}
        number = tifffile.SAMPLEFORMAT
        whole = kind == number.UINT and (bits <= 16 or bits == 32)
        signed = kind == number.INT and bits in (8, 16, 32)
        floating = kind == number.IEEEFP and bits in (16, 32, 64)
        if kind == number.VOID and bits in (8, 16, 32):
            whole = True
        if not (whole or signed or floating) or (not plain and (not whole or bits > 16)):
            told = f"{bits}-bit {names.get(int(kind), kind)}"
            raise UnreadableError(
                f"its samples are {told}, which is not supported; save it with 8 or 16 bit, or float32"
            )
        if tifffile.EXTRASAMPLE.ASSOCALPHA in page.extrasamples:
            raise UnreadableError("it has premultiplied alpha; save it as RGB with plain alpha or none")
        if sum(int(code) == ALPHA for code in page.extrasamples) > 1:
            raise UnreadableError("it has several transparencies; save it as RGB with plain alpha or none")

    def _by_pillow(self, number: int, exif: Exif | None, beside: Beside, kind: TiffKind) -> Decoded:
        """Bilevel, palette, YCbCr and a few bits a sample, which Pillow turns upright by itself."""
        places = [i for i in range(len(self._file.pages)) if self._file.pages[i].offset == self._pages[number].offset]
        # an open file, no path: of one that it maps into memory, Pillow does not turn the pixels
        with self._path.open("rb") as file, Image.open(file, formats=["TIFF"]) as picture:
            picture.seek(places[0])
            palette = picture.mode in ("P", "PA")
            converted = convert(picture)
            icc_profile = picture.info.get("icc_profile") or None
        pixels = np.atleast_3d(np.asarray(converted))
        extras = (ALPHA,) if pixels.shape[2] in (2, 4) else ()
        bits = int(self._pages[number].bitspersample)
        lost = [PALETTE] if palette else [few_bits(bits)] if bits < 8 else []
        lost += [piece.name for piece in beside.pieces if piece.key == _NODATA_TAG]  # of samples that are converted
        pieces = tuple(piece for piece in beside.pieces if piece.key != _NODATA_TAG)
        beside = Beside(beside.xmp, pieces, (*beside.lost, *lost))
        return Decoded(
            pixels, extras, None if exif is None else exif.upright(), icc_profile, beside=beside, tiff=kind
        )  # fmt: skip

    def _beside(self, page: Any, order: ByteOrder, big: bool) -> tuple[Exif | None, Beside, Directory]:
        try:
            tags = page_tags(self._map, order, page.offset, big)
        except (ValueError, struct.error, RecursionError) as error:  # that does not make the picture worthless
            warnings.warn(f"the EXIF data is damaged and left out ({error})", stacklevel=2)
            return None, Beside(lost=self._lost), {}
        description = tags.get(_DESCRIPTION_TAG)
        alone = len(self) == 1 if hasattr(self, "_planes") else True
        turned = page.planarconfig == self._tifffile.PLANARCONFIG.SEPARATE  # written with the samples together
        if (alone or turned) and isinstance(description, Entry):
            del tags[_DESCRIPTION_TAG]
            kept = _without_layout(description.value)
            if kept is not None:
                tags[_DESCRIPTION_TAG] = Entry(description.kind, len(kept), kept)
        described = {tag: entry for tag, entry in tags.items() if is_descriptive(tag)}
        others = {tag: entry for tag, entry in tags.items() if not is_descriptive(tag)}
        exif = Exif(order, described) if described else None
        return exif, of_tiff(others, self._lost), tags


def _without_layout(description: bytes) -> bytes | None:
    """A description without what tifffile says in it of its own layout; None where nothing else is there."""
    if description.startswith(b"shape=("):
        return None
    if not description.startswith(b"{"):
        return description
    try:
        said = json.loads(description.rstrip(b"\0"))
    except ValueError:
        return description
    if "shape" not in said:
        return description
    del said["shape"]
    return json.dumps(said).encode() + b"\0" if said else None


def _nodata(tags: Directory, sample_type: np.dtype[Any]) -> float | None:
    """The number that stands for none; None where there is none that a sample of this type can be."""
    entry = tags.get(_NODATA_TAG)
    if not isinstance(entry, Entry):
        return None
    try:
        number = float(entry.value.split(b"\0")[0])
    except ValueError:
        return None
    if (math.isinf(number) and b"inf" in entry.value.lower()) or math.isnan(number):
        return number if sample_type.kind == "f" else None
    if sample_type.kind == "f":  # its largest number is often written in too few digits, and is more then
        limits = np.finfo(sample_type)
        return float(np.clip(number, limits.min, limits.max))
    whole = np.iinfo(sample_type)
    return number if number.is_integer() and whole.min <= number <= whole.max else None


class TiffWriter:
    """Pages into a TIFF file that is open for writing, one by one."""

    def __init__(self, file: IO[bytes], kind: TiffKind, expected_bytes: int) -> None:
        self._file, self._kind = file, kind
        self._big = kind.big or expected_bytes > _LARGEST_CLASSIC
        self._directories: list[Directory] = []
        mark = 43 if self._big else 42
        order = kind.order
        head = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", mark)
        head += struct.pack(order + "HHQ", 8, 0, 0) if self._big else struct.pack(order + "I", 0)
        self._file.write(head)

    def __enter__(self) -> TiffWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()

    def add(self, decoded: Decoded) -> None:
        """Writes a page's samples."""
        pixels = decoded.pixels
        height, width, samples = pixels.shape
        zero_is_white = decoded.tiff is not None and decoded.tiff.zero_is_white
        strip_rows = height if not self._kind.compressed else min(height, max(1, 2**20 // (pixels[0].nbytes or 1)))
        places, sizes = [], []
        differences = self._kind.compressed and decoded.bits is None and pixels.dtype.kind in "ui"
        for top in range(0, height, strip_rows):
            strip = self._strip(pixels[top : top + strip_rows], decoded.bits, differences)
            places.append(self._file.tell())
            sizes.append(len(strip))
            self._file.write(strip + bytes(len(strip) % 2 if self._kind.compressed else 0))
        bits = decoded.bits or 8 * pixels.itemsize
        tags: Directory = {
            256: self._numbers(LONG, width),
            257: self._numbers(LONG, height),
            258: self._numbers(SHORT, *[bits] * samples),
            259: self._numbers(SHORT, 8 if self._kind.compressed else 1),
            262: self._numbers(SHORT, 2 if decoded.colours == 3 else 0 if zero_is_white else 1),  # RGB, or grey
            273: self._numbers(LONG8 if self._big else LONG, *places),
            277: self._numbers(SHORT, samples),
            278: self._numbers(LONG, strip_rows),
            279: self._numbers(LONG8 if self._big else LONG, *sizes),
            284: self._numbers(SHORT, 1),  # the samples of a pixel stand together
            339: self._numbers(SHORT, *[_KINDS[pixels.dtype.kind]] * samples),
        }
        if differences:
            tags[317] = self._numbers(SHORT, 2)
        if decoded.extras:
            tags[338] = self._numbers(SHORT, *decoded.extras)
        if decoded.icc_profile is not None:
            tags[_ICC_TAG] = Entry(UNDEFINED, len(decoded.icc_profile), decoded.icc_profile)
        if decoded.beside.xmp is not None:
            tags[XMP_TAG] = Entry(1, len(decoded.beside.xmp), decoded.beside.xmp)
        kept: Directory = {}
        for piece in decoded.beside.of("TIFF"):
            assert isinstance(piece.key, int) and not isinstance(piece.content, bytes)
            kept[piece.key] = piece.content
        exif = {} if decoded.exif is None else decoded.exif.descriptive().tags
        self._directories.append(kept | exif | tags)

    def _strip(self, rows: NDArray[Any], bits: int | None, differences: bool) -> bytes:
        stored = rows.astype(rows.dtype.newbyteorder(self._kind.order))
        if bits is not None:
            import imagecodecs

            data = b"".join(
                bytes(imagecodecs.packints_encode(row.reshape(-1), bits)) for row in np.ascontiguousarray(rows)
            )
        else:
            if differences:
                with np.errstate(over="ignore"):
                    stored[:, 1:] -= rows[:, :-1]
            data = stored.tobytes()
        return zlib.compress(data) if self._kind.compressed else data

    def _numbers(self, type_: int, *values: int) -> Entry:
        letter = {SHORT: "H", LONG: "I", LONG8: "Q"}[type_]
        return Entry(type_, len(values), struct.pack(self._kind.order + letter * len(values), *values))

    def close(self) -> None:
        """Writes the directories."""
        order, big = self._kind.order, self._big
        self._file.write(bytes(self._file.tell() % 2))
        places, start = [], self._file.tell()
        for directory in self._directories:
            places.append(start)
            start += len(layout(directory, order, start, big=big))
        for number, (place, directory) in enumerate(zip(places, self._directories, strict=True)):
            following = places[number + 1] if number + 1 < len(places) else 0
            self._file.write(layout(directory, order, place, big=big, following=following))
        self._file.seek(8 if big else 4)
        self._file.write(struct.pack(order + ("Q" if big else "I"), places[0]))
        self._file.seek(0, 2)
