"""What a network is fed beside the noisy image itself: iid noise, the deep image prior's setting.

Ulyanov, Vedaldi and Lempitsky 2018, Deep image prior: 32 channels of small noise that stay fixed during training.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

FloatArray = np.ndarray[Any, np.dtype[np.float32]]


def noise_input(image_shape: tuple[int, int], channels: int = 32, scale: float = 0.1, seed: int = 0) -> FloatArray:
    """Independent normal values of standard deviation ``scale``, shape (H, W, channels), float32.

    Args:
      image_shape: (H, W).
      channels: channels of the network input.
      scale: standard deviation; for ReLU networks without biases it scales the output and nothing else.
      seed: of ``numpy.random.default_rng``.

    Raises:
      ValueError: a size or number of channels below one, or a scale that is not finite and above zero.
    """
    sizes = (*image_shape, channels)
    if len(sizes) != 3 or any(isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1 for n in sizes):
        raise ValueError(f"noise_input needs (H, W) and channels of at least 1, got {image_shape!r} and {channels!r}")
    if not math.isfinite(scale) or scale <= 0:
        raise ValueError(f"scale must be a finite number above 0, got {scale!r}")
    return np.asarray(scale * np.random.default_rng(seed).normal(size=sizes), np.float32)
