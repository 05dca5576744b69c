"""Optimizers: every name trains, every optax object works or is refused in a sentence, and no checkpoint of another
optimizer is ever taken up."""

from __future__ import annotations

import functools
import inspect
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ntk_nonlocal.architecture import Conv, Relu, Serial, cnn
from ntk_nonlocal.dynamics import trajectory
from ntk_nonlocal.networks import (
    OPTIMIZERS,
    CheckpointError,
    DivergenceError,
    NamedOptimizer,
    OptimizerFactory,
    TrainingResult,
    empirical_kernel,
    parse_optimizer,
    relative_names,
    to_flax,
    train,
)
from ntk_nonlocal.networks import steps as stepping
from ntk_nonlocal.networks.updates import as_update, fingerprint

contrib: Any = optax.contrib
RNG = np.random.default_rng(0)
X = RNG.uniform(size=(6, 6, 2)).astype(np.float32)
Y = RNG.uniform(size=(6, 6, 1)).astype(np.float32)
SMALL = to_flax(Serial(Conv(3, bias_std=0.1), Relu(), Conv(1, 1.0)), width=6, out_channels=1)
LINEAR = to_flax(Serial(Conv(3, 1.0)), out_channels=1)
# What stands for a building block or a wrapper there, or needs more than one image (dpsgd).
NO_OPTIMIZERS = {"schedule_free", "dpsgd", "scale_by_learning_rate"}


def run(optimizer: Any, network: Any = SMALL, steps: int = 12, **options: Any) -> TrainingResult:
    return train(network, X, Y, optimizer=optimizer, steps=steps, **options)


@pytest.fixture(autouse=True)
def _few_programs() -> Iterator[None]:
    """A process may hold so many compiled programs and no more."""
    yield
    stepping._one_step.clear_cache()
    stepping._many_steps.clear_cache()


# --- names -----------------------------------------------------------------------------------------------------------


def test_every_optimizer_of_optax_has_a_name() -> None:
    named = {factory.function for factory in OPTIMIZERS.values() if isinstance(factory, OptimizerFactory)}
    named |= {f"contrib.{getattr(one, '__name__', '').removeprefix('_')}" for one in named if callable(one)}
    for module, prefix in ((optax, ""), (contrib, "contrib.")):
        for name, function in vars(module).items():
            if name.startswith("_") or name in NO_OPTIMIZERS or not inspect.isfunction(function):
                continue
            if "learning_rate" in inspect.signature(function).parameters and not name.startswith("scale_by"):
                assert f"{prefix}{name}" in named, f"{prefix}{name} has no line in OPTIMIZERS"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_name_trains(name: str) -> None:
    result = run(name, steps=25)
    assert result.history.loss[-1] < 0.999 * result.history.loss[0]
    assert result.settings["optimizer"] == name


PROPORTIONAL = [name for name in OPTIMIZERS if parse_optimizer(name).is_proportional]


@pytest.mark.parametrize("name", PROPORTIONAL)
def test_updates_are_proportional_to_the_learning_rate_where_the_registry_says_so(name: str) -> None:
    """So a rate is a factor of the updates, and another one compiles nothing."""
    draw = np.random.default_rng(1).normal
    gradients = [{"kernel": jnp.asarray(draw(size=(3, 3, 2, 4)), jnp.float32)} for _ in range(3)]

    @functools.partial(jax.jit, static_argnums=0)
    def updates(rate: float) -> list[Any]:
        optimizer = NamedOptimizer(name).build(rate)
        params = {"kernel": jnp.ones((3, 3, 2, 4))}
        state, found = optimizer.init(params), []
        for gradient in gradients:
            loss = {"value": jnp.ones(()), "obj_fn": lambda p: jnp.sum(p["kernel"] ** 4)}
            one, state = optax.with_extra_args_support(optimizer).update(gradient, state, params, **loss)
            found.append(one)
        return found

    for one, other in zip(updates(1.0), updates(0.25), strict=True):
        np.testing.assert_allclose(0.25 * one["kernel"], other["kernel"], rtol=1e-4, atol=1e-7)


def test_another_learning_rate_compiles_nothing_anew() -> None:
    run("lion:learning_rate=1e-3", steps=2)
    before = stepping._one_step._cache_size()
    run("lion:learning_rate=2e-4", steps=2)
    run("lion", steps=2, learning_rate=5e-4)
    assert stepping._one_step._cache_size() == before


@pytest.mark.parametrize(
    ("text", "built"),
    [
        ("adam:b1=0.5,learning_rate=3e-3", optax.adam(3e-3, b1=0.5)),
        ("adamw:weight_decay=0.1,nesterov=true", optax.adamw(1e-3, weight_decay=0.1, nesterov=True)),
        ("rmsprop: momentum = 0.5 , centered = true", optax.rmsprop(3e-4, momentum=0.5, centered=True)),
        ("prodigy:betas=(0.8,0.99)", contrib.prodigy(betas=(0.8, 0.99))),
        ("schedule-free-sgd:learning_rate=1e-2,warmup_steps=4", contrib.schedule_free_sgd(1e-2, warmup_steps=4)),
        ("momentum:learning_rate=0.01,momentum=0.5", optax.sgd(0.01, momentum=0.5)),
    ],
)
def test_a_name_with_settings_is_that_optimizer_of_optax(text: str, built: Any) -> None:
    np.testing.assert_allclose(run(text).output, run(built).output, atol=1e-5)
    named = parse_optimizer(text)
    assert parse_optimizer(str(named)) == named


def test_settings_in_the_name_and_beside_it_are_one() -> None:
    np.testing.assert_array_equal(run("gd:step_size=0.5").output, run("gd", step_size=0.5).output)
    np.testing.assert_array_equal(run("adam:learning_rate=0.002").output, run("adam", learning_rate=0.002).output)
    factory = OPTIMIZERS["adam"]
    np.testing.assert_allclose(run(factory(b2=0.9)).output, run("adam:b2=0.9").output, atol=1e-5)
    assert run(parse_optimizer("adam")).learning_rate == 1e-3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loin", "unknown optimizer 'loin', did you mean 'lion'"),
        ("lion:b3=1", "lion has no 'b3'; keys: learning_rate, b1, b2"),
        ("lion:learning_rat=1", "lion has no 'learning_rat', did you mean 'learning_rate'"),
        ("lion:b1", "expected key=value, got 'b1'"),
        ("lion:b1=.9,b1=.8", "b1 is given twice"),
        ("lion:b1=much", "lion: b1 must be a number, got 'much'"),
        ("lion:b1=1e999", "lion: b1 must be a number, got '1e999'"),
        ("adam:nesterov=1", "adam: nesterov must be true or false, got '1'"),
        ("lbfgs:memory_size=2.5", "memory_size must be an integer, got '2.5'"),
        ("muon:preconditioning=3", "preconditioning must be a word, got '3'"),
        ("dog:init_step=(a,b)", "init_step must be of the kind of"),
        ("lion:learning_rate=-1", "learning_rate must be a positive number"),
        ("lion:step_size=1", r"belongs to gradient descent \(gd, momentum, .*got optimizer 'lion'; give learning_rate"),
        ("gd:step_size=1,learning_rate=1", "gd takes a step_size or a learning_rate, got both"),
        ("polyak_sgd:learning_rate=1", "polyak_sgd has no learning_rate"),
        ("adamw:mask=x", "adamw has no 'mask'"),
        ("", "unknown optimizer ''"),
    ],
)
def test_what_is_misspelt_is_refused_with_what_was_meant(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_optimizer(text)
    with pytest.raises(ValueError, match=message):
        run(text)


def test_settings_that_optax_refuses_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"muon cannot train this network.*Unknown preconditioning x"):
        run("muon:preconditioning=x")
    with pytest.raises(TypeError, match="adam has no 'nesterow', did you mean 'nesterov'"):
        OPTIMIZERS["adam"](nesterow=True)
    with pytest.raises(TypeError, match="sgd needs learning_rate"):
        OPTIMIZERS["gd"]()
    with pytest.raises(TypeError, match="spelt as text"):
        parse_optimizer(optax.adam(1.0))  # type: ignore[arg-type]


def test_a_new_optimizer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def mine(learning_rate: float = 1e-3, decay: float = 0.9) -> optax.GradientTransformation:
        return optax.adam(learning_rate, b1=decay)

    monkeypatch.setitem(OPTIMIZERS, "mine", OptimizerFactory(mine, 2e-3))
    np.testing.assert_array_equal(run("mine:decay=0.5").output, run("adam:b1=0.5", learning_rate=2e-3).output)
    monkeypatch.setitem(OPTIMIZERS, "plain", mine)  # a function is a line too
    np.testing.assert_allclose(run("plain").output, run("adam").output, atol=1e-6)
    assert "plain" not in relative_names()


# --- gradient descent with momentum ----------------------------------------------------------------------------------


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_follows_its_filter_of_the_kernel(nesterov: bool) -> None:
    """On a linear network the theory is exact, with the same step size relative to 1 / lambda_max."""
    params = LINEAR.init(jax.random.key(0), X)
    kernel = empirical_kernel(LINEAR, params, X)
    path = trajectory(kernel, Y, steps=[15], start=LINEAR.apply(params, X))
    before, expected = path.momentum([14, 15], 0.8, momentum=0.7, nesterov=nesterov)
    name = "nesterov" if nesterov else "momentum"
    if nesterov:  # optax's weights are those at which the next gradient is taken
        expected = expected + 0.7 * (expected - before)
    found = run(f"{name}:step_size=0.8,momentum=0.7", LINEAR, steps=15, params=params)
    np.testing.assert_allclose(found.output, expected, atol=2e-3)


@pytest.mark.parametrize(
    ("text", "limit"),
    [("momentum:momentum=0.5", 3.0), ("nesterov:momentum=0.5", 1.5), ("optimistic_gradient_descent", 2 / 3)],
)
def test_the_stable_step_size_is_the_one_of_the_registry(text: str, limit: float) -> None:
    assert parse_optimizer(text).stable == pytest.approx(limit)
    assert run(text, LINEAR, steps=300, step_size=0.97 * limit).history.loss[-1] < 2
    with pytest.raises(DivergenceError, match=rf"choose a step_size below {limit:.3g}"):
        run(text, LINEAR, steps=300, step_size=1.05 * limit)


# --- optimizers that want more than the gradient ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer",
    [optax.lbfgs(), optax.lbfgs(linesearch=optax.scale_by_backtracking_linesearch(10)), "lbfgs:memory_size=5"],
)
def test_lbfgs_beats_gradient_descent_by_far(optimizer: Any) -> None:
    """As many steps as there are weights are enough for a line search on a quadratic loss."""
    least = np.linalg.lstsq(np.asarray(_jacobian()), (Y - LINEAR.apply(_zeros(), X)).ravel(), rcond=None)[1][0] / 2
    loss = run(optimizer, LINEAR, steps=25).history.loss[-1]
    assert loss == pytest.approx(least, rel=1e-3)
    assert run("gd", LINEAR, steps=25).history.loss[-1] > 1.05 * least


def _zeros() -> Any:
    return jax.tree.map(jnp.zeros_like, LINEAR.init(jax.random.key(0), X))


def _jacobian() -> Any:
    flat, unflatten = jax.flatten_util.ravel_pytree(_zeros())
    return jax.jacobian(lambda p: LINEAR.apply(unflatten(p), X).ravel())(flat)


WRAPPED = {
    "sam": contrib.sam(optax.sgd(0.01), optax.chain(contrib.normalize(), optax.sgd(0.1))),
    "opaque sam": contrib.sam(optax.sgd(0.01), optax.chain(contrib.normalize(), optax.sgd(0.1)), opaque_mode=True),
    "sam in a chain": optax.chain(
        optax.clip(1.0), contrib.sam(optax.sgd(0.01), optax.chain(contrib.normalize(), optax.sgd(0.1)))
    ),
    "several steps": optax.MultiSteps(optax.adam(1e-2), 2),
    "lbfgs in several steps": optax.MultiSteps(optax.lbfgs(), 2),
    "lookahead": optax.lookahead(optax.adam(1e-2), 3, 0.5, reset_state=True),
    "lookahead in a chain": optax.chain(optax.clip(1.0), optax.lookahead(optax.adam(1e-2), 3, 0.5)),
    "plateau": optax.chain(optax.adam(1e-2), contrib.reduce_on_plateau()),
    "finite": optax.apply_if_finite(optax.adam(1e-2), 5),
    "injected": optax.inject_hyperparams(optax.adam)(learning_rate=optax.cosine_decay_schedule(1e-2, 50)),
    "partitioned": optax.partition(
        {"kernel": optax.adam(1e-2), "bias": optax.set_to_zero()},
        lambda params: {layer: {name: name for name in leaves} for layer, leaves in params.items()},
    ),
    "mechanic": contrib.mechanize(optax.adam(1e-2), s_init=1.0),
    "flattened": optax.flatten(optax.adam(1e-2)),
    "noise": optax.chain(optax.add_noise(0.01, 0.5, 3), optax.sgd(0.01, 0.9)),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrappers_train(name: str) -> None:
    assert run(WRAPPED[name], steps=20).history.loss[-1] < 0.95 * run("gd", steps=1).history.loss[0]


@pytest.mark.parametrize("name", ["adam", "lbfgs", "schedule_free", "noisy_sgd", "lookahead", "opaque sam", "muon"])
def test_the_compiled_loop_of_accelerators_makes_the_same_steps(name: str) -> None:
    optimizer = WRAPPED[name] if name in WRAPPED else NamedOptimizer(name).build(1e-2)
    params = SMALL.init(jax.random.key(0), X)
    update = as_update(optimizer, params, name)
    problem = stepping.Problem(jnp.asarray(X), jnp.asarray(Y), jax.tree.map(jnp.ones_like, params), jnp.zeros(()))

    def start() -> stepping.State:
        return stepping.State(*jax.tree.map(jnp.copy, (params, update.init(params))), jnp.zeros(()))

    looped = stepping.advance(SMALL, update, problem, start(), 7)
    compiled = stepping._many_steps(SMALL, update, problem, start(), jnp.int32(7))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-3), compiled.params, looped.params)


def test_gradients_over_several_steps_are_averaged() -> None:
    np.testing.assert_allclose(
        run(optax.MultiSteps(optax.sgd(0.01), 3), steps=6).output, run(optax.sgd(0.01), steps=2).output, atol=1e-5
    )


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (contrib.dpsgd(0.1, 1.0, 0.1, 0), r"raised ValueError: Unlike other transforms.* batch dimension"),
        (optax.masked(optax.adam(1.0), {"other": True}), "cannot train this network: it raised ValueError"),
        (optax.chain(optax.trace(0.9), optax.lookahead(optax.sgd(0.1), 3, 0.5)), "lookahead has to be the outermost"),
        (optax.GradientTransformation(lambda p: 0.0, lambda g, s, p=None: (g["layer_0"], s)), "updates of another"),
        (optax.GradientTransformation(lambda p: jnp.zeros(()), lambda g, s, p=None: (g, g)), "a state of another"),
        (optax.GradientTransformation(lambda p: {}, lambda g, s: (g, s)), "it raised TypeError"),
    ],
)
def test_what_cannot_train_the_network_is_refused_in_a_sentence(optimizer: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(optimizer)


# --- what optimizers are judged by -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer",
    [
        "schedule_free_sgd:step_size=1.5",
        contrib.schedule_free(optax.adam(1e-2, b1=0.0), learning_rate=1e-2),
        optax.chain(optax.clip(1.0), contrib.schedule_free_adamw(1e-2)),
    ],
)
def test_schedule_free_is_judged_by_its_average(optimizer: Any) -> None:
    result = run(optimizer, clean=Y, keep_outputs=[0, 12], record_every=4)
    state = result.optimizer_state
    while not isinstance(state, contrib.ScheduleFreeState):
        state = state[-1]
    average = contrib.schedule_free_eval_params(state, result.optimizer_params)
    jax.tree.map(np.testing.assert_array_equal, result.params, average)
    moved = np.abs(result.optimizer_params["layer_0"]["kernel"] - result.params["layer_0"]["kernel"]).max()
    assert moved > 1e-5
    np.testing.assert_allclose(result.output, SMALL.apply(average, X), atol=1e-6)
    np.testing.assert_array_equal(result.outputs[12], result.output)
    assert result.history.loss[-1] == pytest.approx(0.5 * np.sum((result.output - Y) ** 2), rel=1e-4)
    assert result.history.weight_change.l2[0].max() == 0  # the start, to the bit


def test_lookahead_is_judged_by_its_slow_weights() -> None:
    """Every third step they go half of the way on to the fast ones; then both are the same."""
    fast = run(optax.sgd(0.01), steps=3)
    result = run(optax.lookahead(optax.sgd(0.01), 3, 0.5), steps=4, keep_outputs=[2, 3])
    half = jax.tree.map(lambda a, b: (a + b) / 2, fast.initial_params, fast.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), result.params, half)
    np.testing.assert_allclose(result.outputs[2], SMALL.apply(fast.initial_params, X), atol=1e-6)
    on = jax.tree.map(
        lambda p, g: p - 0.01 * g,
        half,
        jax.grad(lambda p: 0.5 * jnp.sum((SMALL.apply(p, X) - Y) ** 2))(half),
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), result.optimizer_params, on)


def test_all_others_are_judged_by_where_they_stand() -> None:
    result = run("adam")
    jax.tree.map(np.testing.assert_array_equal, result.params, result.optimizer_params)
    assert int(result.optimizer_state[0].count) == 12


@pytest.mark.parametrize(
    "optimizer", ["schedule_free", "lbfgs", "madgrad", WRAPPED["lookahead"], WRAPPED["sam in a chain"]]
)
def test_updates_that_have_to_be_made_as_they_are_take_no_layer_steps(optimizer: Any) -> None:
    with pytest.raises(ValueError, match="have to be made as they are; leave layer_steps out"):
        run(optimizer, layer_steps="tangent")


def test_layer_steps_are_factors_of_the_updates() -> None:
    network = to_flax(cnn(1), 6, 1, "standard")
    frozen = {"layer_0": {"kernel": 0.0}, "layer_2": {"kernel": 0.5}}
    whole, part = (run("lion", network, steps=1, layer_steps=steps) for steps in (None, frozen))
    np.testing.assert_array_equal(part.params["layer_0"]["kernel"], part.initial_params["layer_0"]["kernel"])
    ends = [result.params["layer_2"]["kernel"] - result.initial_params["layer_2"]["kernel"] for result in (whole, part)]
    np.testing.assert_allclose(0.5 * ends[0], ends[1], atol=1e-7)


# --- convolution kernels as matrices ---------------------------------------------------------------------------------


def test_muon_orthogonalises_convolution_kernels() -> None:
    """Newton and Schulz's five steps bring every singular value to between 0.6 and 1.3 (Jordan 2024)."""
    network = to_flax(Serial(Conv(3), Relu(), Conv(3), Relu(), Conv(1, 1.0)), width=6, out_channels=2)
    y = np.concatenate([Y, Y[::-1]], -1)
    result = train(network, X, y, optimizer="muon", steps=1)
    for layer in ("layer_0", "layer_2"):
        moved = result.params[layer]["kernel"] - result.initial_params[layer]["kernel"]
        matrix = np.asarray(moved).reshape(-1, moved.shape[-1]) / result.learning_rate  # (3 * 3 * C, 6), tall
        singular = np.linalg.svd(matrix, compute_uv=False)
        assert singular.min() > 0.5 and singular.max() < 1.4
    as_it_is = train(network, X, y, optimizer=contrib.muon(1.0), steps=1)  # that of Adam: signs
    moved = as_it_is.params["layer_2"]["kernel"] - as_it_is.initial_params["layer_2"]["kernel"]
    assert np.linalg.svd(np.asarray(moved).reshape(-1, 6), compute_uv=False).max() > 3


def test_galore_projects_convolution_kernels() -> None:
    result = run("galore:rank=1", steps=1)
    moved = np.asarray(result.params["layer_0"]["kernel"] - result.initial_params["layer_0"]["kernel"])
    singular = np.linalg.svd(moved.reshape(-1, moved.shape[-1]), compute_uv=False)
    assert singular[1] < 1e-4 * singular[0]


# --- checkpoints -----------------------------------------------------------------------------------------------------


def interrupted(folder: Any, optimizer: Any, **options: Any) -> None:
    def progress(now: int, steps: int, loss: float) -> None:
        if now == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(optimizer, checkpoint=folder, checkpoint_every=3, progress=progress, **options)


@pytest.mark.parametrize(
    "optimizer",
    [
        "momentum",
        "muon",
        "schedule_free",
        "lbfgs",
        "noisy_sgd",
        "sophia",
        pytest.param(WRAPPED["lookahead"], id="lookahead"),
        pytest.param(WRAPPED["sam in a chain"], id="sam"),
        pytest.param(WRAPPED["several steps"], id="several steps"),
        pytest.param(WRAPPED["injected"], id="injected"),
        pytest.param(WRAPPED["noise"], id="noise"),
    ],
)
def test_an_interrupted_run_resumes_to_the_same_bits(tmp_path: Any, optimizer: Any) -> None:
    whole = run(optimizer, keep_outputs=[2, 11])
    interrupted(tmp_path, optimizer, keep_outputs=[2, 11])
    resumed = run(optimizer, checkpoint=tmp_path, checkpoint_every=3, keep_outputs=[2, 11])
    for part in ("output", "outputs", "params", "optimizer_params"):
        jax.tree.map(np.testing.assert_array_equal, getattr(resumed, part), getattr(whole, part))
    np.testing.assert_array_equal(resumed.history.loss, whole.history.loss)
    states = (jax.tree.leaves(one.optimizer_state) for one in (resumed, whole))
    for one, other in zip(*states, strict=True):
        if not jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            np.testing.assert_array_equal(one, other)


def decayed(steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(1e-3, steps))


@pytest.mark.parametrize(
    ("one", "other", "named"),
    [
        ("adam", "adamw", "optimizer = 'adam', not 'adamw'"),
        ("adam", "adam:b1=0.8", r"optimizer_settings.b1 = 0.9, not 0.8"),
        ("adam", "adam:learning_rate=2e-3", r"learning_rate = 0.001, not 0.002"),
        ("gd", "gd:step_size=0.5", r"step_size = None, not 0.5"),
        ("gd", "momentum", "optimizer = 'gd', not 'momentum'"),
        ("adam", optax.adam(1e-3), "optimizer = 'adam', not 'optax'"),
        (optax.adam(1e-4), optax.adam(1e-1), "optimizer_program = "),
        (optax.adam(1e-3), optax.adam(1e-3, b2=0.99), "optimizer_program = "),
        (optax.adam(1e-3), optax.adamw(1e-3), "optimizer_program = "),
        (optax.sgd(1e-3, momentum=0.9), optax.sgd(1e-3, momentum=0.9, nesterov=True), "optimizer_program = "),
        (optax.sgd(1e-3), optax.sign_sgd(1e-3), "optimizer_program = "),
        (decayed(100), decayed(200), "optimizer_program = "),
        (optax.rprop(1e-3), optax.rprop(2e-3), "optimizer_program = "),  # they differ in their first state alone
        (optax.adagrad(1e-3), optax.adagrad(1e-3, initial_accumulator_value=0.2), "optimizer_program = "),
        (optax.MultiSteps(optax.sgd(1e-3), 2), optax.MultiSteps(optax.sgd(1e-3), 4), "optimizer_program = "),
        (optax.lookahead(optax.sgd(1e-3), 2, 0.5), optax.lookahead(optax.sgd(1e-3), 2, 0.4), "optimizer_program = "),
        (optax.noisy_sgd(1e-3, seed=0), optax.noisy_sgd(1e-3, seed=1), "optimizer_program = "),
        (
            optax.inject_hyperparams(optax.adam)(learning_rate=1e-4),
            optax.inject_hyperparams(optax.adam)(learning_rate=1e-1),
            "optimizer_program = ",
        ),
        (
            optax.masked(optax.sgd(1e-3), {"layer_0": True, "layer_2": False}),
            optax.masked(optax.sgd(1e-3), {"layer_0": False, "layer_2": True}),
            "optimizer_program = ",
        ),
        (optax.sgd(1e-3), optax.sgd(1e-3, momentum=0.0), "optimizer_program = |optimizer_state = "),
    ],
)
def test_a_checkpoint_of_another_optimizer_is_refused(tmp_path: Any, one: Any, other: Any, named: str) -> None:
    run(one, steps=2, checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match=rf"belongs to a run with ({named}).*remove it"):
        run(other, steps=2, checkpoint=tmp_path)
    if not isinstance(one, str):
        run(one, steps=2, checkpoint=tmp_path)  # its own it takes


def test_an_object_made_again_is_the_same_optimizer(tmp_path: Any) -> None:
    interrupted(tmp_path, decayed(100))
    resumed = run(decayed(100), checkpoint=tmp_path, checkpoint_every=3)
    np.testing.assert_array_equal(resumed.output, run(decayed(100)).output)


_FINGERPRINT = """
import jax, jax.numpy as jnp, optax
from ntk_nonlocal.networks.updates import as_update, fingerprint
params = {"kernel": jnp.ones((3, 3, 2, 4)), "bias": jnp.zeros(4)}
for optimizer in (optax.lbfgs(), optax.chain(optax.add_noise(0.1, 0.5, 3), optax.adam(optax.linear_schedule(1, 0, 9)))):
    print(fingerprint(as_update(optimizer, params, ""), params))
"""


def test_other_processes_find_the_same_program() -> None:
    """Whatever was traced before: here much, there nothing."""
    found = subprocess.run([sys.executable, "-c", _FINGERPRINT], capture_output=True, text=True, check=True)
    params = {"kernel": jnp.ones((3, 3, 2, 4)), "bias": jnp.zeros(4)}
    noisy = optax.chain(optax.add_noise(0.1, 0.5, 3), optax.adam(optax.linear_schedule(1, 0, 9)))
    here = [fingerprint(as_update(one, params, ""), params) for one in (optax.lbfgs(), noisy)]
    assert found.stdout.split() == here
