"""The exact kernels of small images to 50 digits, from the layers' formulas, and random architectures.

Covariances S[y, x, y', x'] are held whole, as arrays of ``decimal.Decimal``. With that many digits nothing has to be
rearranged to avoid cancellation: the angle between nearly parallel patches, which loses half of the digits, is still
exact to far more than float64 holds. The formulas are those of Cho and Saul (2009, arc-cosine), Williams (1997, erf)
and Rahimi and Recht (2007, sinusoids); the layers' definitions stand in ``ntk_nonlocal.architecture``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from functools import singledispatch
from typing import Any

import jax
import numpy as np

from ntk_nonlocal.architecture import (
    Concat,
    Conv,
    Downsample,
    Erf,
    Layer,
    LeakyRelu,
    Nonlinearity,
    Normalize,
    Pointwise,
    Rbf,
    Relu,
    Serial,
    Sum,
    Upsample,
)

Numbers = np.ndarray[Any, np.dtype[Any]]

DIGITS = 50
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
ERF = Pointwise(jax.scipy.special.erf)
_decimals = np.frompyfunc(lambda value: Decimal(float(value)), 1, 1)
_root = np.frompyfunc(lambda value: value.sqrt(), 1, 1)
_GRID = np.arange(-9.6, 9.65, 0.12)
_WEIGHT = np.exp(-(_GRID**2) / 2) * 0.12 / np.sqrt(2 * np.pi)
_is_positive = np.frompyfunc(lambda value: value if value > 0 else Decimal(0), 1, 1)


@dataclass(frozen=True)
class Exact:
    """Covariance and tangent kernel, both (H, W, H, W), the tangent kernel's part per convolution, and channels per
    width."""

    covariance: Numbers
    tangent: Numbers
    channels: float = 1


def reference(architecture: Layer, x: Numbers) -> dict[str, Numbers]:
    """{"ntk": Theta, "nngp": Sigma} as float64 matrices (H W, H W) of the output pixels, correct to the last digits."""
    with localcontext() as context:
        context.prec = DIGITS
        pixels = _decimals(x)
        covariance = np.tensordot(pixels, pixels, (2, 2)) / Decimal(x.shape[2])
        end = exact(architecture, Exact(covariance, covariance * Decimal(0)))
    count = end.covariance.shape[0] * end.covariance.shape[1]
    return {
        "ntk": end.tangent.reshape(count, count).astype(np.float64),
        "nngp": end.covariance.reshape(count, count).astype(np.float64),
    }


@singledispatch
def exact(layer: Layer, k: Exact) -> Exact:
    raise NotImplementedError(layer)


@exact.register
def _(layer: Serial, k: Exact) -> Exact:
    for inner in layer.layers:
        k = exact(inner, k)
    return k


@exact.register
def _(layer: Conv, k: Exact) -> Exact:
    scale = Decimal(layer.std) ** 2 / layer.kernel_size**2
    half = layer.dilation * (layer.kernel_size // 2)

    def window_mean(values: Numbers) -> Numbers:
        for axes in ((0, 2), (1, 3)):
            pads = [(half, half) if axis in axes else (0, 0) for axis in range(4)]
            if layer.padding != "zero":
                padded = np.pad(values, pads, mode="wrap" if layer.padding == "circular" else "reflect")
            else:
                padded = np.pad(values, pads, mode="constant", constant_values=Decimal(0))
            moved = []
            for shift in range(0, 2 * half + 1, layer.dilation):
                index = [slice(shift, shift + values.shape[axis]) if axis in axes else slice(None) for axis in range(4)]
                moved.append(padded[tuple(index)])
            values = sum(moved[1:], moved[0])
        return values * scale

    covariance = window_mean(k.covariance) + Decimal(layer.bias_std) ** 2
    every = (slice(None, None, layer.stride),) * 4
    channels = k.channels if layer.groups == "depthwise" else layer.channels
    return Exact(covariance[every], (window_mean(k.tangent) + covariance)[every], channels)


def _variances(k: Exact) -> tuple[Numbers, Numbers]:
    variance = np.einsum("yxyx->yx", k.covariance)
    return variance[:, :, None, None], variance[None, None, :, :]


def _pointwise(k: Exact, covariance: Numbers, derivative: Numbers) -> Exact:
    return replace(k, covariance=covariance, tangent=k.tangent * derivative)


def angle(sine: Numbers, cosine: Numbers) -> Numbers:
    """The angle in [0, pi] with these (not normalised) sine >= 0 and cosine; pi / 2 where both are zero."""
    sizes = _scaled(sine * sine + cosine * cosine)
    sine, cosine = sine / sizes, cosine / sizes
    rough = np.arctan2(sine.astype(np.float64), cosine.astype(np.float64))
    start = _decimals(np.where((sine == 0) & (cosine == 0), math.pi / 2, rough))
    # sin and cos of the rough angle by their power series; one step is then enough
    term, sums = start * 0 + 1, [start * 0, start * 0]
    for order in range(48):
        sums[order % 2] = sums[order % 2] + (term if order % 4 < 2 else -term)
        term = term * start / Decimal(order + 1)
    x = sine * sums[0] - cosine * sums[1]
    return start + x + x * x * x / 6


_scaled = np.frompyfunc(lambda square: square.sqrt() if square > 0 else Decimal(1), 1, 1)


@exact.register
def _(layer: Relu, k: Exact) -> Exact:
    return exact(LeakyRelu(0.0), k)


@exact.register
def _(layer: LeakyRelu, k: Exact) -> Exact:
    left, right = _variances(k)
    cosine, norm_squared = k.covariance, left * right
    sine = np.sqrt(_is_positive(norm_squared - cosine * cosine))
    theta = angle(sine, cosine)
    a, bend = Decimal(layer.slope), (1 - Decimal(layer.slope)) ** 2 / (2 * PI)
    covariance = bend * (sine + (PI - theta) * cosine) + a * cosine
    return _pointwise(k, covariance, bend * (PI - theta) + a)


@exact.register
def _(layer: Erf, k: Exact) -> Exact:
    left, right = _variances(k)
    twice = 2 * k.covariance
    root = np.sqrt((1 + 2 * left) * (1 + 2 * right) - twice * twice)
    return _pointwise(k, (2 / PI) * (PI / 2 - angle(root, twice)), (4 / PI) / root)


@exact.register
def _(layer: Pointwise, k: Exact) -> Exact:
    """Of the error function, which has a formula; of others by the rectangle rule in the two independent normal numbers
    behind a pair, exact to rounding for smooth ones, in float64 (which JAX has to have enabled)."""
    if layer == ERF:
        return exact(Erf(), k)
    shape = k.covariance.shape
    left, right = (np.broadcast_to(end, shape) for end in _variances(k))
    rho = k.covariance / _scaled(left * right)
    beside = _root(_is_positive(1 - rho * rho))
    found = np.empty((2, *shape))
    for at in np.ndindex(shape):
        root_i, root_j = float(left[at].sqrt()), float(right[at].sqrt())
        u, v = root_i * _GRID, root_j * (float(rho[at]) * _GRID[:, None] + float(beside[at]) * _GRID)
        for value, function in zip(found, (layer, layer.derivative), strict=True):
            value[at] = (np.asarray(function(u)) * _WEIGHT) @ (np.asarray(function(v)) @ _WEIGHT)
    return _pointwise(k, _decimals(found[0]), _decimals(found[1]))


@exact.register
def _(layer: Rbf, k: Exact) -> Exact:
    left, right = _variances(k)
    gamma = Decimal(layer.gamma)
    affinity = np.exp(-gamma * (left + right - 2 * k.covariance))
    return _pointwise(k, affinity, 2 * gamma * affinity)


@exact.register
def _(layer: Normalize, k: Exact) -> Exact:
    left, right = _variances(k)
    epsilon = Decimal(layer.epsilon)
    scale = 1 / np.sqrt((left + epsilon) * (right + epsilon))
    return replace(k, covariance=k.covariance * scale, tangent=k.tangent * scale)


@exact.register
def _(layer: Downsample, k: Exact) -> Exact:
    taps = np.eye(1, layer.factor) if layer.method == "stride" else np.ones((1, layer.factor))
    scale = Decimal(1) if layer.method == "stride" else Decimal(layer.factor)
    return _resampled(k, lambda n: _decimals(np.kron(np.eye(n // layer.factor), taps)) / scale)


@exact.register
def _(layer: Upsample, k: Exact) -> Exact:
    def matrix(n: int) -> Numbers:
        if layer.method == "zero":
            return _decimals(np.kron(np.eye(n), np.eye(layer.factor, 1)))
        if layer.method == "nearest":
            return _decimals(np.kron(np.eye(n), np.ones((layer.factor, 1))))
        weights = _decimals(np.zeros((n * layer.factor, n)))
        for target in range(n * layer.factor):
            # half-pixel centres, in units of 1 / (2 factor) of a source pixel
            centre = min(max(2 * target + 1 - layer.factor, 0), 2 * layer.factor * (n - 1))
            source, beyond = divmod(centre, 2 * layer.factor)
            share = Decimal(beyond) / (2 * layer.factor)
            weights[target, source] += 1 - share
            weights[target, min(source + 1, n - 1)] += share
        return weights

    return _resampled(k, matrix)


def _resampled(k: Exact, matrix: Any) -> Exact:
    def both_ends(values: Numbers) -> Numbers:
        for axis in range(4):
            values = np.moveaxis(np.tensordot(matrix(values.shape[axis]), values, (1, axis)), 0, axis)
        return values

    return replace(k, covariance=both_ends(k.covariance), tangent=both_ends(k.tangent))


@exact.register
def _(layer: Concat, k: Exact) -> Exact:
    ends = [exact(branch, k) for branch in layer.branches]
    total = sum(end.channels for end in ends)
    shares = [Decimal(end.channels) / Decimal(total) for end in ends]
    return Exact(
        sum(share * end.covariance for share, end in zip(shares, ends, strict=True)),
        sum(share * end.tangent for share, end in zip(shares, ends, strict=True)),
        total,
    )


@exact.register
def _(layer: Sum, k: Exact) -> Exact:
    ends = [exact(branch, k) for branch in layer.branches]
    return Exact(sum(end.covariance for end in ends), sum(end.tangent for end in ends), ends[0].channels)


# --- architectures and images ----------------------------------------------------------------------------------------


def random_architecture(seed: int, size: tuple[int, int]) -> Serial:
    """A random architecture that fits images of ``size``; the same one for the same seed."""
    rng = np.random.default_rng(seed)

    def pick(*choices: Any) -> Any:
        return choices[rng.integers(len(choices))]

    def conv(scale: int) -> Layer:
        kernel_size = pick(1, 3, 3, 5)
        fits = min(size) // scale >= kernel_size
        padding = pick("zero", "zero", "circular") if fits else "zero"
        return Conv(kernel_size, float(rng.uniform(0.6, 1.6)), pick(0.0, 0.0, 0.3), padding)

    def nonlinearity() -> Layer:
        return pick(Relu(), Relu(), LeakyRelu(0.2), LeakyRelu(-0.4), Erf(), Rbf(0.6))

    def body(depth: int, scale: int) -> list[Layer]:
        layers: list[Layer] = []
        for _ in range(depth):
            factors = [factor for factor in (2, 3) if all(n // scale % factor == 0 for n in size)]
            choice = pick("stack", "concat", "sum", *["resample"] * (2 if factors else 0))
            if choice == "stack":
                layers += [conv(scale), nonlinearity()]
            elif choice == "resample":
                factor = pick(*factors)
                down, up = pick("average", "stride"), pick("bilinear", "nearest")
                inner = [conv(scale * factor), nonlinearity(), *body(depth - 1, scale * factor)]
                layers += [Downsample(factor, down), *inner, Upsample(factor, up)]
            elif choice == "concat":
                branches = [Serial(conv(scale), nonlinearity()), Serial(conv(scale), *body(depth - 1, scale))]
                layers += [conv(scale), Concat(*branches, *pick((), (Serial(),)))]
            else:
                layers += [Sum(conv(scale), Serial(*body(depth - 1, scale), conv(scale))), nonlinearity()]
        return layers

    end = pick([Conv(1, weight_std=1.0)], [Conv(3, 1.1, 0.2)], [Conv(1), Upsample(2)], [Conv(3), Downsample(2)])
    return Serial(conv(1), nonlinearity(), *body(2, 1), *end)


def modern_architecture(seed: int, size: tuple[int, int]) -> Serial:
    """One of those above with dilations, strides, depthwise convolutions, normalisation, zeros between pixels, and the
    error function by its series."""
    rng = np.random.default_rng(seed)

    def often(share: float) -> bool:
        return bool(rng.uniform() < share)

    def changed(layer: Layer, behind_something: bool) -> Layer:
        if isinstance(layer, Concat | Sum):
            return type(layer)(*(changed(branch, True) for branch in layer.branches))
        if not isinstance(layer, Serial):
            return changed(Serial(layer), behind_something)
        result: list[Layer] = []
        for index, child in enumerate(layer.layers):
            if isinstance(child, Conv):
                if (behind_something or index) and often(0.3):
                    result.append(Conv(3, 1.1, groups="depthwise"))
                dilated = child.padding == "zero" and often(0.4)
                reflected = child.padding == "circular" and often(0.6)
                changes: dict[str, Any] = {"dilation": 2} if dilated else {"padding": "reflect"} if reflected else {}
                result.append(replace(child, **changes))
                if isinstance(next(iter(layer.layers[index + 1 :]), None), Nonlinearity) and often(0.4):
                    result.append(Normalize(0.05))
            elif isinstance(child, Upsample) and child.method == "nearest":
                result.append(replace(child, method="zero"))
            elif isinstance(child, Downsample) and child.method == "stride":
                result.append(Conv(3, stride=child.factor))
            elif isinstance(child, Erf | Rbf | LeakyRelu):
                result.append(ERF)
            else:
                result.append(changed(child, True) if isinstance(child, Concat | Sum) else child)
        return Serial(*result)

    found = changed(random_architecture(seed, size), False)
    assert isinstance(found, Serial)
    return found


def natural(height: int, width: int, channels: int, seed: int = 0) -> Numbers:
    """An image in [0, 1] with a ramp, a large flat region, an edge and a little noise in one corner."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    image = np.stack([0.2 + 0.5 * (y + c * x) / (height + channels * width) for c in range(channels)], axis=-1)
    image[height // 2 :, : width // 2] = 0.75
    image[: height // 3, 2 * width // 3 :] += rng.normal(0, 0.1, (height // 3, width - 2 * width // 3, channels))
    return image.clip(0, 1)
