"""What the page holds of a filter: as near to the exact one as it says, and the estimates as good as exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ntk_nonlocal as nnl
from ntk_nonlocal.explore import build
from ntk_nonlocal.explore.stored import filtered, interpolation

from .pages import KERNELS, SIGMA, STEPS, Made


@pytest.mark.parametrize("name", KERNELS)
def test_the_error_of_a_row_is_at_least_the_true_one(made: Made, name: str) -> None:
    stored = made.explorer.filters[name]
    height, width, _ = stored.image_shape
    assert stored.rank < height * width / 2
    exact = made.exact(name)
    for step in STEPS:
        truth = exact(step)
        for pixel in range(0, height * width, 13):
            row, column = divmod(pixel, width)
            missed = np.abs(stored.weights(row, column, step) - truth[pixel]).max()
            for largest in (np.abs(truth[pixel]).max(), np.abs(stored.weights(row, column, step)).max()):
                assert missed <= stored.error(row, column, step) * largest


def test_errors_are_small_where_few_patterns_count(made: Made) -> None:
    early = [made.explorer.filters["autoencoder-ntk-image"].error(8, 8, step) for step in (1, 10)]
    late = [made.explorer.filters["vanilla-ntk-noise"].error(8, 8, step) for step in (10**5, 10**6)]
    assert max(early) < 0.25 and max(late) < 0.05


@pytest.mark.parametrize("name", KERNELS)
def test_estimates_and_their_quality_are_those_of_the_whole_kernel(made: Made, name: str) -> None:
    stored = made.explorer.filters[name]
    exact = made.exact(name)
    for step in STEPS[:-1] if name.startswith("empirical") else STEPS:
        truth = (exact(step) @ made.noisy.reshape(-1, 3)).reshape(made.noisy.shape)
        assert nnl.psnr(stored.estimate(step), made.clean) == pytest.approx(nnl.psnr(truth, made.clean), abs=0.01)


def test_interpolation_in_time_is_exact_at_its_steps_and_good_between() -> None:
    assert interpolation(73, 10.0) @ np.arange(73.0) == pytest.approx(12)
    steps = 10 ** np.linspace(0, 6, 73)
    for x in (1e-6, 1e-3, 0.5):
        knots = np.array([filtered(x, step) for step in steps])
        for step in (1, 3, 47, 12345, 10**6):
            assert interpolation(73, step) @ knots == pytest.approx(float(filtered(x, step)), abs=1e-4)


def test_the_same_seed_gives_the_same_kernel() -> None:
    noisy = nnl.add_noise(nnl.example_image(16), SIGMA).astype("float32")
    first, second = (np.asarray(build("vanilla-ntk-noise", noisy, SIGMA, 3).rows([5])) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernels": "nlm,vanila-ntk-image"}, "did you mean 'vanilla-ntk-image'"),
        ({"kernels": ()}, "at least one"),
        ({"kernels": ("nlm", "nlm")}, "different names"),
        ({"noisy": np.zeros((8, 8, 3))}, "16x16"),
        ({"noisy": np.zeros((17, 16, 3)), "kernels": "unet-ntk-image"}, "17"),
        ({"clean": np.zeros((16, 16, 1))}, "shape of noisy"),
        ({"sigma": 25}, "sigma"),
        ({"path": "nowhere/page.html"}, "a folder that exists"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(changes: dict[str, Any], message: str) -> None:
    given = {"noisy": np.zeros((16, 16, 3)), "sigma": 0.1, "kernels": "nlm"} | changes
    with pytest.raises(ValueError, match=message):
        nnl.explore(given.pop("noisy"), **given)


def test_the_function_and_the_package_live_beside_each_other() -> None:
    import subprocess
    import sys

    for other, name in (("ntk_nonlocal.explore", "nnl.explore"), ("ntk_nonlocal.explore.stored", "nnl.explore")):
        code = f"import ntk_nonlocal as nnl, {other}; from ntk_nonlocal.explore import KERNELS; print({name}.__name__)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "explore"
    assert callable(nnl.explore) and Path(nnl.explore.__code__.co_filename).name == "explorer.py"
