"""The exact-kernel engine, layer by layer, against the layers' formulas evaluated to 50 digits."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest
from lag_reference import exact, natural, reference

import ntk_nonlocal as nnl
from ntk_nonlocal.architecture import (
    Concat,
    Conv,
    Downsample,
    Erf,
    Layer,
    LeakyRelu,
    Nonlinearity,
    Normalize,
    Rbf,
    Relu,
    Serial,
    Sum,
    Upsample,
    cnn,
)
from ntk_nonlocal.kernels import nngp_kernel, stax_rule, tangent_kernel
from ntk_nonlocal.kernels.exact import has_rule
from ntk_nonlocal.kernels.lag.kernel import LagKernel
from ntk_nonlocal.networks import flax_rule

END = (Conv(3), Relu(), Conv(1, weight_std=1.0))


def noise(height: int, width: int, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(height + width).normal(0.5, 0.3, (height, width, channels))


def circular(kernel_size: int, **settings: Any) -> Conv:
    return Conv(kernel_size, padding="circular", **settings)


def reflected(kernel_size: int, **settings: Any) -> Conv:
    return Conv(kernel_size, padding="reflect", **settings)


def assert_exact(
    architecture: Layer, x: np.ndarray, tolerance: float, kinds: str = "ntk", block: int | None = None
) -> None:
    """The engine's matrix, diagonal included, is the reference within ``tolerance`` of the largest diagonal entry."""
    expected = reference(architecture, x)
    for kind in kinds.split():
        op = (nngp_kernel if kind == "nngp" else tangent_kernel)(architecture, x, backend="lag")
        assert op.dtype == x.dtype
        if block is not None:
            assert isinstance(op, LagKernel)
            op = dataclasses.replace(op, block=block)
        matrix = np.asarray(op.as_matrix(), np.float64)
        assert matrix.shape == expected[kind].shape == op.shape
        size = np.diag(expected[kind]).max() or 1.0
        np.testing.assert_allclose(matrix, expected[kind], rtol=0, atol=tolerance * size)


# Together: every layer, all methods of resampling and factors 2 and 3, all paddings, biases and weights of any size.
NETWORKS: dict[str, tuple[Layer, tuple[int, int]]] = {
    "pointwise": (
        Serial(
            *(Conv(3, 1.3, 0.2), LeakyRelu(0.2), Conv(1, 0.9), LeakyRelu(-0.5), Conv(3), Erf()),
            *(Conv(1, 1.7), Relu(), Conv(3, 1.5, 0.1), Rbf(0.7), Conv(1, 0.7, 0.4)),
        ),
        (4, 5),
    ),
    "padding": (
        Serial(circular(3), Relu(), Conv(3, bias_std=0.3), Relu(), circular(5, bias_std=0.2), Erf(), Conv(5)),
        (5, 6),
    ),
    "average, bilinear": (
        Serial(Conv(3), Relu(), Downsample(3), Conv(3), Relu(), Upsample(3), circular(3), Relu(), Conv(1)),
        (6, 9),
    ),
    "stride, nearest": (
        Serial(
            *(Conv(3), Relu(), Downsample(3, "stride"), Conv(3), Erf(), Downsample(2, "average")),
            *(Conv(3), Relu(), Upsample(2, "bilinear"), Conv(3), Relu(), Upsample(3, "nearest"), *END),
        ),
        (6, 12),
    ),
    "ends in other resolutions": (
        Serial(
            Conv(3), Relu(), Downsample(2, "stride"), Conv(3), Relu(), Upsample(3, "nearest"), Conv(1, bias_std=0.1)
        ),
        (4, 6),
    ),
    "finer than the input": (
        Serial(
            *(Conv(3), Relu(), Upsample(3, "nearest"), Conv(3), Relu(), Downsample(2), Conv(3), Relu()),
            *(Upsample(2), Conv(3), Relu(), Downsample(3, "stride"), *END),
        ),
        (4, 6),
    ),
    "nested concat": (
        Serial(
            *(Conv(3), Relu()),
            Concat(
                Concat(Serial(), Serial(circular(3), Relu())),
                Serial(Concat(Conv(1), Conv(3), Serial(Conv(3, bias_std=0.3), Erf())), Upsample(2), Downsample(2)),
                Serial(Downsample(2, "stride"), Conv(3), Relu(), Upsample(2, "nearest")),
            ),
            *END,
        ),
        (4, 6),
    ),
    "dilated": (
        Serial(
            *(Conv(3, dilation=2), Relu(), Conv(5, bias_std=0.2, dilation=2), Relu(), circular(3, dilation=2), Erf()),
            Conv(3, dilation=7),
        ),
        (5, 6),
    ),
    "strides": (
        Serial(
            *(Conv(5, bias_std=0.1, stride=2), Relu(), circular(3, stride=2, dilation=1), Erf(), Upsample(2, "zero")),
            *(Conv(3), Relu(), Conv(1, stride=3), Upsample(3, "zero"), circular(3), Relu(), Upsample(2), Conv(1)),
        ),
        (12, 12),
    ),
    "normalized": (
        Serial(
            *(
                Conv(3, bias_std=0.1),
                Normalize(0.01),
                Relu(),
                Sum(Conv(3), Serial(Conv(1), Normalize(), Relu(), Conv(1))),
            ),
            *(Normalize(), Downsample(2), Relu(), Conv(1), Upsample(2, "zero"), Normalize(0.1), Erf(), Conv(3)),
        ),
        (4, 6),
    ),
    "narrow": (
        Serial(
            *(Conv(3), Relu(), Concat(Serial(), Serial(Conv(3, channels=0.25), Relu())), Conv(1, channels=2), Erf()),
            *(Concat(Conv(3), Serial()), Conv(1)),
        ),
        (4, 5),
    ),
    "reflected": (
        Serial(
            *(reflected(5, bias_std=0.2), Relu(), reflected(3, dilation=2), Erf(), circular(3), Relu(), Conv(3)),
            *(Relu(), reflected(7), Conv(1), Normalize(0.1), LeakyRelu(0.2), reflected(3)),
        ),
        (4, 5),
    ),
    "reflected, resampling": (
        Serial(
            *(
                reflected(3, stride=2),
                Relu(),
                Concat(Serial(), Serial(Downsample(2), reflected(3), Erf(), Upsample(2))),
            ),
            *(reflected(3), Relu(), Upsample(2, "zero"), reflected(5, bias_std=0.1), Relu()),
            *(Sum(Conv(3), Serial(Downsample(2), reflected(3), Relu(), Upsample(2, "nearest"), reflected(3))), Relu()),
            *(Downsample(2, "stride"), Upsample(2), reflected(3)),
        ),
        (8, 8),
    ),
    "residual": (
        Serial(
            *(Conv(3), Sum(Serial(), Serial(Relu(), Conv(3, bias_std=0.1))), Relu()),
            *(Sum(Serial(Downsample(2), Upsample(2)), Sum(Conv(3), Conv(1))), Conv(3), Erf(), Conv(1)),
        ),
        (4, 6),
    ),
    "sum": (
        Serial(
            Sum(Conv(3), Conv(1, bias_std=0.1)),
            Relu(),
            Sum(circular(3), Serial(Downsample(2), Conv(3, bias_std=0.2), Relu(), Upsample(2), Conv(3)), Conv(1)),
            *(Relu(), Conv(3)),
        ),
        (4, 6),
    ),
}


# what every run of the tests checks; the others take minutes to compile
QUICK = {"pointwise", "sum", "reflected"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.always if n in QUICK else pytest.mark.slow) for n in NETWORKS]
)
def test_the_tangent_kernel_is_exact_in_float64(name: str, x64: None) -> None:
    architecture, size = NETWORKS[name]
    assert_exact(architecture, noise(*size), 1e-12, block=None if "reflected" in name else 2)


@pytest.mark.parametrize("name", ["pointwise"])
def test_the_nngp_kernel_is_exact_in_float64(name: str, x64: None) -> None:
    architecture, size = NETWORKS[name]
    assert_exact(architecture, noise(*size), 1e-12, "nngp", block=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pointwise", "average, bilinear", "normalized"])
def test_float32_is_exact_to_1e_5_of_the_diagonal(name: str) -> None:
    architecture, size = NETWORKS[name]
    assert_exact(architecture, noise(*size).astype(np.float32), 2e-6)


LAYERS = [
    one
    for one in (getattr(nnl, name) for name in nnl.__all__)
    if isinstance(one, type) and issubclass(one, Layer) and one not in (Layer, Nonlinearity)
]


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_has_all_its_rules(layer: type) -> None:
    """As a finite network, in the engine, for neural-tangents, and here: its formula."""
    for rule in (flax_rule, stax_rule, exact):
        assert rule.dispatch(layer) is not rule.dispatch(object), f"register {rule.__name__} for {layer.__name__}"
    assert has_rule(layer), f"register dual (nonlinearities) or lag_rule for {layer.__name__}"


class Forgotten(Nonlinearity):
    """Without rules."""


def test_a_forgotten_rule_is_named_with_what_to_do() -> None:
    with pytest.raises(NotImplementedError, match=r"ntk_nonlocal\.kernels\.dual\.register\(Forgotten\)"):
        tangent_kernel(Serial(Conv(3), Forgotten(), Conv(1)), noise(4, 4).astype(np.float32))


RAMP = np.linspace(0.3, 0.31, 4 * 6 * 2).reshape(4, 6, 2)
CONSTANT = np.full((4, 6, 2), 0.7)
TINY, HUGE = 1e-6 * natural(4, 6, 2), 1e6 * natural(4, 6, 2)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_smooth_flat_and_scaled_images_lose_nothing(
    dtype: type, tolerance: float, request: pytest.FixtureRequest
) -> None:
    """Nearly parallel patches: engines that carry the covariance lose half of the digits here (1e-4 in float32)."""
    if dtype is np.float64:
        request.getfixturevalue("x64")
    architecture = cnn(2, 3)
    for x in (RAMP, CONSTANT, natural(4, 6, 2), TINY, HUGE):
        assert_exact(architecture, x.astype(dtype), tolerance)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-10)])
def test_flat_regions_lose_nothing_through_bilinear_upsampling(
    dtype: type, tolerance: float, request: pytest.FixtureRequest
) -> None:
    """Between two edges of a flat region interpolated patches are equal though their neighbourhoods vary."""
    if dtype is np.float64:
        request.getfixturevalue("x64")
    architecture = Serial(Conv(3), Relu(), Downsample(2), Upsample(2), Conv(3), Relu(), Conv(1))
    for x in (natural(4, 6, 2), RAMP, CONSTANT, TINY):
        assert_exact(architecture, x.astype(dtype), tolerance)


EXTREMES: dict[str, tuple[Layer, np.ndarray]] = {
    "one pixel": (cnn(2, 3), noise(1, 1)),
    "one row, 40 channels": (cnn(1, 5), noise(1, 7, 40)),
    "one column": (Serial(Conv(3, bias_std=0.1), Relu(), Conv(3)), noise(5, 1)),
    "filters larger than the image": (Serial(Conv(11), Relu(), Conv(9), Relu(), Conv(1)), noise(3, 4)),
    "circular filters as large as the image": (
        Serial(circular(5), Relu(), circular(5), Erf(), circular(3)),
        noise(5, 5),
    ),
    "twelve layers": (cnn(12, 1), noise(2, 3)),
    "the identity": (Serial(), noise(3, 4)),
    "upsampling first": (Serial(Upsample(2), Conv(3), Relu(), Conv(1)), noise(2, 3)),
    "black": (Serial(Conv(3), Relu(), Conv(3, bias_std=0.5), Relu(), Conv(3)), np.zeros((3, 4, 1))),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_sizes_and_images(name: str, x64: None) -> None:
    architecture, x = EXTREMES[name]
    assert_exact(architecture, x, 1e-12, "nngp" if architecture == Serial() else "ntk")


def test_the_diagonal_is_that_of_the_matrix(x64: None) -> None:
    """It is evaluated on its own, from the pairs (i, i) alone."""
    architecture, size = NETWORKS["average, bilinear"]
    op = tangent_kernel(architecture, noise(*size), backend="lag")
    np.testing.assert_allclose(op.diagonal(), np.diag(reference(architecture, noise(*size))["ntk"]), rtol=1e-12)


def test_opposite_patches_keep_half_of_the_digits(x64: None) -> None:
    """Exactly opposite patches occur where the input is one number and its negative: the angle pi is a square root."""
    assert_exact(cnn(2, 1), np.concatenate([noise(2, 3), -2 * noise(2, 3)]), 1e-8)


def test_a_network_without_weights_has_no_tangent_kernel() -> None:
    op = tangent_kernel(Downsample(2), noise(4, 6).astype(np.float32), backend="lag")
    assert op.shape == (6, 6)
    assert not np.asarray(op.as_matrix()).any()
    assert not np.asarray(op @ jax.numpy.ones(6)).any()
