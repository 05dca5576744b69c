"""Promises of ``denoise``: it removes noise, keeps what it must keep, and says what it did."""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np
import pytest

from ntk_nonlocal.architecture import autoencoder, unet
from ntk_nonlocal.denoisers import METHODS, denoise
from ntk_nonlocal.denoisers.colours import representative
from ntk_nonlocal.denoisers.levels import estimated_levels
from ntk_nonlocal.denoisers.tiles import Tiles
from ntk_nonlocal.images import add_noise, crop, example_image, psnr

SIGMA = 25 / 255


@pytest.fixture(scope="module")
def clean() -> np.ndarray[Any, Any]:
    return crop(example_image(256), 40, center=(64, 112))


@pytest.fixture(scope="module")
def noisy(clean: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return add_noise(clean, SIGMA)


# Those that need neither an extra nor a training.
PLAIN = [name for name in METHODS if name not in ("bm3d", "gd", "adam")]


def test_the_command_line_knows_every_method() -> None:
    from ntk_nonlocal.cli import denoise as command

    assert command._METHODS == METHODS, "extend _METHODS of cli/denoise.py, and the help there"
    description = command.add_parser(argparse.ArgumentParser().add_subparsers()).format_help()
    assert all(f"{name} " in description for name in METHODS)


@pytest.mark.parametrize("method", PLAIN)
def test_it_removes_noise(method: Any, clean: Any, noisy: Any) -> None:
    result = denoise(noisy, SIGMA, method)
    assert psnr(result.image, clean) > psnr(noisy, clean) + 3
    assert result.method == result.settings["method"] == method
    assert result.image.shape == noisy.shape and result.image.dtype == noisy.dtype


@pytest.mark.parametrize("method", PLAIN)
@pytest.mark.parametrize("channels", [(), (1,)])
def test_it_removes_noise_from_grey_images(method: Any, channels: tuple[int, ...], clean: Any, noisy: Any) -> None:
    grey = noisy[:, :, 0].reshape(*clean.shape[:2], *channels)
    result = denoise(grey, SIGMA, method)
    assert result.image.shape == (*clean.shape[:2], 1)
    assert psnr(result.image, clean[:, :, :1]) > psnr(noisy[:, :, :1], clean[:, :, :1]) + 3


def test_the_closed_form_beats_nonlocal_means(clean: Any, noisy: Any) -> None:
    assert psnr(denoise(noisy, SIGMA).image, clean) > psnr(denoise(noisy, SIGMA, "nlm").image, clean) + 0.7


def test_the_risk_is_the_error(clean: Any, noisy: Any) -> None:
    result = denoise(noisy, SIGMA)
    assert result.risk == pytest.approx(np.mean((result.image - clean) ** 2), rel=0.25)


def test_fast_stays_near_the_best(clean: Any, noisy: Any) -> None:
    fast = denoise(noisy, SIGMA, fast=True)
    assert psnr(fast.image, clean) > psnr(denoise(noisy, SIGMA).image, clean) - 1
    assert fast.settings["window"] < denoise(noisy, SIGMA).settings["window"]


def test_the_same_seed_gives_the_same_image(noisy: Any) -> None:
    first, second = denoise(noisy, SIGMA, fast=True), denoise(noisy, SIGMA, fast=True)
    assert np.array_equal(first.image, second.image)


def test_the_noise_level_is_estimated_where_it_is_not_given() -> None:
    clean = crop(example_image(64), 40)
    result = denoise(add_noise(clean, SIGMA), fast=True)
    assert result.sigma == pytest.approx(SIGMA, rel=0.3) and not result.settings["sigma_given"]


@pytest.mark.parametrize("method", PLAIN)
def test_no_noise_gives_the_image_back(method: Any, clean: Any) -> None:
    for sigma in (0, 0.0, np.float32(0)):
        result = denoise(clean, sigma, method)
        assert np.array_equal(result.image, clean) and result.step == 0 and result.sigma == 0


@pytest.mark.parametrize("sigma", [1 / 255, 5 / 255])
@pytest.mark.parametrize("content", ["clean", "noisy", "noise-like"])
def test_a_small_sigma_does_no_harm(sigma: float, content: str, clean: Any) -> None:
    if content == "noise-like":
        clean = np.random.default_rng(5).random((40, 40, 3))
    given = clean if content == "clean" else add_noise(clean, sigma, seed=3)
    found = denoise(given, sigma).image
    if content == "clean":
        assert np.mean((found - clean) ** 2) < sigma**2
    else:
        assert psnr(found, clean) >= psnr(given, clean) - 0.1


@pytest.mark.parametrize("shape", [(8, 8, 1), (12, 12, 3), (8, 19, 4)])
def test_every_size_from_8x8_and_up_to_four_channels(shape: tuple[int, int, int]) -> None:
    clean = np.broadcast_to(np.linspace(0.2, 0.8, shape[1])[:, None], shape)
    noisy = add_noise(clean, 0.1)
    result = denoise(noisy, 0.1)
    assert result.image.shape == shape
    assert np.mean((result.image - clean) ** 2) < 0.6 * np.mean((noisy - clean) ** 2)


def test_grey_without_a_channel_axis_and_whole_numbers() -> None:
    image = np.full((9, 9), 128, np.uint8)
    assert denoise(image, 0.1, "tv").image.shape == (9, 9, 1)


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.full((12, 12, 3), 0.5), id="constant"),
        pytest.param(np.zeros((12, 12, 3)), id="black"),
        pytest.param(np.ones((12, 12, 3)) * [1.0, 0, 0], id="a single colour"),
        pytest.param(np.clip(np.random.default_rng(0).normal(0.9, 0.5, (12, 12, 3)), 0, 1), id="saturated"),
        pytest.param(np.random.default_rng(0).poisson(3.0, (12, 12, 3)) / 8.0, id="Poisson"),
        pytest.param(np.random.default_rng(0).normal(0.5, 1.0, (12, 12, 3)), id="very strong noise"),
    ],
)
@pytest.mark.parametrize("sigma", [None, 0.1, 1.0])
def test_odd_images_give_sensible_ones(image: Any, sigma: float | None) -> None:
    found = denoise(image, sigma, fast=sigma != 1).image
    assert np.isfinite(found).all()
    assert found.min() > image.min() - 0.1 and found.max() < image.max() + 0.1
    assert abs(found.mean() - image.mean()) < 0.05
    if image.std(axis=(0, 1)).max() == 0:
        assert np.allclose(found, image, atol=0.02)


def test_tiles_give_what_the_whole_image_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    clean = example_image(128)[:, :100]
    noisy = add_noise(clean, SIGMA)
    whole = denoise(noisy, SIGMA, fast=True)
    monkeypatch.setattr("ntk_nonlocal.denoisers.denoising._LARGEST_TILE", 100)
    tiled = denoise(noisy, SIGMA, fast=True)
    assert sum(tiled.settings["steps_of_tiles"].values()) == 2
    assert psnr(tiled.image, clean) == pytest.approx(psnr(whole.image, clean), abs=0.2)
    assert np.abs(tiled.image - whole.image).max() < 0.1


def test_progress_ends_at_one(noisy: Any) -> None:
    shares: list[float] = []
    denoise(noisy, SIGMA, fast=True, progress=shares.append)
    assert shares == sorted(shares) and shares[-1] == 1 and len(shares) > 2


def test_the_result_says_which_network_it_is(noisy: Any) -> None:
    result = denoise(noisy, SIGMA, fast=True)
    assert "Rbf" in result.network and "NNGP" in result.network and "ntk" in repr(result)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "magic"}, "'ntk'"),
        ({"sigma": 25}, "25/255"),
        ({"sigma": -0.1}, "above 0"),
        ({"sigma": float("nan")}, "sigma"),
        ({"fast": True, "method": "nlm"}, "leave it out"),
        ({"steps": 10}, "'adam'"),
        ({"seed": -1}, "seed"),
        ({"method": "adam", "steps": 0}, "steps"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str, noisy: Any) -> None:
    with pytest.raises(ValueError, match=message):
        denoise(noisy, **arguments)


def test_too_small_an_image_is_named() -> None:
    with pytest.raises(ValueError, match="8x8"):
        denoise(np.zeros((7, 20)))


def test_a_long_last_axis_is_refused_with_both_readings() -> None:
    both = r"either one image of 32 channels or 10 slices of 24x32 pixels; say which by axes='YXC' or axes='TYX'"
    with pytest.raises(ValueError, match=both):
        denoise(np.zeros((10, 24, 32)), 0.1)
    with pytest.raises(ValueError, match=r"of one image of 3 channels that come first, pass np.moveaxis\(x, 0, -1\)"):
        denoise(np.zeros((3, 24, 32)), 0.1)


@pytest.mark.parametrize("scale", [1e-5, 1.0, 255.0])
def test_a_sigma_out_of_proportion_says_in_which_units_it_is(scale: float, noisy: Any) -> None:
    with pytest.raises(ValueError, match=r"sigma is in the units of the image, whose values reach .*25/255"):
        denoise(scale * noisy, 25 * scale)


def test_a_sigma_too_small_to_be_seen_is_not_passed_over_in_silence(noisy: Any) -> None:
    with pytest.warns(UserWarning, match="sigma 5e-06 is less than a hundred-thousandth .* given back as it is"):
        assert np.array_equal(denoise(noisy, 5e-6, "tv").image, noisy)
    assert not np.allclose(denoise(1e-4 * noisy, 5e-6, "tv").image, 1e-4 * noisy, rtol=0, atol=1e-6)


def test_bm3d_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, noisy: Any) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'ntk-nonlocal\[bm3d\]'"):
        denoise(noisy, SIGMA, "bm3d")


@pytest.mark.parametrize("method", ["gd", "adam"])
def test_trained_networks_pad_and_stop(method: Any) -> None:
    clean = np.broadcast_to(np.linspace(0.1, 0.9, 15)[:, None], (13, 15, 3))
    noisy = add_noise(clean, 0.15)
    result = denoise(noisy, 0.15, method, steps=60, width=8, architecture=autoencoder(levels=1))
    assert result.image.shape == noisy.shape and result.step is not None and 0 < result.step <= 60
    assert np.isfinite(result.image).all()
    assert "Conv" in result.network or "FlaxNetwork" in result.network


def test_nonlocal_means_reproduces_the_quoted_figure(set9: Any) -> None:
    from ntk_nonlocal.images import read_photo

    clean = read_photo(set9 / "image_House256rgb.png").image.astype(np.float64)
    assert psnr(denoise(add_noise(clean, SIGMA), SIGMA, "nlm").image, clean) == pytest.approx(31.27, abs=0.01)


def test_an_image_far_smaller_than_the_architecture_asks_for_is_refused() -> None:
    with pytest.raises(ValueError, match="by 512, too much for an image of 40x12 pixels; take fewer levels"):
        denoise(np.zeros((40, 12, 3)), 0.1, "gd", architecture=unet(levels=9))


def test_networks_with_skip_connections_are_padded_too() -> None:
    """9 x 10 pixels are no multiple of the four that two levels ask for."""
    image = np.random.default_rng(0).uniform(size=(9, 10, 1)).astype(np.float32)
    result = denoise(image, 0.1, "gd", architecture=unet(levels=2), width=4, steps=2)
    assert result.image.shape == (9, 10, 1)


def test_tiles_no_larger_than_their_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="twice the overlap of 48 pixels, got 96"):
        Tiles.of((200, 200), 96, 48)


def test_no_quality_is_promised_where_the_noise_was_clipped(clean: Any) -> None:
    noisy = add_noise(np.maximum(clean - 0.4, 0), 25 / 255)
    whole, cut = (denoise(image, 25 / 255) for image in (noisy, np.clip(noisy, 0, 1)))
    assert whole.risk is not None and whole.expected_psnr == pytest.approx(-10 * np.log10(whole.risk))
    assert cut.expected_psnr is None


def test_no_quality_is_promised_of_poisson_noise(clean: Any) -> None:
    """Its error is known as a rough mean over all brightnesses."""
    photons = np.random.default_rng(0).poisson(20 * clean[:, :, 1]).astype(np.float32)
    found = denoise(photons, noise="poisson-gaussian", fast=True)
    assert found.risk is not None and found.expected_psnr is None


@pytest.mark.parametrize("scale", [1e-100, 1e-40, 1e40, 1e100])
def test_scales_beyond_single_precision(scale: float) -> None:
    noisy = np.add.outer(np.arange(8.0), np.arange(8.0)) / 14 + 0.05 * np.random.default_rng(0).normal(size=(8, 8))
    found = denoise(noisy * scale, 0.05 * scale, fast=True).image / scale
    np.testing.assert_allclose(found, denoise(noisy, 0.05, fast=True).image, rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", PLAIN)
def test_scales_whose_squares_are_no_numbers_are_refused(method: Any) -> None:
    noisy = np.add.outer(np.arange(8.0), np.arange(8.0)) + np.random.default_rng(0).normal(size=(8, 8))
    for scale in (1e160, 1e-160):
        with pytest.raises(ValueError, match=r"the largest value of an image lies in 1e-150\.\.1e\+150, got"):
            denoise(scale * noisy, method=method)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # single precision overflows already
        large = denoise((1e30 * noisy).astype(np.float32), 1e30, method).image
    np.testing.assert_allclose(large / 1e30, denoise(noisy, 1.0, method).image, rtol=1e-3, atol=1e-3)


def test_strong_noise_that_was_cut_off_is_doubted(clean: Any) -> None:
    grey = clean[:, :, 1]
    cut = np.clip(add_noise(grey, 60 / 255)[:, :, 0], 0, 1)
    assert "probably more (clipped in" in repr(denoise(cut, fast=True))
    assert "probably" not in repr(denoise(cut, 60 / 255, fast=True))
    assert "probably" not in repr(denoise(np.clip(add_noise(grey, 10 / 255), 0, 1), fast=True))
    stars = np.zeros((40, 40))
    stars[::7, ::5] = 1
    assert "probably more" in repr(denoise(np.clip(stars + add_noise(0 * stars, 15 / 255)[:, :, 0], 0, 1), fast=True))


@pytest.mark.parametrize("rows", [9, 16])
def test_a_flat_border_tells_nothing_of_the_noise(clean: Any, rows: int) -> None:
    y = add_noise(np.pad(clean[:, :, 1:2], ((24, 0), (24, 0), (0, 0)), mode="symmetric"), 20 / 255)
    alone = denoise(y, fast=True).level
    y[:rows] = 0.4
    assert denoise(y, fast=True).level == pytest.approx(alone, rel=0.1)
    photons = 40 * np.random.default_rng(0).poisson(np.clip(25 * y, 0, None)).astype(np.float32)
    gain = denoise(photons, noise="poisson-gaussian", fast=True).settings["gain"]
    photons[:rows] = 500
    assert denoise(photons, noise="poisson-gaussian", fast=True).settings["gain"] == pytest.approx(gain, rel=0.3)


def test_drawings_and_screenshots_have_no_noise() -> None:
    drawing = np.full((64, 64), 0.8)
    drawing[20:40, 10:50], drawing[28:33, 20:40] = 0.3, 0.6
    assert denoise(drawing, fast=True).level < 1e-3


def test_an_empty_channel_costs_the_others_nothing(clean: Any) -> None:
    y = clean + np.random.default_rng(0).normal(size=clean.shape) * np.array([10, 40, 10]) / 255
    y[:, :, 2] = 0
    sigma = 255 * np.asarray(denoise(y, fast=True).sigma)
    assert sigma == pytest.approx([10, 40, 0], rel=0.15)
    gains = np.array([1.0, 4.0, 1.0])
    photons = gains * np.random.default_rng(0).poisson(50 * np.repeat(np.repeat(clean, 3, 0), 3, 1) / gains)
    photons[:, :, 2] = 7
    found = denoise(photons, noise="poisson-gaussian", fast=True).settings["gain"]
    assert found[:2] == pytest.approx([1, 4], rel=0.3)


@pytest.mark.parametrize("share", [5e-4, 2e-3, 5e-3])
def test_hot_pixels_spoil_no_others_however_many(share: float) -> None:
    clean = crop(example_image(256), 96, center=(64, 112))[:, :, 1:2]
    y = add_noise(clean, 10 / 255)
    hot = np.random.default_rng(1).random(y.shape) < share
    y[hot] = 50
    found = denoise(y, fast=True)
    assert found.level == pytest.approx(10 / 255, rel=0.1)
    assert psnr(np.where(hot, clean, found.image), clean) > psnr(np.where(hot, clean, y), clean) + 3


def test_numbers_that_by_custom_stand_for_none_are_told() -> None:
    clean = crop(example_image(256), 64, center=(64, 112))[:, :, 1:2]
    heights = 200 + 1000 * add_noise(clean, 10 / 255)
    gaps = np.random.default_rng(1).random(heights.shape) < 0.2
    heights[gaps] = -9999
    with pytest.warns(UserWarning, match=f"{gaps.sum()} values are the same, -9999, .* taken for no data"):
        found = denoise(heights, fast=True)
    assert (found.image[gaps] == -9999).all()
    assert psnr(np.where(gaps, clean, (found.image - 200) / 1000), clean) > 30


def test_a_stack_is_looked_through_before_it_is_overwritten() -> None:
    stack = np.random.default_rng(0).random((3, 16, 16))
    stack[2, 3, 4] = np.nan
    before = stack.copy()
    with pytest.raises(ValueError, match=r"slice 2: .*not finite.*or leave pixels out by mask="):
        denoise(stack, axes="TYX", out=stack, fast=True)
    np.testing.assert_array_equal(stack, before)
    with pytest.raises(ValueError, match="out= is the stack itself or shares no memory with it"):
        denoise(before[:2], axes="TYX", out=before[1:], fast=True)
    denoise(stack, axes="TYX", out=stack, mask=np.isfinite(before), fast=True)
    assert np.isnan(stack[2, 3, 4]) and not np.array_equal(stack[0], before[0])


def test_values_far_from_zero_have_no_psnr(clean: Any) -> None:
    values = 273 + 1e-3 * add_noise(clean[:, :, 1], SIGMA)
    found = denoise(values, fast=True)
    assert found.expected_psnr is None and "sigma 0.0/" not in repr(found)
    assert found.sigma == pytest.approx(1e-3 * SIGMA, rel=0.3)


def test_figures_and_words_follow_the_scale_of_the_image(clean: Any, noisy: Any) -> None:
    """An image in 0..255 is shown, and its quality told, as the same image in 0..1 is."""
    one, other = denoise(noisy, SIGMA, fast=True), denoise(255 * noisy, 25, fast=True)
    assert (one.white, other.white) == (1, 255)
    assert one.expected_psnr is not None and other.expected_psnr == pytest.approx(one.expected_psnr, abs=1e-3)
    assert "sigma 25.0/255" in repr(one) and "sigma 25.0/255" in repr(other)
    shown = [result.plot().axes[0].get_images()[0].get_array() for result in (one, other)]
    np.testing.assert_allclose(shown[1], shown[0], atol=1e-4)


def test_no_quality_is_promised_that_chance_could_give() -> None:
    noisy = add_noise(np.full((8, 64, 1), 0.5), 25 / 255)
    result = denoise(noisy, 25 / 255, fast=True)
    assert result.risk is not None and result.risk < 0.1 * (25 / 255) ** 2 and result.expected_psnr is None


def test_large_images_are_told_by_bands_of_rows() -> None:
    small = np.zeros((64, 64, 3), np.float32)
    assert representative(small) is small
    rows = np.broadcast_to(np.arange(3000, dtype=np.float32)[:, None, None], (3000, 2000, 1))
    bands = representative(rows)[:, 0, 0]
    assert 0.9 * 2**22 < 2000 * len(bands) <= 2**22
    assert bands[0] < 8 and bands[-1] > 2980 and len(np.unique(bands)) == len(bands)
    holed = np.where(rows < 5, np.nan, rows)
    assert representative(holed) is holed
    noisy = np.random.default_rng(0).normal(0.5, 0.1, (2100, 2100, 1)).astype(np.float32)
    found, coarse = estimated_levels(noisy, None)
    assert coarse is None
    assert float(found) == pytest.approx(0.1, rel=0.01)


@pytest.fixture(scope="module")
def grey() -> np.ndarray[Any, Any]:
    return crop(example_image(256), 96, center=(64, 112))[:, :, :1]


@pytest.mark.parametrize("value", [50.0, -50.0, 1e20, -3.4e38])
def test_a_hot_pixel_spoils_no_other(value: float, grey: Any) -> None:
    noisy = add_noise(grey, SIGMA).astype(np.float32)
    expected = denoise(noisy, fast=True).image
    noisy[40, 40] = value
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        result = denoise(noisy, fast=True)
    assert any("left as they are" in str(one.message) for one in told) == (abs(value) > 1e3)
    elsewhere = np.ones(grey.shape, bool)
    elsewhere[32:49, 32:49] = False
    assert psnr(result.image[elsewhere][:, None], grey[elsewhere][:, None]) == pytest.approx(
        psnr(expected[elsewhere][:, None], grey[elsewhere][:, None]), abs=0.3
    )
    if abs(value) > 1e3:
        assert result.image[40, 40] == np.float32(value)


@pytest.mark.parametrize("value", [1e20, -9999.0, float(np.finfo(np.float32).max)])
@pytest.mark.parametrize("share", [0.02, 0.4])
def test_values_of_no_data_spoil_no_other(value: float, share: float, grey: Any) -> None:
    """However many they are: scattered, or a part of the image; what is filled is told."""
    noisy = add_noise(grey, SIGMA).astype(np.float32).reshape(grey.shape[:2])
    nothing = np.zeros(noisy.shape, bool)
    if share < 0.1:
        nothing = np.random.default_rng(0).random(noisy.shape) < share
    else:
        nothing[: round(share * len(noisy))] = True
    expected = denoise(noisy, SIGMA, fast=True, mask=~nothing).image
    given = np.where(nothing, np.float32(value), noisy)
    with pytest.warns(
        UserWarning, match=f"{nothing.sum()} values are the same.*taken for no data, and left as they are"
    ):
        result = denoise(given, SIGMA, fast=True).image
    np.testing.assert_array_equal(result[~nothing], expected[~nothing])
    assert (result[nothing] == np.float32(value)).all()
    with pytest.warns(UserWarning, match="taken for no data, and filled"):
        assert np.abs(denoise(given, SIGMA, fast=True, fill=True).image).max() < 3


def test_clipped_lights_are_data(grey: Any) -> None:
    """Many equal values, though far from most others: not a thousand times their range."""
    noisy = add_noise(grey, SIGMA).astype(np.float32)
    noisy[10:13, 10:13] = 100 * noisy.max()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        denoise(noisy, SIGMA, fast=True)


@pytest.mark.parametrize(("offset", "kind"), [(1e4, np.float32), (-1e5, np.float32), (1e7, np.float64)])
def test_an_offset_costs_nothing(offset: float, kind: Any, grey: Any) -> None:
    noisy = add_noise(grey, SIGMA)
    expected = psnr(denoise(noisy, fast=True).image, grey)
    shifted = denoise((noisy + offset).astype(kind), fast=True)
    three = np.concatenate([noisy, (noisy + offset).astype(kind), noisy], axis=2)
    assert denoise(three, fast=True).image[:, :, 0].std() < 0.95 * noisy.std()
    assert psnr(shifted.image.astype(np.float64) - offset, grey) == pytest.approx(expected, abs=0.1)
    assert shifted.sigma == pytest.approx(SIGMA, rel=0.1)


@pytest.mark.parametrize("kind", ["gradient", "sine", "step", "mask"])
def test_a_smooth_channel_beside_noisy_ones(kind: str, grey: Any) -> None:
    ramp = np.linspace(0, 1, grey.shape[1])[None, :, None] + 0 * grey
    beside = {"gradient": ramp, "sine": np.sin(6 * ramp), "step": 1.0 * (ramp > 0.5), "mask": 1.0 * (grey > 0.5)}[kind]
    noisy = add_noise(grey, SIGMA)
    alone = denoise(noisy, fast=True)
    both = denoise(np.concatenate([noisy, beside], axis=2), fast=True)
    assert np.allclose(both.sigma, [float(alone.sigma), 0])
    assert psnr(both.image[:, :, :1], grey) == pytest.approx(psnr(alone.image, grey), abs=0.1)
    np.testing.assert_allclose(both.image[:, :, 1:], beside, atol=1e-6)


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("factor", [1e-4, 0.01])
def test_channels_may_be_of_any_scale(factor: float, given: bool, clean: Any, noisy: Any) -> None:
    scale = np.array([1, 1, factor])
    result = denoise(noisy * scale, SIGMA * scale if given else None, fast=True)
    blue = result.image[:, :, 2:] / scale[2]
    assert psnr(blue, clean[:, :, 2:]) > psnr(noisy[:, :, 2:], clean[:, :, 2:]) + 5
