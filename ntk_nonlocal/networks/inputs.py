"""What a network is fed beside the noisy image itself: iid noise, the deep image prior's setting.

Ulyanov, Vedaldi and Lempitsky 2018, Deep image prior: 32 channels of small noise that stay fixed during training.
"""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from ntk_nonlocal.checks import positive, told
from ntk_nonlocal.checks import seed as check_seed

if TYPE_CHECKING:
    from jaxtyping import Float32

FloatArray = np.ndarray[Any, np.dtype[np.float32]]


def noise_input(
    image_shape: tuple[int, int], channels: int = 32, scale: float = 0.1, seed: int = 0
) -> Float32[FloatArray, "{image_shape[0]} {image_shape[1]} {channels}"]:
    """Independent normal values of standard deviation ``scale``, shape (H, W, channels), float32.

    Args:
      image_shape: (H, W).
      channels: channels of the network input.
      scale: standard deviation; for ReLU networks without biases it scales the output and nothing else.
      seed: of ``numpy.random.default_rng``.

    Raises:
      ValueError: a size or number of channels below one, a scale that is not finite and above zero, or no seed.
    """
    sizes = (*image_shape, channels) if isinstance(image_shape, tuple | list) else ()
    if len(sizes) != 3 or any(isinstance(n, bool) or not isinstance(n, Integral) or not 0 < n < 2**31 for n in sizes):
        raise ValueError(
            f"noise_input needs (H, W) and channels of at least 1, got {told(image_shape)} and {told(channels)}"
        )
    positive("scale", scale)
    return np.asarray(scale * np.random.default_rng(check_seed(seed)).normal(size=sizes), np.float32)
