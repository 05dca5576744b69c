"""Eigenpairs and degrees of freedom against dense eigendecompositions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntk_nonlocal.linalg import degrees_of_freedom, eigenpairs
from ntk_nonlocal.linalg.eigen import largest_eigenvalue
from ntk_nonlocal.operators import DenseOperator, ScaledOperator

SPECTRA = {
    "fast decay": 10.0 ** -np.linspace(0, 12, 64),
    "slow decay": 1 / np.arange(1, 65.0),
    "flat": np.linspace(1, 0.5, 64),
    "multiple": np.repeat([2.0, 1.0, 0.1], [12, 20, 32]),
    "rank-deficient": np.r_[1 / np.arange(1, 7.0), np.zeros(58)],
    "identity": np.ones(64),
}


def dense(spectrum: np.ndarray, dtype: type = np.float64) -> DenseOperator:
    basis, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(64, 64)))
    matrix = (basis * spectrum) @ basis.T
    return DenseOperator(jnp.asarray((matrix + matrix.T) / 2, dtype), (8, 8))


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("dtype, digits", [(np.float32, 1e-5), (np.float64, 1e-9)])
def test_eigenpairs_are_the_largest_ones(name: str, dtype: type, digits: float) -> None:
    with jax.enable_x64(True):
        op = dense(SPECTRA[name], dtype)
        found = eigenpairs(op, 10)
        vectors = np.asarray(found.vectors, np.float64)
        matrix = np.asarray(op.matrix, np.float64)
    assert np.allclose(found.values, SPECTRA[name][:10], atol=digits)
    assert np.allclose(vectors.T @ vectors, np.eye(10), atol=10 * digits)
    true = np.linalg.norm(matrix @ vectors - vectors * found.values, axis=0)
    assert (true < 10 * digits).all()
    assert np.allclose(true, found.residuals, atol=digits)


def test_all_eigenpairs_of_a_small_kernel() -> None:
    with jax.enable_x64(True):
        found = eigenpairs(dense(SPECTRA["slow decay"]), 64)
    assert np.allclose(found.values, SPECTRA["slow decay"], atol=1e-12)


def test_eigenpairs_of_a_kernel_normalised_by_its_degrees() -> None:
    matrix = np.exp(-((np.arange(16)[:, None] - np.arange(16)) ** 2) / 20)
    degrees = jnp.asarray(matrix.sum(axis=1), jnp.float32)
    op = ScaledOperator(DenseOperator(jnp.asarray(matrix, jnp.float32), (4, 4)), 1 / degrees, jnp.ones(16))
    found = eigenpairs(op, 3)
    assert found.values[0] == pytest.approx(1, abs=1e-5)  # rows that sum to one
    assert np.allclose(np.abs(found.vectors[:, 0]), 0.25, atol=1e-4)
    assert np.allclose(op @ found.vectors, found.vectors * found.values, atol=1e-4)


@pytest.mark.parametrize("name", SPECTRA)
def test_largest_eigenvalue(name: str) -> None:
    assert largest_eigenvalue(dense(SPECTRA[name], np.float32)) == pytest.approx(SPECTRA[name][0], rel=1e-5)


def test_largest_eigenvalue_of_nothing_is_zero() -> None:
    assert largest_eigenvalue(DenseOperator(jnp.zeros((16, 16)), (4, 4))) == 0


def test_giving_up_says_what_was_reached() -> None:
    with pytest.warns(RuntimeWarning, match="stopped after 2 products"):
        eigenpairs(dense(SPECTRA["flat"], np.float32), 3, max_products=2)


@pytest.mark.parametrize("step_size", [1.0, 1.8])
@pytest.mark.parametrize("name", SPECTRA)
def test_degrees_of_freedom(name: str, step_size: float) -> None:
    steps = [100, 0, 1, 10]
    spectrum = SPECTRA[name]
    exact = np.array([np.sum(1 - (1 - step_size * spectrum / spectrum[0]) ** t) for t in steps])
    with jax.enable_x64(True):
        op = dense(spectrum)
        all_values = degrees_of_freedom(op, steps, step_size)
        sampled = degrees_of_freedom(op, steps, step_size, probes=12, exact_up_to=0)
    assert np.allclose(all_values.value, exact, atol=1e-9) and (all_values.standard_error == 0).all()
    assert (np.abs(sampled.value - exact) <= 4 * sampled.standard_error + 2e-3 * exact + 1e-9).all()
    assert sampled.value[1] == 0


def test_the_standard_error_is_the_spread_over_seeds() -> None:
    op = dense(SPECTRA["slow decay"], np.float32)
    runs = [degrees_of_freedom(op, [20], probes=6, exact_up_to=0, seed=seed) for seed in range(30)]
    spread = np.std([run.value[0] for run in runs])
    claimed = np.sqrt(np.mean([run.standard_error[0] ** 2 for run in runs]))
    assert 0.6 < spread / claimed < 1.6


@pytest.mark.parametrize("k", [0, 65, -1])
def test_impossible_numbers_of_eigenpairs_are_refused(k: int) -> None:
    with pytest.raises(ValueError, match=r"k must be an integer in 1\.\.64"):
        eigenpairs(dense(SPECTRA["flat"], np.float32), k)


def test_bad_options_are_refused() -> None:
    op = dense(SPECTRA["flat"], np.float32)
    for options in ({"block_size": 0}, {"max_products": 0}, {"tolerance": 2.0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            eigenpairs(op, 1, **options)
    with pytest.raises(ValueError, match="probes must be an integer of at least 2"):
        degrees_of_freedom(op, [1], probes=1)


def test_degrees_of_freedom_that_are_given_up_say_so() -> None:
    kernel = DenseOperator(jnp.diag(jnp.geomspace(1e-4, 1.0, 64)), (8, 8))
    with pytest.warns(RuntimeWarning, match="stopped after 1 products .* raise max_products"):
        degrees_of_freedom(kernel, [1000], exact_up_to=0, max_products=1)
