from __future__ import annotations

import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from ntk_nonlocal.images import (
    add_noise,
    as_image,
    as_noisy_image,
    check_sigma,
    crop,
    estimate_sigma,
    example_image,
    psnr,
    ssim,
    white_of,
)


def picture(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=shape)


@pytest.mark.parametrize("dtype, full", [(np.uint8, 255), (np.uint16, 65535), (">u2", 65535), (bool, 1)])
def test_integers_are_divided_by_their_largest_value(dtype, full):
    image = as_image(np.array([[0, full], [full, 0]], dtype))
    assert image.dtype == np.float64
    np.testing.assert_array_equal(image[:, :, 0], [[0, 1], [1, 0]])


def test_values_between_are_in_proportion():
    np.testing.assert_array_equal(as_image(np.array([[51]], np.uint8)), [[[0.2]]])
    np.testing.assert_array_equal(as_image(np.array([[13107]], np.uint16)), [[[0.2]]])


def test_every_level_survives_the_way_to_float32_and_back():
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    back = np.rint(as_image(levels, dtype=np.float32)[:, :, 0] * np.float32(65535)).astype(np.uint16)
    np.testing.assert_array_equal(back, levels)


@pytest.mark.parametrize(
    "given_, result", [("f2", "f4"), ("f4", "f4"), (">f4", "f4"), ("f8", "f8"), ("u1", "f8"), ("?", "f8")]
)
def test_floats_keep_their_precision(given_, result):
    assert as_image(np.zeros((2, 3), given_)).dtype == np.dtype(result)
    assert as_noisy_image(np.zeros((2, 3), given_), dtype=np.float32).dtype == np.float32


def test_shapes_and_memory():
    grey = picture(4, 5)
    assert as_image(grey).shape == (4, 5, 1)
    assert as_image(jnp.asarray(picture(4, 5, 3))).shape == (4, 5, 3)
    image = as_image(grey)
    image[:] = 0
    assert grey.max() > 0
    noisy = as_noisy_image(grey)
    noisy[:] = 0
    assert grey.max() > 0


def test_rounding_errors_are_clipped_and_nothing_more():
    image = as_image(np.array([[-1e-7, 1 + 1e-7]]))
    np.testing.assert_array_equal(image[0, :, 0], [0, 1])
    with pytest.raises(ValueError, match=r"\[0, 1\].*-0\.1\.\.0\.5.*clip"):
        as_image(np.array([[-0.1, 0.5]]))


@pytest.mark.parametrize(
    "array, error, words",
    [
        (np.zeros(5), ValueError, r"\(5,\).*reshape"),
        (np.zeros((2, 4, 4, 3)), ValueError, r"\(2, 4, 4, 3\).*one by one"),
        (np.zeros((3, 16, 16)), ValueError, r"channels first.*moveaxis"),
        (np.zeros((0, 4, 3)), ValueError, r"at least one pixel.*\(0, 4, 3\)"),
        (np.zeros((4, 4, 0)), ValueError, "at least one pixel and one channel"),
        (np.float64(0.5), ValueError, r"got \(\)"),
        ([[0.0, 1.0], [1.0]], ValueError, "inhomogeneous"),
        (np.array([[0, np.nan], [np.inf, 0]]), ValueError, r"2 of 4.*index \(0, 1\)"),
        (np.zeros((4, 4), np.int64), TypeError, "int64.*astype"),
        (np.zeros((4, 4), np.uint32), TypeError, "uint32.*astype"),
        (np.zeros((4, 4), complex), TypeError, "complex128.*real part"),
        (np.full((4, 4), None), TypeError, "object"),
        (np.full((4, 4), "a"), TypeError, "<U1"),
        ("photo.png", TypeError, "<U9"),
        (None, TypeError, "object"),
        (np.ma.masked_less(picture(4, 4), 0.5), ValueError, "masked one.*filled"),
        (np.full((4, 4), np.longdouble("1e400")), ValueError, "16 of 16 that are NaN or infinite in float64"),
    ],
)
@pytest.mark.parametrize("function", [as_image, as_noisy_image, estimate_sigma])
def test_what_is_not_an_image_says_why(function, array, error, words):
    with pytest.raises(error, match=words):
        function(array)


@pytest.mark.parametrize("value, words", [(200.0, "divide by 255"), (40000.0, "divide by 65535"), (1e300, "1e\\+300")])
@pytest.mark.parametrize("function", [as_image, as_noisy_image])
def test_another_scale_says_which(function, value, words):
    with pytest.raises(ValueError, match=words):
        function(np.full((4, 4), value))


def test_half_and_integer_results_are_refused():
    with pytest.raises(TypeError, match="float32 or float64, got dtype=float16"):
        as_image(np.zeros((2, 2)), dtype=np.float16)


def test_noise_may_leave_the_range_but_not_the_scale():
    noisy = np.array([[-0.7, 1.9]])
    np.testing.assert_array_equal(as_noisy_image(noisy)[0, :, 0], [-0.7, 1.9])
    with pytest.raises(ValueError, match="divide by 255"):
        as_noisy_image(np.array([[0.0, 255.0]]))
    np.testing.assert_array_equal(as_noisy_image([[0.0, 300.0]], data_range=255)[0, :, 0], [0, 300])
    np.testing.assert_array_equal(as_noisy_image([[0.0, 1e30]], data_range=None)[0, :, 0], [0, 1e30])
    np.testing.assert_array_equal(as_noisy_image(np.array([[0, 51]], np.uint8), data_range=None)[0, :, 0], [0, 0.2])


@pytest.mark.parametrize("sigma", [25, 1.001, 0, -0.1, math.nan, math.inf])
def test_wrong_noise_levels(sigma):
    with pytest.raises(ValueError, match="25/255" if sigma > 1 else "above 0 and at most 1"):
        check_sigma(sigma)


@pytest.mark.parametrize("sigma", [None, "25", [0.1], True, 1j])
def test_noise_levels_are_numbers(sigma):
    with pytest.raises(TypeError, match="one number"):
        check_sigma(sigma)


def test_noise_levels_of_other_libraries():
    assert check_sigma(np.float32(0.5)) == check_sigma(jnp.asarray(0.5)) == check_sigma(np.array(0.5)) == 0.5
    assert type(check_sigma(1)) is float


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1), (6, 5, 3)])
def test_noise_by_the_protocol(shape):
    clean = picture(*shape)
    expected = clean + np.random.default_rng(3).normal(size=shape) * (25 / 255)
    np.testing.assert_array_equal(add_noise(clean, 25 / 255, seed=3), expected.reshape(6, 5, -1))
    assert add_noise(clean.astype(np.float32), 0.5).dtype == np.float32
    assert add_noise(clean, 0.5).min() < 0 and add_noise(clean, 0.5).max() > 1


@pytest.mark.parametrize("seed", [-1, 0.5, None, True])
def test_seeds_are_natural_numbers(seed):
    with pytest.raises(ValueError, match="non-negative integer"):
        add_noise(picture(4, 4), 0.1, seed=seed)


def test_psnr_of_known_errors():
    a = np.full((4, 5, 3), 0.5)
    assert psnr(a, a) == math.inf
    assert psnr(a, a + 0.1) == pytest.approx(20)
    assert psnr(a, a + np.array([0.1, 0, 0])) == pytest.approx(20 + 10 * math.log10(3))
    assert psnr(a, np.full_like(a, 1.7)) == pytest.approx(-20 * math.log10(0.5))
    assert psnr(a, np.full_like(a, 1.7), clip=False) == pytest.approx(-20 * math.log10(1.2))
    assert psnr(a[:, :, 0], a[:, :, :1]) == math.inf
    with pytest.raises(ValueError, match=r"\(4, 5, 3\) and \(5, 4, 3\)"):
        psnr(a, a.reshape(5, 4, 3))


def test_quality_does_not_depend_on_the_scale():
    a, b = picture(14, 13, 3), picture(14, 13, 3, seed=1) + 0.3
    levels = np.rint(255 * a).astype(np.uint8)
    for function in (psnr, ssim):
        for clip in (True, False):
            expected = function(a, b, clip=clip)
            assert function(255 * a, 255 * b, data_range=255, clip=clip) == pytest.approx(expected, rel=1e-9)
            assert function(1e-3 * a, 1e-3 * b, data_range=1e-3, clip=clip) == pytest.approx(expected, rel=1e-9)
        assert function(levels, b) == pytest.approx(function(levels, 255 * b, data_range=255), rel=1e-9)
        with pytest.raises(ValueError, match="data_range must be a positive number"):
            function(a, b, data_range=0)
        with pytest.raises(ValueError, match="divide by 255"):
            function(255 * a, 255 * a)


def test_what_white_is_in_an_image_of_unknown_scale():
    image = picture(8, 8, 1)
    for scale, white in [(1, 1), (1.5, 1), (0.1, 1), (255, 255), (400, 255), (65535, 65535), (30000, 65535)]:
        assert white_of(scale * image / image.max()) == white
    for scale in (1e-6, 5, 1023, 4095, 1e6):
        assert white_of(scale * image / image.max()) == pytest.approx(scale)
    assert white_of(-image / image.max()) == white_of(np.zeros((2, 2, 1))) == 1


def test_psnr_of_the_noise_is_its_level():
    clean = np.full((64, 64, 3), 0.5)
    assert psnr(add_noise(clean, 25 / 255), clean) == pytest.approx(-20 * math.log10(25 / 255), abs=0.1)


def ssim_by_definition(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. (2004), equation 13, with an 11x11 Gaussian window, over the pixels where it fits."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for row in range(a.shape[0] - 10):
        for column in range(a.shape[1] - 10):
            p, q = a[row : row + 11, column : column + 11], b[row : row + 11, column : column + 11]
            mean_p, mean_q = (window * p).sum(), (window * q).sum()
            var_p, var_q = (window * (p - mean_p) ** 2).sum(), (window * (q - mean_q) ** 2).sum()
            covariance = (window * (p - mean_p) * (q - mean_q)).sum()
            values.append(
                (2 * mean_p * mean_q + 0.01**2)
                * (2 * covariance + 0.03**2)
                / ((mean_p**2 + mean_q**2 + 0.01**2) * (var_p + var_q + 0.03**2))
            )
    return float(np.mean(values))


def test_ssim_is_that_of_wang():
    a, b = picture(14, 13), picture(14, 13, seed=1)
    assert ssim(a, b) == pytest.approx(ssim_by_definition(a, b), rel=1e-9)
    assert ssim(a, a) == 1
    colour = np.stack([a, b, a], axis=2)
    assert ssim(colour, np.stack([a, a, a], axis=2)) == pytest.approx((2 + ssim(a, b)) / 3)
    with pytest.raises(ValueError, match=r"11x11 pixels, got images of 8x20; use psnr"):
        ssim(picture(8, 20), picture(8, 20))


def test_crop_takes_the_middle_or_the_place_that_is_asked_for():
    image = np.arange(7 * 9).reshape(7, 9)
    np.testing.assert_array_equal(crop(image, 3), image[2:5, 3:6])
    np.testing.assert_array_equal(crop(image, (2, 4), center=(0, 8)), image[:2, 5:])
    np.testing.assert_array_equal(crop(image, 3, center=(3, 4)), crop(image, 3))
    np.testing.assert_array_equal(crop(image, (7, 9)), image)
    part = crop(image, 2)
    part[:] = -1
    assert image.min() == 0
    assert crop(picture(5, 5, 3), 2).shape == (2, 2, 3)


@pytest.mark.parametrize("size", [0, -1, 8, (3, 10), 2.5, (True, 3)])
def test_crop_refuses_parts_that_do_not_fit(size):
    with pytest.raises(ValueError, match=r"7x9 image|whole number"):
        crop(np.zeros((7, 9)), size)


def test_crop_refuses_a_centre_outside():
    with pytest.raises(ValueError, match="row 7, column 0"):
        crop(np.zeros((7, 9)), 3, center=(7, 0))


def test_the_example_is_the_astronaut_and_is_averaged():
    full, small = example_image(), example_image(64)
    assert full.shape == (512, 512, 3) and small.shape == (64, 64, 3)
    np.testing.assert_allclose(small[3, 5], full[24:32, 40:48].mean(axis=(0, 1)))
    np.testing.assert_allclose(full.mean(axis=(0, 1)), small.mean(axis=(0, 1)))
    assert 0 <= full.min() < 0.01 and 0.99 < full.max() <= 1
    for size in (0, -64, 100, 1024, 64.0):
        with pytest.raises(ValueError, match=r"divides 512, got size="):
            example_image(size)


@pytest.mark.parametrize("name, noisy_psnr", [("House256", 20.27), ("Baboon512", 20.33), ("kodim12", 20.31)])
def test_the_protocol_gives_the_figures_that_are_quoted(set9: Path, name, noisy_psnr):
    (file,) = set9.glob(f"*{name}*.png")
    clean = as_image(np.asarray(Image.open(file).convert("RGB")))
    assert psnr(add_noise(clean, 25 / 255), clean) == pytest.approx(noisy_psnr, abs=0.006)


ANY_DTYPE = st.one_of(
    hnp.integer_dtypes(),
    hnp.unsigned_integer_dtypes(),
    hnp.floating_dtypes(),
    hnp.complex_number_dtypes(),
    st.just("?"),
)
ANY_ARRAY = hnp.arrays(ANY_DTYPE, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6))


@settings(max_examples=150, deadline=None)
@given(ANY_ARRAY)
def test_any_array_is_an_image_or_gets_one_clear_line(array):
    for function in (as_image, as_noisy_image, estimate_sigma):
        try:
            result = function(array)
        except (ValueError, TypeError) as error:
            assert "\n" not in str(error) and "got" in str(error)
        else:
            assert np.isfinite(result).all()
            assert np.min(result) >= (-20 if function is as_noisy_image else 0)
            assert function is estimate_sigma or result.shape[:2] == array.shape[:2]


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float64, (5, 4, 2), elements=st.floats(0, 1)), st.floats(), st.integers(0, 2**63 - 1))
def test_noise_of_any_level_and_seed(clean, sigma, seed):
    if not 0 < sigma <= 1:
        with pytest.raises(ValueError, match="got"):
            add_noise(clean, sigma, seed=seed)
        return
    noisy = add_noise(clean, sigma, seed=seed)
    np.testing.assert_array_equal(noisy, add_noise(clean, sigma, seed=seed))
    assert psnr(clean, noisy) == psnr(noisy, clean) > 0 - 20 * math.log10(1.0000001)
