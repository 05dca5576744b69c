"""The architecture of a Flax network written as a Sequential, where it has an infinite-width limit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax import nnx

from ntk_nonlocal.architecture import (
    Conv,
    Downsample,
    Erf,
    Layer,
    LeakyRelu,
    Normalize,
    Path,
    Pointwise,
    Relu,
    Serial,
)

_KNOWN_STDS = (1.0, math.sqrt(2.0), math.sqrt(1 / 3))
_SAMPLE = 64  # channels on both sides, where an initialiser is tried
_REASONS = {
    "BatchNorm": "its statistics couple all pixels, and follow the training; put LayerNorm in its place",
    "Dropout": "it is random while training; leave it out",
    "GroupNorm": "groups of channels have no place among infinitely many; put LayerNorm in its place",
    "Dense": "pixels are mixed by convolutions; write Conv with kernel_size=(1, 1)",
    "Linear": "pixels are mixed by convolutions; write Conv with kernel_size=(1, 1)",
    "ConvTranspose": "write the zeros between its pixels yourself: Upsample(factor, 'zero') and Conv",
    "max_pool": "the maximum of correlated Gaussians has no covariance in closed form; use avg_pool",
}


def from_flax(module: Any) -> Serial:
    """The architecture of a ``flax.nnx.Sequential`` or ``flax.linen.Sequential``.

    Of Conv, LayerNorm over the channels, ``avg_pool`` (by ``functools.partial``), functions of one variable
    (``nn.relu``, ``jnp.tanh``, your own) and Sequentials of these. ``weight_std`` is read off the initial weights, or
    what the initialiser gives. Biases that start at zero are left out: their part of the kernel vanishes as the width
    grows. The numbers of channels are not looked at.

    Raises:
      TypeError: something else than a Sequential.
      ValueError: the first layer without a limit, by its place, and why; or (:class:`ArchitectureError`) layers that
        cannot follow one another.
    """
    if not isinstance(module, nn.Sequential | nnx.Sequential):
        raise TypeError(f"from_flax needs a flax.nnx.Sequential or flax.linen.Sequential, got {module!r:.200}")
    return _serial(module, Path())


def _serial(module: Any, position: Path) -> Serial:
    layers: Sequence[Any] = module.layers
    return Serial(*(_layer(layer, position.inside("layer", index)) for index, layer in enumerate(layers)))


def _layer(module: Any, position: Path) -> Layer:
    if isinstance(module, nn.Sequential | nnx.Sequential):
        return _serial(module, position)
    if isinstance(module, nn.Conv | nnx.Conv):
        return _conv(module, position)
    if isinstance(module, nn.LayerNorm | nnx.LayerNorm):
        if module.reduction_axes not in (-1, (-1,)):
            raise _without_limit(position, module, "only LayerNorm over the channels has one here")
        return Normalize(module.epsilon)
    name = type(module).__name__
    if name in _REASONS:
        raise _without_limit(position, module, _REASONS[name])
    if isinstance(module, nn.Module | nnx.Module) or not callable(module):
        raise _without_limit(position, module, "it is none of Conv, LayerNorm, pooling and functions of one variable")
    return _function(module, position)


def _function(function: Callable[..., Any], position: Path) -> Layer:
    inner, given = (function.func, function) if isinstance(function, partial) else (function, None)
    name = getattr(inner, "__name__", "")
    if name in _REASONS:
        raise _without_limit(position, function, _REASONS[name])
    if name == "avg_pool" and isinstance(given, partial):
        return _pool(given, position)
    if name == "upsample":
        raise _without_limit(position, function, "write Upsample in the architecture")
    try:
        layer = Pointwise(function)
    except TypeError as error:
        raise _without_limit(position, function, str(error)) from None
    plain: tuple[tuple[Pointwise, Layer], ...] = (
        (Pointwise(jax.nn.relu), Relu()),
        (Pointwise(jax.nn.leaky_relu), LeakyRelu(0.01)),
        (Pointwise(jax.scipy.special.erf), Erf()),
    )
    return next((known for traced, known in plain if traced == layer), layer)


def _pool(given: partial[Any], position: Path) -> Layer:
    window = given.args[1] if len(given.args) > 1 else given.keywords.get("window_shape")
    strides = given.keywords.get("strides")
    if not isinstance(window, tuple) or len(set(window)) != 1 or window != strides or window[0] < 2:
        raise _without_limit(
            position, given, "avg_pool has one where window_shape and strides are equal squares, such as (2, 2)"
        )
    return Downsample(window[0], "average")


def _conv(module: Any, position: Path) -> Conv:
    size, strides, dilation = _square(module.kernel_size), _square(module.strides), _square(module.kernel_dilation)
    if size is None or size % 2 == 0 or len(np.atleast_1d(module.kernel_size)) != 2:
        raise _without_limit(position, module, f"its filter must be square and odd, got {module.kernel_size!r}")
    if strides is None or dilation is None or _square(module.input_dilation) != 1:
        raise _without_limit(position, module, "strides and dilations must be the same in both directions")
    groups = "all" if module.feature_group_count == 1 else "depthwise"
    features = module.features if isinstance(module, nn.Conv) else module.out_features
    if groups == "depthwise" and module.feature_group_count != features:
        raise _without_limit(position, module, "feature_group_count must be 1, or the number of channels")
    bias = 0.0
    if isinstance(module, nnx.Conv):
        kernel = np.asarray(module.kernel[...])
        bias = 0.0 if module.bias is None else float(np.sqrt(np.mean(np.square(np.asarray(module.bias[...])))))
    else:
        kernel = np.asarray(
            module.kernel_init(jax.random.key(0), (size, size, _SAMPLE if groups == "all" else 1, _SAMPLE), np.float32)
        )
        if module.use_bias:
            drawn = np.asarray(module.bias_init(jax.random.key(1), (_SAMPLE**2,), np.float32))
            bias = float(np.sqrt(np.mean(np.square(drawn))))
    padding = _padding(module, size, strides, dilation, position)
    return Conv(size, _weight_std(kernel), bias, padding, dilation=dilation, stride=strides, groups=groups)  # type: ignore[arg-type]


def _square(value: Any) -> int | None:
    """The number that a size, stride or dilation has in all directions."""
    numbers = set(np.atleast_1d(1 if value is None else value).tolist())
    return int(numbers.pop()) if len(numbers) == 1 else None


def _padding(module: Any, size: int, stride: int, dilation: int, position: Path) -> str:
    reach, padding = dilation * (size // 2), module.padding
    if padding in ("CIRCULAR", "REFLECT"):
        return str(padding).lower()
    same = padding == "SAME" and (stride == 1 or reach == 0)
    if same or (padding == "VALID" and reach == 0):
        return "zero"
    sides = None if isinstance(padding, str) else _square(padding)
    if sides != reach:
        raise _without_limit(
            position,
            module,
            f"padding must keep the filter's centre on the pixels it gives, got {padding!r}; take padding={reach}"
            + (" (with strides, 'SAME' reads another window)" if padding == "SAME" else ""),
        )
    return "zero"


def _weight_std(kernel: np.ndarray) -> float:
    """The weights' standard deviation times the root of the fan-in; a known one where the difference is chance."""
    found = float(np.sqrt(np.mean(np.square(kernel, dtype=np.float64)) * np.prod(kernel.shape[:-1])))
    chance = 4 / math.sqrt(2 * kernel.size)
    return next((known for known in _KNOWN_STDS if abs(found / known - 1) < chance), found)


def _without_limit(position: Path, module: Any, why: str) -> ValueError:
    name = getattr(module, "__name__", None) or type(module).__name__
    return ValueError(f"{position}: {name} has no limit here: {why}")
