"""Three claims of the paper in a few lines of NumPy that use none of the project's code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

_RESULTS = Path(__file__).parents[2] / "experiments" / "results"


def patches(rng: np.random.Generator) -> np.ndarray:
    """All 3-pixel patches of a noisy step edge of 12 pixels."""
    edge = np.repeat([0.2, 0.8], 6) + 0.1 * rng.normal(size=12)
    return np.stack([np.roll(edge, -shift) for shift in (-1, 0, 1)], axis=1) / np.sqrt(3)


def angles(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = np.linalg.norm(x, axis=1)
    return np.outer(size, size), np.arccos(np.clip(x @ x.T / np.outer(size, size), -1, 1))


def test_claim_1_gradient_descent_on_a_wide_network_is_the_twicing_iteration() -> None:
    """f(x) = sqrt(2 / c) a . relu(W x), both layers trained, its start subtracted; Theta from the angles of patches."""
    rng = np.random.default_rng(0)
    x, y = patches(rng), rng.normal(size=12)
    sizes, phi = angles(x)
    theta = sizes / np.pi * (np.sin(phi) + 2 * (np.pi - phi) * np.cos(phi))
    eta, z, distances = 1 / np.linalg.eigvalsh(theta)[-1], np.zeros(12), []
    for _ in range(50):
        z += eta * theta @ (y - z)
    for c in (100, 100_000):
        w, a = rng.normal(size=(c, 3)), rng.normal(size=c)
        start = np.sqrt(2 / c) * np.maximum(x @ w.T, 0) @ a
        for _ in range(50):
            hidden = x @ w.T
            error = np.sqrt(2 / c) * np.maximum(hidden, 0) @ a - start - y
            slope_a = np.maximum(hidden, 0).T @ error
            slope_w = ((hidden > 0) * error[:, None] * a).T @ x
            a, w = a - eta * np.sqrt(2 / c) * slope_a, w - eta * np.sqrt(2 / c) * slope_w
        output = np.sqrt(2 / c) * np.maximum(x @ w.T, 0) @ a - start
        distances.append(np.linalg.norm(output - z) / np.linalg.norm(z))
    assert distances[1] < 0.03 and distances[1] < distances[0] / 4


def test_claim_2_one_hidden_layer_compares_patches_by_their_angle() -> None:
    rng = np.random.default_rng(1)
    x = patches(rng)
    features = np.sqrt(2) * np.maximum(x @ rng.normal(size=(3, 1_000_000)), 0)
    sizes, phi = angles(x)
    printed = sizes / np.pi * (np.sin(phi) + (np.pi - phi) * np.cos(phi))
    np.testing.assert_allclose(features @ features.T / features.shape[1], printed, atol=5e-3 * printed.max())


@pytest.mark.parametrize("folder", sorted(path.parent for path in _RESULTS.glob("reproduce-*/width.json")))
def test_claim_6_the_exponents_follow_from_the_stored_histories(folder: Path) -> None:
    """Least squares through the logarithms of the change of the hidden weights, at the three widest networks, of every
    seed by itself; Student's interval over the five seeds."""
    content = json.loads((folder / "width.json").read_text())
    with np.load(folder / "width.npz") as arrays:
        found: dict[int, dict[int, float]] = {}
        for index, history in zip(arrays["hidden_l2.0.parts"], arrays["hidden_l2.0"], strict=True):
            settings = content["parts"][index]["settings"]
            if settings["optimizer"] == "gd" and np.isfinite(history[-1]):
                found.setdefault(settings["width"], {})[settings["seed"]] = float(history[-1])
    widths = sorted(found)[-3:]
    seeds = sorted(set.intersection(*(set(found[width]) for width in widths)))
    logarithms = np.log([[found[width][seed] for seed in seeds] for width in widths])
    exponents = np.polyfit(np.log(widths), logarithms, 1)[0]
    quantile = {3: 4.303, 5: 2.776, 10: 2.262}[len(seeds)]  # of Student's t, 97.5 %
    reach = quantile * exponents.std(ddof=1) / np.sqrt(len(seeds))
    mean = exponents.mean()
    verdict = next(v for v in content["verdicts"] if v["claim"] == 6 and "gradient descent" in v["statement"])
    assert f"a = {mean:.2f} [{mean - reach:.2f}, {mean + reach:.2f}] " in verdict["ours"]
