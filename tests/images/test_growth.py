"""Noise that grows with the brightness is told, and no other noise is taken for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ntk_nonlocal as nnl
from ntk_nonlocal.images import example_image, noise_grows

Values = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def clean() -> Values:
    return np.asarray(255 * example_image(256)[32:224, 32:224], np.float64)


def of_photons(clean: Values, peak: float) -> Values:
    return np.random.default_rng(0).poisson(clean / clean.max() * peak) * (255 / peak)


def white(clean: Values, sigma: float) -> Values:
    return clean + sigma * np.random.default_rng(0).normal(size=clean.shape)


def in_bytes(noisy: Values) -> Values:
    return np.clip(noisy, 0, 255).round()


@pytest.mark.parametrize("peak", [10, 20, 50])
@pytest.mark.parametrize("stored", [np.asarray, in_bytes])
def test_noise_of_photons_grows(clean: Values, peak: float, stored: Callable[[Values], Values]) -> None:
    assert noise_grows(stored(of_photons(clean, peak)), None)
    assert noise_grows(stored(of_photons(clean, peak)), np.ones((192, 192, 1), bool))


@pytest.mark.parametrize("sigma", [0, 2, 5, 10, 25, 50])
@pytest.mark.parametrize("stored", [np.asarray, in_bytes])
def test_white_noise_does_not(clean: Values, sigma: float, stored: Callable[[Values], Values]) -> None:
    noisy = stored(white(clean, sigma))
    assert not noise_grows(noisy, None)
    assert not noise_grows(noisy * [1, 1, 4], None)  # a bright channel with more noise


def test_pictures_that_tell_nothing() -> None:
    for picture in (np.zeros((32, 32, 1)), np.random.default_rng(0).random((8, 8, 3)), np.eye(64)[:, :, None]):
        assert not noise_grows(picture, None)


def test_denoise_tells_it(clean: Values) -> None:
    noisy = of_photons(clean, 20)[:96, 96:].astype(np.float32)
    found = nnl.denoise(noisy, method="tv")
    assert found.settings["grows"] and "which grows with the brightness (give noise='poisson-gaussian')" in repr(found)
    assert "grows" not in nnl.denoise(noisy, found.sigma, method="tv").settings
    assert "grows" not in nnl.denoise(noisy, method="tv", noise="poisson-gaussian").settings
    assert "grows" not in nnl.denoise(white(clean, 20)[:96, 96:], method="tv").settings
