"""Bad input to every public name: a ValueError or TypeError of this package, raised on purpose and before any work.

Every call of ``CALLS`` is valid as it stands; the tests replace one argument at a time by values that cannot be meant.
A public name that is missing here fails the last test.
"""

from __future__ import annotations

import functools
import linecache
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import flax.linen
import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ntk_nonlocal as nnl
from ntk_nonlocal.architecture import NAMED

PACKAGE = str(Path(nnl.__file__).parent)
PIXELS = 8
IMAGE = np.random.default_rng(0).uniform(size=(PIXELS, PIXELS, 2)).astype(np.float32)
LARGER = np.random.default_rng(1).uniform(size=(16, 16, 3))
ARCHITECTURE = nnl.vanilla_cnn(3)
NETWORK = nnl.to_flax(ARCHITECTURE, 8, 2)


@functools.cache
def params() -> Any:
    return NETWORK.init(jax.random.key(0), IMAGE)


@functools.cache
def kernel() -> nnl.DenseOperator:
    return nnl.DenseOperator(np.eye(PIXELS**2, dtype=np.float32), (PIXELS, PIXELS))


@functools.cache
def adapted() -> Any:
    return nnl.train(NETWORK, IMAGE, IMAGE, optimizer="adam", steps=1)


# What cannot be meant, by what is asked for. Objects of other kinds are in all of them.
OTHER = st.sampled_from([None, "text", b"bytes", 1j, {"a": 1}, [None], object(), [[1, 2], [3]]])
NO_NUMBER = st.sampled_from(["x", [1, 2], object(), None, 1j, math.nan, math.inf])
NO_NUMBERS = st.sampled_from(["x", [], [[1, 2]], object(), None, 1j, math.nan, math.inf, [1, math.nan], ["x"]])
NO_INTEGER = st.one_of(NO_NUMBER, st.floats(), st.booleans())
NO_WORD = st.one_of(st.text(max_size=8), st.sampled_from([None, 3, [], np.array(["a", "b"]), object(), b"ntk"]))
SIZES = st.integers(0, 5)


def _array(shape: tuple[int, ...], dtype: str, value: float) -> np.ndarray[Any, Any]:
    return np.full(shape, value if dtype[0] in "fc" else 1).astype(dtype)


def _wrong_images(floats_only: bool, limited: bool) -> st.SearchStrategy[Any]:
    """Wrong numbers of axes, empty ones, types without a scale, values that are no numbers or on another scale."""
    shapes = st.one_of(
        st.sampled_from([(), (8,), (2, 8, 8, 2), (0, 8, 2), (8, 0, 2), (8, 8, 0)]),
        st.tuples(SIZES, SIZES, SIZES, SIZES),
    )
    types = ["complex64", "<U1", "O", "datetime64[D]", *(["uint8"] if floats_only else []), "int64", "uint32"]
    values = [math.nan, math.inf, -math.inf, *([300.0, -30.0] if limited else [])]
    return st.one_of(
        OTHER,
        st.builds(_array, shapes, st.just("float32"), st.just(0.5)),
        st.builds(_array, st.just((8, 8, 2)), st.sampled_from(types), st.just(0.5)),
        st.builds(_array, st.just((8, 8, 2)), st.sampled_from(["float32", "float64"]), st.sampled_from(values)),
    )


BAD: dict[str, st.SearchStrategy[Any]] = {
    "clean": _wrong_images(False, True),
    "noisy": _wrong_images(False, True),
    "noisy on any scale": _wrong_images(False, False),
    "input": st.one_of(_wrong_images(True, False), st.builds(_array, st.just((8, 8)), st.just("float32"), st.just(1))),
    "target": st.one_of(
        OTHER,
        st.builds(_array, st.tuples(SIZES, SIZES, SIZES), st.just("float32"), st.just(0.5)),
        st.builds(_array, st.just((8, 8, 2)), st.just("float32"), st.sampled_from([math.nan, math.inf])),
        st.builds(_array, st.just((8, 8, 2)), st.sampled_from(["complex64", "<U1", "O"]), st.just(0.5)),
    ),
    "shaped": st.one_of(OTHER, st.builds(_array, st.sampled_from([(8,), (0, 8), (1, 2, 3, 4)]), st.just("f4"), SIZES)),
    "vector": st.one_of(OTHER, st.builds(_array, st.sampled_from([(3,), (3, 64), ()]), st.just("f4"), SIZES)),
    "matrix": st.one_of(OTHER, st.builds(_array, st.tuples(SIZES, SIZES), st.just("f4"), SIZES)),
    "count": st.one_of(NO_INTEGER, st.integers(max_value=0)),
    "seed": st.one_of(NO_INTEGER, st.integers(max_value=-1), st.just(2**63)),
    "natural": st.one_of(NO_INTEGER, st.integers(max_value=-1)),
    "even": st.one_of(NO_INTEGER, st.integers(max_value=0), st.integers(1, 50).map(lambda n: 2 * n)),
    "positive": st.one_of(NO_NUMBER, st.floats(max_value=0)),
    "not negative": st.one_of(NO_NUMBER, st.floats(max_value=-1e-300)),
    "finite": NO_NUMBER,
    "by channel": NO_NUMBERS,
    "positive by channel": st.one_of(NO_NUMBERS, st.floats(max_value=0), st.just([1.0, 0.0])),
    "not negative by channel": st.one_of(NO_NUMBERS, st.floats(max_value=-1e-300), st.just([1.0, -1.0])),
    "sigma": st.one_of(NO_NUMBER, st.floats(max_value=0), st.floats(min_value=1, exclude_min=True)),
    "word": NO_WORD,
    "architecture": st.sampled_from([None, "cnn", 3, nnl.cnn, [nnl.Conv(3)], nnl.Conv, nnl.Relu(), object()]),
    "function": st.sampled_from([None, "sin", 3, np.sin, lambda: 1, lambda x: x > 0, jax.nn.softmax, nnl.Relu()]),
    "module": st.sampled_from([None, "cnn", 3, flax.linen.relu, ARCHITECTURE, flax.linen.Conv(3, (3, 3))]),
    "layer": st.sampled_from([None, "cnn", 3, nnl.Conv, [nnl.Conv(3)], object()]),
    "spelling": st.one_of(
        st.text(max_size=12),
        st.sampled_from([None, 3, "cnn:depth", "cnn:dept=3", "cnn:depth=0", "cnn:depth=x", "cnn:depth=3,depth=3"]),
        st.sampled_from(["unet:levels=2000000", "unet:down=max", "cnn:kernel_size=2", "autoencodr", "cnn:depth=1e400"]),
    ),
    "optimizer": st.one_of(
        st.text(max_size=12),
        st.sampled_from(
            [None, 3, "adm", "adam:", "adam:b1", "adam:b3=1", "adam:b1=x", "adam:b1=0x10", "adam:b1=1,b1=1"]
        ),
        st.sampled_from(["adam:learning_rate=0", "gd:learning_rate=1", "sgd:momentum", b"adam", ["adam"]]),
    ),
    "operator": st.sampled_from([None, "kernel", 3, np.eye(64), ARCHITECTURE, [nnl.Conv(3)], IMAGE]),
    "network": st.sampled_from([None, "network", 3, ARCHITECTURE, nnl.to_flax]),
    "trained": st.sampled_from([None, {}, 3, "adam", IMAGE, NETWORK, object()]),
    "params": st.sampled_from([None, {}, 3, {"layer_0": {}}, "params", []]),
    "weights": st.sampled_from(["x", [], [(1, 2)], [(1, math.nan), (1, 1)], [(-1, 0), (1, 1)], 3, object()]),
    "steps": st.one_of(
        st.sampled_from([[], [[1]], "x", None, 5, {}, object(), [None], [True], [2**70]]),
        st.lists(st.floats(), min_size=1, max_size=3),
        st.lists(st.integers(max_value=-1), min_size=1, max_size=3),
        st.lists(st.integers(10**9, 10**12), min_size=1, max_size=3),
    ),
    "kept": st.one_of(st.just(5), st.lists(NO_INTEGER, min_size=1), st.lists(st.integers(max_value=-1), min_size=1)),
    "pixels": st.one_of(
        st.sampled_from([[], "x", None, [[0]], [True], object()]),
        st.lists(st.integers(max_value=-1), min_size=1),
        st.lists(st.integers(min_value=PIXELS**2), min_size=1, max_size=3).filter(lambda p: max(p) < 2**60),
    ),
    "size": st.one_of(NO_INTEGER, st.integers(max_value=0), st.integers(17, 10**6), st.just((1, 2, 3)), st.just((1,))),
    "pair": st.sampled_from([5, "ab", (1,), (1, 2, 3), (-1, 0), (99, 0), (1.5, 1), object(), (None, None)]),
    "shape": st.sampled_from([None, 3, "ab", (0, 1), (1,), (1, 2, 3), (1.5, 2), (-1, 2), (True, True), object()]),
    "mesh": st.sampled_from([3, "x", np.eye(3), jax.devices()]),
    "photo": st.sampled_from([3, "x", LARGER]),
    "key": st.sampled_from([None, "key", 3, LARGER]),
    "unreadable": st.sampled_from(
        [None, 3, "", "\0", ".", "no such file", "/dev/zero", object(), [], "x" * 5000, b"f"]
    ),
    "unwritable": st.sampled_from(
        [None, 3.5, "", "\0", ".", "no/such/folder.png", "a.gif", "a", object(), [], "x" * 5000 + ".png"]
    ),
}


def optional(kind: str) -> st.SearchStrategy[Any]:
    return BAD[kind].filter(lambda value: value is not None)


@dataclass(frozen=True)
class Call:
    """A function, valid arguments, and what their values are (see ``BAD``; a "?" behind it allows None)."""

    function: Callable[..., Any]
    arguments: dict[str, tuple[str, Any]]


def call(function: Callable[..., Any], /, **arguments: tuple[str, Any]) -> Call:
    return Call(function, arguments)


_DESCENT = {
    "op": ("operator", kernel),
    "y": ("target", IMAGE),
    "steps": ("steps", [1]),
    "step_size": ("positive", 1.0),
    "start": ("target?", None),
    "seed": ("seed", 0),
    "tolerance": ("positive?", None),
    "max_products": ("count", 5),
    "lambda_max": ("positive?", None),
}
_NAMED = {"levels": ("count", 1), "kernel_size": ("even", 3), "down": ("word", "average"), "up": ("word", "nearest")}
_TRAINED = {"architecture": ("architecture?", ARCHITECTURE), "width": ("count?", 8), "steps": ("count?", 1)}

CALLS: dict[str, Call] = {
    "Conv": call(
        nnl.Conv, kernel_size=("even", 3), weight_std=("positive", 1.0), bias_std=("not negative", 0.0),
        padding=("word", "zero"), dilation=("count", 1), stride=("count", 1), channels=("positive", 0.5),
        groups=("word", "all"),
    ),
    "Normalize": call(nnl.Normalize, epsilon=("positive", 0.1)),
    "Pointwise": call(nnl.Pointwise, function=("function", jax.numpy.sin)),
    "Relu": call(nnl.Relu),
    "Erf": call(nnl.Erf),
    "LeakyRelu": call(nnl.LeakyRelu, slope=("finite", 0.1)),
    "Rbf": call(nnl.Rbf, gamma=("positive", 1.0)),
    "Downsample": call(nnl.Downsample, factor=("count", 2), method=("word", "average")),
    "Upsample": call(nnl.Upsample, factor=("count", 2), method=("word", "nearest")),
    "Serial": call(lambda layer: nnl.Serial(nnl.Conv(1), layer), layer=("layer", nnl.Relu())),
    "Concat": call(lambda layer: nnl.Concat(nnl.Conv(1), layer), layer=("layer", nnl.Conv(1))),
    "Sum": call(lambda layer: nnl.Sum(nnl.Conv(1), layer), layer=("layer", nnl.Conv(1))),
    "vanilla_cnn": call(nnl.vanilla_cnn, kernel_size=("even", 3)),
    "cnn": call(nnl.cnn, depth=("count", 1), kernel_size=("even", 3)),
    "autoencoder": call(nnl.autoencoder, **_NAMED),
    "unet": call(nnl.unet, **_NAMED),
    "dip": call(nnl.dip, levels=("count", 1), skip=("natural", 4)),
    "describe": call(
        nnl.describe, architecture=("architecture", ARCHITECTURE), image_shape=("shape", (8, 8)), width=("count", 8)
    ),
    "from_flax": call(nnl.from_flax, module=("module", flax.linen.Sequential([jax.nn.relu]))),
    "parse_architecture": call(nnl.parse_architecture, text=("spelling", "cnn")),
    "to_stax": call(
        nnl.to_stax, architecture=("architecture", ARCHITECTURE), width=("count", 8), out_channels=("count", 1)
    ),
    "to_flax": call(
        nnl.to_flax, architecture=("architecture", ARCHITECTURE), width=("count", 8), out_channels=("count", 1),
        parameterization=("word", "ntk"),
    ),
    "to_flax.init": call(NETWORK.init, key=("key", jax.random.key(0)), network_input=("input", IMAGE)),
    "to_flax.apply": call(NETWORK.apply, params=("params", params), network_input=("input", IMAGE)),
    "to_flax.pre_activations": call(
        NETWORK.pre_activations, params=("params", params), network_input=("input", IMAGE)
    ),
    "tangent_kernel": call(
        nnl.tangent_kernel, architecture=("architecture", ARCHITECTURE), network_input=("input", IMAGE),
        backend=("word", "lag"), window=("count?", None), layer_weights=("weights?", None),
        memory_plan=("word", "auto"), memory_budget=("count?", None), mesh=("mesh?", None),
    ),
    "nngp_kernel": call(
        nnl.nngp_kernel, architecture=("architecture", ARCHITECTURE), network_input=("input", IMAGE),
        backend=("word", "lag"), window=("count?", None), memory_plan=("word", "auto"),
        memory_budget=("count?", None), mesh=("mesh?", None),
    ),
    "empirical_kernel": call(
        nnl.empirical_kernel, network=("network", NETWORK), params=("params", params), network_input=("input", IMAGE),
        output=("word", "mean"), layer_weights=("weights?", None), preconditioner=("params?", None),
    ),
    "linearize": call(nnl.linearize, network=("network", NETWORK), params=("params", params)),
    "layer_kernels": call(
        nnl.layer_kernels, architecture=("architecture", ARCHITECTURE), network_input=("input", IMAGE),
        window=("count?", None), memory_plan=("word", "auto"), memory_budget=("count?", None),
    ),
    "preconditioner": call(nnl.preconditioner, result=("trained", adapted)),
    "standard_layer_weights": call(
        nnl.standard_layer_weights, architecture=("layer", ARCHITECTURE), width=("count?", 8), in_channels=("count", 2)
    ),
    "LinearOperator": call(lambda v: kernel() @ v, v=("vector", np.ones(PIXELS**2))),
    "LinearOperator.rows": call(lambda pixels: kernel().rows(pixels), pixels=("pixels", [0])),
    "DenseOperator": call(
        lambda matrix, image_shape: nnl.DenseOperator(matrix, image_shape) @ np.ones(4, np.float32),
        matrix=("matrix", np.eye(4)), image_shape=("shape", (2, 2)),
    ),
    "ScaledOperator": call(
        lambda op, left: nnl.ScaledOperator(op, left, np.ones(PIXELS**2)) @ np.ones(PIXELS**2, np.float32),
        op=("operator", kernel), left=("vector", np.ones(PIXELS**2)),
    ),
    "gradient_descent": call(nnl.gradient_descent, **_DESCENT),
    "trajectory": call(nnl.trajectory, **_DESCENT, probes=("count", 1)),
    "nonlocal_means": call(
        nnl.nonlocal_means, y=("input", IMAGE), patch_size=("even", 3), h=("positive?", 0.1), window=("count?", 3),
        sigma=("positive?", 0.1),
    ),
    "twicing": call(nnl.twicing, w=("operator", kernel), y=("target", IMAGE), steps=("steps", [1])),
    "eigenpairs": call(
        nnl.eigenpairs, op=("operator", kernel), k=("count", 2), tolerance=("positive?", None), seed=("seed", 0),
        block_size=("count", 4), max_products=("count", 20),
    ),
    "nystrom": call(
        nnl.nystrom, op=("operator", kernel), rank=("count", 4), sampling=("word", "columns"), seed=("seed", 0)
    ),
    "degrees_of_freedom": call(
        nnl.degrees_of_freedom, op=("operator", kernel), steps=("steps", [1]), step_size=("positive", 1.0),
        probes=("count", 4), seed=("seed", 0), exact_up_to=("natural", 1024), max_products=("count", 20),
    ),
    "train": call(
        nnl.train, network=("network", NETWORK), network_input=("input", IMAGE), y=("target", IMAGE),
        optimizer=("word", "gd"), steps=("count", 1), step_size=("positive?", None), learning_rate=("positive?", None),
        params=("params?", params), seed=("seed", 0), clean=("target?", None), keep_outputs=("kept", [1]),
        layer_steps=("weights?", None), record_every=("count?", None), checkpoint_every=("count?", None),
    ),
    "parse_optimizer": call(nnl.parse_optimizer, text=("optimizer", "adam")),
    "PoissonGaussian": call(
        nnl.PoissonGaussian, gain=("positive by channel", 1.0), offset=("by channel", 0.0),
        read=("not negative by channel", 0.0),
    ),
    "explore": call(
        nnl.explore, noisy=("noisy on any scale", LARGER), clean=("clean?", None), sigma=("sigma?", 0.1),
        kernels=("word", "nlm"), seed=("seed", 0),
    ),
    "noise_input": call(
        nnl.noise_input, image_shape=("shape", (8, 8)), channels=("count", 2), scale=("positive", 0.1),
        seed=("seed", 0),
    ),
    "denoise": call(
        nnl.denoise, noisy=("noisy on any scale", LARGER), sigma=("sigma?", 0.1), method=("word", "tv"),
        seed=("seed", 0),
    ),
    "denoise by training": call(
        functools.partial(nnl.denoise, LARGER, 0.1, "gd"), **_TRAINED, seed=("seed", 0)
    ),
    "psnr": call(nnl.psnr, a=("noisy", LARGER), b=("noisy", LARGER), data_range=("positive", 1.0)),
    "ssim": call(nnl.ssim, a=("noisy", LARGER), b=("noisy", LARGER), data_range=("positive", 1.0)),
    "estimate_sigma": call(nnl.estimate_sigma, noisy=("noisy on any scale", LARGER)),
    "add_noise": call(nnl.add_noise, clean=("clean", LARGER), sigma=("sigma", 0.1), seed=("seed", 0)),
    "crop": call(nnl.crop, image=("shaped", LARGER), size=("size", 8), center=("pair?", None)),
    "example_image": call(nnl.example_image, size=("count", 64)),
    "read_photo": call(nnl.read_photo, path=("unreadable", None)),
    "write_photo": call(
        nnl.write_photo, path=("unwritable", "photo.png"), image=("noisy", LARGER), like=("photo?", None)
    ),
}  # fmt: skip

# Values of these kinds that are meant after all.
_MEANT = {
    ("describe", "image_shape"): lambda value: value == (1, 2, 3),
    ("denoise", "sigma"): lambda value: np.ndim(value) == 0 and value == 0,  # gives the image back
    ("empirical_kernel", "output"): lambda value: value in (0, 1),
    # words that the modules of a run hold are among what is tried
    ("parse_optimizer", "text"): lambda value: isinstance(value, str) and value in nnl.OPTIMIZERS,
    ("parse_architecture", "text"): lambda value: isinstance(value, str) and value in NAMED,
}


def _innermost(traceback: TracebackType | None) -> TracebackType:
    assert traceback is not None
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback


def assert_refused(function: Callable[..., Any], arguments: dict[str, Any]) -> None:
    """The call raises ValueError or TypeError, from a line of the package that says so, with one sentence or more."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = function(**arguments)
    except (ValueError, TypeError) as error:
        frame = _innermost(error.__traceback__)
        file = frame.tb_frame.f_code.co_filename
        assert file.startswith(PACKAGE), f"not raised on purpose, but in {file}: {error!r}"
        assert len(str(error)) > 15, repr(error)
        assert linecache.getline(file, frame.tb_lineno).strip().startswith("raise "), f"not on purpose: {error!r}"
    else:
        raise AssertionError(f"accepted: {result!r}")


_ARGUMENTS = [(name, argument) for name, one in CALLS.items() for argument in one.arguments]


@pytest.mark.parametrize(("name", "argument"), _ARGUMENTS, ids=[f"{n}-{a}" for n, a in _ARGUMENTS])
def test_what_cannot_be_meant_is_refused_with_a_sentence(
    name: str, argument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one = CALLS[name]
    kind = one.arguments[argument][0]
    arguments = {
        other: value() if value is kernel or value is params else value for other, (_, value) in one.arguments.items()
    }
    meant = _MEANT.get((name, argument), lambda value: False)

    @settings(max_examples=12, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(value=(optional(kind[:-1]) if kind.endswith("?") else BAD[kind]).filter(lambda value: not meant(value)))
    def check(value: Any) -> None:
        assert_refused(one.function, arguments | {argument: value})

    check()
    assert list(tmp_path.iterdir()) == []


def test_every_public_name_is_tested_here() -> None:
    without_input = {"ArchitectureError", "DivergenceError", "Layer", "Nonlinearity", "OPTIMIZERS", "__version__"}
    tested = {name.partition(".")[0] for name in CALLS}
    missing = set(nnl.__all__) - without_input - tested
    assert not missing, f"add to CALLS how to call {', '.join(sorted(missing))}"
