"""Noise that is coarser than pixels: its spectrum, where it is found, where it is only told, and what it is worth."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from scipy.ndimage import convolve, gaussian_filter
from skimage.transform import resize

from ntk_nonlocal.denoisers import denoise
from ntk_nonlocal.denoisers.ntk import FAST, closed_form
from ntk_nonlocal.denoisers.spectrum import _grid_of_compression, coarse_noise, coloured
from ntk_nonlocal.images import add_noise, crop, example_image, psnr

Image = np.ndarray[Any, Any]
SIGMA = 25 / 255


def part(side: int) -> Image:
    return np.asarray(crop(example_image(256), side, center=(64, 112)), np.float64)


def enlarged(image: Image) -> Image:
    return np.asarray(resize(image, (128, 128, image.shape[2]), order=1))


def demosaiced(image: Image) -> Image:
    """Bilinear, from a Bayer pattern."""
    rows, columns = np.indices(image.shape[:2]) % 2
    seen = np.stack([(rows == 0) & (columns == 0), rows != columns, (rows == 1) & (columns == 1)], axis=2)
    tent = np.outer([1, 2, 1], [1, 2, 1])[:, :, None] / 4
    return np.asarray(convolve(image * seen, tent) / convolve(seen.astype(float), tent))


def compressed(image: Image, quality: int = 50) -> Image:
    buffer = io.BytesIO()
    Pillow.fromarray(np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Pillow.open(buffer)) / 255


def smooth_noise(shape: tuple[int, ...], width: float, seed: int = 0) -> Image:
    """Of standard deviation 1."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), (width, width, 0), mode="wrap")
    return np.asarray(field / field.std())


# how it comes about, the size of the part, and the least gain in dB over what is taken for white
KINDS: dict[str, tuple[Callable[[Image], Image], int, float]] = {
    "enlarged": (enlarged, 85, 5),
    "demosaiced": (demosaiced, 128, 3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_noise_coarser_than_pixels_is_found_and_removed(kind: str) -> None:
    change, side, gain = KINDS[kind]
    clean = part(side)
    noisy, wanted = change(add_noise(clean, SIGMA)), change(clean)
    result = denoise(noisy, fast=True)
    error = float(np.sqrt(np.mean((noisy - wanted) ** 2)))
    assert result.sigma == pytest.approx(error, rel=0.15)
    assert "coarser than pixels (neighbours share" in repr(result) and result.expected_psnr is None
    assert psnr(result.image, wanted) > psnr(noisy, wanted) + gain
    white = denoise(noisy, error, fast=True)
    assert psnr(result.image, wanted) > psnr(white.image, wanted) + 0.5
    assert "coarser" not in repr(white)


def test_noise_behind_strong_jpeg_compression() -> None:
    clean = 0.2 + 0.6 * part(128)
    noisy = compressed(add_noise(clean, SIGMA))
    result = denoise(noisy, fast=True)
    assert result.settings["correlation"] > 0.2
    assert psnr(result.image, clean) > psnr(noisy, clean) + 1.5


@pytest.mark.parametrize("quality", [50, 60, 75])
@pytest.mark.parametrize("cut", [(0, 0), (3, 5)])
def test_on_the_grid_of_jpeg_the_noise_before_it_is_found(quality: int, cut: tuple[int, int]) -> None:
    dirty = compressed(add_noise(example_image(512), 10 / 255), quality)
    seen = dirty[cut[0] :, cut[1] :]
    assert _grid_of_compression(seen.mean(axis=2)) == tuple(-part % 8 for part in cut)
    found = coarse_noise(seen)
    assert found is not None and found.sure
    assert found.level * 255 == pytest.approx(10, rel=0.2)


def test_what_was_never_compressed_has_no_grid() -> None:
    for image in (example_image(256), add_noise(example_image(256), SIGMA), np.zeros((64, 64, 1))):
        assert _grid_of_compression(image.mean(axis=2)) is None


@pytest.mark.parametrize("repeats", [2, 4, 8, 16])
@pytest.mark.parametrize("level", [0, 15])
def test_repeated_pixels_are_no_grid_of_jpeg(repeats: int, level: int) -> None:
    small = example_image(256)[::repeats, ::repeats]
    image = np.kron(add_noise(small, level / 255) if level else small, np.ones((repeats, repeats, 1)))
    assert _grid_of_compression(image.mean(axis=2)) is None


def test_noise_behind_jpeg_compression_is_removed_and_a_clean_picture_left() -> None:
    clean = example_image(256)
    noisy = compressed(add_noise(clean, 15 / 255), 60)
    result = denoise(noisy, fast=True)
    assert "of noise before JPEG compression" in repr(result) and result.expected_psnr is None
    assert psnr(result.image, clean) > psnr(noisy, clean) + 1.5
    found = coarse_noise(compressed(clean, 60))
    assert found is None or not found.sure


def test_the_spectrum_is_that_of_the_noise() -> None:
    noise = 0.1 * smooth_noise((128, 128, 3), 0.8) * [1.0, 0.5, 0.8]
    shading = np.linspace(0, 1, 128)[:, None, None]
    found = coarse_noise(noise + shading)
    assert found is not None and found.sure
    assert found.level == pytest.approx(np.sqrt(np.mean(noise**2)), rel=0.1)
    neighbours = np.mean(noise[1:] * noise[:-1]) / np.mean(noise**2)
    assert found.correlation == pytest.approx(neighbours, abs=0.08)
    white = np.random.default_rng(0).normal(size=(3, 128, 128)).astype(np.float32)
    again = np.moveaxis(coloured(white, found.spectra), 0, 2)
    assert again.std() == pytest.approx(1, rel=0.03)
    assert np.mean(again[1:] * again[:-1]) == pytest.approx(neighbours, abs=0.08)


def test_white_spectra_change_nothing() -> None:
    white = np.random.default_rng(0).normal(size=(2, 21, 34)).astype(np.float32)
    np.testing.assert_allclose(coloured(white, np.ones((2, 8, 8))), white, atol=1e-5)


def test_the_risk_knows_the_spectrum() -> None:
    """Stein's risk is the error if the probes have the noise's spectrum, and far too low if they are white."""
    clean = np.moveaxis(part(128), 2, 0)
    noise = SIGMA * np.moveaxis(smooth_noise((128, 128, 3), 0.7), 2, 0)
    known = coarse_noise(np.moveaxis(noise, 0, 2) + np.linspace(0, 1, 128)[:, None, None])
    assert known is not None
    noisy = (clean + noise).astype(np.float32)
    told, untold = (closed_form(noisy, SIGMA, FAST, spectra=given) for given in (known.spectra, None))
    errors = [float(np.mean((found.estimates[found.best] - clean) ** 2)) for found in (told, untold)]
    assert told.risks[told.best] == pytest.approx(errors[0], rel=0.25)
    assert untold.risks[untold.best] < 0.5 * errors[1]
    assert errors[0] < 0.8 * errors[1]


@pytest.mark.parametrize("level", [0, 2, 10, 25, 60])
@pytest.mark.parametrize("grey", [False, True])
def test_white_noise_and_clean_pictures_are_not_taken_for_it(level: int, grey: bool) -> None:
    for side in (128, 160):
        clean = part(side)[:, :, : 1 if grey else 3]
        noisy = add_noise(clean, level / 255) if level else clean
        assert coarse_noise(noisy) is None


def test_texture_is_not_taken_for_it() -> None:
    """The same spectrum, of a strength that differs from place to place; and clean pictures that were enlarged."""
    strength, shading = np.geomspace(0.01, 0.1, 128)[:, None, None], np.linspace(0, 1, 128)[None, :, None]
    assert coarse_noise(shading + strength * smooth_noise((128, 128, 1), 0.8)) is None
    assert coarse_noise(enlarged(part(85))) is None
    assert coarse_noise(compressed(part(128))) is None


@pytest.mark.parametrize("image", [np.zeros((7, 9999, 1)), np.zeros((150, 150, 3)), np.full((150, 150, 1), np.nan)])
def test_nothing_is_found_where_there_is_nothing(image: Image) -> None:
    assert coarse_noise(image) is None


def test_grey_stored_as_rgb_gains_what_grey_gains() -> None:
    clean = enlarged(part(85)[:, :, :1])
    noisy = enlarged(add_noise(part(85)[:, :, :1], SIGMA))
    grey, copies = denoise(noisy, fast=True), denoise(noisy.repeat(3, axis=2), fast=True)
    assert grey.sigma == pytest.approx(copies.sigma, rel=1e-6)
    assert psnr(grey.image, clean) > psnr(noisy, clean) + 3
    assert psnr(copies.image, clean.repeat(3, axis=2)) == pytest.approx(psnr(grey.image, clean), abs=0.05)


def test_what_a_mask_leaves_out_does_not_count() -> None:
    clean, noisy = enlarged(part(85)), enlarged(add_noise(part(85), SIGMA))
    mask = np.ones((128, 128), bool)
    mask[30:45, 50:70] = False
    noisy[~mask] = np.nan
    result = denoise(noisy, mask=mask, fast=True)
    assert "correlation" in result.settings
    assert np.mean((result.image - clean)[mask] ** 2) < 0.3 * np.mean((noisy - clean)[mask] ** 2)


def test_where_it_is_not_sure_a_level_is_told_that_removes_it() -> None:
    clean = part(160)
    noisy = compressed(add_noise(clean, SIGMA))
    blind = denoise(noisy, fast=True)
    level = blind.settings["coarse_sigma"]
    assert f"where you see coarser noise, give sigma, such as {255 * level:.0f}/255" in repr(blind)
    told = denoise(noisy, level, fast=True)
    assert psnr(told.image, clean) > psnr(blind.image, clean) + 0.5
    stack = denoise(np.stack([clean, noisy]), axes="TYXC", fast=True)
    assert stack.settings["coarse_sigma"] == level
