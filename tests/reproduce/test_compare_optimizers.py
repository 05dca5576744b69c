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
from ntk_nonlocal.reproduce.statistics import rank_correlations
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
    found = {name: np.ones(2) for name in MEASURED}
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


def test_an_optimizer_that_diverges_is_left_out():
    results = made_up(dict.fromkeys(optimizers.RATES, 0.3), dict.fromkeys(optimizers.RATES, 1.0))
    lost = replace(results.parts[-1], arrays={name: np.full(2, np.nan) for name in MEASURED})
    results = replace(results, parts=(*results.parts[:-1], lost))
    assert "lbfgs" not in optimizers.table(results, "p") and len(optimizers.table(results, "p")) == 11
