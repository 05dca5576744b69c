"""The tangent kernel in its parts, one for each convolution."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import ntk_nonlocal as nnl
from ntk_nonlocal.architecture import convolutions

X = np.random.default_rng(0).random((8, 8, 2))
ARCHITECTURES = {
    "plain": nnl.Serial(nnl.Conv(3, bias_std=0.3), nnl.Relu(), nnl.Conv(3), nnl.Relu(), nnl.Conv(1, bias_std=0.2)),
    "autoencoder": nnl.autoencoder(levels=1),
    "unet": nnl.unet(levels=1),
}


@pytest.mark.parametrize("name", ["plain", *(pytest.param(n, marks=pytest.mark.slow) for n in ("autoencoder", "unet"))])
def test_every_part_is_the_kernel_of_training_that_layer_alone_and_they_sum_to_theta(name, x64: None):
    architecture = ARCHITECTURES[name]
    parts = nnl.layer_kernels(architecture, X)
    count = len(convolutions(architecture))
    assert len(parts) == count
    matrices = [np.asarray(part.as_matrix()) for part in parts]
    whole = np.asarray(nnl.tangent_kernel(architecture, X).as_matrix())
    np.testing.assert_allclose(sum(matrices), whole, rtol=1e-10)
    for index, matrix in enumerate(matrices):
        alone = tuple((float(i == index), float(i == index)) for i in range(count))
        expected = nnl.tangent_kernel(architecture, X, layer_weights=alone).as_matrix()
        np.testing.assert_allclose(matrix, expected, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"window": 3}, {"window": 7}], ids=str)
def test_all_memory_plans_give_the_same(options, x64: None):
    architecture = ARCHITECTURES["plain"] if "window" in options else ARCHITECTURES["autoencoder"]
    v = np.random.default_rng(1).random((64, 2))
    products = {
        plan: np.stack([part @ v for part in nnl.layer_kernels(architecture, X, **options, memory_plan=plan)])
        for plan in ("auto", "keep", "matrix", "recompute")
    }
    for found in products.values():
        np.testing.assert_allclose(found, products["recompute"], rtol=1e-10)
    whole = nnl.tangent_kernel(architecture, X, **options) @ v
    np.testing.assert_allclose(products["auto"].sum(axis=0), whole, rtol=1e-10)


@pytest.mark.slow
def test_they_are_the_limits_of_a_networks_own_parts():
    """Against the mean over wide finite networks: a check that shares no code with the engine."""
    x = X[:4, :4].astype(np.float32)
    architecture = ARCHITECTURES["plain"]
    network = nnl.to_flax(architecture, 128, 1, "ntk")
    for index, part in enumerate(nnl.layer_kernels(architecture, x)):
        alone = tuple((float(i == index), float(i == index)) for i in range(3))
        draws = [
            nnl.empirical_kernel(network, network.init(jax.random.key(seed), x), x, layer_weights=alone)
            @ np.eye(16, dtype=np.float32)
            for seed in range(8)
        ]
        exact = np.asarray(part.as_matrix())
        assert np.linalg.norm(np.mean(draws, axis=0) - exact) < 0.12 * np.linalg.norm(exact)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="keeping the slices of all layers"):
        nnl.layer_kernels(nnl.cnn(2), np.ones((64, 64, 1), np.float32), memory_plan="keep", memory_budget=60 << 20)
