"""Image files that cannot be read or written: one clear line, and nothing is left behind."""

from __future__ import annotations

import errno
import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_files import PROFILE, as_levels, camera_exif, levels, smooth, store
from PIL import Image

from ntk_nonlocal.images import check_writable, read_photo, write_photo


def animation(path: Path) -> None:
    frames = [Image.fromarray(levels(8, 8, 3, seed=seed)) for seed in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def pages(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        file.write(smooth(), photometric="rgb")
        file.write(smooth() // 2, photometric="rgb")


def odd_pages(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        file.write(smooth(), photometric="rgb")
        file.write(smooth()[:12], photometric="rgb")


def brand(name: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + name + bytes(40)


def deep_jpeg(path: Path) -> None:
    path.write_bytes(imagecodecs.jpeg8_encode(levels(16, 16, depth=16) // 16, bitspersample=12))


def raw(path: Path) -> None:
    tifffile.imwrite(path, levels(8, 8, depth=16), photometric="cfa", extratags=[(50706, 1, 4, b"\1\4\0\0", True)])


def bomb(path: Path) -> None:
    chunks = [b"\x89PNG\r\n\x1a\n"]
    header = struct.pack(">IIBBBBB", 20000, 20000, 16, 2, 0, 0, 0)
    for name, content in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(10**6))), (b"IEND", b"")):
        chunks.append(struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content)))
    path.write_bytes(b"".join(chunks))


def bomb_just_above(path: Path) -> None:
    bomb(path)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 10001, 10000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)


def tiff_bomb(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((4, 4, 3), np.uint16), photometric="rgb")
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["ImageWidth"].overwrite(60000)
        file.pages[0].tags["ImageLength"].overwrite(60000)


def premultiplied(path: Path) -> None:
    tifffile.imwrite(path, levels(6, 6, 4), photometric="rgb", extrasamples=["assocalpha"])


def volume(path: Path) -> None:
    tifffile.imwrite(path, levels(16, 16, 16), photometric="minisblack", volumetric=True, tile=(16, 16, 16))


def few_bits(path: Path, bits: int, channels: int = 1) -> None:
    kind = "rgb" if channels == 3 else "minisblack"
    pixels = levels(8, 8, channels).squeeze() >> (8 - bits)
    tifffile.imwrite(path, pixels, bitspersample=bits, photometric=kind)


def dicom(path: Path) -> None:
    """With a preamble that says TIFF, as tomographs write it."""
    path.write_bytes(b"II*\0" + struct.pack("<I", 1 << 20) + bytes(120) + b"DICM" + bytes(999))


REFUSED = [
    ("gif.png", lambda p: Image.fromarray(smooth()).save(p, "GIF"), "it is a GIF, and only PNG.*; convert"),
    ("bmp.png", lambda p: Image.fromarray(smooth()).save(p, "BMP"), "it is a BMP"),
    ("icon.png", lambda p: Image.fromarray(smooth(32, 32)).save(p, "ICO"), "an icon"),
    ("targa.png", lambda p: Image.fromarray(smooth(32, 32)).save(p, "TGA"), "it is a Targa image"),
    ("cursor.png", lambda p: p.write_bytes(b"\0\0\2\0\1\0" + bytes(99)), "it is a cursor"),
    ("pnm.png", lambda p: Image.fromarray(smooth()).save(p, "PPM"), "portable anymap"),
    ("phone.heic", lambda p: p.write_bytes(brand(b"heic")), "it is a HEIC image"),
    ("new.avif", lambda p: p.write_bytes(brand(b"avif")), "it is an AVIF image"),
    ("film.jpg", lambda p: p.write_bytes(brand(b"isom")), "a film"),
    ("sky.tif", lambda p: p.write_bytes(b"SIMPLE  =                    T"), "it is a FITS file"),
    ("scan.png", lambda p: p.write_bytes(bytes(128) + b"DICM"), "it is a DICOM file"),
    ("tomograph.tif", dicom, "it is a DICOM file"),
    ("six.tif", lambda p: few_bits(p, 6), "6-bit MINISBLACK, which is not supported"),
    ("seven.tif", lambda p: few_bits(p, 7), "7-bit MINISBLACK"),
    ("four.tif", lambda p: few_bits(p, 4, 3), "4-bit RGB"),
    ("wavelets.jpg", lambda p: p.write_bytes(imagecodecs.jpeg2k_encode(levels(16, 16))), "it is a JPEG 2000"),
    ("deep.jpg", deep_jpeg, "12 bits a sample"),
    ("lossless.jpg", lambda p: p.write_bytes(imagecodecs.ljpeg_encode(levels(16, 16))), "lossless JPEG"),
    ("drawing.png", lambda p: p.write_text("<svg></svg>"), "an SVG drawing"),
    ("raw.tif", raw, "a camera's raw file"),
    ("text.jpg", lambda p: p.write_text("hello"), "not a PNG, JPEG, TIFF or WebP image"),
    ("empty.png", lambda p: p.touch(), "it is empty"),
    ("folder.png", lambda p: p.mkdir(), "it is a folder"),
    ("missing.png", lambda p: None, "there is no such file"),
    ("fifo.png", os.mkfifo, "not a regular file"),
    ("loop.png", lambda p: p.symlink_to(p), "check the path"),
    ("magic.png", lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n"), "damaged or incomplete"),
    ("magic.jpg", lambda p: p.write_bytes(b"\xff\xd8\xff\xe0"), "damaged or incomplete"),
    ("magic.tif", lambda p: p.write_bytes(b"II*\0\x08\0\0\0"), "damaged or incomplete"),
    ("magic.webp", lambda p: p.write_bytes(b"RIFF\0\0\0\0WEBP"), "damaged or incomplete"),
    ("cmyk.jpg", lambda p: Image.new("CMYK", (8, 8)).save(p), "CMYK.*convert it to RGB"),
    ("cmyk.tif", lambda p: Image.new("CMYK", (8, 8)).save(p), "CMYK.*convert it to RGB"),
    ("lab.tif", lambda p: Image.new("LAB", (8, 8)).save(p), "LAB, which is not supported"),
    ("complex.tif", lambda p: tifffile.imwrite(p, np.zeros((6, 6), np.complex64)), "64-bit COMPLEXIEEEFP"),
    ("wide.tif", lambda p: tifffile.imwrite(p, np.zeros((6, 6), np.uint64)), "64-bit UINT"),
    ("nothing.tif", lambda p: tifffile.imwrite(p, np.full((6, 6), np.nan, np.float32)), "no value at all"),
    ("moving.png", animation, "animation of 3 frames"),
    ("moving.webp", animation, "animation of 3 frames"),
    ("pages.tif", pages, "several pages, 2 of them"),
    ("odd.tif", odd_pages, "its 2 pages differ"),
    ("premultiplied.tif", premultiplied, "premultiplied alpha"),
    ("volume.tif", volume, "depth"),
    ("bomb.png", bomb, "more than 100 megapixels"),
    ("above.png", bomb_just_above, "more than 100 megapixels"),
    ("bomb.tif", tiff_bomb, "more than 100 megapixels"),
]


@pytest.mark.parametrize("name, make, words", REFUSED, ids=[name for name, _, _ in REFUSED])
def test_what_cannot_be_read_is_one_line_that_names_the_file(tmp_path, name, make, words):
    path = tmp_path / name
    make(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=words) as caught:
            read_photo(path)
    message = str(caught.value)
    assert message.startswith(f"cannot read {path}: ") and "\n" not in message and "; " in message


def test_a_path_with_a_nul_byte():
    with pytest.raises(ValueError, match="cannot read"):
        read_photo("a\0b.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_the_name_does_not_count(tmp_path, suffix):
    Image.fromarray(smooth()).save(tmp_path / f"a{suffix}")
    (tmp_path / f"a{suffix}").rename(tmp_path / "liar.jpeg.png")
    expected = {".png": "PNG", ".jpg": "JPEG", ".tif": "TIFF", ".webp": "WEBP"}[suffix]
    assert read_photo(str(tmp_path / "liar.jpeg.png")).format == expected


FILES = {
    "png8": lambda f: Image.fromarray(levels(40, 50, 3)).save(f, "PNG", exif=camera_exif(6), icc_profile=PROFILE),
    "png16": lambda f: f.write(imagecodecs.png_encode(levels(40, 50, 3, depth=16))),
    "jpeg": lambda f: Image.fromarray(levels(40, 50, 3)).save(f, "JPEG", exif=camera_exif(6), icc_profile=PROFILE),
    "webp": lambda f: Image.fromarray(levels(40, 50, 3)).save(f, "WEBP", exif=camera_exif(6)),
    "tiff8": lambda f: Image.fromarray(levels(40, 50, 3)).save(f, "TIFF", exif=camera_exif(6)),
    "tiff16": lambda f: tifffile.imwrite(f, levels(40, 50, 3, depth=16), photometric="rgb", compression="zlib"),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files(tmp_path, kind, share):
    buffer = io.BytesIO()
    FILES[kind](buffer)
    path = tmp_path / "cut"
    path.write_bytes(buffer.getvalue()[: int(share * len(buffer.getvalue()))])
    with pytest.raises(ValueError, match=r"cannot read .*; "):
        read_photo(path)


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_damaged_bytes_give_a_picture_or_one_clear_line(tmp_path_factory, kind, data):
    buffer = io.BytesIO()
    FILES[kind](buffer)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "a"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            photo = read_photo(path)
        except ValueError as error:
            assert str(error).startswith(f"cannot read {path}: ") and "\n" not in str(error)
            return
        if photo.image.shape[2] in (1, 3):  # a damaged TIFF may have any number of channels
            write_photo(path.with_suffix(".png"), photo.image, like=photo)
        write_photo(path.with_suffix(".tif"), photo.image, like=photo)


@pytest.mark.parametrize(
    "name, words",
    [
        ("a.gif", r"told by the suffix, got '\.gif'; use one of \.png"),
        ("a", "got ''"),
        ("nowhere/a.png", "there is no folder .*nowhere; create it first"),
        ("folder.png", "it is a folder"),
        ("file.png/a.png", "there is no folder"),
    ],
)
def test_where_nothing_can_be_written_is_said_before(tmp_path, name, words):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file.png").touch()
    for action in (check_writable, lambda path: write_photo(path, np.zeros((4, 4)))):
        with pytest.raises(ValueError, match=words):
            action(tmp_path / name)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nobody can create files")
def test_a_folder_that_refuses_files():
    with pytest.raises(ValueError, match="choose a folder that you may write to"):
        check_writable("/proc/a.png")


def test_checking_leaves_nothing_behind(tmp_path):
    (tmp_path / "old.PNG").write_bytes(b"old")
    assert check_writable(str(tmp_path / "old.PNG")) == tmp_path / "old.PNG"
    check_writable(tmp_path / "new.tiff")
    assert os.listdir(tmp_path) == ["old.PNG"]
    assert (tmp_path / "old.PNG").read_bytes() == b"old"


@pytest.mark.parametrize(
    "image, error", [(np.zeros((4, 4, 2)), ValueError), (np.full((4, 4), np.nan), ValueError), ("x", TypeError)]
)
def test_what_is_not_an_image_is_not_written(tmp_path, image, error):
    with pytest.raises(error, match="got"):
        write_photo(tmp_path / "a.png", image)
    assert not os.listdir(tmp_path)


def test_alpha_of_another_size(tmp_path):
    photo = read_photo(store(tmp_path / "in.png", levels(8, 8, 4)))
    with pytest.raises(ValueError, match=r"\(8, 8\), the image \(4, 4\)"):
        write_photo(tmp_path / "out.png", photo.image[:4, :4], like=photo)


def test_an_encoder_that_gives_up_names_the_file(tmp_path):
    with pytest.raises(ValueError, match=r"cannot write .*a\.webp: .*; try another format"):
        write_photo(tmp_path / "a.webp", np.zeros((1, 16384)))
    assert not os.listdir(tmp_path)


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*a\.png") as caught:
        write_photo(path, np.zeros((4, 4)))
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.png"]


def test_estimates_outside_the_range_are_clipped_and_rounded(tmp_path):
    write_photo(tmp_path / "a.png", np.array([[-0.5, 1.5, 0.5 / 255 + 1e-9, 0.5 / 255 - 1e-9]]))
    np.testing.assert_array_equal(as_levels(read_photo(tmp_path / "a.png"))[0, :, 0], [0, 255, 1, 0])


def test_files_are_written_with_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    write_photo(tmp_path / "a.png", np.zeros((4, 4)))
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_link_is_replaced_and_its_target_left_alone(tmp_path):
    (tmp_path / "target.png").write_bytes(b"precious")
    (tmp_path / "link.png").symlink_to(tmp_path / "target.png")
    write_photo(tmp_path / "link.png", np.zeros((4, 4)))
    assert (tmp_path / "target.png").read_bytes() == b"precious"
    assert not (tmp_path / "link.png").is_symlink()


def test_a_photo_describes_itself_in_a_line(tmp_path):
    photo = read_photo(store(tmp_path / "in.png", levels(8, 9, 4, depth=16)))
    assert repr(photo) == f"Photo({str(tmp_path / 'in.png')!r}, 9x8 rgb with alpha, 16 bit, PNG)"
