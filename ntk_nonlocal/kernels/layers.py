"""Kernels in which every convolution counts by a factor of its own.

Theta is a sum over the layers, each contributing what training it alone would give. Gradient descent with other steps
per layer, or in the standard parametrisation, follows a weighted sum of the same contributions (Sohl-Dickstein et al.
2020, On the infinite width limit of neural networks with a standard parameterization).
"""

from __future__ import annotations

import numpy as np

from ntk_nonlocal.architecture import Layer, PlacedConv, convolutions
from ntk_nonlocal.checks import told, whole

LayerWeights = tuple[tuple[float, float], ...]


def standard_layer_weights(
    architecture: Layer, width: int | None = None, in_channels: int | None = None
) -> LayerWeights:
    """How much every convolution counts in gradient descent in the standard parametrisation with step size ~ 1 / c.

    In the standard parametrisation a weight is w = weight_std / sqrt(fan-in) * w_ntk, so a convolution's part of the
    kernel J J^T is its part of Theta times fan-in / weight_std^2 (and 1 / bias_std^2 for the bias). With the step size
    of Theta divided by the width c, what is followed is the kernel with the factors fan-in / (weight_std^2 c) and
    1 / (bias_std^2 c).

    Args:
      architecture: its description.
      width: the width c; None is the limit, in which the first layer's part and those of the biases vanish.
      in_channels: channels of the network input, needed where a width is given.

    Returns:
      (weight factor, bias factor) of every convolution in the order of ``convolutions(architecture)``; the bias factor
      is 0 where there is no bias.

    Raises:
      TypeError: something that is no layer.
      ValueError: a width or number of channels below one, or a width without the channels.
    """
    width = None if width is None else whole("width", width, 1)
    in_channels = None if in_channels is None else whole("in_channels", in_channels, 1)
    if width is not None and in_channels is None:
        raise ValueError("standard_layer_weights with a width needs in_channels, the channels of the network input")
    factors = []
    for placed in convolutions(architecture):
        conv = placed.conv
        if conv.depthwise:
            channels_per_width = 0.0 if width is None else 1 / width
        elif placed.fan_in_width is not None:
            channels_per_width = float(placed.fan_in_width)
        else:
            channels_per_width = 0.0 if width is None or in_channels is None else in_channels / width
        weight_factor = conv.kernel_size**2 * channels_per_width / conv.std**2
        bias_factor = 0.0 if width is None or conv.bias_std == 0 else 1 / (conv.bias_std**2 * width)
        factors.append((weight_factor, bias_factor))
    return tuple(factors)


def check_layer_weights(layer_weights: object, placed_convs: tuple[PlacedConv, ...]) -> LayerWeights:
    """The factors as a tuple of pairs of numbers, after checking them against the convolutions."""
    try:
        factors = np.asarray(layer_weights, dtype=float)
    except (TypeError, ValueError):
        factors = np.empty(0)
    if factors.shape != (len(placed_convs), 2) or not np.isfinite(factors).all() or (factors < 0).any():
        raise ValueError(
            f"layer_weights must hold one (weight factor, bias factor), finite and at least 0, for each of the "
            f"{len(placed_convs)} convolutions, got {told(layer_weights)}"
        )
    return tuple((float(weight), float(bias)) for weight, bias in factors)
