"""Architectures: construction, equality, printing, flattening, validation and their names on the command line."""

from __future__ import annotations

import inspect
import pickle
import re
import typing
from dataclasses import FrozenInstanceError
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntk_nonlocal import architecture as arch
from ntk_nonlocal.architecture import (
    NAMED,
    ArchitectureError,
    Concat,
    Conv,
    Downsample,
    Erf,
    Layer,
    LeakyRelu,
    Normalize,
    Rbf,
    Relu,
    Serial,
    Signal,
    Sum,
    Upsample,
    autoencoder,
    check_network,
    cnn,
    convolutions,
    divisor,
    output_signal,
    parse_architecture,
    unet,
    vanilla_cnn,
    walk,
)

# --- random architectures --------------------------------------------------------------------------------------------

convs = st.builds(
    Conv,
    st.sampled_from([1, 3, 5]),
    st.floats(0.1, 3),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from(["zero", "circular", "reflect"]),
)
nonlinearities = st.one_of(
    st.just(Relu()), st.just(Erf()), st.builds(LeakyRelu, st.floats(-2, 2)), st.builds(Rbf, st.floats(0.1, 3))
)
resamplings = st.one_of(
    st.builds(Downsample, st.integers(2, 3), st.sampled_from(["average", "stride"])),
    st.builds(Upsample, st.integers(2, 3), st.sampled_from(["bilinear", "nearest"])),
)
blocks = st.recursive(
    st.one_of(
        convs.map(Serial),
        st.builds(Serial, convs, nonlinearities),
        st.builds(Serial, convs, nonlinearities, resamplings, convs),
    ),
    lambda inner: st.one_of(
        st.builds(Serial, inner, inner),
        st.builds(lambda a, conv: Sum(Serial(a, conv), _same_scale(a)), inner, convs),
        st.builds(lambda a: Concat(a, _same_scale(a), a), inner),
    ),
    max_leaves=5,
)


def _same_scale(block: Layer) -> Layer:
    """Another branch that ends in the resolution of ``block``, and in a Conv."""
    scale = block.propagate(Signal(), "").scale
    up = (Upsample(scale.numerator),) if scale.numerator > 1 else ()
    down = (Downsample(scale.denominator),) if scale.denominator > 1 else ()
    return Serial(Conv(1), *up, *down, Conv(3))


@given(blocks)
def test_repr_is_the_call_that_builds_an_equal_architecture(block: Layer) -> None:
    again = eval(repr(block), vars(arch))
    assert again == block
    assert hash(again) == hash(block)
    assert repr(again) == repr(block)
    assert pickle.loads(pickle.dumps(block)) == block


@given(blocks, blocks, blocks)
def test_serial_is_associative_and_its_empty_one_is_the_identity(a: Layer, b: Layer, c: Layer) -> None:
    assert Serial(Serial(a, b), c) == Serial(a, Serial(b, c)) == Serial(a, b, c)
    assert Serial(Serial(), a, Serial()) == Serial(a)
    assert not any(isinstance(layer, Serial) for layer in Serial(a, b).layers)


@given(blocks, st.integers(1, 4), st.integers(1, 4))
def test_the_size_of_the_output_is_the_scale_times_that_of_the_input(block: Layer, rows: int, columns: int) -> None:
    size = (rows * 2**4 * 3**4, columns * 2**4 * 3**4)
    try:
        signal = output_signal(block, size)
    except ArchitectureError as error:
        assert "divisible" in str(error)
        return
    assert signal.size == (size[0] * signal.scale, size[1] * signal.scale)


@given(blocks)
def test_convolutions_are_found_once_each(block: Layer) -> None:
    placed = convolutions(Serial(block, Conv(1)))
    assert len(placed) == repr(Serial(block, Conv(1))).count("Conv(")
    assert len({conv.position for conv in placed}) == len(placed)
    assert [conv.is_output for conv in placed] == [False] * (len(placed) - 1) + [True]


# --- construction ----------------------------------------------------------------------------------------------------


def test_the_named_architectures_have_the_documented_bodies() -> None:
    end = Conv(1, weight_std=1.0)
    assert vanilla_cnn() == Serial(Conv(11), Relu(), end)
    assert cnn(2, 5) == Serial(Conv(5), Relu(), Conv(5), Relu(), end)
    step = (Conv(3), Relu())
    assert autoencoder(1) == Serial(*step, Downsample(2, "average"), *step, Upsample(2, "bilinear"), *step, end)
    inner = Serial(Downsample(), *step, Upsample())
    outer = Serial(Downsample(), *step, Concat(Serial(), inner), *step, Upsample())
    assert unet(2) == Serial(*step, Concat(Serial(), outer), *step, end)
    assert len(autoencoder().layers) == 2 + 3 * 3 + 3 * 3 + 1


def test_layers_are_frozen_and_distinct() -> None:
    with pytest.raises(FrozenInstanceError):
        Conv(3).kernel_size = 5  # type: ignore[misc]
    layers = [Conv(3), Conv(5), Conv(3, 1.0), Conv(3, bias_std=1.0), Conv(3, padding="circular"), Relu(), Erf()]
    layers += [LeakyRelu(0.5), Rbf(0.5), Downsample(), Downsample(3), Downsample(method="stride"), Upsample()]
    layers += [Upsample(method="nearest"), Serial(), Serial(Relu()), Sum(Conv(3), Conv(3)), Concat(Conv(3), Conv(3))]
    assert len(set(layers)) == len(layers)


def test_numbers_of_numpy_make_the_same_layer() -> None:
    assert Conv(np.int64(3), np.float32(1)) == Conv(3, 1.0)  # type: ignore[arg-type]
    assert repr(Conv(np.int64(3), np.float32(1))) == "Conv(3, weight_std=1.0)"  # type: ignore[arg-type]
    assert hash(Downsample(np.int8(2))) == hash(Downsample())  # type: ignore[arg-type]


def test_defaults_are_left_out_of_repr() -> None:
    assert repr(Serial(Conv(3), LeakyRelu(0.2), Upsample(3, "nearest"))) == (
        "Serial(Conv(3), LeakyRelu(0.2), Upsample(3, method='nearest'))"
    )


def test_nested_concatenations_are_one_flat_one() -> None:
    a, b, c = Conv(1), Conv(3), Conv(5)
    assert Concat(a, Concat(b, c)) == Concat(Serial(Concat(a, b)), c) == Concat(a, b, c)
    assert Sum(a, Serial(Sum(b, c))) != Sum(a, b, c)  # a Sum within a Sum is a branch like any other


def test_channels_and_resolution_are_followed() -> None:
    wide = Serial(Conv(3), Relu(), Concat(Serial(), Conv(3), Conv(1)), Downsample(4), Upsample(2))
    signal = output_signal(wide, (16, 8))
    assert (signal.channels, signal.scale, signal.size) == (3, Fraction(1, 2), (8, 4))
    placed = convolutions(Serial(wide, Conv(3), Relu(), Conv(1)))
    assert [conv.fan_in_width for conv in placed] == [None, 1, 1, 3, 1]
    assert placed[1].position == "layer 2, branch 1"
    assert placed[1].position.names == ("layer_2", "branch_1")
    assert [str(item.position) for item in walk(wide)] == [
        *("", "layer 0", "layer 1", "layer 2", "layer 2, branch 0", "layer 2, branch 1", "layer 2, branch 2"),
        *("layer 3", "layer 4"),
    ]


def test_an_image_is_divisible_where_every_lower_resolution_has_whole_pixels() -> None:
    there_and_back = (Conv(1), Downsample(2), Upsample(2))
    assert divisor(Serial(*there_and_back, *there_and_back)) == divisor(Serial(Upsample(3), Downsample(2))) == 2
    assert divisor(autoencoder(3)) == divisor(unet(3)) == 8
    assert divisor(Serial(Upsample(2), Downsample(2))) == divisor(cnn(2)) == 1
    assert (
        divisor(Concat(Serial(Conv(1), Downsample(6), Upsample(6)), Serial(Conv(1), Downsample(4), Upsample(4)))) == 12
    )


def test_every_branch_of_a_last_sum_gives_the_output() -> None:
    placed = convolutions(Serial(Conv(3), Relu(), Sum(Conv(1), Serial(Conv(3), Relu(), Conv(1)))))
    assert [conv.is_output for conv in placed] == [False, True, False, True]


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Conv(4), "Conv: kernel_size must be odd, got 4; use 3 or 5"),
        (lambda: Conv(0), "Conv: kernel_size must be an integer of at least 1, got 0"),
        (lambda: Conv(3.0), "Conv: kernel_size must be an integer of at least 1, got 3.0"),
        (lambda: Conv(True), "Conv: kernel_size must be an integer"),
        (lambda: Conv(3, 0.0), "Conv: weight_std must be above 0, got 0.0"),
        (lambda: Conv(3, float("nan")), "Conv: weight_std must be a finite number, got nan"),
        (lambda: Conv(3, bias_std=-1), "Conv: bias_std must be at least 0, got -1"),
        (lambda: Conv(3, padding="same"), "Conv: padding must be one of 'zero', 'circular', 'reflect', got 'same'"),
        (lambda: LeakyRelu(float("inf")), "LeakyRelu: slope must be a finite number, got inf"),
        (lambda: Rbf(0), "Rbf: gamma must be above 0, got 0"),
        (lambda: Downsample(1), "Downsample: factor must be an integer of at least 2, got 1"),
        (lambda: Downsample(method="max"), "Downsample: method must be one of 'average', 'stride', got 'max'"),
        (lambda: Upsample(2, "cubic"), "Upsample: method must be one of 'bilinear', 'nearest', 'zero', got 'cubic'"),
        (lambda: Concat(Conv(3)), "Concat needs at least two branches, got 1"),
        (lambda: Sum(), "Sum needs at least two branches, got 0"),
        (lambda: cnn(0), "cnn: depth must be an integer of at least 1 and at most 1000, got 0"),
        (lambda: unet("2"), "unet: levels must be an integer of at least 1 and at most 20, got '2'"),
    ],
)
def test_wrong_numbers_say_what_was_expected(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        build()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("build", "parts"),
    [
        (lambda: Serial(Conv(3), Relu(), Erf()), ["layer 2: Erf()", "two nonlinearities in a row", "put a Conv"]),
        (
            lambda: Serial(Conv(3), Concat(Conv(1), Conv(3)), Relu()),
            ["layer 2: Relu()", "behind a Concat", "put a Conv in front"],
        ),
        (
            lambda: Serial(Conv(3), Sum(Serial(Relu(), Rbf(), Conv(1)), Conv(1))),
            ["layer 1: Rbf()", "put a Conv"],
        ),
        (
            lambda: Concat(Conv(1), Serial(Conv(1), Downsample())),
            ["Concat", "different resolutions", "1, 1/2", "add Downsample or Upsample"],
        ),
        (lambda: Sum(Conv(1), Serial(Conv(1), Upsample(3), Conv(1))), ["Sum", "1, 3", "add Downsample or Upsample"]),
        (lambda: Sum(Conv(1), Relu()), ["Sum, branch 1", "must end in a Conv", "append Conv(1)"]),
        (lambda: Sum(Conv(1), Serial(), Sum(Serial(), Conv(3))), ["Sum", "Serial() and Sum(", "not independent"]),
        (
            lambda: Serial(Conv(3), Relu(), Sum(Serial(), Conv(3)), Relu()),
            ["layer 3: Relu()", "not Gaussian", "put a Conv in front"],
        ),
        (
            lambda: Serial(Conv(3, channels=0.5), Sum(Serial(), Conv(3))),
            ["layer 1", "different numbers of channels (0.5, 1 times"],
        ),
        (lambda: Sum(Normalize(), Serial(Downsample(), Upsample())), ["Normalize() and Serial(", "not independent"]),
        (
            lambda: Serial(Conv(3), Relu(), Sum(Serial(), Conv(3)), Normalize()),
            ["layer 3: Normalize()", "a Sum that passes such values on"],
        ),
    ],
)
def test_architectures_without_a_limit_are_refused_when_built(build: object, parts: list[str]) -> None:
    with pytest.raises(ArchitectureError) as caught:
        build()  # type: ignore[operator]
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("architecture", "size", "parts"),
    [
        (autoencoder(2), (8, 6), ["layer 5: Downsample()", "divisible by 2", "got 4x3", "crop or pad"]),
        (unet(1), (5, 4), ["layer 2, branch 1, layer 0: Downsample()", "got 5x4"]),
        (Serial(Conv(5, padding="circular")), (8, 4), ["layer 0", "at least 5x5", "got 8x4", "zero padding"]),
        (Serial(Relu(), Conv(3)), (8, 8), ["layer 0: Relu()", "network input", "put a Conv in front"]),
        (Concat(Serial(), Conv(3)), (8, 8), ["layer 0, branch 0", "raw network input"]),
        (Sum(Conv(3), Serial()), (8, 8), ["layer 0, branch 1", "adds the network input itself", "put a Conv"]),
        (Serial(Upsample(), Concat(Serial(), Conv(3)), Conv(1)), (8, 8), ["layer 1, branch 0", "put a Conv"]),
    ],
)
def test_images_that_do_not_fit_are_refused_by_position(
    architecture: Layer, size: tuple[int, int], parts: list[str]
) -> None:
    with pytest.raises(ArchitectureError) as caught:
        output_signal(architecture, size)
    for part in parts:
        assert part in str(caught.value)


def test_what_is_no_layer_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"Serial: argument 1 must be a layer.*got \[Relu\(\)\].*not a list"):
        Serial(Conv(3), [Relu()])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="argument 0 must be a layer"):
        Concat("a", Conv(3))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="architecture must be built from layers"):
        output_signal("cnn", (8, 8))  # type: ignore[arg-type]


def test_a_finite_network_ends_in_a_convolution() -> None:
    check_network(unet(1))
    check_network(Sum(Conv(1), Conv(3)))
    check_network(Serial(Conv(3), Sum(Serial(), Conv(3)), Conv(1)))
    passed_on = Serial(Conv(3), Sum(Serial(), Conv(3)))
    with pytest.raises(ArchitectureError, match=r"layer 1: Sum.*passes its input on.*append Conv\(1"):
        check_network(passed_on)
    for unfit in (Serial(Conv(3), Relu()), Serial(), Concat(Conv(1), Conv(3))):
        with pytest.raises(ArchitectureError, match=r"must end in a Conv.*append Conv\(1, weight_std=1\.0\)"):
            check_network(unfit)


# --- the command line ------------------------------------------------------------------------------------------------


def test_names_on_the_command_line_build_the_same() -> None:
    assert parse_architecture("vanilla_cnn") == parse_architecture(" vanilla-cnn: ") == vanilla_cnn()
    assert parse_architecture("cnn:depth=2,kernel_size=5") == cnn(2, 5)
    assert parse_architecture("autoencoder: levels=2 , down=stride, up = nearest") == autoencoder(
        2, down="stride", up="nearest"
    )


@pytest.mark.parametrize("name", NAMED)
def test_every_name_takes_its_arguments(name: str) -> None:
    """Each at twice its default, words at another one, as its own type spells them."""
    builder = NAMED[name]
    hints = typing.get_type_hints(builder)
    for key, parameter in inspect.signature(builder).parameters.items():
        if hints[key] in (int, float):
            value = parameter.default + 2  # an odd kernel_size stays odd
        elif key == "weight_std":
            value = 1.25
        else:
            value = next(word for word in typing.get_args(hints[key]) if word != parameter.default)
        assert parse_architecture(f"{name}:{key}={value}") == builder(**{key: value}) != builder(), key


def test_a_builder_may_take_a_float(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaky(slope: float = 0.1) -> Serial:
        return Serial(Conv(3), LeakyRelu(slope), Conv(1))

    monkeypatch.setitem(NAMED, "leaky", leaky)
    assert parse_architecture("leaky:slope=0.3") == leaky(0.3)
    with pytest.raises(ValueError, match="leaky: slope must be a number, got 'steep'"):
        parse_architecture("leaky:slope=steep")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("autoencodr", ["unknown architecture 'autoencodr'", "did you mean 'autoencoder'?", "known: vanilla_cnn, cnn"]),
        ("", ["unknown architecture ''", "known:"]),
        ("cnn:deph=3", ["cnn has no 'deph'", "did you mean 'depth'?", "keys: depth, kernel_size"]),
        ("cnn:3", ["expected key=value, got '3'", "keys: depth, kernel_size"]),
        ("cnn:depth=", ["expected key=value, got 'depth='"]),
        ("cnn:depth=2,depth=3", ["depth is given twice"]),
        ("cnn:depth=two", ["cnn: depth must be an integer, got 'two'"]),
        ("cnn:kernel_size=4", ["kernel_size must be odd, got 4", "use 3 or 5"]),
        ("unet:down=max", ["method must be one of 'average', 'stride', got 'max'"]),
    ],
)
def test_misspelt_names_are_explained(text: str, parts: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        parse_architecture(text)
    for part in parts:
        assert part in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_an_architecture_or_a_value_error(text: str) -> None:
    for candidate in (text, f"cnn:{text}"):
        try:
            parsed = parse_architecture(candidate)
        except ValueError:
            continue
        assert isinstance(parsed, Serial)


def test_the_initial_scale_is_a_number_or_a_name_on_every_layer_and_on_the_command_line() -> None:
    assert Conv(3, "he") == Conv(3) and Conv(3).std == 2**0.5 and not Conv(3).uniform
    assert Conv(3, "pytorch").std == pytest.approx(3**-0.5) and Conv(3, "pytorch").uniform
    assert repr(Conv(3, "pytorch")) == "Conv(3, weight_std='pytorch')"
    for name, builder in NAMED.items():
        small = parse_architecture(f"{name}:weight_std=pytorch")
        assert small == builder(weight_std="pytorch") and parse_architecture(f"{name}:weight_std=he") == builder()
        assert all(placed.conv.uniform for placed in convolutions(small))
        stds = {placed.conv.std for placed in convolutions(parse_architecture(f"{name}:weight_std=0.5"))}
        assert stds == {0.5}
    with pytest.raises(ValueError, match="did you mean 'pytorch'"):
        Conv(3, "pytroch")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be a number, 'he' or 'pytorch', got 'big'"):
        parse_architecture("cnn:weight_std=big")
