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
