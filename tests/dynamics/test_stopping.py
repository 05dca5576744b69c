"""Stein's risk estimates against the true error, over many draws of the noise."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntk_nonlocal.dynamics import Risk, choose_step, gradient_descent, monte_carlo_sure, sure, trajectory
from ntk_nonlocal.linalg import degrees_of_freedom
from ntk_nonlocal.operators import DenseOperator

SIDE, SIGMA = 8, 0.15
STEPS = [0, 1, 4, 20, 200, 1000]


def clean_image() -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    return np.stack([rows, 0.5 + 0.4 * np.sin(5 * columns)], axis=2)


def kernel_of(image: np.ndarray) -> DenseOperator:
    """A Gaussian affinity of position and intensity, which depends on the image."""
    place = np.stack(np.mgrid[:SIDE, :SIDE], axis=2).reshape(-1, 2) / 4
    features = np.concatenate([place, image.reshape(SIDE**2, -1) / 0.4], axis=1)
    distance = np.sum((features[:, None] - features[None]) ** 2, axis=2)
    return DenseOperator(jnp.asarray(np.exp(-distance / 2)), (SIDE, SIDE))


def noisy_images(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [clean_image() + SIGMA * rng.normal(size=clean_image().shape) for _ in range(count)]


def test_the_cheap_form_is_unbiased_for_a_kernel_without_the_noise() -> None:
    with jax.enable_x64(True):
        op = kernel_of(clean_image())
        freedom = degrees_of_freedom(op, STEPS)
        differences = []
        for y in noisy_images(30):
            built = trajectory(op, y, steps=STEPS, tolerance=1e-6)
            error = np.mean((np.asarray(built.estimates(STEPS)) - clean_image()) ** 2, axis=(1, 2, 3))
            differences.append(sure(built, STEPS, SIGMA, degrees_of_freedom=freedom).values - error)
    mean, spread = np.mean(differences, axis=0), np.std(differences, axis=0) / np.sqrt(30)
    assert (np.abs(mean) < 4 * spread).all()
    assert (4 * spread[1:] < 0.25 * SIGMA**2).all()


def test_the_cheap_form_is_too_low_for_a_kernel_of_the_noisy_image_and_the_other_is_not() -> None:
    def denoise(y: np.ndarray) -> jax.Array:
        return gradient_descent(kernel_of(y), y, STEPS, tolerance=1e-8)

    cheap, full = [], []
    with jax.enable_x64(True):
        for seed, y in enumerate(noisy_images(16)):
            estimates, risk = monte_carlo_sure(denoise, y, SIGMA, epsilon=1e-3, seed=seed)
            error = np.mean((estimates - clean_image()) ** 2, axis=(1, 2, 3))
            op = kernel_of(y)
            built = trajectory(op, y, steps=STEPS, tolerance=1e-6)
            cheap.append(sure(built, STEPS, SIGMA, degrees_of_freedom=degrees_of_freedom(op, STEPS)).values - error)
            full.append(risk.values - error)
    mean, spread = np.mean(full, axis=0), np.std(full, axis=0) / np.sqrt(16)
    assert (np.abs(mean) < 4.5 * spread + 1e-12).all()
    lower, spread = np.mean(cheap, axis=0), np.std(cheap, axis=0) / np.sqrt(16)
    middle = STEPS.index(200)
    assert lower[middle] < -4 * spread[middle]
    assert abs(mean[middle]) < 0.5 * abs(lower[middle])


def test_probes_of_the_trajectory_give_the_risk_with_a_standard_error() -> None:
    with jax.enable_x64(True):
        op, y = kernel_of(clean_image()), noisy_images(1)[0]
        built = trajectory(op, y, steps=STEPS, probes=20)
        sampled = sure(built, STEPS, SIGMA)
        exact = sure(built, STEPS, SIGMA, degrees_of_freedom=degrees_of_freedom(op, STEPS))
    assert (np.abs(sampled.values - exact.values) <= 4 * sampled.standard_error + 1e-6).all()
    assert sampled.values[0] == pytest.approx(np.mean(y**2) - SIGMA**2)
    assert (exact.standard_error == 0).all()


def test_monte_carlo_divergence_of_a_linear_filter_is_its_trace() -> None:
    factors = np.array([0.0, 0.3, 1.0])
    y = np.random.default_rng(0).random((SIDE, SIDE, 3))
    with jax.enable_x64(True):
        estimates, risk = monte_carlo_sure(lambda v: factors[:, None, None, None] * v, y, 0.1, probes=30)
    assert np.allclose(estimates[1], 0.3 * y)
    assert np.allclose(risk.degrees_of_freedom, SIDE**2 * factors, rtol=0.05)
    expected = [np.mean((f - 1) ** 2 * y**2) - 0.01 + 0.02 * f for f in factors]
    assert (np.abs(risk.values - expected) <= 4 * risk.standard_error + 1e-12).all()


def test_the_perturbation_is_not_the_noise_of_the_same_seed() -> None:
    noise = np.random.default_rng(0).normal(size=(SIDE, SIDE, 3))
    seen: list[np.ndarray] = []
    monte_carlo_sure(lambda v: seen.append(v) or v[None], noise * 0.1, 0.1, epsilon=0.01)
    assert abs(np.corrcoef(((seen[1] - seen[0]) / 0.01).ravel(), noise.ravel())[0, 1]) < 0.3


def test_one_probe_has_no_standard_error() -> None:
    _, risk = monte_carlo_sure(lambda v: v[None], np.ones((4, 4, 1)), 0.1)
    assert np.isnan(risk.standard_error).all()


def test_the_least_risk_is_chosen_and_the_earliest_of_equals() -> None:
    values = np.array([3.0, 1.0, 2.0, 1.0])
    assert choose_step([50, 20, 1, 10], Risk(values, 0 * values, values)) == 10


def test_bad_input_is_refused() -> None:
    y = np.ones((4, 4, 1))
    built = trajectory(DenseOperator(jnp.eye(16), (4, 4)), y.astype(np.float32))
    for sigma, message in [(0.0, "above 0"), (float("nan"), "above 0"), (25.0, "25/255")]:
        with pytest.raises(ValueError, match=message):
            sure(built, [1], sigma)
        with pytest.raises(ValueError, match=message):
            monte_carlo_sure(lambda v: v[None], y, sigma)
    with pytest.raises(ValueError, match="2 probes"):
        sure(built, [1], 0.1)
    with pytest.raises(ValueError, match="degrees of freedom at"):
        sure(built, [1], 0.1, degrees_of_freedom=degrees_of_freedom(DenseOperator(jnp.eye(16), (4, 4)), [1, 2]))
    with pytest.raises(ValueError, match="must return estimates of shape"):
        monte_carlo_sure(lambda v: v, y, 0.1)
    with pytest.raises(ValueError, match="epsilon"):
        monte_carlo_sure(lambda v: v[None], y, 0.1, epsilon=0.0)
    with pytest.raises(ValueError, match="probes"):
        monte_carlo_sure(lambda v: v[None], y, 0.1, probes=0)
    with pytest.raises(ValueError, match="not finite"):
        monte_carlo_sure(lambda v: v[None], y * np.nan, 0.1)
    with pytest.raises(ValueError, match="2 steps for 3 risks"):
        choose_step([1, 2], Risk(np.ones(3), np.ones(3), np.ones(3)))
    with pytest.raises(ValueError, match="not finite"):
        choose_step([1], Risk(np.array([np.nan]), np.ones(1), np.ones(1)))
