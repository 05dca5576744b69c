"""The comparison: what it stores is what it says, and its figures are drawn from the stored result alone."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

import ntk_nonlocal as nnl
from ntk_nonlocal import results
from ntk_nonlocal.reproduce import CompareSettings, Comparison, draw_comparison
from ntk_nonlocal.reproduce.compare import logarithmic_steps, theory_steps

_ARCHITECTURE = nnl.vanilla_cnn(kernel_size=3)
_SETTINGS = CompareSettings(_ARCHITECTURE, width=8, steps=30, noise_channels=4, step_size=0.5)


@pytest.fixture(scope="module")
def clean() -> Any:
    return nnl.crop(nnl.example_image(128), (8, 10), center=(30, 56))


@pytest.fixture(scope="module")
def folder(clean: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished comparison on disk."""
    path: Path = tmp_path_factory.mktemp("compare")
    comparison = Comparison(clean, _SETTINGS)
    for _, _, work in comparison.stages():
        work(lambda fraction: None)
    comparison.save(path)
    return path


def test_the_theory_is_the_iteration_with_the_exact_kernel(folder: Path) -> None:
    facts, arrays = results.read_json(folder / "result.json"), results.read_arrays(folder / "arrays.npz")
    y = arrays["noisy"].reshape(-1, 3).astype(np.float64)
    theta = np.asarray(nnl.tangent_kernel(_ARCHITECTURE, arrays["noisy"]).as_matrix(), np.float64)
    network = nnl.to_flax(_ARCHITECTURE, 8, 3)
    z = np.asarray(network.apply(network.init(jax.random.key(0), arrays["noisy"]), arrays["noisy"]), np.float64)
    z = z.reshape(-1, 3)
    eta = 0.5 / np.linalg.eigvalsh(theta)[-1]
    for _ in range(30):
        z = z + eta * theta @ (y - z)
    np.testing.assert_allclose(arrays["image.theory.output"].reshape(-1, 3), z, atol=1e-3)
    theory = facts["inputs"]["image"]["theory"]
    assert theory["psnr_at_end"] == pytest.approx(nnl.psnr(arrays["image.theory.output"], arrays["clean"]), abs=1e-3)


def test_filter_rows_are_those_of_the_filter_after_training(folder: Path) -> None:
    arrays = results.read_arrays(folder / "arrays.npz")
    theta = np.asarray(nnl.tangent_kernel(_ARCHITECTURE, arrays["noisy"]).as_matrix(), np.float64)
    values, vectors = np.linalg.eigh(theta)
    whole = (vectors * (1 - (1 - 0.5 * values / values[-1]) ** 30)) @ vectors.T
    flat = arrays["pixels"] @ [10, 1]
    np.testing.assert_allclose(arrays["image.filter_rows"].reshape(4, -1), whole[flat], atol=2e-3)
    np.testing.assert_allclose(arrays["image.kernel_rows"].reshape(4, -1), theta[flat], rtol=1e-4)
    centring = np.eye(80) - 1 / 80
    centred = (centring @ theta @ centring)[flat]
    np.testing.assert_allclose(
        arrays["image.centred_kernel_rows"].reshape(4, -1), centred, atol=1e-5 * np.abs(theta).max()
    )


def test_gradient_descent_stays_nearer_to_the_theory_the_wider_the_network(clean: Any) -> None:
    distances = []
    for width in (8, 512):
        settings = CompareSettings(_ARCHITECTURE, width=width, steps=10)
        comparison = Comparison(clean, settings)
        for _, _, work in list(comparison.stages())[:3]:
            work(lambda fraction: None)
        distances.append(comparison.facts["inputs"]["image"]["gd"]["distance_to_theory"][-1])
    assert distances[1] < 0.5 * distances[0]


def test_all_methods_start_from_the_same_output_and_use_the_same_steps(folder: Path) -> None:
    facts = results.read_json(folder / "result.json")
    for one in facts["inputs"].values():
        assert one["gd"]["steps"] == one["adam"]["steps"] == logarithmic_steps(30)
        assert one["theory"]["steps"] == theory_steps(30)
        assert one["theory"]["best_psnr"] >= one["theory"]["psnr_at_end"]
        assert (one["gd"]["parameterization"], one["adam"]["parameterization"]) == ("ntk", "standard")
    assert facts["complete"] and facts["environment"]["versions"]["jax"] == jax.__version__


def test_figures_are_whole_and_the_same_every_time(folder: Path) -> None:
    written = draw_comparison(folder)
    assert {path.name for path in written} == {f"{name}.png" for name in ("outputs", "psnr", "kernel", "eigenvectors")}
    before = {path: path.read_bytes() for path in written}
    for path in written:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        assert pixels.std() > 10
        edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (edge == 255).all(), f"something in {path.name} is cut off"
    draw_comparison(folder)
    assert {path: path.read_bytes() for path in written} == before


def test_figures_of_an_unfinished_comparison_are_refused(clean: Any, tmp_path: Path) -> None:
    Comparison(clean, _SETTINGS).save(tmp_path)
    with pytest.raises(ValueError, match="not finished"):
        draw_comparison(tmp_path)


@pytest.mark.parametrize("total", [1, 2, 7, 1000, 10**6])
def test_steps_rise_from_one_to_the_last(total: int) -> None:
    for steps in (logarithmic_steps(total), theory_steps(total)):
        assert steps[0] == 1 and total in steps
        assert all(a < b for a, b in itertools.pairwise(steps))
        assert steps[-1] <= max(total, 10**6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigma": 25.0}, "25/255"),
        ({"sigma": float("nan")}, "sigma"),
        ({"width": 0}, "width must be an integer"),
        ({"steps": 1.5}, "steps must be an integer"),
        ({"step_size": 2.0}, "step_size"),
        ({"optimizer": "adam:learning_rate=0"}, "learning_rate must be a positive number"),
        ({"optimizer": "gd"}, "gd is compared in any case; choose another"),
        ({"seed": -1}, "seed must be an integer"),
    ],
)
def test_settings_are_checked(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CompareSettings(**change)


def test_an_image_that_does_not_fit_the_architecture_is_refused(clean: Any) -> None:
    with pytest.raises(ValueError, match="divisible by 2"):
        Comparison(clean, CompareSettings(nnl.autoencoder(levels=2)))
    with pytest.raises(ValueError, match="same size"):
        Comparison(clean, CompareSettings(nnl.Serial(nnl.Conv(3), nnl.Relu(), nnl.Downsample(), nnl.Conv(1))))
