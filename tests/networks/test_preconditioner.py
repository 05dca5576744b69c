"""What adaptive optimizers divide gradients by."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ntk_nonlocal as nnl

X = np.random.default_rng(0).random((4, 6, 2))
Y = np.random.default_rng(1).random((4, 6, 2))
ARCHITECTURE = nnl.Serial(nnl.Conv(3, bias_std=0.3), nnl.Relu(), nnl.Conv(3), nnl.Relu(), nnl.Conv(1))
# Without a running mean of gradients an update is -rate gradient / p: that is what p is.
OPTIMIZERS = [
    *("adam:b1=0", "adam:b1=0,b2=0.9,eps=0.01", "adamw:b1=0,weight_decay=0", "amsgrad:b1=0", "nadam:b1=0"),
    *("nadamw:b1=0,weight_decay=0,eps_root=0.001", "yogi:b1=0", "rmsprop", "rmsprop:eps_in_sqrt=false,eps=0.01"),
    *("rmsprop:bias_correction=true", "adagrad", "adam:b1=0,eps_root=0.02"),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_last_update_is_the_gradient_divided_by_it(optimizer, x64: None):
    network = nnl.to_flax(ARCHITECTURE, 4, 2, "standard")
    rate = 1e-3
    before, after = (nnl.train(network, X, Y, optimizer=optimizer, learning_rate=rate, steps=n) for n in (4, 5))
    gradient = jax.grad(lambda p: 0.5 * jnp.sum((network.apply(p, X) - Y) ** 2))(before.params)
    divisor = nnl.preconditioner(after)
    expected = jax.tree.map(lambda g, p: -rate * g / p, gradient, divisor)
    made = jax.tree.map(jnp.subtract, after.params, before.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-12), made, expected)


def test_adabelief_and_adam_with_momentum_divide_their_running_mean(x64: None):
    network = nnl.to_flax(ARCHITECTURE, 4, 2, "standard")
    for optimizer in ("adam", "adabelief"):
        before, after = (nnl.train(network, X, Y, optimizer=optimizer, learning_rate=1e-3, steps=n) for n in (4, 5))
        mean = jax.tree.map(lambda m: m / (1 - 0.9**5), after.optimizer_state[0].mu)
        expected = jax.tree.map(lambda m, p: -1e-3 * m / p, mean, nnl.preconditioner(after))
        made = jax.tree.map(jnp.subtract, after.params, before.params)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-12), made, expected)


def test_a_kernel_takes_it_also_of_a_centered_and_of_a_linearised_network():
    x = X.astype(np.float32)
    network = nnl.to_flax(ARCHITECTURE, 4, 2, "standard", centered=True)
    params = network.init(jax.random.key(0), x)
    for trained in (network, nnl.linearize(network, params)):
        result = nnl.train(trained, x, Y.astype(np.float32), optimizer="adam", steps=2, seed=0)
        divisor = nnl.preconditioner(result)
        assert min(float(leaf.min()) for leaf in jax.tree.leaves(divisor)) > 0
        _, moved = trained.plain(result.params)
        assert jax.tree.structure(divisor) == jax.tree.structure(moved)


def test_optimizers_without_one_say_so():
    network = nnl.to_flax(ARCHITECTURE, 4, 2)
    x, y = X.astype(np.float32), Y.astype(np.float32)
    for optimizer, sentence in (
        ("gd", "divides the gradients by nothing"),
        ("sign", "no preconditioner is known for 'sign'"),
        (optax.adam(1e-3), "train by name"),
        ("rmsprop:centered=true", "centred RMSprop"),
    ):
        result = nnl.train(network, x, y, optimizer=optimizer, steps=1)
        with pytest.raises(ValueError, match=sentence):
            nnl.preconditioner(result)
    with pytest.raises(TypeError, match="must come from train"):
        nnl.preconditioner(dataclasses)
