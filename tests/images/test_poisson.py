"""Poisson-Gaussian noise: the transform makes it even, its inverse is unbiased, blind parameters are good enough."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ntk_nonlocal as nnl
from ntk_nonlocal.images import PoissonGaussian, crop, estimate_poisson_gaussian, example_image, psnr

CAMERAS = [PoissonGaussian(1.0), PoissonGaussian(2.5, 100.0, 3.0), PoissonGaussian(0.02, -0.1, 0.01)]


def taken(photons: Any, camera: PoissonGaussian, seed: int = 0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    return camera.gain * rng.poisson(photons) + camera.offset + camera.read * rng.normal(size=np.shape(photons))


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("photons", [8.0, 40.0, 1000.0])
def test_the_transformed_noise_has_variance_one(camera: PoissonGaussian, photons: float) -> None:
    y = taken(np.full(200_000, photons), camera)
    assert camera.stabilise(y).std() == pytest.approx(1, abs=0.03 if photons > 10 else 0.06)
    assert y.var() == pytest.approx(float(camera.variance(y.mean())), rel=0.02)


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("photons", [0.3, 1.0, 4.0, 30.0, 148.0, 152.0, 900.0])
def test_the_inverse_is_unbiased(camera: PoissonGaussian, photons: float) -> None:
    y = taken(np.full(400_000, photons), camera, seed=1)
    found = camera.invert(camera.stabilise(y).mean())
    assert found == pytest.approx(camera.gain * photons + camera.offset, abs=0.012 * camera.gain * (1 + photons**0.5))


def test_a_plain_inverse_would_be_biased() -> None:
    y = taken(np.full(200_000, 1.0), CAMERAS[0])
    mean = CAMERAS[0].stabilise(y).mean()
    assert abs(mean**2 / 4 - 3 / 8 - 1) > 0.1 and abs(CAMERAS[0].invert(mean) - 1) < 0.01


@pytest.mark.parametrize("camera", CAMERAS)
def test_parameters_of_a_picture(camera: PoissonGaussian) -> None:
    clean = example_image(256).mean(axis=2)
    found = estimate_poisson_gaussian(taken(50 * clean, camera))
    assert found.gain == pytest.approx(camera.gain, rel=0.12)
    mean = camera.gain * 20 + camera.offset
    assert float(found.variance(mean)) == pytest.approx(float(camera.variance(mean)), rel=0.1)


def test_parameters_are_in_the_units_of_the_array() -> None:
    clean = example_image(256).mean(axis=2)
    y = np.rint(taken(30 * clean, PoissonGaussian(5.0, 40.0))).astype(np.uint16)
    whole, real = estimate_poisson_gaussian(y), estimate_poisson_gaussian(y.astype(np.float64))
    assert whole.gain == pytest.approx(real.gain, rel=1e-6) and whole.gain == pytest.approx(5, rel=0.15)
    small = estimate_poisson_gaussian(2.0**-20 * y)
    assert small.gain == pytest.approx(2.0**-20 * real.gain, rel=1e-6)


@pytest.mark.parametrize("peak", [5, 50])
def test_blind_is_as_good_as_the_true_parameters(peak: int) -> None:
    clean = crop(example_image(256), 96, center=(64, 112))
    clean = clean / clean.max()
    camera = PoissonGaussian(1 / peak)
    y = taken(peak * clean, camera)
    known, blind = (nnl.denoise(y, noise=noise, fast=True) for noise in (camera, "poisson-gaussian"))
    assert psnr(blind.image, clean) > psnr(known.image, clean) - 0.3
    assert psnr(known.image, clean) > psnr(y, clean) + 7
    assert abs(known.image.mean() - clean.mean()) < 0.01
    assert not blind.settings["sigma_given"] and blind.settings["gain"] == pytest.approx(1 / peak, rel=0.2)
    as_gaussian = nnl.denoise(y, float(np.sqrt(np.mean(clean / peak))), fast=True)
    assert psnr(known.image, clean) > psnr(as_gaussian.image, clean)


@pytest.mark.parametrize(("gain", "read"), [(0, 1), (-1, 0), (1, -1), (np.nan, 0)])
def test_impossible_cameras(gain: float, read: float) -> None:
    with pytest.raises(ValueError, match="gain"):
        PoissonGaussian(gain, 0.0, read)


def test_pictures_that_tell_nothing() -> None:
    with pytest.raises(ValueError, match="no noise was found"):
        estimate_poisson_gaussian(np.full((32, 32), 0.5))
    with pytest.raises(ValueError, match="too small"):
        estimate_poisson_gaussian(np.random.default_rng(0).random((8, 8)))
    apart = np.random.default_rng(0).random((64, 64)) > 0.3
    with pytest.raises(ValueError, match="the mask leaves too few whole blocks of 6x6"):
        estimate_poisson_gaussian(np.random.default_rng(0).random((64, 64)), mask=apart)
