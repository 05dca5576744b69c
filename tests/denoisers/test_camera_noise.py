"""Noise of cameras where it is hardly that of photons: read noise alone, dark frames, offsets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ntk_nonlocal as nnl
from ntk_nonlocal.images import PoissonGaussian, crop, estimate_poisson_gaussian, example_image, psnr

Values = np.ndarray[Any, Any]
CAMERA = PoissonGaussian(2.0, 100.0, 3.0)


def taken(photons: Values, camera: PoissonGaussian = CAMERA, seed: int = 0) -> Values:
    rng = np.random.default_rng(seed)
    read = camera.read * rng.normal(size=photons.shape)
    return np.asarray(camera.gain * rng.poisson(photons) + camera.offset + read, np.float32)


@pytest.fixture(scope="module")
def clean() -> Values:
    return 255 * crop(example_image(256), 64, center=(64, 112))[:, :, 1]


def test_blind_gains_near_zero_are_gaussian_noise(clean: Values) -> None:
    flat = 0
    for seed in range(30):
        noisy = (clean + np.random.default_rng(seed).normal(0, 20, clean.shape)).astype(np.float32)
        gain = estimate_poisson_gaussian(noisy).gain
        if gain * 255 > 1 or flat == 2:
            continue
        flat += 1
        blind = nnl.denoise(noisy, noise="poisson-gaussian", fast=True)
        assert psnr(blind.image / 255, clean / 255) > psnr(noisy / 255, clean / 255) + 4
        assert len(np.unique(blind.image)) > 0.9 * clean.size
    assert flat == 2


def test_a_constant_image_has_no_noise_and_slices_have_their_own_gains(clean: Values) -> None:
    flat = np.full(clean.shape, 300.0, np.float32)
    assert np.array_equal(nnl.denoise(flat, noise="poisson-gaussian").image[:, :, 0], flat)
    slices = [taken(clean / 4, PoissonGaussian(gain, 0.0, 1.0)) for gain in (1.0, 4.0)]
    found = nnl.denoise(np.stack([slices[0], flat, slices[1]]), noise="poisson-gaussian", axes="TYX", fast=True)
    gains = found.settings["gain"]
    assert gains.shape == (3,) and np.isnan(gains[1]) and gains[2] > 2 * gains[0]
    alone = [nnl.denoise(image, noise="poisson-gaussian", fast=True).settings for image in slices]
    np.testing.assert_allclose(gains[[0, 2]], [settings["gain"] for settings in alone])
    np.testing.assert_allclose(
        found.settings["dark_variance"][[0, 2]], [settings["dark_variance"] for settings in alone]
    )


def test_small_gains_given_lead_to_gaussian_noise(clean: Values) -> None:
    noisy = (clean + np.random.default_rng(0).normal(0, 20, clean.shape)).astype(np.float32)
    limit, *others = (
        nnl.denoise(noisy, noise=PoissonGaussian(gain, 0.0, 20.0), fast=True).image for gain in (1e-300, 1e-6, 1e-3)
    )
    assert psnr(limit / 255, clean / 255) > psnr(noisy / 255, clean / 255) + 4
    for other in others:
        assert np.abs(other - limit).max() < 0.5


@pytest.mark.parametrize("gain", [2.0, 1e-3, 1e-9])
def test_the_transform_from_a_zero_is_that_without(gain: float) -> None:
    camera = PoissonGaussian(gain, 100.0, 3.0)
    y = np.array([80.0, 98.0, 100.0, 103.0, 400.0])
    for zero in (90.0, 103.0):
        found = camera.invert(camera.stabilise(y, zero), zero)
        assert np.allclose(found, camera.invert(camera.stabilise(y)), atol=1e-4)
    wide = camera.stabilise(y, 100.0)
    assert np.allclose(wide, camera.stabilise(y) - camera.stabilise(100.0), atol=1e-4)


@pytest.mark.parametrize("photons", [0.0, 0.2])
@pytest.mark.parametrize("noise", [CAMERA, "poisson-gaussian"])
def test_dark_frames_keep_their_mean(photons: float, noise: Any) -> None:
    noisy = taken(np.full((64, 64), photons))
    found = nnl.denoise(noisy, noise=noise, fast=True).image
    assert abs(found.mean() - noisy.mean()) < 0.01 * CAMERA.read
    assert np.std(found) < 0.3 * np.std(noisy)


def test_below_the_offset_noise_stays_even() -> None:
    stable = CAMERA.stabilise(taken(np.zeros(200_000)))
    assert 0.85 < stable.std() < 1.1
    assert abs(np.mean(((stable - stable.mean()) / stable.std()) ** 3)) < 0.35
    assert float(CAMERA.invert(stable.mean())) == pytest.approx(100, abs=0.03)


def test_a_wrong_offset_is_refused_and_a_doubtful_one_told(clean: Values) -> None:
    noisy = np.clip(taken(clean / 2, PoissonGaussian(2.0)), 0, 255).astype(np.uint8)
    with pytest.raises(ValueError, match=r"\d+ % of the pixels are below the offset .* measure a dark frame"):
        nnl.denoise(noisy, noise=PoissonGaussian(2.0, 200.0), fast=True)
    doubtful = float(np.quantile(noisy, 0.1)) + 3
    with pytest.warns(UserWarning, match=r"\d+ % of the pixels are below the offset"):
        found = nnl.denoise(noisy, noise=PoissonGaussian(2.0, doubtful, 0.1), fast=True)
    assert np.corrcoef(255 * found.image.ravel(), clean.ravel())[0, 1] > 0.98


def test_an_absurd_gain_is_refused(clean: Values) -> None:
    with pytest.raises(ValueError, match="times the largest value of the image"):
        nnl.denoise(clean.astype(np.uint8), noise=PoissonGaussian(1e9), fast=True)
    faint = taken(np.zeros((64, 64)), PoissonGaussian(300.0, 500.0, 10.0))  # more than all values are apart
    assert nnl.denoise(faint, noise=PoissonGaussian(300.0, 500.0, 10.0), fast=True).image.std() < 2


@pytest.fixture(scope="module")
def colours() -> Values:
    return 20 * crop(example_image(256), 64, center=(64, 112))


GAINS = (1.0, 2.0, 6.0)


def test_gains_by_channel_are_as_good_as_one(colours: Values) -> None:
    gains = np.array(GAINS)
    photons = np.random.default_rng(0).poisson(colours)
    given = nnl.denoise(gains * photons, noise=PoissonGaussian(GAINS), fast=True)
    blind = nnl.denoise(gains * photons, noise="poisson-gaussian", fast=True)
    even = nnl.denoise(1.0 * photons, noise=PoissonGaussian(1.0), fast=True)
    wanted = psnr(even.image / 20, colours / 20)
    assert psnr(given.image / gains / 20, colours / 20) == pytest.approx(wanted, abs=0.05)
    assert psnr(blind.image / gains / 20, colours / 20) > wanted - 0.7
    assert blind.settings["gain"] == pytest.approx(GAINS, rel=0.4)
    assert np.shape(given.sigma) == (3,)


def test_numbers_by_channel_fit_the_image(colours: Values) -> None:
    with pytest.raises(ValueError, match="has 3 channels, and gain, offset or read are given for 2"):
        nnl.denoise(colours, noise=PoissonGaussian((1.0, 2.0)), fast=True)
    with pytest.raises(ValueError, match="got 3, 2"):
        PoissonGaussian(GAINS, (1.0, 2.0))
    camera = PoissonGaussian(GAINS, 3.0, (0.5, 0.0, 2.0))
    y = camera.stabilise(colours)
    for channel, one in enumerate(camera.of_channels(3)):
        assert np.array_equal(one.stabilise(colours[:, :, channel]), y[:, :, channel])
        assert np.array_equal(one.invert(y[:, :, channel]), camera.invert(y)[:, :, channel])
        assert np.array_equal(one.variance(y[:, :, channel]), camera.variance(y)[:, :, channel])
