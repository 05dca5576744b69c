from __future__ import annotations

import dataclasses
import os
import struct
import warnings

import imagecodecs
import numpy as np
import pytest
import tifffile
from photo_files import PROFILE, as_levels, camera_exif, levels, smooth, store
from PIL import ExifTags, Image, ImageOps
from PIL.TiffImagePlugin import IFDRational

from ntk_nonlocal.images import check_writable, read_photo, write_photo
from ntk_nonlocal.images.photos.metadata import Entry, Exif, layout

LOSSLESS = [".png", ".tif"]


def assert_camera_exif(exif: Image.Exif) -> None:
    expected = Image.Exif()
    expected.load(camera_exif().tobytes())
    for tag in (0x010F, 0x8298):
        assert exif[tag] == expected[tag]
    for directory in (0x8769, 0x8825):
        assert dict(exif.get_ifd(directory)) == dict(expected.get_ifd(directory))
        assert len(exif.get_ifd(directory)) > 1


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("target", LOSSLESS)
def test_lossless_files_come_back_bit_for_bit(tmp_path, suffix, target, depth, channels):
    pixels = levels(11, 13, channels, depth=depth)
    photo = read_photo(store(tmp_path / f"in{suffix}", pixels))
    assert (photo.bit_depth, photo.mode) == (depth, "grey" if channels < 3 else "rgb")
    assert photo.image.dtype == np.float32 and photo.image.max() <= 1
    colours = pixels[:, :, : photo.image.shape[2]]
    np.testing.assert_array_equal(as_levels(photo), colours)

    write_photo(tmp_path / f"out{target}", photo.image, like=photo)
    again = read_photo(tmp_path / f"out{target}")
    assert (again.bit_depth, again.mode) == (photo.bit_depth, photo.mode)
    np.testing.assert_array_equal(again.image, photo.image)
    if channels in (2, 4):
        assert again.alpha.dtype == photo.alpha.dtype == pixels.dtype
        np.testing.assert_array_equal(photo.alpha, pixels[:, :, -1])
        np.testing.assert_array_equal(again.alpha, pixels[:, :, -1])
    else:
        assert again.alpha is photo.alpha is None
    assert sorted(os.listdir(tmp_path)) == sorted({f"in{suffix}", f"out{target}"})


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (2, 3)])
def test_the_smallest_files(tmp_path, size, channels):
    pixels = levels(*size, channels, depth=16)
    photo = read_photo(store(tmp_path / "in.png", pixels))
    for name in ("out.png", "out.tif"):
        write_photo(tmp_path / name, photo.image, like=photo)
        again = read_photo(tmp_path / name)
        np.testing.assert_array_equal(again.image, photo.image)
        assert (again.alpha is None) == (channels in (1, 3))


def test_a_picture_of_several_strips(tmp_path):
    pixels = levels(700, 600, 3, depth=16)
    photo = read_photo(store(tmp_path / "in.png", pixels))
    write_photo(tmp_path / "out.tif", photo.image, like=photo)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), pixels)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert len(file.pages.first.dataoffsets) > 1


def test_every_sixteen_bit_level_survives(tmp_path):
    pixels = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    photo = read_photo(store(tmp_path / "a.png", pixels))
    for name in ("b.png", "b.tif"):
        write_photo(tmp_path / name, photo.image.astype(np.float64), like=photo)
        np.testing.assert_array_equal(read_photo(tmp_path / name).image, photo.image)


@pytest.mark.parametrize("name, reader", [("a.png", imagecodecs.png_decode), ("a.tif", imagecodecs.tiff_decode)])
def test_other_programs_read_what_is_written(tmp_path, name, reader):
    pixels = levels(9, 8, 4, depth=16)
    photo = read_photo(store(tmp_path / "in.png", pixels))
    write_photo(tmp_path / name, photo.image, like=photo)
    np.testing.assert_array_equal(reader((tmp_path / name).read_bytes()), pixels)
    with Image.open(tmp_path / name) as picture:
        assert picture.size == (8, 9)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_files_are_close(tmp_path, suffix):
    image = smooth() / 255
    write_photo(tmp_path / f"a{suffix}", image)
    photo = read_photo(tmp_path / f"a{suffix}")
    assert (photo.bit_depth, photo.mode, photo.alpha) == (8, "rgb", None)
    assert np.abs(photo.image - image).mean() < 2 / 255


def test_grey_stays_grey_in_jpeg_and_becomes_rgb_in_webp(tmp_path):
    for name, mode in (("a.jpg", "grey"), ("a.webp", "rgb")):
        write_photo(tmp_path / name, smooth()[:, :, 0] / 255)
        photo = read_photo(tmp_path / name)
        assert photo.mode == mode
        assert np.abs(photo.image - smooth()[:, :, :1] / 255).mean() < 2 / 255


def test_webp_without_loss_stays_so(tmp_path):
    pixels = levels(16, 12, 3)
    for lossless in (True, False):
        Image.fromarray(pixels).save(tmp_path / "in.webp", lossless=lossless, exact=True)
        photo = read_photo(tmp_path / "in.webp")
        assert photo.lossless == lossless
        write_photo(tmp_path / "out.webp", photo.image, like=photo)
        assert read_photo(tmp_path / "out.webp").lossless == lossless
        if lossless:
            np.testing.assert_array_equal(as_levels(read_photo(tmp_path / "out.webp")), pixels)


@pytest.mark.parametrize(("source", "target"), [("a.png", "b.png"), ("a.jpg", "b.jpg"), ("a.png", "b.jpg")])
def test_dots_per_inch_are_kept(tmp_path, source, target):
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(smooth()).save(tmp_path / source, dpi=(300, 150), exif=turned)
    photo = read_photo(tmp_path / source)
    write_photo(tmp_path / target, photo.image, like=photo)
    with Image.open(tmp_path / target) as picture:
        assert [round(float(dots)) for dots in picture.info["dpi"]] == [150, 300]


def test_nonsense_for_dots_per_inch_is_left_out(tmp_path):
    Image.fromarray(smooth()).save(tmp_path / "in.png", dpi=(1e6, 0))
    photo = read_photo(tmp_path / "in.png")
    assert photo.dots_per_inch is None
    write_photo(tmp_path / "out.jpg", photo.image, like=photo)


@pytest.mark.parametrize(
    ("tags", "dots"),
    [
        ({}, None),
        ({282: 300, 283: 150}, (300, 150)),
        ({282: 100, 283: 50, 296: 3}, (254, 127)),
        ({282: 3, 283: 2, 296: 1}, None),
        ({282: 300}, (300, 300)),
        ({282: 0, 283: 150, 296: 2}, None),
    ],
)
def test_no_dots_per_inch_are_invented_for_a_jpeg(tmp_path, tags, dots):
    exif = camera_exif()
    for tag, value in tags.items():
        exif[tag] = value if tag == 296 else IFDRational(value)
    Image.fromarray(smooth()).save(tmp_path / "in.jpg", exif=exif)
    photo = read_photo(tmp_path / "in.jpg")
    assert photo.dots_per_inch == (None if dots is None else pytest.approx(dots))
    write_photo(tmp_path / "out.jpg", photo.image, like=photo)
    with Image.open(tmp_path / "out.jpg") as picture:
        assert picture.info["jfif_unit"] == (dots is not None)
        assert picture.info["jfif_density"] == (dots or (1, 1))


def test_a_description_of_tifffiles_own_layout_is_left_out(tmp_path):
    for description in (None, "the old harbour"):
        metadata = {} if description is None else None  # what tifffile writes by itself, or not
        tifffile.imwrite(tmp_path / "in.tif", smooth(), description=description, metadata=metadata)
        photo = read_photo(tmp_path / "in.tif")
        write_photo(tmp_path / "out.tif", photo.image, like=photo)
        with tifffile.TiffFile(tmp_path / "out.tif") as file:
            assert file.pages.first.tags.valueof(270) == description


def test_a_private_file_stays_private(tmp_path):
    target = tmp_path / "real.png"
    for image in (smooth(), smooth()[::-1]):
        write_photo(target, image / 255)
        np.testing.assert_array_equal(as_levels(read_photo(target)), image)
        target.chmod(0o600)
    write_photo(target, smooth() / 255)
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_in_webp_is_untouched(tmp_path, channels):
    photo = read_photo(store(tmp_path / "in.png", levels(16, 12, channels)))
    write_photo(tmp_path / "out.webp", photo.image, like=photo)
    np.testing.assert_array_equal(read_photo(tmp_path / "out.webp").alpha, photo.alpha)


def test_jpeg_refuses_transparency_before_the_work_and_drops_opaque_alpha(tmp_path):
    pixels = levels(8, 8, 4)
    photo = read_photo(store(tmp_path / "in.png", pixels))
    for action in (check_writable, lambda path, like: write_photo(path, photo.image, like=like)):
        with pytest.raises(ValueError, match=r"out\.jpg: JPEG has no transparency; write a PNG, TIFF or WebP"):
            action(tmp_path / "out.jpg", like=photo)
    pixels[:, :, 3] = 255
    photo = read_photo(store(tmp_path / "in.png", pixels))
    write_photo(tmp_path / "out.jpg", photo.image, like=photo)
    assert read_photo(tmp_path / "out.jpg").alpha is None


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_sixteen_bits_become_eight_with_a_warning(tmp_path, suffix):
    pixels = levels(8, 8, 4, depth=16)
    pixels[:, :, 3] = 65535
    photo = read_photo(store(tmp_path / "in.png", pixels))
    with pytest.warns(UserWarning, match="holds 8 bits a channel"):
        write_photo(tmp_path / f"out{suffix}", photo.image, like=photo)
    assert read_photo(tmp_path / f"out{suffix}").bit_depth == 8


@pytest.mark.parametrize("source", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("target", [".png", ".jpg", ".tif", ".webp"])
def test_profile_and_exif_are_kept(tmp_path, source, target):
    Image.fromarray(smooth()).save(tmp_path / f"in{source}", exif=camera_exif().tobytes(), icc_profile=PROFILE)
    photo = read_photo(tmp_path / f"in{source}")
    write_photo(tmp_path / f"out{target}", photo.image, like=photo)
    with Image.open(tmp_path / f"out{target}") as picture:
        assert picture.info["icc_profile"] == PROFILE
        exif = Image.Exif()
        exif.load((tmp_path / "out.tif").read_bytes() if target == ".tif" else picture.info["exif"])
        assert_camera_exif(exif)
    again = read_photo(tmp_path / f"out{target}")
    assert again.icc_profile == photo.icc_profile == PROFILE


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_profile_and_exif_are_kept_with_sixteen_bits(tmp_path, suffix):
    photo = read_photo(store(tmp_path / "in.png", levels(8, 9, 3, depth=16)))
    Image.fromarray(smooth()).save(tmp_path / "other.jpg", exif=camera_exif(), icc_profile=PROFILE)
    other = read_photo(tmp_path / "other.jpg")
    photo = dataclasses.replace(photo, exif=other.exif, icc_profile=other.icc_profile)
    write_photo(tmp_path / f"out{suffix}", photo.image, like=photo)
    again = read_photo(tmp_path / f"out{suffix}")
    assert (again.icc_profile, again.bit_depth, again.exif) == (PROFILE, 16, photo.exif)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("target", [".png", ".jpg", ".tif", ".webp"])
def test_exif_values_keep_their_bytes_and_types(tmp_path, order, target):
    text = Entry(2, 6, "Zoë\0x".encode()[:6])
    numbers = Entry(10, 2, struct.pack(order + "4i", -1, 3, 7, 2))
    interoperability = {1: Entry(2, 4, b"R98\0")}
    directory = {0x9003: text, 0x9201: numbers, 0x927C: Entry(7, 5, b"maker"), 0xA005: interoperability}
    exif = Exif(order, {0x010F: text, 0x8769: directory, 0x8825: {0: Entry(1, 4, b"\2\3\0\0"), 6: numbers}})
    Image.fromarray(smooth()).save(tmp_path / "in.jpg", exif=b"Exif\0\0" + exif.tobytes())
    photo = read_photo(tmp_path / "in.jpg")
    assert photo.exif == exif
    for name in (f"out{target}", f"again{target}"):
        write_photo(tmp_path / name, photo.image, like=photo)
        photo = read_photo(tmp_path / name)
        assert photo.exif.order == order
        assert photo.exif.descriptive() == exif


def test_the_old_thumbnail_is_left_out(tmp_path):
    block = bytearray(Exif("<", {0x010F: Entry(2, 2, b"M\0")}).tobytes())
    struct.pack_into("<I", block, len(block) - 4, len(block))
    block += layout({0x0201: Entry(4, 1, bytes(4))}, "<", len(block))
    Image.fromarray(smooth()).save(tmp_path / "in.png", exif=bytes(block))
    with Image.open(tmp_path / "in.png") as picture:
        assert picture.getexif().get_ifd(ExifTags.IFD.IFD1)
    photo = read_photo(tmp_path / "in.png")
    write_photo(tmp_path / "out.png", photo.image, like=photo)
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.getexif()[0x010F] == "M"
        assert not picture.getexif().get_ifd(ExifTags.IFD.IFD1)


def test_a_profile_for_other_channels_is_left_out(tmp_path):
    Image.fromarray(smooth()).save(tmp_path / "in.png", icc_profile=PROFILE)
    photo = read_photo(tmp_path / "in.png")
    write_photo(tmp_path / "out.png", photo.image[:, :, :1], like=photo)
    assert read_photo(tmp_path / "out.png").icc_profile is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_the_orientation_is_applied_and_reset(tmp_path, suffix, orientation):
    picture = Image.fromarray(levels(5, 7, 4))
    picture.save(tmp_path / f"in{suffix}", exif=camera_exif(orientation))
    photo = read_photo(tmp_path / f"in{suffix}")
    tagged = picture.copy()
    tagged.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(tagged))
    np.testing.assert_array_equal(as_levels(photo), expected[:, :, :3])
    np.testing.assert_array_equal(photo.alpha, expected[:, :, 3])

    write_photo(tmp_path / "out.png", photo.image, like=photo)
    with Image.open(tmp_path / "out.png") as written:
        assert written.getexif()[0x0112] == 1
        np.testing.assert_array_equal(np.asarray(written), expected)


def test_orientation_with_sixteen_bits_and_in_a_palette_tiff(tmp_path):
    pixels = levels(5, 7, 3, depth=16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extratags=[(0x0112, "H", 1, 6, True)])
    np.testing.assert_array_equal(as_levels(read_photo(tmp_path / "a.tif")), np.rot90(pixels, -1))
    picture = Image.fromarray(smooth(6, 9)).quantize(8)
    picture.save(tmp_path / "p.tif", tiffinfo={0x0112: 6})
    photo = read_photo(tmp_path / "p.tif")
    np.testing.assert_array_equal(as_levels(photo), np.rot90(np.asarray(picture.convert("RGB")), -1))


def test_damaged_exif_does_not_cost_the_picture(tmp_path):
    pixels = smooth()
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff rubbish")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        photo = read_photo(tmp_path / "a.png")
        write_photo(tmp_path / "b.png", photo.image, like=photo)
    np.testing.assert_array_equal(as_levels(photo), pixels)
    np.testing.assert_array_equal(read_photo(tmp_path / "b.png").image, photo.image)


@pytest.mark.parametrize(
    "mode, expected_mode, alpha",
    [("1", "grey", False), ("L", "grey", False), ("LA", "grey", True), ("P", "rgb", False), ("RGBA", "rgb", True)],
)
def test_other_kinds_of_png(tmp_path, mode, expected_mode, alpha):
    picture = Image.fromarray(smooth()).convert(mode)
    picture.save(tmp_path / "a.png")
    photo = read_photo(tmp_path / "a.png")
    assert (photo.mode, photo.alpha is not None, photo.bit_depth) == (expected_mode, alpha, 8)
    expected = np.asarray(picture.convert("L" if expected_mode == "grey" else "RGB"))
    np.testing.assert_array_equal(as_levels(photo), np.atleast_3d(expected))


def test_transparent_palette_and_colour_key(tmp_path):
    palette = Image.fromarray(smooth()).quantize(8)
    palette.save(tmp_path / "p.png", transparency=3)
    np.testing.assert_array_equal(read_photo(tmp_path / "p.png").alpha == 0, np.asarray(palette) == 3)
    grey = Image.fromarray(levels(9, 9) // 64)
    grey.save(tmp_path / "l.png", transparency=2)
    np.testing.assert_array_equal(read_photo(tmp_path / "l.png").alpha == 0, np.asarray(grey) == 2)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits"])
@pytest.mark.parametrize("layout", ["contig", "separate", "tiled", "big-endian", "miniswhite"])
def test_kinds_of_tiff(tmp_path, compression, layout):
    pixels = levels(20, 33, 3, depth=16)
    options = {"photometric": "rgb", "compression": compression}
    if layout == "separate":
        tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(pixels, -1, 0), planarconfig="separate", **options)
    elif layout == "miniswhite":
        pixels = pixels[:, :, :1]
        tifffile.imwrite(tmp_path / "a.tif", 65535 - pixels[:, :, 0], photometric="miniswhite", compression=compression)
    else:
        tile = {"tile": (16, 16)} if layout == "tiled" else {}
        tifffile.imwrite(
            tmp_path / "a.tif", pixels, byteorder=">" if layout == "big-endian" else "<", **tile, **options
        )
    np.testing.assert_array_equal(as_levels(read_photo(tmp_path / "a.tif")), pixels)


def test_bilevel_tiff_and_a_thumbnail_beside_the_picture(tmp_path):
    bilevel = Image.fromarray(levels(9, 17)).convert("1")
    bilevel.save(tmp_path / "b.tif")
    np.testing.assert_array_equal(as_levels(read_photo(tmp_path / "b.tif"))[:, :, 0], np.asarray(bilevel) * 255)
    pixels = smooth()
    with tifffile.TiffWriter(tmp_path / "t.tif") as file:
        file.write(pixels, photometric="rgb")
        file.write(pixels[::4, ::4], photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(as_levels(read_photo(tmp_path / "t.tif")), pixels)
