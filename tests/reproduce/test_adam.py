"""The measurements of the experiment "adam" against explicit Jacobians and the trainings that they stand for."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntk_nonlocal as nnl
from ntk_nonlocal.linalg import alignment
from ntk_nonlocal.reproduce.measures.adapted import cosine
from ntk_nonlocal.reproduce.measures.frozen import (
    RULES,
    Frozen,
    FrozenDescent,
    _exact_path,
    _layer_matrices,
    _path,
    _same_residual,
    joint_kernel,
)
from ntk_nonlocal.reproduce.pictures import Picture
from ntk_nonlocal.reproduce.statistics import plateau

X = np.random.default_rng(0).random((4, 4, 2)).astype(np.float32)
Y = np.random.default_rng(1).random((4, 4, 2)).astype(np.float32)
ARCHITECTURE = nnl.cnn(depth=2)


def frozen(seed: int = 0, width: int = 5) -> Frozen:
    network = nnl.to_flax(ARCHITECTURE, width, 2, "standard")
    return Frozen(network, network.init(jax.random.key(seed), X), jnp.asarray(X), jnp.asarray(Y))


def jacobians(one: Frozen) -> list[np.ndarray]:
    """Of every leaf, (outputs, parameters)."""
    found = jax.jacobian(lambda p: one.network.apply(p, X).reshape(-1))(one.params)
    return [np.asarray(leaf).reshape(32, -1) for leaf in jax.tree.leaves(found)]


@pytest.mark.parametrize("optimizer", RULES)
def test_frozen_features_are_the_linearised_network_trained_by_that_optimizer(optimizer):
    one = frozen()
    outputs, _ = one.descend(optimizer, 1e-3, 12)
    trained = nnl.train(
        nnl.linearize(one.network, one.params), X, Y, optimizer=optimizer, learning_rate=1e-3, steps=12,
        params=one.params, keep_outputs=range(13),
    )  # fmt: skip
    np.testing.assert_allclose(outputs, np.stack(list(trained.outputs.values())), atol=2e-4)


def test_the_joint_kernel_is_that_of_all_colours_with_a_preconditioner_or_without():
    one = frozen()
    divisor = jax.tree.map(lambda leaf: 0.5 + jnp.abs(leaf), one.params)
    for p in (None, divisor):
        weights = [1.0] * 3 if p is None else [1 / np.asarray(leaf).reshape(-1) for leaf in jax.tree.leaves(p)]
        expected = sum((j * w) @ j.T for j, w in zip(jacobians(one), weights, strict=True))
        found = np.asarray(joint_kernel(one.network, one.params, X, p).as_matrix())
        np.testing.assert_allclose(found, expected, atol=1e-4 * expected.max())


def test_the_first_step_of_the_theory_is_its_formula():
    """z - z0 = -rate sum_l kappa_l K_l e / sqrt(e^T K_l e / N_l), constants from another network."""
    one, other = frozen(), frozen(7)
    kappas = other.constants("layer")
    outputs, _ = one.descend("adam", 1e-3, 1, groups="layer", constants=kappas)
    residual = np.asarray(one.start - Y).reshape(-1)
    expected = np.zeros(32)
    for jacobian, kappa in zip(jacobians(one), jax.tree.leaves(kappas), strict=True):
        kernel = jacobian @ jacobian.T
        root = np.sqrt(residual @ kernel @ residual / jacobian.shape[1])
        expected -= 1e-3 * float(kappa.reshape(())) * (kernel @ residual) / root
    np.testing.assert_allclose((outputs[1] - outputs[0]).reshape(-1), expected, rtol=2e-2, atol=2e-6)


def test_a_networks_own_clocks_are_the_constants_at_the_first_step():
    one = frozen()
    _, clocks = one.descend("sign", 1e-3, 1)
    for clock, kappa in zip(
        jax.tree.leaves(clocks[0]), jax.tree.leaves(one.constants("layer")), strict=True
    ):  # fmt: skip
        # sign descent has its own root mean square for every element: |g|, whose mean square is the layer's
        np.testing.assert_allclose(clock, kappa.reshape(()), rtol=1e-4)


def test_columns_of_the_network_itself_give_its_own_path():
    one, other = frozen(), frozen(7)
    own, _ = one.descend("adam", 1e-3, 4)
    np.testing.assert_array_equal(_path("columns", 4, "adam", 1e-3, one, one, []), own)
    theirs = _path("columns", 4, "adam", 1e-3, one, other, [])
    np.testing.assert_array_equal(theirs[0], own[0])
    assert np.abs(theirs[4] - own[4]).max() > 1e-5


@pytest.mark.slow
def test_the_exact_theory_is_the_limit_of_a_networks_own():
    """Mean over draws of the layers' kernels of wide networks, the colours' mean; then one step of the theory."""
    picture = Picture("none", 4, "")
    one = frozen(width=256)
    settings = FrozenDescent(picture, "cnn:depth=2", "image", 256, 1)
    exact = _layer_matrices(settings, one)
    draws = []
    for seed in range(6):
        drawn = frozen(seed, 256)
        parts = [j.reshape(16, 2, -1) for j in jacobians(drawn)]
        draws.append([np.einsum("pcn,qcn->pq", j, j) / 2 for j in parts])
    for own, kernel in zip(np.mean(draws, axis=0), exact, strict=True):
        assert np.linalg.norm(own - kernel) < 0.1 * np.linalg.norm(kernel)
    path = _exact_path("sign", 1e-5, 1, one, np.asarray(one.start), exact)
    finite, _ = one.descend("sign", 1e-5, 1, groups="layer", constants=one.constants("layer"))
    moved = finite[1] - finite[0]
    assert np.linalg.norm(path[1] - path[0] - moved) < 0.4 * np.linalg.norm(moved)


def test_points_of_the_same_residual():
    flow = Y * (1 - np.exp(-np.linspace(0, 5, 200)))[:, None, None, None]
    residuals = np.linalg.norm((flow - Y).reshape(200, -1), axis=1)
    wanted = np.array([0.9, 0.5, 0.1]) * residuals[0]
    found = _same_residual(flow, residuals, wanted)
    np.testing.assert_allclose(np.linalg.norm((found - Y).reshape(3, -1), axis=1), wanted, rtol=1e-3)


def test_alignment_from_common_probes_is_exact_for_a_basis():
    rng = np.random.default_rng(0)
    first, second = (m @ m.T for m in rng.normal(size=(2, 16, 16)).astype(np.float32))
    centre = np.eye(16) - 1 / 16
    found, _ = cosine(centre @ first @ centre, centre @ second @ centre)
    ops = [nnl.DenseOperator(matrix, (4, 4)) for matrix in (first, second)]
    np.testing.assert_allclose(found, alignment(*ops, centered=True).value, rtol=1e-5)


def test_a_plateau_is_what_is_left_at_infinite_width():
    widths = (16, 64, 256)
    exact = plateau({w: [0.3 + 2 * w**-0.5] * 2 for w in widths})
    assert exact.value == pytest.approx(0.3) and exact.low == pytest.approx(exact.high)
    spread = plateau({w: [0.3 + 2 * w**-0.5 + d for d in (-0.1, 0.1)] for w in widths})
    assert spread.low < 0.3 < spread.high
    with pytest.raises(ValueError, match="two or more widths"):
        plateau({16: [1.0]})
