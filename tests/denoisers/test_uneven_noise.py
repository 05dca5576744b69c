"""Noise as pictures have it: shared between channels, uneven over them and over pixels, and pixels without a value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ntk_nonlocal.denoisers import denoise
from ntk_nonlocal.denoisers.classical import CLASSICAL
from ntk_nonlocal.denoisers.colours import colours_of
from ntk_nonlocal.denoisers.levels import estimated_levels, filled
from ntk_nonlocal.images import add_noise, crop, estimate_sigma, example_image, psnr
from ntk_nonlocal.kernels import patch_affinity

Image = np.ndarray[Any, Any]
SIGMA = 25 / 255
SIDE = 48


@pytest.fixture(scope="module")
def clean() -> Image:
    return crop(example_image(256), SIDE, center=(64, 112))


@pytest.fixture(scope="module")
def noise() -> Image:
    return np.random.default_rng(0).normal(size=(SIDE, SIDE, 3))


@pytest.fixture(scope="module")
def grey_gain(clean: Image, noise: Image) -> float:
    """What denoising the picture as grey gains, in dB."""
    grey = clean.mean(axis=2, keepdims=True)
    noisy = grey + SIGMA * noise[:, :, :1]
    return psnr(denoise(noisy, SIGMA, fast=True).image, grey) - psnr(noisy, grey)


def rounded(image: Image, levels: int) -> Image:
    return np.rint(image * levels) / levels


TINTS = {
    "copies": ([1, 1, 1], [0, 0, 0]),
    "tinted": ([1, 0.8, 0.5], [0, 0, 0]),
    "faded": ([0.9, 0.9, 0.7], [0, 0.05, 0.2]),
    "one constant channel": ([1, 1, 0], [0, 0, 0.5]),
    "in one channel alone": ([0, 1, 0], [0.2, 0, 0.4]),
}


@pytest.mark.parametrize("sigma", [None, SIGMA])
@pytest.mark.parametrize("levels", [None, 255, 65535])
@pytest.mark.parametrize("tint", TINTS)
def test_grey_stored_as_rgb_gains_what_grey_gains(
    tint: str, levels: int | None, sigma: float | None, clean: Image, noise: Image, grey_gain: float
) -> None:
    factor, offset = np.array(TINTS[tint])
    wanted = clean.mean(axis=2, keepdims=True) * factor + offset
    noisy = wanted + SIGMA * noise[:, :, :1] * factor
    noisy = noisy if levels is None else rounded(noisy, levels)
    result = denoise(noisy, sigma, fast=True)
    assert np.mean((noisy - wanted) ** 2) > 10 ** (0.1 * (grey_gain - 0.4)) * np.mean((result.image - wanted) ** 2)
    if levels is None:
        for channel in range(3):
            for other in range(channel):
                if np.array_equal(noisy[:, :, channel], noisy[:, :, other]):
                    assert np.array_equal(result.image[:, :, channel], result.image[:, :, other])
    for channel in np.flatnonzero(np.ptp(noisy, axis=(0, 1)) == 0):
        np.testing.assert_allclose(result.image[:, :, channel], noisy[:, :, channel], atol=1e-6)


@pytest.mark.parametrize("mixture", [[[1, 0, 0.5], [0, 1, 0.5]], [[0.8, 0.5, 0.2], [0.2, 0.5, 0.8]]])
@pytest.mark.parametrize("levels", [None, 255])
def test_mixtures_of_two_sources(mixture: list[list[float]], levels: int | None, clean: Image, noise: Image) -> None:
    sources, mix = clean[:, :, [0, 2]], np.array(mixture)
    alone = denoise(sources + SIGMA * noise[:, :, :2], SIGMA, fast=True).image
    noisy = (sources + SIGMA * noise[:, :, :2]) @ mix
    found = denoise(noisy if levels is None else rounded(noisy, levels), fast=True).image
    assert np.mean((found - sources @ mix) ** 2) < 1.1 * np.mean(((alone - sources) @ mix) ** 2)


def test_grain_that_colours_share(clean: Image, noise: Image) -> None:
    noisy = clean + SIGMA * noise[:, :, :1]
    result = denoise(noisy, SIGMA, fast=True)
    assert "1 of 3 colour directions" in result.settings["colours"]
    assert psnr(result.image, clean) > psnr(noisy, clean) + 5
    opponent = [1, -2, 1]
    np.testing.assert_allclose(result.image @ opponent, noisy @ opponent, atol=5e-3)


def test_ordinary_pictures_are_not_touched(clean: Image, noise: Image) -> None:
    """White noise of any strength, given up to three times too high, and none at all: opponent colours as ever."""
    for strength in (0, 2 / 255, SIGMA):
        for claimed in (max(strength, 1 / 255), 3 * strength or SIGMA):
            assert colours_of(clean + strength * noise, np.full(3, claimed), False).plain


def test_planes_go_there_and_back_whatever_the_levels(clean: Image, noise: Image) -> None:
    levels = np.array([10, 20, 40]) / 255
    noisy = clean + levels * noise
    colours = colours_of(noisy, levels, True)
    np.testing.assert_allclose(colours.image(colours.planes(noisy), noisy), noisy, atol=1e-6)
    covariance = colours.forward @ np.diag(levels**2) @ colours.forward.T
    np.testing.assert_allclose(covariance, colours.sigma**2 * np.eye(3), atol=1e-12)
    brightness = colours.forward @ np.ones(3)
    assert abs(brightness[0]) > 100 * np.abs(brightness[1:]).max()


@pytest.mark.parametrize("given", [True, False])
def test_one_noisy_channel(given: bool, clean: Image, noise: Image) -> None:
    levels = np.array([10, 10, 40]) / 255
    noisy = clean + levels * noise
    result = denoise(noisy, levels if given else None, fast=True)
    np.testing.assert_allclose(result.sigma, levels, rtol=1e-6 if given else 0.25)
    alone = denoise(noisy[:, :, 2], levels[2], fast=True).image
    blue = clean[:, :, 2]
    assert psnr(result.image[:, :, 2], blue) > psnr(alone, blue) + 1
    together = denoise(noisy, float(np.sqrt(np.mean(levels**2))), fast=True).image
    assert psnr(result.image[:, :, 2], blue) > psnr(together[:, :, 2], blue) + 3
    assert "10.0, 10.0, 40.0" in repr(result) or not given


@pytest.mark.parametrize("method", [name for name in CLASSICAL if name != "bm3d"])
def test_other_methods_know_levels_by_channel_and_refuse_maps(method: Any, clean: Image, noise: Image) -> None:
    levels = np.array([10, 10, 40]) / 255
    noisy = clean + levels * noise
    found, blue = denoise(noisy, levels, method).image, clean[:, :, 2]
    assert psnr(found[:, :, 2], blue) > psnr(noisy[:, :, 2], blue) + 4
    with pytest.raises(ValueError, match="noise maps are for method 'ntk'; give one sigma"):
        denoise(noisy, np.full((SIDE, SIDE), 0.1), method)
    with pytest.raises(
        ValueError, match=r"pixels without a value .* are for method 'ntk'; take it, or fill them first"
    ):
        denoise(noisy, 0.1, method, mask=np.arange(SIDE * SIDE).reshape(SIDE, SIDE) > 3)


@pytest.mark.parametrize("kind", ["ramp", "at random", "of each channel"])
def test_maps_of_noise(kind: str, clean: Image, noise: Image) -> None:
    rng = np.random.default_rng(1)
    maps = {
        "ramp": np.broadcast_to(np.linspace(5, 50, SIDE), (SIDE, SIDE)) / 255,
        "at random": rng.choice([5, 60], (SIDE, SIDE)) / 255,
        "of each channel": rng.uniform(5, 45, (SIDE, SIDE, 3)) / 255,
    }
    level = maps[kind]
    noisy = clean + noise * (level if level.ndim == 3 else level[:, :, None])
    result = denoise(noisy, level, fast=True)
    even = denoise(noisy, float(np.sqrt(np.mean(level**2))), fast=True)
    assert psnr(result.image, clean) > psnr(even.image, clean) + (0 if kind == "of each channel" else 2)
    assert result.risk == pytest.approx(np.mean((result.image - clean) ** 2), rel=0.4)
    assert np.array_equal(result.sigma, level)


def test_an_even_map_is_the_number(clean: Image, noise: Image) -> None:
    noisy = clean + SIGMA * noise
    number = denoise(noisy, SIGMA, fast=True).image
    for level in (np.full((SIDE, SIDE), SIGMA), np.full((SIDE, SIDE, 3), SIGMA), np.full(3, SIGMA)):
        np.testing.assert_allclose(denoise(noisy, level, fast=True).image, number, atol=2e-3)


def test_the_uneven_kernel_is_the_even_one_for_even_noise() -> None:
    planes = np.random.default_rng(0).normal(size=(2, 11, 13)).astype(np.float32)
    even = patch_affinity(planes * 0.1, 3, 0.06, 5, 2 * 0.1**2)
    uneven = patch_affinity(planes, 3, 0.6, 5, 2.0, precision=np.ones((1, 11, 13), np.float32))
    np.testing.assert_allclose(uneven.as_matrix(), even.as_matrix(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("gap", ["scattered", "block", "by channel"])
@pytest.mark.parametrize("rubbish", [np.nan, 1e9, -9999.0])
def test_what_is_not_there_does_not_count(gap: str, rubbish: float, clean: Image, noise: Image) -> None:
    rng = np.random.default_rng(2)
    mask = rng.random((SIDE, SIDE)) > 0.15
    if gap == "block":
        mask = np.ones((SIDE, SIDE), bool)
        mask[20:26, 10:17] = False
    if gap == "by channel":
        mask = rng.random((SIDE, SIDE, 3)) > 0.15
    there = np.broadcast_to(mask if mask.ndim == 3 else mask[:, :, None], clean.shape)
    noisy = np.where(there, clean + SIGMA * noise, rubbish)
    other = np.where(there, noisy, 0.3)
    kept, full = denoise(noisy, SIGMA, mask=mask, fast=True), denoise(noisy, SIGMA, mask=mask, fill=True, fast=True)
    assert np.array_equal(full.image, denoise(other, SIGMA, mask=mask, fill=True, fast=True).image)
    assert np.array_equal(kept.image[~there], noisy[~there], equal_nan=True)
    assert np.array_equal(kept.image[there], full.image[there]) and np.isfinite(full.image).all()
    whole = denoise(clean + SIGMA * noise, SIGMA, fast=True).image
    error = np.mean((kept.image[there] - clean[there]) ** 2)
    # channels with gaps of their own are compared without opponent colours
    assert error < (1.7 if gap == "by channel" else 1.25) * np.mean((whole[there] - clean[there]) ** 2)
    assert np.mean((full.image[~there] - clean[~there]) ** 2) < (12 if gap == "block" else 5) * error
    assert estimate_sigma(noisy, mask=mask) == pytest.approx(SIGMA, rel=0.2)


def test_whole_numbers_with_a_mask(clean: Image) -> None:
    pixels = np.rint(255 * np.clip(add_noise(clean, SIGMA), 0, 1)).astype(np.uint8)
    mask = np.ones((SIDE, SIDE), bool)
    mask[3, 4] = False
    result = denoise(pixels, SIGMA, mask=mask, fast=True)
    np.testing.assert_allclose(result.image[3, 4], pixels[3, 4] / 255)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"sigma": np.full((5, 5), 0.1)}, ValueError, r"of shape \(3,\) by channel, \(48, 48\) by pixel"),
        ({"sigma": [0.1, np.nan, 0.1]}, ValueError, "leave pixels without a level out by mask="),
        ({"sigma": [0.1, -0.1, 0.1]}, ValueError, "finite numbers from 0"),
        ({"mask": np.ones((5, 5), bool)}, ValueError, r"has shape \(48, 48\)"),
        ({"mask": np.zeros((48, 48), bool)}, ValueError, "leaves no pixel"),
        ({"mask": np.full((48, 48), 0.5)}, TypeError, "take mask != 0"),
        ({"noise": "poisson"}, ValueError, "poisson-gaussian"),
        ({"noise": 3}, TypeError, "PoissonGaussian"),
        ({"noise": "poisson-gaussian", "sigma": 0.1}, ValueError, "leave it out"),
        ({"axes": "YX"}, ValueError, "names 2 axes"),
        ({"axes": "XYC"}, ValueError, "'TYXC'"),
        ({"out": np.empty((3, 3))}, ValueError, "out= is for stacks"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], error: type[Exception], words: str, clean: Image) -> None:
    with pytest.raises(error, match=words):
        denoise(clean, **arguments)


def test_nan_without_a_mask_is_refused(clean: Image) -> None:
    broken = clean.copy()
    broken[0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        denoise(broken, 0.1)
    with pytest.raises(ValueError, match="not finite"):
        denoise(broken, 0.1, mask=np.ones((SIDE, SIDE), bool))


def test_gaps_are_filled_smoothly() -> None:
    rows, columns = np.mgrid[:40, :37].astype(float)
    plane = (rows + 2 * columns)[None]
    mask = np.random.default_rng(0).random((1, 40, 37)) > 0.6
    found = filled(np.where(mask, plane, np.nan), mask)
    assert np.array_equal(found[mask], plane[mask]) and np.abs(found - plane).max() < 8
    assert np.array_equal(filled(np.full((1, 9, 9), 3.0), np.eye(9, dtype=bool)[None]), np.full((1, 9, 9), 3.0))


def test_channels_are_told_apart_only_where_they_differ(clean: Image, noise: Image) -> None:
    assert np.ndim(estimated_levels(clean + SIGMA * noise, None)[0]) == 0
    assert np.shape(estimated_levels(clean + np.array([10, 10, 40]) / 255 * noise, None)[0]) == (3,)


@pytest.mark.parametrize("axes", ["TYX", "TYXC"])
def test_stacks_are_denoised_slice_by_slice(axes: Any, clean: Image, noise: Image) -> None:
    images = clean[:, :, :1] if axes == "TYX" else clean
    stack = np.stack([images + strength * noise[:, :, : images.shape[2]] for strength in (SIGMA, SIGMA / 2)])
    given = stack[:, :, :, 0] if axes == "TYX" else stack
    shares: list[float] = []
    result = denoise(given, axes=axes, fast=True, progress=shares.append)
    assert result.image.shape == stack.shape and np.shape(result.sigma)[0] == 2
    assert shares == sorted(shares) and shares[-1] == 1
    for number in range(2):
        alone = denoise(given[number], axes=axes[1:], fast=True)
        assert np.array_equal(result.image[number], alone.image)
    own = given.astype(np.float32)
    inside = denoise(own, SIGMA, "tv", axes=axes, out=own)
    assert np.shares_memory(inside.image, own) and inside.sigma == SIGMA
    assert "2 slices" in repr(result) and result.plot() is not None


def test_a_bad_slice_is_named(clean: Image) -> None:
    stack = np.stack([clean, clean])
    stack[1, 0, 0] = np.inf
    with pytest.raises(ValueError, match=r"slice 1: .*not finite"):
        denoise(stack, 0.1, "tv", axes="TYXC")


def test_many_channels_where_they_are_said() -> None:
    noisy = add_noise(np.broadcast_to(np.linspace(0.2, 0.8, 19)[:, None], (8, 19, 5)), 0.1)
    assert denoise(noisy, 0.1, "tv", axes="YXC").image.shape == (8, 19, 5)
