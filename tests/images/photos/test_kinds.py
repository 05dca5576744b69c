"""Kinds of files that laboratories and telephones make: what they say is heeded, kept, or its loss said."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from photo_files import levels, smooth
from PIL import Image, PngImagePlugin

from ntk_nonlocal.images import open_photos, open_writer, read_photo, write_photo
from ntk_nonlocal.images.photos.metadata import Entry, Exif

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'


def again(source: Path, target: Path) -> Any:
    """A file read, written and read."""
    photo = read_photo(source)
    write_photo(target, photo.image, like=photo)
    return read_photo(target)


@pytest.mark.parametrize("code", [0, 2])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("depth", [8, 16])
def test_only_transparency_is_transparency(tmp_path: Path, code: int, colours: int, depth: int) -> None:
    """An extra sample of code 0, near infrared for instance, is a channel; one of code 2 is alpha."""
    pixels = levels(12, 14, colours + 1, depth=depth)
    kind = "rgb" if colours == 3 else "minisblack"
    options: dict[str, Any] = {"photometric": kind, "planarconfig": "contig", "metadata": None}
    tifffile.imwrite(tmp_path / "in.tif", pixels, extrasamples=[code], **options)
    photo = read_photo(tmp_path / "in.tif")
    assert photo.image.shape[2] == colours + (code == 0) and (photo.alpha is not None) == (code == 2)
    write_photo(tmp_path / "out.tif", photo.image, like=photo)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        page = file.pages.first
        assert [int(value) for value in page.extrasamples] == [code] and page.photometric.name == kind.upper()
        np.testing.assert_array_equal(page.asarray(), pixels)
    if code == 0:
        with pytest.raises(ValueError, match=f"PNG has no {colours + 1} channels; write a TIFF"):
            write_photo(tmp_path / "out.png", photo.image, like=photo)


def test_transparency_among_further_channels_keeps_its_place(tmp_path: Path) -> None:
    pixels = levels(9, 8, 6)
    tifffile.imwrite(tmp_path / "in.tif", pixels, photometric="rgb", extrasamples=[0, 2, 0], planarconfig="contig")
    photo = read_photo(tmp_path / "in.tif")
    assert photo.image.shape == (9, 8, 5) and "with 2 further channels with alpha" in repr(photo)
    np.testing.assert_array_equal(photo.alpha, pixels[:, :, 4])
    write_photo(tmp_path / "out.tif", photo.image, like=photo)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), pixels)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64"]
)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_samples_of_every_type_come_back(tmp_path: Path, dtype: str, order: str, big: bool) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 90, (10, 12)) if dtype[0] != "u" else rng.integers(0, 200, (10, 12))
    values = values.astype(dtype)
    tifffile.imwrite(tmp_path / "in.tif", values, byteorder=order, bigtiff=big)
    back = again(tmp_path / "in.tif", tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.is_bigtiff == big and file.byteorder == order
        found = file.pages.first.asarray()
    assert found.dtype == (np.float32 if dtype == "float16" else values.dtype) and back.bit_depth == 8 * found.itemsize
    np.testing.assert_allclose(found, values, rtol=2e-7)


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("width", [12, 13])
@pytest.mark.parametrize("channels", [1, 3])
def test_packed_samples_stay_packed(tmp_path: Path, bits: int, width: int, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 2**bits, (8, width, channels), dtype=np.uint16).squeeze()
    kind = "rgb" if channels == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "in.tif", pixels, bitspersample=bits, photometric=kind)
    photo = read_photo(tmp_path / "in.tif")
    assert photo.white == 2**bits - 1 and photo.bit_depth == bits
    write_photo(tmp_path / "out.tif", photo.image, like=photo)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.pages.first.bitspersample == bits
        np.testing.assert_array_equal(file.pages.first.asarray(), pixels)
    write_photo(tmp_path / "out.png", photo.image, like=photo)
    np.testing.assert_array_equal(np.rint(read_photo(tmp_path / "out.png").image.squeeze() * (2**bits - 1)), pixels)


@pytest.mark.parametrize(("most", "white"), [(255, 255), (1000, 1023), (4095, 4095), (16000, 16383), (40000, 65535)])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_units_follow_the_range_that_is_used(tmp_path: Path, most: int, white: int, suffix: str) -> None:
    pixels = np.linspace(0, most, 96).reshape(8, 12).astype(np.uint16)
    source = tmp_path / f"in{suffix}"
    Image.fromarray(pixels).save(source)
    photo = read_photo(source)
    assert photo.white == white and photo.image.max() == pytest.approx(most / white)
    write_photo(tmp_path / f"out{suffix}", photo.image, like=photo)
    assert np.array_equal(np.asarray(Image.open(tmp_path / f"out{suffix}")), pixels)


def test_pages_are_read_and_written_one_by_one_with_what_each_says(tmp_path: Path) -> None:
    pages = levels(5, 9, 11, depth=16)
    with tifffile.TiffWriter(tmp_path / "in.tif") as file:
        for number, page in enumerate(pages):
            note = [(65000, 2, 0, f"plane {number}", True)]
            file.write(page, photometric="minisblack", extratags=note, metadata=None, description=f"slice {number}")
    with open_photos(tmp_path / "in.tif") as photos, open_writer(tmp_path / "out.tif", photos[0], 5) as writer:
        for photo in photos:
            writer.add(photo.image, photo)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        np.testing.assert_array_equal(file.asarray(), pages)
        assert [page.tags.valueof(65000) for page in file.pages] == [f"plane {number}" for number in range(5)]
        assert [page.description for page in file.pages] == [f"slice {number}" for number in range(5)]


@pytest.mark.parametrize("style", ["imagej", "ome", "shaped"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_stacks_keep_what_their_programs_need(tmp_path: Path, style: str, compression: str | None) -> None:
    stack = levels(2, 3, 8, 12, depth=16)
    metadata: dict[str, Any] = {"axes": "TZYX"}
    if style == "imagej":
        metadata |= {"Labels": ["a", "b"] * 3, "unit": "um", "spacing": 0.5}
    options: dict[str, Any] = {} if style == "shaped" else {style: True}
    source, target = tmp_path / "in.ome.tif", tmp_path / "out.tif"
    tifffile.imwrite(source, stack, metadata=metadata, compression=compression, photometric="minisblack", **options)
    with open_photos(source) as photos:
        assert len(photos) == 6
        with open_writer(target, photos[0], 6) as writer:
            for photo in photos:
                writer.add(photo.image, photo)
    with tifffile.TiffFile(source) as before, tifffile.TiffFile(target) as after:
        np.testing.assert_array_equal(after.series[0].asarray(), stack)
        assert after.series[0].axes == before.series[0].axes == "TZYX"
        assert after.imagej_metadata == before.imagej_metadata and after.ome_metadata == before.ome_metadata


def test_a_stack_behind_one_directory(tmp_path: Path) -> None:
    """As ImageJ writes those of more than 4 GB."""
    stack = levels(4, 8, 12, depth=16)
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "ZYX"}, photometric="minisblack")
    data = bytearray(path.read_bytes())
    (start,) = struct.unpack(">I" if data[:2] == b"MM" else "<I", data[4:8])
    order = ">" if data[:2] == b"MM" else "<"
    (count,) = struct.unpack_from(order + "H", data, start)
    struct.pack_into(order + "I", data, start + 2 + 12 * count, 0)  # no second directory
    path.write_bytes(data)
    with open_photos(path) as photos:
        assert len(photos) == 4
        found = [np.rint(photo.image[:, :, 0] * photo.white) for photo in photos]
    np.testing.assert_array_equal(found, stack)


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("float32", np.nan), ("float32", -9999.0), ("int16", -32768), ("uint8", 0)]
)
def test_pixels_without_a_value_are_told_and_come_back(tmp_path: Path, dtype: str, nodata: float) -> None:
    values = np.random.default_rng(0).integers(1, 100, (9, 10)).astype(dtype)
    values[2:4, 3:5] = nodata
    tag = [] if np.isnan(nodata) else [(42113, 2, 0, f"{nodata:g}", True)]
    tifffile.imwrite(tmp_path / "in.tif", values, extratags=tag)
    photo = read_photo(tmp_path / "in.tif")
    assert photo.valid is not None and (~photo.valid).sum() == 4 and not photo.valid[2:4, 3:5].any()
    assert 0.3 < photo.image[photo.valid].max() <= 1 or photo.white == 255
    changed = np.where(photo.valid, photo.image * 0.5, photo.image)
    write_photo(tmp_path / "out.tif", changed, like=photo)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif")[2:4, 3:5], values[2:4, 3:5])


@pytest.mark.parametrize(
    ("dtype", "text"),
    [("uint16", "-9999"), ("uint8", "256"), ("int16", "-1e30"), ("uint8", "2.5"), ("int32", "nan"), ("uint32", "inf")],
)
def test_no_whole_number_is_a_nodata_that_its_type_has_not(tmp_path: Path, dtype: str, text: str) -> None:
    values = np.random.default_rng(0).integers(0, 100, (9, 10)).astype(dtype)
    tifffile.imwrite(tmp_path / "in.tif", values, extratags=[(42113, 2, 0, text, True)])
    photo = read_photo(tmp_path / "in.tif")
    assert photo.valid is None
    write_photo(tmp_path / "out.tif", photo.image, like=photo)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        np.testing.assert_array_equal(file.asarray(), values)
        assert file.pages.first.tags.valueof(42113) == text


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_largest_number_written_in_few_digits_is_nodata(tmp_path: Path, dtype: str) -> None:
    values = np.random.default_rng(0).normal(size=(9, 10)).astype(dtype)
    values[2:4, 3:5] = np.finfo(dtype).min
    text = "-1.79769313486232e+308" if dtype == "float64" else "-3.40282346638529e+38"
    tifffile.imwrite(tmp_path / "in.tif", values, extratags=[(42113, 2, 0, text, True)])
    photo = again(tmp_path / "in.tif", tmp_path / "out.tif")
    assert (~photo.valid).sum() == 4
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif")[2:4, 3:5], values[2:4, 3:5])


@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", 0), ("uint8", 7), ("uint8", 255), ("int16", -9999)])
def test_no_estimate_is_rounded_to_the_number_for_none(tmp_path: Path, dtype: str, nodata: int) -> None:
    values = np.full((9, 10), nodata, dtype)
    values[2:, :] = np.arange(70).reshape(7, 10) + 20
    tifffile.imwrite(tmp_path / "in.tif", values, extratags=[(42113, 2, 0, str(nodata), True)])
    photo = read_photo(tmp_path / "in.tif")
    estimates = photo.image.copy()
    for row, offset in ((4, -0.4), (5, 0.4)):
        estimates[row] = (nodata + offset) / photo.white
    write_photo(tmp_path / "out.tif", estimates, like=photo)
    found = tifffile.imread(tmp_path / "out.tif")
    assert (found[:2] == nodata).all() and (found[2:] != nodata).all()
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    assert (found[4] == (nodata - 1 if nodata > least else nodata + 1)).all()
    assert (found[5] == (nodata + 1 if nodata < most else nodata - 1)).all()
    np.testing.assert_array_equal(found[[2, 3, 6, 7, 8]], values[[2, 3, 6, 7, 8]])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_where_zero_is_white_it_stays_so_and_nodata_is_its_own(tmp_path: Path, dtype: str) -> None:
    most = np.iinfo(dtype).max
    values = (np.random.default_rng(0).integers(1, 100, (9, 10)) * (most // 100)).astype(dtype)
    values[2:4, 3:5], values[6, 6] = 0, most
    tags = [(42113, 2, 0, "0", True)]
    tifffile.imwrite(tmp_path / "in.tif", values, photometric="miniswhite", extratags=tags, metadata=None)
    photo = read_photo(tmp_path / "in.tif")
    assert photo.valid is not None and (~photo.valid).sum() == 4 and not photo.valid[2:4, 3:5].any()
    np.testing.assert_allclose(photo.image[photo.valid], 1 - values[photo.valid[:, :, 0]] / most, atol=1e-6)
    write_photo(tmp_path / "out.tif", photo.image, like=photo)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.pages.first.photometric.name == "MINISWHITE"
        np.testing.assert_array_equal(file.asarray(), values)
    write_photo(tmp_path / "out.png", np.where(photo.valid, photo.image, 0), like=photo)
    assert np.asarray(Image.open(tmp_path / "out.png"))[6, 6] == 0
    three = np.repeat(photo.image, 3, axis=2)  # of other channels zero is black, and next to it what is no value
    write_photo(tmp_path / "rgb.tif", three, like=photo)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "rgb.tif")[6, 6], [1, 1, 1])


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_fewer_bits_than_eight_are_said_to_be_written_as_eight(tmp_path: Path, suffix: str) -> None:
    pixels = np.random.default_rng(0).random((9, 10)) < 0.5
    Image.fromarray(pixels).save(tmp_path / f"in.{suffix}")
    with pytest.warns(UserWarning, match="left out: the depth of 1 bit a sample, which becomes 8"):
        photo = again(tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}")
    np.testing.assert_array_equal(photo.image[:, :, 0], pixels)


def test_nodata_of_a_palette_is_no_grey(tmp_path: Path) -> None:
    colours = np.arange(768).reshape(3, 256).astype(np.uint16) * 80
    indices = np.random.default_rng(0).integers(0, 256, (9, 10)).astype(np.uint8)
    tags = [(42113, 2, 0, "0", True)]
    tifffile.imwrite(tmp_path / "in.tif", indices, photometric="palette", colormap=colours, extratags=tags)
    with pytest.warns(UserWarning, match="the palette, .*, GDAL's nodata"):
        photo = again(tmp_path / "in.tif", tmp_path / "out.tif")
    assert photo.valid is None and photo.image.shape == (9, 10, 3)


@pytest.mark.parametrize("text", ['{"shape": [3, 9, 10]}', "shape=(3, 9, 10)"])
def test_a_layout_that_a_program_noted_goes_with_the_pages_it_described(tmp_path: Path, text: str) -> None:
    pixels = levels(9, 10, 3)
    planes = np.moveaxis(pixels, 2, 0)
    options: dict[str, Any] = {"photometric": "rgb", "planarconfig": "separate", "metadata": None}
    tifffile.imwrite(tmp_path / "in.tif", planes, description=text, **options)
    again(tmp_path / "in.tif", tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert 270 not in file.pages.first.tags
        np.testing.assert_array_equal(file.asarray(), pixels)


def test_where_zero_is_white_units_follow_the_range_that_is_used(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (9, 10)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "in.tif", values, photometric="miniswhite", metadata=None)
    photo = read_photo(tmp_path / "in.tif")
    assert photo.white == 4095
    np.testing.assert_allclose(photo.image[:, :, 0], 1 - values / 4095, atol=1e-6)
    write_photo(tmp_path / "out.tif", photo.image, like=photo)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), values)


@pytest.mark.parametrize("style", ["imagej", "ome", "plain", "pointer"])
def test_a_stack_that_ends_early_is_damaged_and_no_page_is_lost_silently(tmp_path: Path, style: str) -> None:
    options: dict[str, dict[str, Any]] = {"imagej": {"imagej": True}, "ome": {"ome": True, "metadata": {"axes": "TYX"}}}
    stack = np.random.default_rng(0).integers(0, 60000, (6, 40, 40)).astype(np.uint16)
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, stack, photometric="minisblack", **options.get(style, {}))
    whole = path.read_bytes()
    with open_photos(path) as photos:
        assert len(photos) == 6
    if style == "pointer":
        with tifffile.TiffFile(path) as file:
            start = file.pages[2].offset
        (count,) = struct.unpack_from("<H", whole, start)
        place = start + 2 + 12 * count
        path.write_bytes(whole[:place] + struct.pack("<I", len(whole) + 2) + whole[place + 4 :])
    else:
        path.write_bytes(whole[: len(whole) * 9 // 10])
    with pytest.raises(ValueError, match=r"in\.tif: it is damaged or incomplete"), open_photos(path) as photos:
        list(photos)


@pytest.mark.parametrize(
    ("dtype", "code"), [("int16", -9999), ("float32", -9999.0), ("int16", -32768), ("float64", -99)]
)
def test_numbers_that_by_custom_stand_for_none_are_left_out_and_told(tmp_path: Path, dtype: str, code: float) -> None:
    values = np.random.default_rng(0).integers(0, 90, (20, 21)).astype(dtype)
    gaps = np.random.default_rng(1).random(values.shape) < 0.2
    stored = np.where(gaps, np.asarray(code, dtype), values)
    tifffile.imwrite(tmp_path / "in.tif", stored)
    with pytest.warns(UserWarning, match=f"{gaps.sum()} samples are {code:g}, far below all others"):
        photo = again(tmp_path / "in.tif", tmp_path / "out.tif")
    np.testing.assert_array_equal(photo.valid[:, :, 0], ~gaps)
    assert photo.white <= 255
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "out.tif"), np.where(gaps, np.asarray(code, dtype), values)
    )
    near = np.where(gaps, code, values + code + 20).astype(dtype)  # no gap: they are values
    tifffile.imwrite(tmp_path / "near.tif", near)
    assert read_photo(tmp_path / "near.tif").valid is None


@pytest.mark.parametrize("codes", [(-32768, -9999), (-9999, -999), (-999, -99)])
def test_two_numbers_for_none_in_one_picture_are_both_left_out(tmp_path: Path, codes: tuple[int, int]) -> None:
    values = np.random.default_rng(0).integers(50, 150, (20, 21)).astype(np.int16)
    values[:2], values[2:5] = codes
    tifffile.imwrite(tmp_path / "in.tif", values)
    with pytest.warns(UserWarning, match=f"105 samples are {codes[0]} or {codes[1]}, far below all others"):
        photo = read_photo(tmp_path / "in.tif")
    np.testing.assert_array_equal(photo.valid[:, :, 0], values > 0)


def test_an_infinite_nodata_comes_back(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((9, 10)).astype(np.float32)
    values[:2] = np.inf
    tifffile.imwrite(tmp_path / "in.tif", values, extratags=[(42113, 2, 0, "inf", True)], metadata=None)
    again(tmp_path / "in.tif", tmp_path / "out.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), values)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"description": "exposure 3 s"}, "exposure 3 s"),
        ({"metadata": {"exposure": 3}}, '{"exposure": 3}'),
        ({}, None),
    ],
)
def test_what_tifffile_was_asked_to_say_is_kept(tmp_path: Path, options: dict[str, Any], kept: str | None) -> None:
    tifffile.imwrite(tmp_path / "in.tif", levels(9, 10, 1)[:, :, 0], **options)
    again(tmp_path / "in.tif", tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.pages.first.tags.valueof(270) == kept


def test_resolutions_of_a_picture_that_is_turned_change_places(tmp_path: Path) -> None:
    tags = [(274, 3, 1, 6, True)]
    options: dict[str, Any] = {"resolution": (300, 150), "resolutionunit": "INCH", "metadata": None}
    tifffile.imwrite(tmp_path / "in.tif", levels(9, 10, 1)[:, :, 0], extratags=tags, **options)
    again(tmp_path / "in.tif", tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        found = file.pages.first.tags
        assert (found.valueof(282), found.valueof(283)) == ((150, 1), (300, 1)) and found.valueof(274) == 1


def test_long_profiles_and_texts_of_png_are_read_again(tmp_path: Path) -> None:
    profile = bytes(range(256)) * 6000
    Image.fromarray(levels(9, 10, 3)).save(tmp_path / "in.jpg", icc_profile=profile)
    photo = read_photo(tmp_path / "in.jpg")
    write_photo(tmp_path / "out.png", photo.image, like=photo)
    assert read_photo(tmp_path / "out.png").icc_profile == profile
    assert PngImagePlugin.MAX_TEXT_CHUNK == 2**20  # as it was for others


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}])
def test_a_film_behind_a_jpeg_is_named_and_filling_is_not(tmp_path: Path, options: dict[str, Any]) -> None:
    Image.fromarray(levels(40, 50, 3)).save(tmp_path / "in.jpg", quality=95, **options)
    whole = (tmp_path / "in.jpg").read_bytes()
    assert read_photo(tmp_path / "in.jpg").beside.lost == ()
    (tmp_path / "in.jpg").write_bytes(whole + bytes(100))
    assert read_photo(tmp_path / "in.jpg").beside.lost == ()
    (tmp_path / "in.jpg").write_bytes(whole + b"\0\0\0\x18ftypmp42" + bytes(5000))
    assert read_photo(tmp_path / "in.jpg").beside.lost == ("5012 bytes behind the picture, such as a film",)


def test_nodata_of_sixteen_bits_is_clipped_where_eight_are_written(tmp_path: Path) -> None:
    values = np.full((9, 10), 300, np.uint16)
    values[2:4, 3:5] = 65535
    tifffile.imwrite(tmp_path / "in.tif", values, extratags=[(42113, 2, 0, "65535", True)])
    photo = read_photo(tmp_path / "in.tif")
    with pytest.warns(UserWarning, match="left out"), pytest.warns(UserWarning, match="holds 8 bits"):
        write_photo(tmp_path / "out.webp", photo.image, like=photo)
    found = np.asarray(Image.open(tmp_path / "out.webp"))
    assert found[3, 4].min() > 250 and found[0, 0].max() < 90


@pytest.mark.parametrize("order", [1, -1])
def test_all_pages_have_the_unit_of_the_brightest(tmp_path: Path, order: int) -> None:
    stack = np.stack([levels(9, 11).astype(np.uint16), levels(9, 11, depth=16)])[::order]
    tifffile.imwrite(tmp_path / "in.tif", stack, photometric="minisblack")
    with open_photos(tmp_path / "in.tif") as photos:
        assert [photo.white for photo in photos] == [65535, 65535]
        np.testing.assert_array_equal([np.rint(65535 * photo.image[:, :, 0]) for photo in photos], stack)
    wide = stack[::order].astype(np.float32)
    wide[1, 2, 3] = 3e38
    wide = wide[::order]
    tifffile.imwrite(tmp_path / "in.tif", wide, photometric="minisblack")
    with open_photos(tmp_path / "in.tif") as photos:
        np.testing.assert_allclose([photo.image[:, :, 0] * photo.white for photo in photos], wide, rtol=1e-7)


def test_a_page_may_be_without_values_and_not_all_of_them(tmp_path: Path) -> None:
    stack = np.random.default_rng(0).random((3, 9, 11)).astype(np.float32)
    stack[0] = np.nan
    tifffile.imwrite(tmp_path / "in.tif", stack, photometric="minisblack")
    with open_photos(tmp_path / "in.tif") as photos, open_writer(tmp_path / "out.tif", photos[0], 3) as writer:
        assert [photo.valid is None for photo in photos] == [False, True, True]
        for photo in photos:
            writer.add(photo.image, photo)
    np.testing.assert_allclose(tifffile.imread(tmp_path / "out.tif"), stack, rtol=2e-7)
    tifffile.imwrite(tmp_path / "in.tif", np.full_like(stack, np.nan), photometric="minisblack")
    with (
        open_photos(tmp_path / "in.tif") as photos,
        pytest.raises(ValueError, match="none of its 3 pages holds a value"),
    ):
        photos[0]


def test_a_damaged_page_is_named_before_the_first_is_given(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", levels(3, 9, 11), photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(tmp_path / "in.tif") as file:
        place = file.pages[1].aspage().dataoffsets[0]
    data = bytearray((tmp_path / "in.tif").read_bytes())
    data[place : place + 20] = bytes(20)
    (tmp_path / "in.tif").write_bytes(data)
    with open_photos(tmp_path / "in.tif") as photos, pytest.raises(ValueError, match="page 2 of 3: it is damaged"):
        photos[0]


@pytest.mark.parametrize("source", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("target", [".png", ".jpg", ".tif", ".webp"])
def test_xmp_is_kept_in_every_format_and_says_upright(tmp_path: Path, source: str, target: str) -> None:
    options: dict[str, Any] = {"xmp": XMP}
    if source == ".png":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        options = {"pnginfo": text}
    if source == ".tif":
        options = {"tiffinfo": {700: XMP}}
    Image.fromarray(smooth()).save(tmp_path / f"in{source}", **options)
    photo = again(tmp_path / f"in{source}", tmp_path / f"out{target}")
    assert photo.beside.xmp == XMP.replace(b'"6"', b'"1"')


def test_chunks_of_png_stay_and_are_named_where_they_cannot(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "somebody")
    text.add(b"gAMA", struct.pack(">I", 45455))
    Image.fromarray(smooth()).save(tmp_path / "in.png", pnginfo=text)
    photo = read_photo(tmp_path / "in.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_photo(tmp_path / "out.png", photo.image, like=photo)
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.info["Author"] == "somebody" and picture.info["gamma"] == 0.45455
    with pytest.warns(UserWarning, match=r"out\.tif: left out: text, gamma"):
        write_photo(tmp_path / "out.tif", photo.image, like=photo)


def test_segments_of_jpeg_stay_and_are_named_where_they_cannot(tmp_path: Path) -> None:
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x09\x1c\x02\x05\0\x04name\0"
    Image.fromarray(smooth()).save(tmp_path / "in.jpg", comment=b"hello")
    data = (tmp_path / "in.jpg").read_bytes()
    data = data[:2] + b"\xff\xed" + struct.pack(">H", len(iptc) + 2) + iptc + data[2:]
    (tmp_path / "in.jpg").write_bytes(data)
    photo = again(tmp_path / "in.jpg", tmp_path / "out.jpg")
    with Image.open(tmp_path / "out.jpg") as picture:
        assert picture.info["comment"] == b"hello" and picture.info["photoshop"]
    with pytest.warns(UserWarning, match=r"left out: IPTC and Photoshop's data, the comment"):
        write_photo(tmp_path / "out.png", photo.image, like=photo)


def test_tags_of_tiff_stay_and_are_named_where_they_cannot(tmp_path: Path) -> None:
    scale = struct.pack("<3d", 1, 1, 0)
    tifffile.imwrite(tmp_path / "in.tif", smooth(), extratags=[(33550, 12, 3, scale, True)], byteorder="<")
    photo = again(tmp_path / "in.tif", tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.pages.first.tags.valueof(33550) == (1, 1, 0)
    with pytest.warns(UserWarning, match=r"left out: the georeference"):
        write_photo(tmp_path / "out.jpg", photo.image, like=photo)


def test_further_pictures_of_a_file_are_named(tmp_path: Path) -> None:
    first, second = Image.fromarray(smooth()), Image.fromarray(smooth() // 2)
    first.save(tmp_path / "in.jpg", "MPO", save_all=True, append_images=[second])
    photo = read_photo(tmp_path / "in.jpg")
    with pytest.warns(UserWarning, match="left out: 1 further picture, such as gain and depth maps"):
        write_photo(tmp_path / "out.jpg", photo.image, like=photo)
    with tifffile.TiffWriter(tmp_path / "in.tif") as file:
        file.write(smooth(), photometric="rgb")
        file.write(smooth()[::4, ::4], photometric="rgb", subfiletype=1)
    photo = read_photo(tmp_path / "in.tif")
    with pytest.warns(UserWarning, match="1 smaller copy of the picture"):
        write_photo(tmp_path / "out.tif", photo.image, like=photo)


def test_the_thumbnail_is_left_out_and_named(tmp_path: Path) -> None:
    block = bytearray(Exif("<", {0x010F: Entry(2, 2, b"M\0")}).tobytes())
    struct.pack_into("<I", block, len(block) - 4, len(block))
    block += struct.pack("<HHHII", 1, 0x0201, 4, 1, 0) + bytes(4)
    Image.fromarray(smooth()).save(tmp_path / "in.jpg", exif=b"Exif\0\0" + bytes(block))
    photo = read_photo(tmp_path / "in.jpg")
    with pytest.warns(UserWarning, match="left out: the preview"):
        write_photo(tmp_path / "out.jpg", photo.image, like=photo)


def test_a_transparent_colour_of_sixteen_bits(tmp_path: Path) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    pixels = levels(8, 9, depth=16)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    data = (tmp_path / "in.png").read_bytes()
    (tmp_path / "in.png").write_bytes(data[:33] + chunk(b"tRNS", struct.pack(">H", pixels[2, 3])) + data[33:])
    photo = read_photo(tmp_path / "in.png")
    assert photo.alpha is not None
    np.testing.assert_array_equal(photo.alpha == 0, pixels == pixels[2, 3])
