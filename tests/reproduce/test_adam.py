"""The measurements of the experiment "adam" against explicit Jacobians and the trainings that they stand for."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntk_nonlocal as nnl
from ntk_nonlocal.linalg import alignment
from ntk_nonlocal.reproduce import adam
from ntk_nonlocal.reproduce.adam_figures import alignments, distances
from ntk_nonlocal.reproduce.experiment import Results
from ntk_nonlocal.reproduce.measures.adapted import FED, contributions, cosine, observed
from ntk_nonlocal.reproduce.measures.frozen import (
    RULES,
    Frozen,
    FrozenDescent,
    _exact_path,
    _flow,
    _layer_matrices,
    _path,
    _same_residual,
    frozen_descent,
    learning_rate,
)
from ntk_nonlocal.reproduce.measures.joint import joint_kernel
from ntk_nonlocal.reproduce.parts import Measured
from ntk_nonlocal.reproduce.pictures import Picture, Pictures
from ntk_nonlocal.reproduce.statistics import Interval, plateau
from ntk_nonlocal.reproduce.workspace import Workspace

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


def test_one_clock_for_all_weights_is_gradient_descent_with_momentum():
    """Whatever the gradients' history: a heavy ball with the whole Jacobian and a rate of its own at every step."""
    one = frozen()
    rate, kappa = 2e-3, 0.7
    constants = jax.tree.map(lambda leaf: jnp.full((1,) * leaf.ndim, kappa), one.params)
    outputs, _ = one.descend("adam", rate, 12, groups="all", constants=constants)
    kernel = sum(j @ j.T for j in jacobians(one)).astype(np.float64)
    size = sum(leaf.size for leaf in jax.tree.leaves(one.params))
    y, z = np.asarray(Y, np.float64).reshape(-1), np.asarray(one.start, np.float64).reshape(-1)
    velocity, square = np.zeros_like(z), 0.0
    for step in range(1, 13):
        e = z - y
        velocity = 0.9 * velocity + 0.1 * kernel @ e
        square = 0.999 * square + 0.001 * e @ kernel @ e / size
        z = z - rate * kappa * velocity / (1 - 0.9**step) / np.sqrt(square / (1 - 0.999**step))
        np.testing.assert_allclose(outputs[step].reshape(-1), z, atol=2e-4)


def test_without_momentum_one_clock_for_all_weights_keeps_to_the_flow():
    """Sign descent in small steps with one second moment: at the same residual it is gradient flow, not so element by
    element."""
    one = frozen()
    flow, _ = _flow(one)
    residuals = np.linalg.norm((flow - Y).reshape(len(flow), -1), axis=1)

    def apart(**options) -> float:
        outputs, _ = one.descend("sign", 1e-4, 40, **options)
        wanted = np.linalg.norm((outputs[-1:] - Y).reshape(1, -1), axis=1)
        assert wanted < residuals[0]
        same = _same_residual(flow, residuals, wanted)
        return float(np.linalg.norm(outputs[-1] - same[0]) / np.linalg.norm(outputs[-1] - outputs[0]))

    assert apart(groups="all") < 0.005 < apart()


def test_groups_take_their_means_over_what_they_name():
    one = frozen()
    gradient = one.gradient()
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(gradient)]
    flat = np.concatenate([leaf.ravel() for leaf in leaves])
    whole = np.abs(flat).mean() / np.sqrt((flat**2).mean())
    np.testing.assert_allclose([float(k.reshape(())) for k in jax.tree.leaves(one.constants("all"))], whole, rtol=1e-5)
    for leaf, layer, offset in zip(
        leaves, *(jax.tree.leaves(one.constants(g)) for g in ("layer", "offset")), strict=True
    ):
        np.testing.assert_allclose(layer.reshape(()), np.abs(leaf).mean() / np.sqrt((leaf**2).mean()), rtol=1e-5)
        expected = np.abs(leaf).mean(axis=(2, 3)) / np.sqrt((leaf**2).mean(axis=(2, 3)))
        np.testing.assert_allclose(offset[..., 0, 0], expected, rtol=1e-5)


def test_the_clocks_of_another_network_are_those_on_the_way_from_this_ones_output():
    one, other = frozen(), frozen(7)
    _, clocks = other.descend("adam", 1e-3, 3, start=one.start)
    expected, _ = one.descend("adam", 1e-3, 3, groups="layer", constants=clocks)
    np.testing.assert_array_equal(_path("clock", 3, "adam", 1e-3, one, other, []), expected)


def test_rates_move_the_output_as_far_at_every_width():
    """The first step of sign descent, mean over seeds, at 16 and at 128 channels; by rates ~ 1 / width it would be
    sqrt(8) = 2.8 times as far."""
    network = nnl.cnn(depth=4)

    def far(width: int) -> float:
        moved = []
        for seed in range(4):
            finite = nnl.to_flax(network, width, 2, "standard")
            one = Frozen(finite, finite.init(jax.random.key(seed), X), jnp.asarray(X), jnp.asarray(Y))
            outputs, _ = one.descend("sign", learning_rate(1e-4, width), 1)
            moved.append(np.linalg.norm(outputs[1] - outputs[0]))
        return float(np.mean(moved))

    assert 0.6 < far(128) / far(16) < 1.7


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


def test_no_point_of_the_flow_has_a_residual_above_the_starts_or_below_the_last():
    flow = Y * (1 - np.exp(-np.linspace(0, 5, 200)))[:, None, None, None]
    residuals = np.linalg.norm((flow - Y).reshape(200, -1), axis=1)
    found = _same_residual(flow, residuals, np.array([1.01, 1.0, 0.5, 0.001]) * residuals[0])
    assert np.isnan(found).reshape(4, -1).all(axis=1).tolist() == [True, False, False, True]
    np.testing.assert_allclose(found[1], flow[0], atol=1e-4)


def test_a_run_whose_residual_exceeds_that_of_the_start_is_measured_without_those_steps(tmp_path: Path):
    pictures = Pictures()
    rates = (6e-4, 7.5e-5, 5e-4)  # of sign descent too large
    settings = FrozenDescent(pictures.picture("smooth", 8), "cnn:depth=2", "noise", 4, 6, ("all",), rates)
    found = frozen_descent(settings, Workspace(pictures, tmp_path))
    beyond = found["sign.residual"] > 1
    assert beyond.any() and np.array_equal(np.isnan(found["sign.null"]), beyond)
    for name in ("sign.nearest", "sign.all", "sign.psnr", "sign.best_psnr", "sign.null_best", "adam.null"):
        assert np.isfinite(found[name]).all(), name


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


def interval(value: float, spread: float = 0.01) -> Interval:
    return Interval(value, value - spread, value + spread, spread / 2)


def test_a_theory_holds_below_half_of_the_nearer_null_and_a_negative_distance_decides_nothing():
    null = adam.nearer(interval(0.6), interval(0.3))
    assert null.value == 0.3
    assert adam._halved(interval(0.05), null) == "holds"
    assert adam._halved(interval(0.25), null) == "contradicted"  # though below half of the farther one
    assert adam._halved(interval(0.15), null) == "undecided"
    assert adam._halved(interval(-0.2), null) == "undecided"
    assert adam._halved(interval(0.05, spread=0.2), null) == "undecided"
    assert "which no distance is" in adam._told(interval(-0.2)) and "which" not in adam._told(interval(0.2))


def test_what_no_flow_reaches_is_left_out_and_counted():
    arrays = {"adam.null": np.array([np.nan, 0.2, 0.4]), "adam.psnr": np.array([1.0, 3.0, 2.0])}
    arrays |= {"adam.best_psnr": np.asarray(3.0)}
    arrays |= {"adam.all": np.array([0.1, 0.2, 0.6]), "adam.layer": np.array([0.1, 0.1, 0.1])}
    theories = {"input": "noise", "theories": ["all", "layer", "clock"]}
    parts = [Measured("f", "frozen_descent", theories | {"width": w}, arrays, {}) for w in (4, 4, 8)]
    once = {"input": "noise", "theories": ["all", "layer"], "width": 16, "size": 32}  # not among those repeated
    parts.append(Measured("f", "frozen_descent", once, arrays, {}))
    results = Results("adam", "quick", {"theories": theories["theories"]}, tuple(parts))
    found = distances(results, "noise", "adam.null")
    assert found[4] == pytest.approx([0.3, 0.3]) and found[8] == pytest.approx([0.3])
    assert adam.unreachable(results, "noise", "adam") == (3, 9)
    assert adam.late_bests(results, "noise", "adam") == "0 of 3"
    assert adam.beyond(results, "noise", "adam").endswith("a clock per layer: 32x32 at 16 channels 0.30, 0.30, 0.10.")
    assert adam.beyond(results, "image", "adam") == ""


def test_kernels_at_other_widths_are_told_and_no_repetitions():
    config = {"at": [5], "width": 4, "other_widths": [2, 8]}
    fed = np.linspace(0.1, 0.6, len(observed([5])))[:, None] + 0.01 * np.arange(len(FED))
    training = {"picture": {"name": "p"}}
    parts = [
        Measured("a", "likeness", {"training": training | {"width": width}}, {"alignment": fed * scale}, {})
        for width, scale in ((4, 1), (4, 1.1), (8, 0.5))
    ]
    results = Results("adam", "full", config, tuple(parts))
    assert alignments(results, "p").shape == (2, *fed.shape) and len(alignments(results, "q")) == 0
    j = FED.index("noisy")
    expected = ", ".join(
        f"{0.5 * fed[observed([5]).index(k), j]:.2f}" for k in ("initial", "Adam 5", "fed the picture")
    )
    assert adam.by_width(results, "p").endswith(f"(initial, Adam 5, fed the picture): {expected} at 8 channels.")
    assert adam.by_width(results, "q") == ""


SMOOTH = {"name": "p", "size": 8, "noise_seed": 0}
SPLIT = {"smooth": SMOOTH, "at": [5], "width": 4, "steps": 5, "seeds": 3}


def splits(gains: dict[str, float], spread: float, rising: bool = False, noise: int = 0) -> list[Measured]:
    """Of three seeds whose quality differs by ``spread``, the same for everything but Adam itself."""
    names, found = contributions([5]), []
    for seed in range(3):
        best = np.array([20 + spread * seed + gains.get(name, 0.0) + 1e-3 * seed for name in names])
        best[0] -= 1e-3 * seed
        arrays = {"best": best, "blind": best, "rising": np.full(len(names), rising)}
        settings = {"training": {"picture": SMOOTH | {"noise_seed": noise}, "input": "noise", "seed": seed}}
        found.append(Measured("s", "split", settings, arrays, {}))
    return found


def test_the_split_compares_seed_by_seed():
    def judged(*parts: Measured):
        return adam._split_verdict(Results("adam", "full", SPLIT, parts), "p", "noise", "smooth")

    moved = {"J5": 2.0, "J5 P": 1.8, "Adam": 1.5}
    verdict = judged(*splits(moved, spread=3.0))  # seeds are farther apart than what is compared
    assert verdict.outcome == "holds"
    assert "features 2.00 [" in verdict.note and "then the preconditioner -0.20" in verdict.note
    assert "rest -0.30" in verdict.note
    assert judged(*splits({"J0 P5": 2.5, **moved}, spread=3.0)).outcome == "contradicted"
    assert judged(*splits(moved, spread=3.0, rising=True)).outcome == "undecided"
    another = judged(*splits(moved, spread=3.0), splits({"J5": 9.0, "Adam": 8.0}, 0.0, noise=1)[0])
    assert another.ours == verdict.ours
    assert "On further noise draws the moved Jacobian and Adam gain +9.00 and +8.00 dB" in another.note


def test_the_kernel_becomes_the_pictures_where_a_fresh_network_is_no_nearer_to_it():
    def judged(reached: float, fresh: float, flipped: float = 0.2) -> str:
        names, parts = observed([5]), []
        for seed in range(3):
            found = np.full((len(names), len(FED)), 0.1 + 1e-3 * seed)
            found[names.index("Adam 5"), FED.index("noisy")] = reached + 1e-3 * seed
            found[names.index("Adam 5"), FED.index("flipped")] = flipped
            found[names.index("fed the picture"), FED.index("noisy")] = fresh
            settings = {"training": {"picture": SMOOTH, "width": SPLIT["width"]}, "other": {"name": "q"}}
            parts.append(Measured("l", "likeness", settings, {"alignment": found}, {}))
        verdicts = adam._likeness_verdicts(Results("adam", "full", SPLIT, tuple(parts)), "p")
        return verdicts[0].outcome

    assert judged(0.7, 0.72) == "holds"
    assert judged(0.7, 0.9) == "holds in part"
    assert judged(0.7, 0.9, flipped=0.8) == "contradicted"


def test_full_has_one_noise_draw_and_one_seed_on_two_more():
    found = adam.parts(adam.configure("full", Pictures()))
    noises = [
        (one.settings.training.input, one.settings.training.seed, one.settings.training.picture.noise_seed)
        for one in found
        if one.kind == "split" and one.settings.training.picture.name == "astronaut"
    ]
    more = [(source, seed, noise) for source, seed, noise in noises if noise]
    assert more == [("noise", 0, 1), ("noise", 0, 2)] and len(noises) == 12
    assert all(
        one.settings.training.picture.noise_seed == 0
        for one in adam.parts(adam.configure("quick", Pictures()))
        if one.kind == "split"
    )


def test_a_few_values_are_shown_one_by_one():
    assert adam.shown(np.array([0.1, 0.2, 0.3])).endswith("] (seeds 0.10, 0.20, 0.30)")
    assert "seeds" not in adam.shown(np.arange(5.0)) + adam.shown(np.array([1.0]))
