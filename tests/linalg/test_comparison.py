"""Eigenvectors, energy shares, alignments and distances: exact values, and estimates within their standard errors."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest

from ntk_nonlocal.linalg import alignment, energy_shares, leading_eigenvectors, relative_distance
from ntk_nonlocal.operators import DenseOperator

RNG = np.random.default_rng(0)
SHAPE = (5, 8)


def kernel(seed, shape=SHAPE):
    factor = np.random.default_rng(seed).normal(size=(shape[0] * shape[1], 12)) + 0.3
    return DenseOperator(jnp.asarray(factor @ factor.T / 12, jnp.float32), shape)


A, B = kernel(1), kernel(2)
MATRIX_A, MATRIX_B = (np.asarray(k.matrix, np.float64) for k in (A, B))


@pytest.mark.parametrize("centred", [False, True])
def test_leading_eigenvectors_are_those_of_the_covariance(centred):
    features = RNG.normal(size=(*SHAPE, 10)) + 0.5
    found = leading_eigenvectors(features, 3, centered=centred)
    matrix = features.reshape(40, 10)
    matrix = matrix - centred * matrix.mean(axis=1, keepdims=True)
    covariance = matrix @ matrix.T / 10
    vectors = found.vectors.reshape(40, 3)
    np.testing.assert_allclose(covariance @ vectors, vectors * found.values, atol=1e-9)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(found.values, np.linalg.eigvalsh(covariance)[::-1][:3])
    assert found.total == pytest.approx(np.trace(covariance))
    assert all(vectors[np.abs(vectors[:, i]).argmax(), i] > 0 for i in range(3))


def test_energy_shares_grow_to_one_and_see_what_is_in_the_span():
    basis = np.linalg.qr(RNG.normal(size=(40, 40)))[0].reshape(*SHAPE, 40)
    image = RNG.uniform(size=(*SHAPE, 3))
    shares = energy_shares(image, basis)
    assert (np.diff(shares) >= 0).all() and shares[-1] == pytest.approx(1)
    within = np.stack([2 * basis[..., 0], -3 * basis[..., 1]], axis=-1)
    np.testing.assert_allclose(energy_shares(within, basis[..., :2]), [4 / 13, 1])
    constant = np.full((*SHAPE, 1), 1 / np.sqrt(40))
    assert energy_shares(image, constant)[0] > 0.5
    assert energy_shares(image, constant, remove_mean=True)[0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("centred", [False, True])
def test_alignment_is_the_cosine(centred):
    h = np.eye(40) - centred / 40
    a, b = h @ MATRIX_A @ h, h @ MATRIX_B @ h
    expected = np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b)
    found = alignment(A, B, centered=centred)
    assert found.value == pytest.approx(expected, rel=1e-5) and found.standard_error == 0
    assert alignment(A, A, centered=centred).value == pytest.approx(1, abs=1e-6)
    scaled = DenseOperator(3 * A.matrix, SHAPE)
    assert alignment(A, scaled, centered=centred).value == pytest.approx(1, abs=1e-6)


def test_centred_alignment_ignores_a_common_constant():
    shifted = DenseOperator(B.matrix + 100.0, SHAPE)
    assert alignment(A, shifted, centered=True).value == pytest.approx(alignment(A, B, centered=True).value, rel=1e-3)
    assert abs(alignment(A, shifted).value - alignment(A, B).value) > 0.05


def test_relative_distance():
    expected = np.linalg.norm(MATRIX_A - MATRIX_B) / np.linalg.norm(MATRIX_B)
    assert relative_distance(A, B).value == pytest.approx(expected, rel=1e-5)
    assert relative_distance(A, A).value == 0 and relative_distance(A, A).standard_error == 0


@pytest.mark.parametrize("measure", [alignment, relative_distance])
def test_estimates_by_probes_are_unbiased_within_their_standard_error(measure):
    exact = measure(A, B).value
    estimates = [measure(A, B, probes=40, seed=seed) for seed in range(60)]
    scores = [(estimate.value - exact) / estimate.standard_error for estimate in estimates]
    assert 0.7 < np.std(scores) < 1.4 and abs(np.mean(scores)) < 0.5


def test_large_kernels_are_only_multiplied():
    @dataclass(frozen=True, repr=False)
    class Scaled(DenseOperator):
        def __post_init__(self):  # the matrix is never looked at
            pass

        def _product(self, columns):
            assert columns.shape[1] <= 32
            return 2.0 * columns

        def as_matrix(self):
            raise AssertionError

    big = Scaled(jnp.zeros((1, 1)), (64, 64))
    assert alignment(big, big).value == pytest.approx(1)
    assert relative_distance(big, big).value == 0


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"1\.\.10"):
        leading_eigenvectors(np.ones((5, 8, 10)), 11)
    with pytest.raises(ValueError, match=r"features must have shape \(H, W, channels\)"):
        leading_eigenvectors(np.ones((40, 10)))
    with pytest.raises(ValueError, match="same height"):
        energy_shares(np.ones((5, 8, 1)), np.ones((8, 5, 1)))
    with pytest.raises(ValueError, match="orthonormal"):
        energy_shares(np.ones((5, 8, 1)), np.ones((5, 8, 2)))
    with pytest.raises(ValueError, match="no energy"):
        energy_shares(np.ones((5, 8, 1)), np.eye(40)[:, :1].reshape(5, 8, 1), remove_mean=True)
    with pytest.raises(ValueError, match="images of"):
        alignment(A, kernel(1, (8, 5)))
    with pytest.raises(ValueError, match="probes"):
        alignment(A, B, probes=1)
    with pytest.raises(ValueError, match="zero"):
        relative_distance(A, DenseOperator(jnp.zeros((40, 40)), SHAPE))
