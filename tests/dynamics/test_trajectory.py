"""Gradient descent from one Krylov space against plain iteration and dense eigendecompositions."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntk_nonlocal.dynamics import gradient_descent, trajectory
from ntk_nonlocal.operators import DenseOperator, LinearOperator, ScaledOperator

SIDE = 8
PIXELS = SIDE**2
STEPS = [0, 1, 3, 30, 1000, 10**5, 10**6]

SPECTRA = {
    "fast decay": 10.0 ** -np.linspace(0, 12, PIXELS),
    "slow decay": 1 / np.arange(1, PIXELS + 1.0),
    "flat": np.linspace(0.5, 1, PIXELS),
    "clustered": np.repeat([1.0, 0.1, 1e-3], [2, 30, 32]),
    "rank-deficient": np.r_[1 / np.arange(1, 11.0) ** 2, np.zeros(PIXELS - 10)],
    "one dominates": np.r_[1.0, 1e-4 / np.arange(1, PIXELS)],
}


def matrix_with(spectrum: np.ndarray) -> np.ndarray:
    basis, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(PIXELS, PIXELS)))
    matrix = 7.3 * (basis * spectrum) @ basis.T
    return (matrix + matrix.T) / 2


def image(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(2).random((SIDE, SIDE, channels))


def noisy_picture(side: int) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side] / side
    return 0.5 + 0.3 * np.sin(6 * rows) * np.cos(4 * columns) + 0.1 * np.random.default_rng(0).normal(size=(side, side))


def arc_cosine_matrix(side: int) -> np.ndarray:
    """The NNGP kernel of one hidden layer of 3x3 filters on a noisy picture."""
    padded = np.pad(noisy_picture(side), 1)
    patches = np.stack([padded[a : a + side, b : b + side].ravel() for a in range(3) for b in range(3)], axis=1)
    norms = np.linalg.norm(patches, axis=1)
    cosine = np.clip(patches @ patches.T / np.outer(norms, norms), -1, 1)
    angle = np.arccos(cosine)
    return np.outer(norms, norms) / np.pi * (np.sin(angle) + (np.pi - angle) * cosine)


def by_eigenvectors(matrix: np.ndarray, y: np.ndarray, steps: list[int]) -> np.ndarray:
    """z(t) from all eigenvectors of a symmetric matrix, in float64."""
    values, vectors = np.linalg.eigh(np.asarray(matrix, np.float64))
    x = np.clip(values / values[-1], 0, 1 - 1e-16)
    seen = vectors.T @ y.reshape(len(x), -1)
    factors = [-np.expm1(t * np.log1p(-x[:, None])) for t in steps]
    return np.stack([(vectors @ (factor * seen)).reshape(y.shape) for factor in factors])


def by_iteration(matrix: np.ndarray, y: np.ndarray, steps: list[int], eta: float, start: Any = 0.0) -> np.ndarray:
    target = y.reshape(len(matrix), -1)
    estimate = np.zeros_like(target) + np.reshape(start, target.shape if np.ndim(start) else ())
    found = {0: estimate}
    for step in range(1, max(steps) + 1):
        estimate = estimate + eta * matrix @ (target - estimate)
        found[step] = estimate
    return np.stack([found[t].reshape(y.shape) for t in steps])


def relative(found: Any, expected: np.ndarray) -> np.ndarray:
    difference = np.asarray(found, np.float64) - expected
    sizes = np.sqrt(np.sum(expected**2, axis=(1, 2, 3)))
    return np.sqrt(np.sum(difference**2, axis=(1, 2, 3))) / np.where(sizes > 0, sizes, 1)


class CountingKernel(LinearOperator):
    """A dense kernel that notes the columns of every product."""

    def __init__(self, matrix: np.ndarray, side: int = SIDE) -> None:
        self.kernel = DenseOperator(jnp.asarray(matrix), (side, side))
        self.image_shape = self.kernel.image_shape
        self.calls: list[int] = []

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.kernel.dtype

    def _product(self, columns: jax.Array) -> jax.Array:
        self.calls.append(columns.shape[1])
        return self.kernel @ columns


@pytest.mark.parametrize("name", SPECTRA)
def test_float64_agrees_with_all_eigenvectors_to_1e9_up_to_a_million_steps(name: str) -> None:
    matrix = matrix_with(SPECTRA[name])
    with jax.enable_x64(True):
        found = gradient_descent(DenseOperator(jnp.asarray(matrix), (SIDE, SIDE)), image(), STEPS)
    assert found.shape == (len(STEPS), SIDE, SIDE, 3) and found.dtype == np.float64
    assert relative(found, by_eigenvectors(matrix, image(), STEPS)).max() < 1e-9


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("step_size", [0.3, 1.0, 1.9])
def test_float64_agrees_with_plain_iteration(name: str, step_size: float) -> None:
    matrix = matrix_with(SPECTRA[name])
    steps = [300, 0, 1, 7, 7]
    eta = step_size / np.linalg.eigvalsh(matrix)[-1]
    with jax.enable_x64(True):
        found = gradient_descent(DenseOperator(jnp.asarray(matrix), (SIDE, SIDE)), image(), steps, step_size)
    assert relative(found, by_iteration(matrix, image(), steps, eta)).max() < 1e-9


@pytest.mark.parametrize("name", SPECTRA)
def test_float32_agrees_to_1e4_for_any_spectrum_up_to_300_steps(name: str) -> None:
    matrix = matrix_with(SPECTRA[name]).astype(np.float32)
    y, steps = image().astype(np.float32), [0, 1, 10, 300]
    found = gradient_descent(DenseOperator(jnp.asarray(matrix), (SIDE, SIDE)), y, steps)
    assert found.dtype == np.float32
    assert relative(found, by_eigenvectors(matrix, y.astype(np.float64), steps)).max() < 1e-4


def test_float32_agrees_to_1e4_up_to_a_million_steps_for_an_image_kernel() -> None:
    matrix = arc_cosine_matrix(16).astype(np.float32)
    y = noisy_picture(16)[..., None].astype(np.float32)
    found = gradient_descent(DenseOperator(jnp.asarray(matrix), (16, 16)), y, STEPS)
    assert relative(found, by_eigenvectors(matrix, y.astype(np.float64), STEPS)).max() < 1e-4


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_error_estimate_covers_the_error(name: str, dtype: type) -> None:
    matrix, y = matrix_with(SPECTRA[name]).astype(dtype), image().astype(dtype)
    with jax.enable_x64(True):
        built = trajectory(DenseOperator(jnp.asarray(matrix), (SIDE, SIDE)), y, steps=STEPS)
        errors = relative(built.estimates(STEPS), by_eigenvectors(matrix, y.astype(np.float64), STEPS))
    epsilon = float(np.finfo(dtype).eps)
    assert (errors <= 3 * built.error_estimate(STEPS) + 50 * epsilon).all()


@pytest.mark.parametrize("products", [3, 6, 10])
def test_the_error_of_a_space_that_is_too_small_is_estimated(products: int) -> None:
    matrix = matrix_with(SPECTRA["slow decay"])
    steps = [20, 100]
    with jax.enable_x64(True), pytest.warns(RuntimeWarning, match=f"stopped after {products} products"):
        built = trajectory(
            DenseOperator(jnp.asarray(matrix), (SIDE, SIDE)), image(), steps=steps, max_products=products
        )
        errors = relative(built.estimates(steps), by_eigenvectors(matrix, image(), steps))
    assert not built.converged
    assert (errors <= built.error_estimate(steps)).all()
    assert (built.error_estimate(steps) < 300 * errors).all()


def test_one_product_per_step_with_all_channels_in_it() -> None:
    op = CountingKernel(matrix_with(SPECTRA["fast decay"]).astype(np.float32))
    seen: list[tuple[int, int]] = []
    built = trajectory(op, image(), steps=[1, 100, 1000], progress=lambda done, total: seen.append((done, total)))
    assert op.calls == [4] * built.products
    assert built.dimension <= 4 * built.products
    assert [done for done, _ in seen] == list(range(1, built.products + 1))
    assert all(total >= done for done, total in seen) and seen[-1][1] == built.products
    before = len(op.calls)
    built.estimates(range(0, 1000, 50))
    built.flow([0.5, 3.0])
    assert len(op.calls) == before


def test_fewer_products_for_fewer_steps_and_a_larger_tolerance() -> None:
    op = DenseOperator(jnp.asarray(arc_cosine_matrix(16), jnp.float32), (16, 16))
    y = np.random.default_rng(2).random((16, 16, 1)).astype(np.float32)
    exact = trajectory(op, y, steps=[1000]).products
    assert trajectory(op, y, steps=[10]).products < exact
    assert trajectory(op, y, steps=[1000], tolerance=1e-2).products < exact


def test_starting_from_a_given_output() -> None:
    matrix, y, start = matrix_with(SPECTRA["slow decay"]), image(), image()[::-1] - 0.5
    steps = [0, 1, 50]
    with jax.enable_x64(True):
        found = gradient_descent(DenseOperator(jnp.asarray(matrix), (SIDE, SIDE)), y, steps, start=start)
    eta = 1 / np.linalg.eigvalsh(matrix)[-1]
    assert relative(found, by_iteration(matrix, y, steps, eta, start)).max() < 1e-9
    assert np.array_equal(found[0], start)


def test_a_start_that_is_y_stays() -> None:
    op = DenseOperator(jnp.asarray(matrix_with(SPECTRA["flat"]), jnp.float32), (SIDE, SIDE))
    y = image().astype(np.float32)
    assert np.array_equal(gradient_descent(op, y, [0, 10, 1000], start=y), np.stack([y] * 3))


@pytest.mark.parametrize("probes, lambda_max", [(1, None), (0, 1.0)])
def test_zero_images_and_zero_kernels_stay_zero(probes: int, lambda_max: float | None) -> None:
    for matrix, y in [(np.zeros((PIXELS, PIXELS)), image()), (matrix_with(SPECTRA["flat"]) / 8, 0 * image())]:
        op = DenseOperator(jnp.asarray(matrix, jnp.float32), (SIDE, SIDE))
        built = trajectory(op, y, steps=[0, 5], probes=probes, lambda_max=lambda_max)
        assert np.abs(built.estimates([0, 5])).max() < 1e-25


def test_a_constant_kernel_gives_the_mean() -> None:
    op = DenseOperator(jnp.ones((PIXELS, PIXELS)), (SIDE, SIDE))
    y = image().astype(np.float32)
    found = np.asarray(gradient_descent(op, y, [1, 100]))
    assert np.allclose(found, np.broadcast_to(y.mean(axis=(0, 1)), found.shape), atol=1e-5)


def test_lambda_max_is_found_where_y_does_not_show_it() -> None:
    matrix = matrix_with(SPECTRA["slow decay"])
    values, vectors = np.linalg.eigh(matrix)
    y = vectors[:, :5].sum(axis=1).reshape(SIDE, SIDE, 1)  # without the leading eigenvectors
    with jax.enable_x64(True):
        built = trajectory(DenseOperator(jnp.asarray(matrix), (SIDE, SIDE)), y, steps=[20])
        assert relative(built.estimates([20]), by_eigenvectors(matrix, y, [20])).max() < 1e-9
    assert built.lambda_max == pytest.approx(values[-1], rel=1e-9)


def test_a_given_lambda_max_sets_the_step() -> None:
    matrix, y = matrix_with(SPECTRA["slow decay"]), image()
    with jax.enable_x64(True):
        op = DenseOperator(jnp.asarray(matrix), (SIDE, SIDE))
        found = gradient_descent(op, y, [40], lambda_max=20.0)
        assert relative(found, by_iteration(matrix, y, [40], 1 / 20.0)).max() < 1e-9
        with pytest.raises(ValueError, match="is too small: the kernel has"):
            gradient_descent(op, y, [40], lambda_max=2.0)


@pytest.mark.parametrize("which", ["D^-1 K", "K D^-1", "D^-1/2 K D^-1/2", "black pixels"])
def test_kernels_normalised_by_their_degrees(which: str) -> None:
    matrix = arc_cosine_matrix(SIDE)
    if which == "black pixels":
        matrix[:3] = matrix[:, :3] = 0
    with jax.enable_x64(True):
        degrees = jnp.asarray(matrix.sum(axis=1))
        inverse = jnp.where(degrees > 0, 1 / jnp.where(degrees > 0, degrees, 1), 0)
        one = jnp.ones(PIXELS)
        scales = {"K D^-1": (one, inverse), "D^-1/2 K D^-1/2": (jnp.sqrt(inverse), jnp.sqrt(inverse))}
        op = ScaledOperator(DenseOperator(jnp.asarray(matrix), (SIDE, SIDE)), *scales.get(which, (inverse, one)))
        full = np.asarray(op.as_matrix())
        eta = 1 / np.abs(np.linalg.eigvals(full)).max()
        for start in (None, image()[::-1]):
            built = trajectory(op, image(), steps=[1, 200], start=start)
            expected = by_iteration(full, image(), [1, 200], eta, 0.0 if start is None else start)
            assert relative(built.estimates([1, 200]), expected).max() < 1e-9
            energy = np.sum((expected - image()) ** 2, axis=(1, 2))
            assert np.allclose(built.residual_energy(lambda x: 1 - (1 - x) ** np.array([[1], [200]])), energy)


def test_gradient_flow_is_the_matrix_exponential() -> None:
    matrix, y = matrix_with(SPECTRA["slow decay"]), image()
    values, vectors = np.linalg.eigh(matrix)
    times = [0.0, 0.7, 25.0]
    seen = vectors.T @ y.reshape(PIXELS, -1)
    factors = [1 - np.exp(-time * values[:, None] / values[-1]) for time in times]
    expected = np.stack([(vectors @ (factor * seen)).reshape(y.shape) for factor in factors])
    with jax.enable_x64(True):
        built = trajectory(DenseOperator(jnp.asarray(matrix), (SIDE, SIDE)), y, steps=[100])
        assert relative(built.flow(times), expected).max() < 1e-9
        with pytest.raises(ValueError, match="times must be"):
            built.flow([-1.0])


@pytest.mark.parametrize("nesterov, step_size", [(False, 1.0), (False, 3.0), (True, 1.0)])
def test_momentum_agrees_with_plain_iteration(nesterov: bool, step_size: float) -> None:
    matrix, y, start = matrix_with(SPECTRA["slow decay"]), image(), image()[::-1]
    eta, momentum, target = step_size / np.linalg.eigvalsh(matrix)[-1], 0.8, y.reshape(PIXELS, -1)
    found, before = start.reshape(PIXELS, -1), start.reshape(PIXELS, -1)
    iterates = [found]
    for _ in range(60):
        moved = found + momentum * (found - before)
        found, before = moved + eta * matrix @ (target - (moved if nesterov else found)), found
        iterates.append(found)
    steps = [60, 0, 1, 2, 17]
    with jax.enable_x64(True):
        built = trajectory(DenseOperator(jnp.asarray(matrix), (SIDE, SIDE)), y, steps=[5000], start=start)
        estimates = built.momentum(steps, step_size, momentum, nesterov)
        expected = np.stack([iterates[t].reshape(y.shape) for t in steps])
        assert relative(estimates, expected).max() < 1e-9
        with pytest.raises(ValueError, match="step_size"):
            built.momentum(steps, 1.9 if nesterov else 3.7, momentum, nesterov)
        with pytest.raises(ValueError, match="momentum"):
            built.momentum(steps, 1.0, 1.0)


def test_residual_energy_and_degrees_of_freedom_come_with_the_trajectory() -> None:
    matrix, y = arc_cosine_matrix(16), np.random.default_rng(2).random((16, 16, 2))
    steps = [1, 10, 1000]
    with jax.enable_x64(True):
        built = trajectory(DenseOperator(jnp.asarray(matrix), (16, 16)), y, steps=steps, probes=24)
        freedom = built.degrees_of_freedom(steps)
        energy = built.residual_energy(lambda x: 1 - (1 - x) ** np.array(steps)[:, None])
    values = np.linalg.eigvalsh(matrix)
    exact = [np.sum(1 - (1 - np.clip(values / values[-1], 0, 1)) ** t) for t in steps]
    assert (np.abs(freedom.value - exact) < 4 * freedom.standard_error).all()
    assert (freedom.standard_error < 0.3 * np.array(exact)).all()
    assert np.allclose(energy, np.sum((by_eigenvectors(matrix, y, steps) - y) ** 2, axis=(1, 2)))
    with pytest.raises(ValueError, match="at least 2 probes"):
        trajectory(DenseOperator(jnp.asarray(matrix, jnp.float32), (16, 16)), y).degrees_of_freedom([1])


def test_non_square_images_keep_their_axes() -> None:
    with jax.enable_x64(True):
        op = DenseOperator(jnp.asarray(matrix_with(SPECTRA["slow decay"])), (4, 16))
        y = np.random.default_rng(3).random((4, 16, 1))
        found = gradient_descent(op, y, [9])
        assert relative(found, by_eigenvectors(np.asarray(op.matrix), y, [9])).max() < 1e-9


def test_a_kernel_that_is_not_positive_semi_definite_is_refused() -> None:
    op = DenseOperator(jnp.asarray(matrix_with(np.linspace(-0.3, 1, PIXELS)), jnp.float32), (SIDE, SIDE))
    with pytest.raises(ValueError, match="not positive semi-definite"):
        gradient_descent(op, image())


def test_a_kernel_with_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="product is not finite"):
        gradient_descent(DenseOperator(jnp.full((PIXELS, PIXELS), jnp.nan), (SIDE, SIDE)), image())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"steps": []}, "non-empty list of integers"),
        ({"steps": 5}, "non-empty list of integers"),
        ({"steps": [1.5]}, "non-empty list of integers"),
        ({"steps": [-1]}, "0..1000000"),
        ({"steps": [10**6 + 1]}, "0..1000000"),
        ({"step_size": 0.0}, "step_size"),
        ({"step_size": 2.0}, "step_size"),
        ({"step_size": float("nan")}, "step_size"),
        ({"y": image()[..., 0]}, r"y\[..., None\]"),
        ({"y": image()[:4]}, "kernel's shape"),
        ({"y": np.full((SIDE, SIDE, 1), np.nan)}, "not finite"),
        ({"y": image() + 1j}, "real numbers"),
        ({"start": image()[:, :4]}, "start must have"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"max_products": 0}, "max_products"),
        ({"lambda_max": -1.0}, "lambda_max"),
    ],
)
def test_bad_input_is_refused_before_any_product(change: dict[str, Any], message: str) -> None:
    op = CountingKernel(np.eye(PIXELS, dtype=np.float32))
    with pytest.raises(ValueError, match=message):
        gradient_descent(op, **{"y": image(), "steps": [1], **change})
    assert op.calls == []


def test_the_same_seed_gives_the_same_bits() -> None:
    op = DenseOperator(jnp.asarray(arc_cosine_matrix(SIDE), jnp.float32), (SIDE, SIDE))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = (np.asarray(gradient_descent(op, image(), [50], seed=3)) for _ in range(2))
    assert np.array_equal(first, second)


def test_no_probes_need_a_known_largest_eigenvalue() -> None:
    op = DenseOperator(jnp.asarray(matrix_with(SPECTRA["flat"]), jnp.float32), (SIDE, SIDE))
    with pytest.raises(ValueError, match="only where lambda_max is given"):
        trajectory(op, image(), probes=0)
