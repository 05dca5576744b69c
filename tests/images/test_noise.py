from __future__ import annotations

import importlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ntk_nonlocal.images import add_noise, as_image, crop, estimate_sigma, example_image


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    return example_image(512)


@pytest.mark.parametrize("level", [5, 15, 50])
def test_noise_of_known_strength(clean, level):
    assert estimate_sigma(add_noise(clean, level / 255)) * 255 == pytest.approx(level, abs=0.5)


@pytest.mark.parametrize("level", [5, 50])
def test_one_channel(clean, level):
    for grey in (clean[:, :, 0], clean[:, :, :1]):
        assert estimate_sigma(add_noise(grey, level / 255)) * 255 == pytest.approx(level, abs=0.8)


def test_a_clean_image_reads_low(clean):
    assert estimate_sigma(clean) * 255 < 1.5


@pytest.mark.parametrize("value", [5.0, -50.0, 1e3, 1e20, 3.4e38])
def test_a_hot_pixel_is_no_noise(clean, value):
    noisy = add_noise(clean[:160, :160], 5 / 255)
    noisy[50, 50] = value
    assert estimate_sigma(noisy) * 255 == pytest.approx(5, abs=0.5)
    assert estimate_sigma(noisy[:, :, 0]) * 255 == pytest.approx(5, abs=0.8)


def test_noise_as_strong_as_the_image(clean):
    assert estimate_sigma(add_noise(clean, 1.0)) == pytest.approx(1, rel=0.03)


def test_pure_noise_of_any_scale():
    for sigma in (1e-6, 1e-3, 0.3):
        noisy = 0.5 + np.random.default_rng(1).normal(size=(96, 80, 3)) * sigma
        assert estimate_sigma(noisy) == pytest.approx(sigma, rel=0.03)


def test_saturated_parts_do_not_count(clean):
    noisy = add_noise(clean, 15 / 255)
    noisy[100:400, 100:300] = 3
    noisy = np.clip(noisy, 0, 1)
    assert estimate_sigma(noisy) * 255 == pytest.approx(15, abs=0.8)
    assert estimate_sigma(np.rint(noisy * 255).astype(np.uint8)) * 255 == pytest.approx(15, abs=0.8)


def test_clipping_at_strong_noise_costs_little(clean):
    noisy = np.clip(add_noise(clean, 50 / 255), 0, 1)
    assert estimate_sigma(noisy) * 255 == pytest.approx(50, abs=3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (8, 8), (64, 64, 3)])
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_constant_image_has_no_noise(shape, value):
    assert estimate_sigma(np.full(shape, value)) == 0


def test_a_grey_picture_stored_as_rgb_and_a_single_colour(clean):
    grey = add_noise(clean[:256, :256, 0], 20 / 255)
    expected = estimate_sigma(grey)
    assert expected * 255 == pytest.approx(20, abs=1)
    assert estimate_sigma(np.repeat(grey, 3, axis=2)) == expected
    assert estimate_sigma(np.concatenate([np.zeros_like(grey), grey, np.ones_like(grey)], axis=2)) == expected


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3), (2, 2, 3), (1, 50, 3), (200, 1), (1, 2), (12, 300)])
def test_tiny_images_give_a_rough_figure(shape):
    estimates = [estimate_sigma(0.5 + np.random.default_rng(i).normal(size=shape) * 0.1) for i in range(20)]
    assert np.isfinite(estimates).all() and min(estimates) >= 0
    if np.prod(shape) >= 64:
        assert 0.05 < np.median(estimates) < 0.15


def test_it_grows_with_the_image_and_not_with_its_brightness(clean):
    noisy = add_noise(crop(clean, 128), 20 / 255)
    assert estimate_sigma(0.5 * noisy) == pytest.approx(0.5 * estimate_sigma(noisy), rel=1e-6)
    assert estimate_sigma(noisy + 0.25) == pytest.approx(estimate_sigma(noisy), rel=1e-6)


def test_many_channels():
    noisy = 0.5 + np.random.default_rng(0).normal(size=(48, 48, 40)) * 0.1
    assert estimate_sigma(noisy) == pytest.approx(0.1, rel=0.1)


def test_same_input_same_bits_and_the_input_stays(clean):
    noisy = add_noise(crop(clean, 100), 0.1)
    before = noisy.copy()
    assert estimate_sigma(noisy) == estimate_sigma(noisy)
    np.testing.assert_array_equal(noisy, before)


def behind_jpeg(clean: np.ndarray, level: float, quality: int, **options) -> np.ndarray:
    noisy = add_noise(clean, level / 255) if level else clean
    file = io.BytesIO()
    Image.fromarray(np.rint(np.clip(noisy, 0, 1) * 255).astype(np.uint8)).save(file, "JPEG", quality=quality, **options)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("quality, colour", [(85, "4:2:0"), (95, "4:2:0"), (90, "4:4:4"), (95, "4:2:2")])
@pytest.mark.parametrize("level", [10, 25])
def test_noise_behind_jpeg(clean, level, quality, colour):
    compressed = behind_jpeg(clean, level, quality, subsampling=colour)
    assert estimate_sigma(compressed) * 255 == pytest.approx(level, abs=2.5)


@pytest.mark.parametrize("quality", [75, 90, 95])
def test_a_clean_jpeg_reads_low(clean, quality):
    assert estimate_sigma(behind_jpeg(clean, 0, quality)) * 255 < 1.5


def test_a_small_clean_jpeg_reads_low(clean):
    for top in range(0, 480, 96):
        for left in range(0, 480, 96):
            small = behind_jpeg(clean[top : top + 24, left : left + 24], 0, 90)
            assert estimate_sigma(small) * 255 < 4


def test_strong_jpeg_hides_weak_noise_as_documented(clean):
    assert estimate_sigma(behind_jpeg(clean, 10, 60)) * 255 < 5


def test_large_images_are_judged_by_as_many_patches_as_small_ones(clean, monkeypatch):
    noise = importlib.import_module("ntk_nonlocal.images.noise")
    counted: list[int] = []
    variance = noise._noise_variance

    def counting(learnt_on, patches, channels):
        counted.append(len(patches))
        return variance(learnt_on, patches, channels)

    monkeypatch.setattr(noise, "_noise_variance", counting)
    noisy = np.tile(add_noise(clean, 0.1), (4, 4, 1))
    small = estimate_sigma(noisy[:512, :512])
    of_small, counted[:] = sum(counted), []
    assert estimate_sigma(noisy) == pytest.approx(small, rel=0.03)
    assert 0 < sum(counted) <= 1.2 * of_small


@pytest.mark.parametrize(
    "name, worst", [("House256", 0.6), ("F16", 0.6), ("Lena", 0.6), ("kodim12", 0.6), ("Baboon", 1.2)]
)
def test_photographs(set9: Path, name, worst):
    (file,) = set9.glob(f"*{name}*.png")
    photograph = as_image(np.asarray(Image.open(file).convert("RGB")))
    for level in (5, 10, 15, 25, 50):
        assert estimate_sigma(add_noise(photograph, level / 255)) * 255 == pytest.approx(level, abs=worst)
