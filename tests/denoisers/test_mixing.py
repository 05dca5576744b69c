"""Bands, opponent colours and the mixture of least risk."""

from __future__ import annotations

import numpy as np
import pytest

from ntk_nonlocal.denoisers.mixing import Normal, bands, channel_transform


@pytest.mark.parametrize("channels", [1, 2, 3, 7])
def test_the_change_of_channels_is_orthonormal_and_begins_with_the_mean(channels: int) -> None:
    matrix = channel_transform(channels)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(channels), atol=1e-12)
    np.testing.assert_allclose(matrix[0], np.full(channels, channels**-0.5))


def test_three_channels_become_opponent_colours() -> None:
    np.testing.assert_allclose(channel_transform(3)[1] * 2**0.5, [1, 0, -1], atol=1e-12)
    np.testing.assert_allclose(channel_transform(3)[2] * 6**0.5, [1, -2, 1], atol=1e-12)


def test_bands_sum_to_the_image_and_hold_its_constant_in_the_last() -> None:
    image = np.random.default_rng(0).random((2, 9, 11)).astype(np.float32)
    parts = np.asarray(bands(image, 2))
    assert parts.shape == (3, 2, 9, 11)
    np.testing.assert_allclose(parts.sum(axis=0), image, atol=1e-6)
    constant = np.asarray(bands(np.full((1, 9, 11), 0.3, np.float32), 2))
    np.testing.assert_allclose(constant[:2], 0, atol=1e-6)


def estimates_and_truth(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Linear estimates of a smooth plane, whose divergences are known, with the plane and its noisy version."""
    rng = np.random.default_rng(seed)
    clean = np.outer(np.sin(np.arange(40) / 6), np.cos(np.arange(40) / 9))
    noisy = clean + 0.2 * rng.normal(size=clean.shape)
    near = (np.roll(noisy, 1, 0) + np.roll(noisy, -1, 0) + np.roll(noisy, 1, 1) + np.roll(noisy, -1, 1)) / 4
    wide = (np.roll(near, 1, 0) + np.roll(near, -1, 0) + np.roll(near, 1, 1) + np.roll(near, -1, 1)) / 4
    divergences = np.array([1.0, 0.0, 0.25]) * clean.size
    return np.stack([noisy, near, wide]), divergences, clean, noisy


def test_the_risk_of_a_mixture_is_its_error_on_average() -> None:
    weights = np.array([0.1, 0.6, 0.3])
    gaps = []
    for seed in range(40):
        estimates, divergences, clean, noisy = estimates_and_truth(seed)
        normal = Normal.of(estimates, noisy, divergences, 0.2)
        gaps.append(normal.risk(weights) - np.mean((np.tensordot(weights, estimates, 1) - clean) ** 2))
    assert abs(np.mean(gaps)) < 4 * np.std(gaps) / len(gaps) ** 0.5


def test_the_best_mixture_is_near_the_one_that_knows_the_truth() -> None:
    estimates, divergences, clean, noisy = estimates_and_truth(0)
    found = Normal.of(estimates, noisy, divergences, 0.2).minimise(np.array([0.0, 1, 0]), np.arange(3), 0.1)
    ideal = np.linalg.lstsq(estimates.reshape(3, -1).T, clean.ravel(), rcond=None)[0]
    errors = [np.mean((np.tensordot(w, estimates, 1) - clean) ** 2) for w in (found, ideal, np.array([0.0, 1, 0]))]
    assert errors[1] <= errors[0] < 1.03 * errors[1] < errors[2]


def test_only_the_allowed_estimates_take_part() -> None:
    estimates, divergences, _, noisy = estimates_and_truth(0)
    found = Normal.of(estimates, noisy, divergences, 0.2).minimise(np.array([0.0, 1, 0]), np.array([1, 2]), 0.1)
    assert found[0] == 0 and found[2] != 0


def test_a_sigma_that_cannot_be_leaves_the_prior_in_charge() -> None:
    _, divergences, clean, _ = estimates_and_truth(0)
    prior = np.array([0.0, 1, 0])
    found = Normal.of(np.stack([clean] * 3), clean, divergences, 3.0).minimise(prior, np.arange(3), 0.1)
    np.testing.assert_allclose(found, prior, atol=2.5)
