"""The experiment "optimizers": its measurements against plain formulas, its verdicts on made-up results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntk_nonlocal as nnl
from ntk_nonlocal.linalg import alignment
from ntk_nonlocal.reproduce import optimizers
from ntk_nonlocal.reproduce.experiment import Results
from ntk_nonlocal.reproduce.measures.regimes import MEASURED, Regime, _weights, kernels_apart, regime
from ntk_nonlocal.reproduce.measures.training import Training
from ntk_nonlocal.reproduce.parts import Measured
from ntk_nonlocal.reproduce.pictures import Pictures
from ntk_nonlocal.reproduce.statistics import rank_correlations, rank_margin
from ntk_nonlocal.reproduce.workspace import Workspace


def test_rates_are_of_known_optimizers_and_all_are_drawn():
    assert set(optimizers.RATES) <= set(nnl.OPTIMIZERS)
    drawn = [name for names, _, _ in optimizers._FAMILIES for name in names]
    assert sorted(drawn) == sorted(optimizers.RATES)
    assert all(len(names) <= len(markers) for names, _, markers in optimizers._FAMILIES)


def test_turn_and_scale_of_a_kernel_are_those_of_the_matrices():
    network = nnl.to_flax(nnl.cnn(depth=2), 5, 2, "standard")
    x = np.random.default_rng(0).random((4, 4, 2)).astype(np.float32)
    one, two = (network.init(jax.random.key(seed), x) for seed in (0, 1))
    found = kernels_apart(network, one, two, x, 24)
    kernels = [nnl.empirical_kernel(network, params, x) for params in (one, two)]
    expected = alignment(*kernels, centered=True, probes=24)
    assert found["kernel_turned"] == pytest.approx(1 - expected.value, abs=1e-5)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (16, 24))
    norms = [np.linalg.norm(np.asarray(kernel.as_matrix()) @ signs) for kernel in kernels]
    assert found["kernel_scale"] == pytest.approx(norms[1] / norms[0], rel=1e-4)


def test_weights_are_told_apart_by_scale_and_direction():
    network = nnl.to_flax(nnl.cnn(depth=3), 5, 2, "standard")
    x = np.zeros((4, 4, 2), np.float32)
    start = network.init(jax.random.key(0), x)
    doubled = _weights(network, start, jax.tree.map(lambda leaf: 2 * leaf, start))
    assert doubled == {"weights_moved": pytest.approx(1), "weights_scale": pytest.approx(2),
                       "weights_turned": pytest.approx(0, abs=1e-7)}  # fmt: skip
    turned = _weights(network, start, jax.tree.map(jnp.negative, start))
    assert turned["weights_moved"] == pytest.approx(2) and turned["weights_turned"] == pytest.approx(2)


def test_the_best_rate_is_used_and_one_that_diverges_is_passed_over(tmp_path: Path):
    pictures = Pictures()
    run = Training(pictures.picture("smooth", 8), "cnn:depth=2", "noise", "gd", 3, 10)
    settings = Regime(run, (1e8, 0.5), (0,), 4, 40)
    found = regime(settings, Workspace(pictures, tmp_path))
    assert np.isnan(found["tuned"][0, 0]) and found["rate"] == 0.5
    own = settings.run(0, 0.5)
    assert own.picture.noise_seed == own.seed == 0 and own.step_size == 0.5
    from ntk_nonlocal.reproduce.measures.training import trained

    result = trained(own, Workspace(pictures, tmp_path / "again"), 5)
    assert found["best"][0] == pytest.approx(result.history.psnr[1:].max(), abs=1e-4)
    assert all(found[name].shape == (1,) for name in MEASURED)


def test_a_rank_correlation_knows_order_and_its_uncertainty():
    x = np.arange(8.0)[:, None] + np.array([0.0, 0.1])
    up, down, none = rank_correlations(np.stack([np.exp(x), -x, 0 * x]), x)
    assert up.value == pytest.approx(1) and up.low == pytest.approx(1)
    assert down.value == pytest.approx(-1) and none.value == 0
    noise = np.random.default_rng(0).normal(size=(8, 2))
    (mixed,) = rank_correlations(noise[None], x)
    assert mixed.low < 0 < mixed.high
    with pytest.raises(ValueError, match="three subjects"):
        rank_correlations(np.zeros((1, 2, 2)), np.zeros((2, 2)))


def made_up(turn: dict[str, float], gain: dict[str, float], **changes: Any) -> Results:
    """Results in which every optimizer turns and gains as it is told; two draws, a little apart."""
    picture = {"name": "p", "size": 8}
    parts = [Measured("i", "initial", {"picture": picture}, _arrays(20.0, 0.5), {})]
    for name in turn:
        arrays = _arrays(20 + gain[name], turn[name]) | {"rate": np.asarray(1.0), "tuned": np.ones(1)} | changes
        settings = {"training": {"picture": picture, "optimizer": name}}
        parts.append(Measured(name, "regime", settings, arrays, {}))
    config = {"pictures": [picture], "optimizers": list(turn), "width": 4, "steps": 10, "draws": 2}
    return Results("optimizers", "quick", config, tuple(parts))


def _arrays(quality: float, turned: float) -> dict[str, np.ndarray]:
    spread = np.array([0.0, 1e-3])
    found = {name: np.ones(2) for name in MEASURED} | {"after_rising": np.zeros(2), "rising": np.zeros(2)}
    psnr = {name: quality + spread for name in ("best", "blind", "after", "after_blind")}
    return found | psnr | {"kernel_turned": turned + spread}


def test_verdicts_follow_turn_and_gain(tmp_path: Path):
    names = list(optimizers.RATES)
    turn = {name: 0.1 + 0.05 * i for i, name in enumerate(names)}
    follows = optimizers.summarise(made_up(turn, turn))
    assert [one.outcome for one in follows] == ["holds", "holds", "holds", "holds", "holds"]
    against = optimizers.summarise(made_up(turn, {name: -value for name, value in turn.items()}))
    assert [one.outcome for one in against] == ["holds"] + 4 * ["contradicted"]
    groups = {name: 0.1 if name in optimizers.DESCENT else 1.0 for name in names}
    rng = np.random.default_rng(3)
    gain = {name: value + 0.1 * rng.normal() for name, value in groups.items()}
    assert optimizers.summarise(made_up({n: v + 0.1 * rng.normal() for n, v in groups.items()}, gain))[1].outcome in (
        "holds in part", "undecided",
    )  # fmt: skip
    back = {name: 1 - value for name, value in turn.items()}
    assert optimizers.summarise(made_up(back, turn))[0].outcome == "contradicted"
    assert optimizers.draw(made_up(turn, turn), tmp_path) == ["optimizers"]


def test_quality_that_is_still_rising_decides_nothing():
    names = list(optimizers.RATES)
    turn = {name: 0.1 + 0.05 * i for i, name in enumerate(names)}
    results = made_up(turn, turn, after_rising=np.ones(2))
    before = optimizers.summarise(results)  # kernels still rise, the initial one is past its best
    late = replace(results.parts[0], arrays=results.parts[0].arrays | {"after_rising": np.ones(2)})
    found = optimizers.summarise(replace(results, parts=(late, *results.parts[1:])))
    assert [one.outcome for one in before] == ["holds"] * 5
    assert [one.outcome for one in found] == ["holds", "undecided", "holds", "undecided", "undecided"]
    assert "The initial kernel, in closed form, 20.0 (20.0, still rising)" in found[1].note
    assert "of 12 of 12 kernels are still rising" in found[1].note and "12 of 12" in found[4].note


def test_what_was_not_reached_is_said_and_seconds_are_medians():
    names = list(optimizers.RATES)
    turn = {name: 0.1 + 0.05 * i for i, name in enumerate(names)}
    results = made_up(turn, turn, after_blind=np.array([np.nan, 21.0]), seconds=np.array([1.0, 3.0]))
    assert "20.1 (21.0 in 1 of 2, 2.0 s)" in optimizers.summarise(results)[1].note
    none = made_up(turn, turn, after_blind=np.full(2, np.nan))
    assert "gradient descent 20.1 (not reached, " in optimizers.summarise(none)[1].note
    assert not any("nan" in one.note for one in optimizers.summarise(none))


def test_best_rates_at_an_end_of_those_tried_are_counted():
    names = list(optimizers.RATES)
    turn = {name: 0.1 + 0.05 * i for i, name in enumerate(names)}
    results = made_up(turn, turn)  # all at a rate of 1
    at = optimizers.edges(optimizers.table(results, "p"))
    assert at["largest"] == ("gd", "momentum") and at["least"] == () and "lbfgs" not in at["rates"]
    note = optimizers.summarise(results)[0].note
    assert "at an end of those tried for 2 of 11 (the largest: gradient descent, momentum)" in note


def test_correlations_are_compared_by_drawing_both_together():
    rng = np.random.default_rng(0)
    gain = rng.normal(size=(12, 1)) + np.zeros((1, 5))
    near, far = gain + 0.05 * rng.normal(size=gain.shape), -gain
    same = rank_margin(near, near, gain)
    assert same.value == same.low == same.high == 0  # though each has an interval of its own
    apart = rank_margin(near, far, gain)
    assert apart.low > 0
    own = [one.value for one in rank_correlations(np.stack([near, far]), gain)]
    assert apart.value == pytest.approx(own[0] - own[1])


def test_an_optimizer_that_diverges_is_left_out():
    results = made_up(dict.fromkeys(optimizers.RATES, 0.3), dict.fromkeys(optimizers.RATES, 1.0))
    lost = replace(results.parts[-1], arrays={name: np.full(2, np.nan) for name in MEASURED})
    results = replace(results, parts=(*results.parts[:-1], lost))
    assert "lbfgs" not in optimizers.table(results, "p") and len(optimizers.table(results, "p")) == 11
