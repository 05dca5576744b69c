"""Nystrom approximations: exact where the rank suffices, below the kernel everywhere, with honest errors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntk_nonlocal.dynamics import gradient_descent
from ntk_nonlocal.linalg import approximation_error, nystrom
from ntk_nonlocal.linalg.low_rank import LowRankOperator
from ntk_nonlocal.operators import DenseOperator, ScaledOperator


def dense(spectrum: np.ndarray, dtype: type = np.float32) -> DenseOperator:
    basis, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(64, 64)))
    matrix = (basis * spectrum) @ basis.T
    return DenseOperator(jnp.asarray((matrix + matrix.T) / 2, dtype), (8, 8))


DECAY = 0.7 ** np.arange(64)


@pytest.mark.parametrize("sampling", ["columns", "gaussian"])
@pytest.mark.parametrize("dtype, digits", [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_a_kernel_of_lower_rank_is_recovered(sampling: str, dtype: type, digits: float) -> None:
    with jax.enable_x64(True):
        op = dense(np.r_[np.linspace(2, 1, 6), np.zeros(58)], dtype)
        found = nystrom(op, 12, sampling)
        assert found.factor.shape == (64, 12)
        assert np.abs(found.as_matrix() - op.matrix).max() < 3 * digits


def test_columns_follow_the_formula() -> None:
    with jax.enable_x64(True):
        op = dense(0.9 ** np.arange(64), np.float64)
        found = np.asarray(nystrom(op, 10, "columns", seed=3).as_matrix())
        matrix = np.asarray(op.matrix)
    exact = np.flatnonzero(np.abs(np.diag(found) - np.diag(matrix)) < 1e-10)  # the drawn pixels are reproduced
    assert len(exact) == 10
    inner = np.linalg.pinv(matrix[np.ix_(exact, exact)])
    assert np.allclose(found, matrix[:, exact] @ inner @ matrix[exact], atol=1e-9)


@pytest.mark.parametrize("sampling", ["columns", "gaussian"])
@pytest.mark.parametrize("rank", [1, 8, 64])
def test_it_never_exceeds_the_kernel(sampling: str, rank: int) -> None:
    op = dense(DECAY)
    missing = np.asarray(op.matrix - nystrom(op, rank, sampling).as_matrix(), np.float64)
    assert np.linalg.eigvalsh(missing)[0] > -1e-5


def test_a_random_block_is_near_the_best_approximation_of_its_rank() -> None:
    op = dense(DECAY)
    missing = np.asarray(op.matrix - nystrom(op, 20, "gaussian").as_matrix(), np.float64)
    # The expected trace error is within 1 + k / (rank - k - 1) of the tail beyond k (Tropp et al. 2017, theorem 4.1).
    assert np.trace(missing) < 3 * DECAY[10:].sum()
    assert np.trace(missing) >= DECAY[20:].sum() - 1e-5


@pytest.mark.parametrize("sampling", ["columns", "gaussian"])
def test_the_error_is_estimated_within_its_standard_error(sampling: str) -> None:
    op = dense(DECAY)
    found = nystrom(op, 6, sampling)
    missing = np.asarray(op.matrix - found.as_matrix(), np.float64)
    errors = approximation_error(op, found, probes=32)
    trace = np.trace(missing) / np.trace(op.matrix)
    frobenius = np.linalg.norm(missing) / np.linalg.norm(op.matrix)
    assert abs(errors.trace.value - trace) < 4 * errors.trace.standard_error
    assert abs(errors.frobenius.value - frobenius) < 4 * errors.frobenius.standard_error
    assert errors.trace.standard_error < 0.5 * trace and errors.frobenius.standard_error < 0.5 * frobenius


@pytest.mark.parametrize("given", [None, 1.5])
@pytest.mark.parametrize("starts", [False, True])
def test_closed_form_descent_agrees_with_the_krylov_space(given: float | None, starts: bool) -> None:
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        low, y = nystrom(dense(DECAY, np.float64), 12), rng.random((8, 8, 3))
        start = rng.random((8, 8, 3)) if starts else None
        steps = [10**6, 0, 1, 30]
        direct = low.gradient_descent(y, steps, 0.9, start, given)
        krylov = gradient_descent(low, y, steps, 0.9, start, lambda_max=given)
    assert np.allclose(direct, krylov, rtol=0, atol=1e-8)


def test_operator_forms_agree_and_pass_through_jit() -> None:
    low = LowRankOperator(jnp.asarray(np.random.default_rng(0).normal(size=(12, 3)), jnp.float32), (3, 4))
    matrix = np.asarray(low.factor) @ np.asarray(low.factor).T
    v = np.random.default_rng(1).normal(size=(12, 2))
    assert low.rank == 3 and low.shape == (12, 12)
    assert np.allclose(jax.jit(lambda op, u: op @ u)(low, v), matrix @ v, atol=1e-5)
    assert np.allclose(low.as_matrix(), matrix, atol=1e-5)
    assert np.allclose(low.rows([2, 7]), matrix[[2, 7]], atol=1e-5)
    assert np.allclose(low.diagonal(), np.diag(matrix), atol=1e-5)


def test_zero_kernels_stay_zero() -> None:
    low = nystrom(DenseOperator(jnp.zeros((16, 16)), (4, 4)), 3)
    y = np.ones((4, 4, 1), np.float32)
    assert (low.factor == 0).all()
    assert np.array_equal(low.gradient_descent(y, [1, 5], start=2 * y), 2 * np.stack([y, y]))
    assert approximation_error(low, low).trace.value == 0


def test_the_seed_decides() -> None:
    op = dense(DECAY)
    for sampling in ("columns", "gaussian"):
        first, again, other = (nystrom(op, 5, sampling, seed=seed).factor for seed in (0, 0, 1))
        assert np.array_equal(first, again) and not np.allclose(first, other)


def test_bad_input_is_refused() -> None:
    op = dense(DECAY)
    for rank in (0, 65):
        with pytest.raises(ValueError, match=r"rank must be an integer in 1\.\.64"):
            nystrom(op, rank)
    with pytest.raises(ValueError, match="sampling must be"):
        nystrom(op, 3, "rows")
    with pytest.raises(ValueError, match="symmetric kernel"):
        nystrom(ScaledOperator(op, jnp.full(64, 2.0), jnp.ones(64)), 3)
    with pytest.raises(ValueError, match="not positive semi-definite"):
        nystrom(dense(-DECAY), 3)
    with pytest.raises(ValueError, match="not finite"):
        nystrom(DenseOperator(jnp.full((4, 4), jnp.nan), (2, 2)), 2)
    with pytest.raises(ValueError, match="probes"):
        approximation_error(op, op, probes=1)
    with pytest.raises(ValueError, match="images of"):
        approximation_error(op, nystrom(DenseOperator(jnp.eye(64), (4, 16)), 2))
    with pytest.raises(ValueError, match="lambda_max"):
        nystrom(op, 3).gradient_descent(np.ones((8, 8, 1)), [1], lambda_max=0.1)
