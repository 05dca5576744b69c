"""Operators compose: every combination is the combination of the matrices, through every entry and transformation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator, cg

from ntk_nonlocal.architecture import Conv, Relu, Serial, vanilla_cnn
from ntk_nonlocal.denoisers import nonlocal_means
from ntk_nonlocal.dynamics import gradient_descent, twicing
from ntk_nonlocal.kernels import nngp_kernel, patch_affinity, tangent_kernel
from ntk_nonlocal.linalg import eigenpairs, nystrom
from ntk_nonlocal.networks import empirical_kernel, to_flax
from ntk_nonlocal.operators import DenseOperator, LinearOperator, ScaledOperator, static_field

SHAPE = (4, 6)
PIXELS = 24
RNG = np.random.default_rng(0)
IMAGE = RNG.random((*SHAPE, 2))
NETWORK = to_flax(Serial(Conv(3), Relu(), Conv(1)), width=5, out_channels=2)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class EverySecond(LinearOperator):
    """x[::2, ::2], from (4, 6) to (2, 3) images: an operator between different images, its transpose from JAX."""

    weight: Any
    domain_shape: tuple[int, ...] = static_field(default=SHAPE)  # type: ignore[misc]
    range_shape: tuple[int, ...] = static_field(default=(2, 3))  # type: ignore[misc]
    is_symmetric = False

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.weight.dtype)

    def _product(self, columns: jax.Array) -> jax.Array:
        image = columns.reshape(*self.domain_shape, -1)
        return self.weight * image[::2, ::2].reshape(6, -1)


def dense(seed: int = 1, *, symmetric: bool = False) -> DenseOperator:
    matrix = np.random.default_rng(seed).normal(size=(PIXELS, PIXELS))
    return DenseOperator(jnp.asarray(matrix @ matrix.T if symmetric else matrix), SHAPE)


def scaled() -> ScaledOperator:
    left, right = (jnp.asarray(np.random.default_rng(s).random(PIXELS)) for s in (2, 3))
    return ScaledOperator(dense(), left, right)


KINDS: dict[str, Callable[[], LinearOperator]] = {
    "dense": dense,
    "scaled": scaled,
    "low rank": lambda: nystrom(dense(symmetric=True), 5),
    "exact": lambda: tangent_kernel(vanilla_cnn(3), IMAGE),
    "exact, window": lambda: nngp_kernel(vanilla_cnn(3), IMAGE, window=3),
    "empirical": lambda: empirical_kernel(NETWORK, NETWORK.init(jax.random.key(0), IMAGE), IMAGE),
    "affinity": lambda: patch_affinity(np.moveaxis(IMAGE, 2, 0), 3, 0.2, 3),
    "non-local means": lambda: nonlocal_means(IMAGE, 3, h=0.3),
    "between images": lambda: EverySecond(jnp.asarray(1.5)),
    "sum": lambda: dense() + tangent_kernel(vanilla_cnn(3), IMAGE) - scaled(),
    "multiple": lambda: -2.5 * dense() / 3,
    "product": lambda: dense() @ scaled() @ dense(4),
    "transposed": lambda: scaled().T @ dense().T,
    "measured kernel": lambda: (a := EverySecond(jnp.asarray(1.5))) @ tangent_kernel(vanilla_cnn(3), IMAGE) @ a.T,
}


@pytest.fixture(params=KINDS)
def op(request: pytest.FixtureRequest, x64: None) -> LinearOperator:
    return KINDS[request.param]()


def matrix_of(op: LinearOperator) -> np.ndarray:
    """By products with unit vectors alone."""
    return np.asarray(op @ np.eye(op.shape[1]), np.float64)


def assert_equal(found: object, expected: object) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11 * max(np.abs(expected).max(initial=0), 1e-300))


def test_an_operator_is_its_matrix_in_every_way(op: LinearOperator) -> None:
    matrix = matrix_of(op)
    count, length = op.shape
    one, many = RNG.normal(size=length), RNG.normal(size=(length, 3))
    left, lefts = RNG.normal(size=count), RNG.normal(size=(3, count))
    assert op.dtype == np.float64
    assert_equal(op @ one, matrix @ one)
    assert_equal(op @ many, matrix @ many)
    assert_equal(op @ np.zeros((length, 0)), np.zeros((count, 0)))
    assert_equal(left @ op, left @ matrix)
    assert_equal(lefts @ op, lefts @ matrix)
    assert_equal(jnp.asarray(lefts) @ op, lefts @ matrix)
    assert_equal(op.T @ left, matrix.T @ left)
    assert_equal(op.T.T @ one, matrix @ one)
    assert_equal(op.rows([count - 1, 0]), matrix[[count - 1, 0]])
    assert_equal(op.diagonal(), np.diagonal(matrix))
    assert_equal(op.as_matrix(), matrix)
    assert_equal(op.T.as_matrix(), matrix.T)
    assert_equal(np.asarray(op), matrix)
    assert np.asarray(op, np.float32).dtype == np.float32
    assert_equal(op.prepared() @ one, matrix @ one)
    if op.is_symmetric:
        assert_equal(matrix, matrix.T)
        assert op.T is op


def test_combinations_are_those_of_the_matrices(op: LinearOperator) -> None:
    matrix, v = matrix_of(op), RNG.normal(size=op.shape[1])
    gram = op.T @ op
    assert gram.shape == (op.shape[1],) * 2
    assert_equal(gram @ v, matrix.T @ (matrix @ v))
    assert_equal(gram.rows([1]), (matrix.T @ matrix)[[1]])
    assert_equal((op + op) @ v, 2 * matrix @ v)
    assert_equal(sum([op, op, op]) @ v, 3 * matrix @ v)
    assert_equal((op - 0.5 * op) @ v, 0.5 * matrix @ v)
    assert_equal((np.float32(2) * op).as_matrix(), 2 * matrix)
    assert_equal((op * np.asarray(3)).diagonal(), 3 * np.diagonal(matrix))
    assert_equal((-op / 4).rows([0]), -matrix[[0]] / 4)


def test_operators_pass_through_transformations(op: LinearOperator) -> None:
    matrix, many = matrix_of(op), RNG.normal(size=(op.shape[1], 2))
    assert_equal(jax.jit(lambda op, v: op @ v)(op, many), matrix @ many)
    assert_equal(jax.vmap(lambda v: op @ v, in_axes=1, out_axes=1)(many), matrix @ many)
    assert_equal(jax.grad(lambda v: jnp.sum((op @ v) ** 2))(many[:, 0]), 2 * matrix.T @ matrix @ many[:, 0])


def test_scipy_takes_operators(op: LinearOperator) -> None:
    matrix, v = matrix_of(op), RNG.normal(size=op.shape[1])
    theirs = aslinearoperator(op)
    assert theirs.dtype == np.float64
    assert_equal(theirs @ v, matrix @ v)
    assert_equal(theirs.matmat(np.eye(op.shape[1])), matrix)
    assert_equal(theirs.rmatvec(np.ones(op.shape[0])), matrix.T @ np.ones(op.shape[0]))
    assert_equal(theirs.H @ np.ones(op.shape[0]), matrix.T @ np.ones(op.shape[0]))


def test_solvers_of_scipy_and_jax_run_on_combinations(x64: None) -> None:
    system = tangent_kernel(vanilla_cnn(3), IMAGE) + 0.1 * DenseOperator(jnp.eye(PIXELS), SHAPE)
    y = RNG.normal(size=PIXELS)
    expected = np.linalg.solve(matrix_of(system), y)
    np.testing.assert_allclose(cg(aslinearoperator(system), y, rtol=1e-12)[0], expected, rtol=1e-6)
    found, _ = jax.scipy.sparse.linalg.cg(lambda v: system @ v, jnp.asarray(y), tol=1e-12)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_factor_of_a_multiple_has_a_gradient(x64: None) -> None:
    op, v = dense(), jnp.asarray(RNG.normal(size=PIXELS))
    found = jax.grad(lambda a: jnp.sum((a * op) @ v))(2.0)
    assert_equal(found, jnp.sum(op @ v))


def test_descent_and_spectra_take_combinations_that_are_symmetric(x64: None) -> None:
    a, b = tangent_kernel(vanilla_cnn(3), IMAGE), nngp_kernel(vanilla_cnn(3), IMAGE)
    mixed = 0.3 * a + 2 * b
    by_matrix = DenseOperator(jnp.asarray(matrix_of(mixed)), SHAPE)
    for op in (mixed, a @ b @ a):
        by_matrix = DenseOperator(jnp.asarray(matrix_of(op)), SHAPE)
        found = gradient_descent(op, IMAGE, [1, 10, 100])
        np.testing.assert_allclose(found, gradient_descent(by_matrix, IMAGE, [1, 10, 100]), atol=1e-8)
    np.testing.assert_allclose(eigenpairs(mixed, 3).values, np.linalg.eigvalsh(matrix_of(mixed))[:-4:-1], rtol=1e-8)
    scaled_twice = 3 * nonlocal_means(IMAGE, 3, h=0.3)
    np.testing.assert_allclose(
        gradient_descent(scaled_twice, IMAGE, [5]), gradient_descent(nonlocal_means(IMAGE, 3, h=0.3), IMAGE, [5])
    )


def test_what_is_not_symmetric_is_refused_by_descent_and_taken_by_twicing(x64: None) -> None:
    op = tangent_kernel(vanilla_cnn(3), IMAGE) @ nonlocal_means(IMAGE, 3, h=0.3)
    with pytest.raises(ValueError, match=r"symmetric kernel is needed.*ProductOperator.*twicing"):
        gradient_descent(op, IMAGE, [1])
    w = nonlocal_means(IMAGE, 3, h=0.3) @ nonlocal_means(IMAGE, 3, h=0.2)
    assert_equal(twicing(w, IMAGE, [1])[0].reshape(PIXELS, 2), matrix_of(w) @ IMAGE.reshape(PIXELS, 2))


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: dense() @ np.ones(5), ValueError, r"4x6 image multiplies vectors of shape \(24,\).*got \(5,\)"),
        (lambda: np.ones(5) @ dense(), ValueError, r"from the left.*\(24,\).*got \(5,\)"),
        (lambda: dense() @ EverySecond(jnp.ones(())), ValueError, "A takes 4x6 images, and B gives 2x3 ones"),
        (lambda: dense() + EverySecond(jnp.ones(())), ValueError, "same images can be added, got 4x6 and 4x6 to 2x3"),
        (lambda: dense() * np.ones(24), TypeError, "one real number.*ScaledOperator"),
        (lambda: 2j * dense(), TypeError, "one real number, got 2j"),
        (lambda: "a" * dense(), TypeError, "one real number, got 'a'"),
        (lambda: dense() + 1, TypeError, "unsupported operand"),
        (lambda: gradient_descent(EverySecond(jnp.ones(())), IMAGE, [1]), ValueError, "4x6 to 2x3.*A @ kernel @ A.T"),
        (lambda: EverySecond(jnp.ones(())).rows([6]), ValueError, "2x3 image lie in 0..5"),
        (lambda: EverySecond(jnp.ones(())) @ np.ones(6), ValueError, "from 4x6 to 2x3 images multiplies"),
        (lambda: (dense() @ dense().T).image_shape, None, ""),
        (lambda: (EverySecond(jnp.ones(())) @ dense()).image_shape, ValueError, "pixels of one image"),
    ],
)
def test_what_does_not_fit_is_said(wrong: Callable[[], object], error: type[Exception] | None, message: str) -> None:
    if error is None:
        wrong()
        return
    with pytest.raises(error, match=message):
        wrong()


def test_a_matrix_that_does_not_fit_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ntk_nonlocal.operators.linear.available_memory", lambda: 2000)
    with pytest.raises(ValueError, match=r"takes .* GiB.*products \(op @ v\)"):
        np.asarray(dense())
