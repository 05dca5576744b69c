"""The block Krylov space: defining identities, whatever the spectrum and the start columns."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntk_nonlocal.linalg import BlockKrylov, probe_generator, symmetric_form
from ntk_nonlocal.operators import DenseOperator, ScaledOperator


def dense(spectrum: np.ndarray, side: int, dtype: type = np.float64) -> DenseOperator:
    basis, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(side**2, side**2)))
    matrix = (basis * spectrum) @ basis.T
    return DenseOperator(jnp.asarray((matrix + matrix.T) / 2, dtype), (side, side))


def basis_of(space: BlockKrylov) -> np.ndarray:
    return np.asarray(space.combine(np.eye(space.dimension)))


@pytest.mark.parametrize("dtype, digits", [(np.float32, 2e-6), (np.float64, 1e-13)])
@pytest.mark.parametrize("decay", [0.5, 0.9, 1.0])
def test_basis_is_orthonormal_and_projects_the_kernel(dtype: type, digits: float, decay: float) -> None:
    with jax.enable_x64(True):
        op = dense(decay ** np.arange(64) + np.linspace(0, 1e-3, 64), 8, dtype)
        start = jnp.asarray(np.random.default_rng(0).normal(size=(64, 3)), dtype)
        space = BlockKrylov(op, start)
        for _ in range(9):
            space.extend()
        basis = basis_of(space)
        values, vectors = space.ritz()
        projected = (vectors * values) @ vectors.T
    assert np.allclose(basis.T @ basis, np.eye(space.dimension), atol=digits)
    assert np.allclose(basis.T @ np.asarray(op.matrix) @ basis, projected, atol=digits)
    assert np.allclose(basis[:, : len(space.start)] @ space.start, start, atol=20 * digits)


def test_residuals_are_those_of_the_ritz_vectors() -> None:
    with jax.enable_x64(True):
        op = dense(1 / np.arange(1, 65.0), 8)
        space = BlockKrylov(op, jnp.asarray(np.random.default_rng(0).normal(size=(64, 2))))
        for _ in range(6):
            space.extend()
        values, vectors = space.ritz()
        ritz = basis_of(space) @ vectors
        true = np.linalg.norm(np.asarray(op.matrix) @ ritz - ritz * values, axis=0)
    assert np.allclose(space.residuals(vectors), true, atol=1e-13)


def test_dependent_and_zero_columns_cost_nothing() -> None:
    with jax.enable_x64(True):
        column = np.random.default_rng(0).random((64, 1))
        start = jnp.asarray(np.concatenate([column, 3 * column, 0 * column], axis=1))
        space = BlockKrylov(dense(np.arange(1, 65.0), 8), start)
        assert space.width == 1
        space.extend()
        assert np.allclose(np.asarray(space.combine(space.start)), start)


def test_an_invariant_space_ends_by_itself() -> None:
    with jax.enable_x64(True):
        space = BlockKrylov(dense(np.repeat([3.0, 1.0, 0.0], [2, 30, 32]), 8), jnp.eye(64)[:, :1])
        for _ in range(10):
            space.extend()
    assert space.exhausted and space.products <= 3


def test_probes_are_not_the_noise_of_the_same_seed() -> None:
    noise = np.random.default_rng(0).normal(size=10000)
    assert abs(np.corrcoef(noise, probe_generator(0).normal(size=10000))[0, 1]) < 0.05
    assert abs(np.corrcoef(noise, probe_generator(0).integers(0, 2, 10000))[0, 1]) < 0.05


def test_a_scaled_kernel_is_similar_to_its_symmetric_form() -> None:
    with jax.enable_x64(True):
        op = dense(np.linspace(0.1, 2, 16), 4)
        rng = np.random.default_rng(0)
        left, right, outer = (jnp.asarray(rng.uniform(0.5, 2, 16)) for _ in range(3))
        scaled = ScaledOperator(ScaledOperator(op, left, right), outer, right)
        symmetric, scale = symmetric_form(scaled)
        assert scale is not None
        matrix = symmetric.as_matrix()
        assert np.allclose(matrix, matrix.T)
        assert np.allclose(scale[:, None] * matrix / scale[None, :], scaled.as_matrix())


def test_scales_may_vanish_only_where_the_kernel_does() -> None:
    matrix = np.eye(4, dtype=np.float32)
    matrix[2, 2] = 0
    left, right = jnp.asarray([1.0, 2.0, 0.0, 1.0]), jnp.ones(4)
    symmetric_form(ScaledOperator(DenseOperator(jnp.asarray(matrix), (2, 2)), left, right))
    with pytest.raises(ValueError, match="positive scales"):
        symmetric_form(ScaledOperator(DenseOperator(jnp.eye(4), (2, 2)), left, right))
