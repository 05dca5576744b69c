"""Image files for the tests of photographs, made without the code under test."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import IFDRational

from ntk_nonlocal.images import Photo

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def levels(*shape: int, depth: int = 8, seed: int = 0) -> np.ndarray:
    dtype = np.uint8 if depth == 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 2**depth, shape, dtype=dtype)


def smooth(height: int = 24, width: int = 32) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 8, columns * 6, (rows + columns) * 3], axis=2).astype(np.uint8)


def store(path: Path, pixels: np.ndarray) -> Path:
    """A file of these pixels (H, W, 1 to 4), made without the code under test."""
    if path.suffix == ".png":
        path.write_bytes(imagecodecs.png_encode(pixels))
    else:
        extra = ["unassalpha"] if pixels.shape[2] in (2, 4) else None
        kind = "rgb" if pixels.shape[2] > 2 else "minisblack"
        plain = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
        layout = "contig" if pixels.shape[2] > 1 else None
        tifffile.imwrite(path, plain, photometric=kind, planarconfig=layout, extrasamples=extra)
    return path


def as_levels(photo: Photo) -> np.ndarray:
    full = 2**photo.bit_depth - 1
    return np.rint(photo.image.astype(np.float64) * full).astype(int)


def camera_exif(orientation: int | None = None) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[0x8298] = "Camera Works", "somebody"
    exif.get_ifd(0x8769)[0x9003] = "2021:06:19 12:00:00"
    exif.get_ifd(0x8769)[0x829A] = IFDRational(1, 125)
    exif.get_ifd(0x8769)[0x927C] = b"maker\0note"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (IFDRational(51), IFDRational(30), IFDRational(0))
    if orientation is not None:
        exif[0x0112] = orientation
    return exif
