"""Training: the dynamics of the theory, histories, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ntk_nonlocal.architecture import Conv, Relu, Serial, autoencoder, cnn, vanilla_cnn
from ntk_nonlocal.networks import DivergenceError, empirical_kernel, noise_input, to_flax, train, weight_change

RNG = np.random.default_rng(0)
X = RNG.uniform(size=(6, 8, 2)).astype(np.float32)
Y = RNG.uniform(size=(6, 8, 1)).astype(np.float32)
SMALL = to_flax(cnn(2), width=8, out_channels=1)


def test_gradient_descent_is_w_minus_eta_times_the_gradient():
    params = SMALL.init(jax.random.key(3), X)
    result = train(SMALL, X, Y, steps=3, learning_rate=0.01, seed=3)
    for _ in range(3):
        gradient = jax.grad(lambda p: 0.5 * jnp.sum((SMALL.apply(p, X) - Y) ** 2))(params)
        params = jax.tree.map(lambda p, g: p - 0.01 * g, params, gradient)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), result.params, params)
    np.testing.assert_allclose(result.output, SMALL.apply(params, X), atol=1e-5)
    assert result.learning_rate == 0.01 and result.settings["optimizer"] == "gd"


def test_wide_networks_follow_the_fixed_filter_and_narrow_ones_less():
    """Claim 1: z(t+1) = z(t) + eta Theta (y - z(t)), here with the network's own kernel at initialisation."""
    distances = []
    for width in (32, 2048):
        network = to_flax(vanilla_cnn(3), width=width, out_channels=1)
        result = train(network, X, Y, steps=20, keep_outputs=[0, 20])
        theta = np.asarray(empirical_kernel(network, result.initial_params, X).as_matrix())
        z, y = result.outputs[0].ravel().copy(), Y.ravel()
        for _ in range(20):
            z += result.learning_rate * theta @ (y - z)
        moved = np.linalg.norm(result.outputs[20] - result.outputs[0])
        distances.append(np.linalg.norm(result.outputs[20].ravel() - z) / moved)
    assert distances[1] < 0.02 and distances[1] < distances[0] / 3


def test_tangent_layer_steps_give_the_ntk_dynamics_in_the_standard_parametrisation():
    architecture = Serial(Conv(3, bias_std=0.3), Relu(), Conv(3), Relu(), Conv(1, 1.0, bias_std=0.1))
    runs = {}
    for parameterization, layer_steps in (("ntk", None), ("standard", "tangent"), ("standard", None)):
        network = to_flax(architecture, 8, 1, parameterization)
        runs[parameterization, layer_steps] = train(network, X, Y, steps=10, layer_steps=layer_steps)
    ntk, tangent, plain = runs.values()
    assert tangent.learning_rate == pytest.approx(ntk.learning_rate, rel=1e-4)
    np.testing.assert_allclose(tangent.output, ntk.output, atol=1e-4)
    np.testing.assert_allclose(tangent.history.weight_change.l2, ntk.history.weight_change.l2, atol=1e-4)
    assert np.abs(plain.output - ntk.output).max() > 1e-2


def test_adam_is_that_of_optax_handed_in():
    adam = train(SMALL, X, Y, optimizer="adam", steps=5, learning_rate=2e-3)
    handed_in = train(SMALL, X, Y, optimizer=optax.adam(2e-3), steps=5)
    np.testing.assert_allclose(adam.output, handed_in.output, atol=1e-5)
    assert train(SMALL, X, Y, optimizer="adam", steps=1).learning_rate == 1e-3
    assert handed_in.learning_rate is None


def test_the_first_steps_are_all_recorded_and_later_ones_within_a_tenth_or_a_hundredth_of_the_run():
    recorded = train(SMALL, X, Y, steps=450).history.steps
    assert list(recorded[:21]) == list(range(21)) and recorded[-1] == 450
    assert (np.diff(recorded) <= np.maximum(1, recorded[:-1] // 10)).all() and np.diff(recorded).max() == 4
    assert set(range(0, 450, 4)) <= set(recorded)
    assert list(train(SMALL, X, Y, steps=3).history.steps) == [0, 1, 2, 3]


def test_history_and_kept_outputs():
    seen = []
    clean = np.clip(Y + 0.1, 0, 1)
    result = train(
        SMALL, X, Y, steps=25, clean=clean, record_every=10, keep_outputs=(7, 25, 0), progress=lambda *a: seen.append(a)
    )
    history = result.history
    np.testing.assert_array_equal(history.steps, [0, 10, 20, 25])
    assert [entry[:2] for entry in seen] == [(0, 25), (10, 25), (20, 25), (25, 25)]
    assert [entry[2] for entry in seen] == list(history.loss)
    assert sorted(result.outputs) == [0, 7, 25]
    np.testing.assert_array_equal(result.outputs[25], result.output)
    np.testing.assert_allclose(result.outputs[0], SMALL.apply(result.initial_params, X), atol=1e-6)
    np.testing.assert_allclose(result.outputs[7], train(SMALL, X, Y, steps=7).output, atol=1e-6)
    assert history.loss[-1] == pytest.approx(0.5 * np.sum((result.output - Y) ** 2), rel=1e-4)
    mse = np.mean((np.clip(result.output, 0, 1) - clean) ** 2)
    assert history.psnr[-1] == pytest.approx(-10 * np.log10(mse), abs=1e-3)
    assert (np.diff(history.loss) < 0).all() and result.seconds > 0
    assert train(SMALL, X, Y, steps=1).history.psnr is None


def test_same_seed_same_bits_and_other_seeds_other_networks():
    one, again, other = (train(SMALL, X, Y, steps=4, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.output, again.output)
    assert np.abs(one.output - other.output).max() > 1e-3
    given = train(SMALL, X, Y, steps=4, params=one.initial_params)
    np.testing.assert_array_equal(given.output, one.output)


def test_weight_change_counts_effective_weights_of_hidden_layers():
    architecture = Serial(Conv(3), Relu(), Conv(3, 1.2), Relu(), Conv(1, 1.0))
    for parameterization, scale in (("ntk", 1.2 / np.sqrt(9 * 8)), ("standard", 1.0)):
        network = to_flax(architecture, 8, 1, parameterization)
        before = network.init(jax.random.key(0), X)
        after = jax.tree.map(lambda leaf: leaf, before)
        moved = np.zeros((3, 3, 8, 8), np.float32)
        moved[0, 0, 0, 0], moved[1, 1, 2, 3] = 3, -4
        after["layer_2"]["kernel"] = before["layer_2"]["kernel"] + moved
        change = weight_change(network, before, after)
        assert change.layers == ("layer 0", "layer 2", "layer 4") and change.hidden == (False, True, False)
        np.testing.assert_allclose(change.l2, [0, 5 * scale, 0], rtol=1e-5)
        np.testing.assert_allclose(change.linf, [0, 4 * scale, 0], rtol=1e-5)
        kernel = np.asarray(before["layer_2"]["kernel"])
        assert change.relative_l2[1] == pytest.approx(5 / np.linalg.norm(kernel), rel=1e-5)
        assert change.relative_linf[1] == pytest.approx(4 / np.abs(kernel).max(), rel=1e-5)
        assert change.hidden_l2 == pytest.approx(5 * scale) and change.hidden_linf == pytest.approx(4 * scale)
    one_hidden_layer = to_flax(vanilla_cnn(3), width=4)
    params = one_hidden_layer.init(jax.random.key(0), X)
    unmoved = weight_change(one_hidden_layer, params, params)
    assert unmoved.hidden == (True, True) and unmoved.hidden_l2 == 0


def test_weights_of_gradient_descent_move_less_in_wider_networks_and_adams_do_not():
    """Claim 6, on a tiny image: l2 change O(c^-1/2) for gradient descent, O(1) for Adam."""
    moved = {}
    for optimizer in ("gd", "adam"):
        for width in (16, 256):
            network = to_flax(cnn(2), width, 1, "standard")
            result = train(network, X, Y, optimizer=optimizer, steps=30)
            moved[optimizer, width] = float(result.history.weight_change.hidden_l2[-1])
    assert moved["gd", 256] < 0.5 * moved["gd", 16]  # 1/4 in the limit
    assert moved["adam", 256] > 0.8 * moved["adam", 16]


@pytest.mark.parametrize(("step_size", "diverges"), [(1.0, False), (1.8, False), (2.5, True)])
def test_gradient_descent_is_stable_below_two_over_lambda_max(step_size, diverges):
    network = to_flax(Serial(Conv(3, 1.0)), out_channels=1)  # linear: the bound is exact
    if diverges:
        with pytest.raises(DivergenceError, match=r"diverged by step \d+.*step_size = 2.5.*below 2") as caught:
            train(network, X, Y, steps=200, step_size=step_size)
        assert 0 < caught.value.step < 200
    else:
        assert np.isfinite(train(network, X, Y, steps=200, step_size=step_size).history.loss[-1])


def test_any_optimiser_stops_at_a_loss_that_is_not_finite():
    linear = to_flax(Serial(Conv(3), Conv(1)), width=8, out_channels=1)
    with pytest.raises(DivergenceError, match="smaller learning rate"):
        train(linear, X, Y, optimizer=optax.sgd(1e6), steps=50)


def test_noise_input():
    noise = noise_input((20, 30), channels=16, scale=0.2, seed=4)
    assert noise.shape == (20, 30, 16) and noise.dtype == np.float32
    assert noise.std() == pytest.approx(0.2, rel=0.05) and abs(noise.mean()) < 0.01
    np.testing.assert_array_equal(noise, noise_input((20, 30), 16, 0.2, 4))
    with pytest.raises(ValueError, match="at least 1"):
        noise_input((0, 4))
    with pytest.raises(ValueError, match="scale"):
        noise_input((4, 4), scale=float("nan"))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"steps": 0}, ValueError, "steps must be"),
        ({"optimizer": "sdg"}, ValueError, "unknown optimizer 'sdg', did you mean 'sgd'"),
        ({"optimizer": 3}, TypeError, "a name such as 'gd' .* or an optax GradientTransformation .* got 3"),
        ({"optimizer": optax.adam}, TypeError, "or an optax GradientTransformation such as"),
        ({"step_size": -1.0}, ValueError, "step_size must be"),
        ({"learning_rate": float("nan")}, ValueError, "learning_rate must be"),
        ({"optimizer": "adam", "step_size": 1.0}, ValueError, "belongs to gradient descent .* give learning_rate"),
        ({"step_size": 0.5, "learning_rate": 1.0}, ValueError, "got both"),
        ({"optimizer": "gd:step_size=0.5", "step_size": 0.5}, ValueError, "given twice"),
        ({"optimizer": "polyak_sgd", "learning_rate": 1.0}, ValueError, "has no learning_rate"),
        ({"optimizer": optax.sgd(1.0), "step_size": 1.0}, ValueError, "leave step_size out"),
        ({"optimizer": optax.sgd(1.0), "learning_rate": 1.0}, ValueError, "its own learning rate"),
        ({"keep_outputs": [2000]}, ValueError, "asks for step 2000"),
        ({"record_every": 0}, ValueError, "record_every"),
        ({"layer_steps": "theta"}, ValueError, "layer_steps"),
        ({"layer_steps": {"layer_0": 1.0}}, ValueError, "one number for each parameter"),
        ({"clean": np.zeros((6, 8, 3))}, ValueError, "clean must have the network's output shape"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        train(SMALL, X, Y, **arguments)


@pytest.mark.parametrize(
    ("y", "message"), [(Y[:, :, 0], "output shape"), (np.full_like(Y, np.inf), "infinite"), (Y.astype(int), "int")]
)
def test_bad_targets(y, message):
    with pytest.raises(ValueError, match=message):
        train(SMALL, X, y)


def test_a_zero_input_has_no_stable_step_size():
    with pytest.raises(ValueError, match="largest eigenvalue"):
        train(SMALL, np.zeros_like(X), Y)


def test_sizes_that_do_not_fit_are_refused_before_training():
    with pytest.raises(ValueError, match="divisible"):
        train(to_flax(autoencoder(3)), X, Y)


def test_a_step_that_does_not_fit_into_the_memory_is_refused_before_it_begins(monkeypatch):
    network = to_flax(cnn(depth=2), width=64, out_channels=1)
    x = np.random.default_rng(0).random((64, 64, 3), dtype=np.float32)
    monkeypatch.setattr("ntk_nonlocal.networks.steps.available_memory", lambda: 2**20)
    with pytest.raises(ValueError, match=r"64x64 pixels takes about .* GiB .* smaller image or fewer channels"):
        train(network, x, x[:, :, :1], steps=1)
    monkeypatch.setattr("ntk_nonlocal.networks.steps.available_memory", lambda: 8 * 2**20)  # below the rough bound
    assert train(network, x, x[:, :, :1], steps=1).output.shape == (64, 64, 1)


def test_a_centered_network_follows_theory_from_zero_and_nothing_moves_its_start():
    network = to_flax(vanilla_cnn(3), width=2048, out_channels=1, centered=True)
    decaying = optax.adamw(1e-3, weight_decay=0.5)
    for optimizer in ("gd", decaying):
        result = train(network, X, Y, steps=20, optimizer=optimizer, keep_outputs=[0, 20])
        assert not result.outputs[0].any()
        jax.tree.map(np.testing.assert_array_equal, result.params["start"], result.initial_params["start"])
        np.testing.assert_allclose(network.apply(result.params, X), result.output, atol=1e-5)
        assert result.history.loss[0] == pytest.approx(0.5 * float(np.sum(Y**2)), rel=1e-5)
        if optimizer == "gd":
            theta = np.asarray(empirical_kernel(network, result.initial_params, X).as_matrix())
            z = np.zeros(Y.size)
            for _ in range(20):
                z += result.learning_rate * theta @ (Y.ravel() - z)
            assert np.linalg.norm(result.outputs[20].ravel() - z) < 0.02 * np.linalg.norm(z)


def test_small_initial_weights_get_a_step_that_does_not_diverge_and_a_given_one_says_what_to_do():
    image = RNG.uniform(size=(16, 16, 3)).astype(np.float32)
    network = to_flax(autoencoder(levels=3, weight_std="pytorch"), 16, 3, "standard")
    result = train(network, image, image, steps=60)
    assert result.history.loss[-1] < result.history.loss[0]
    with pytest.raises(DivergenceError, match=r"initial weights are small.*leave step_size out"):
        train(network, image, image, steps=60, step_size=1.0)
