"""The two measures of quality: peak signal-to-noise ratio over all channels, and structural similarity.

Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity" (IEEE TIP
2004).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ntk_nonlocal.checks import positive

from .arrays import as_noisy_image

if TYPE_CHECKING:
    from jaxtyping import Shaped

_SSIM_WINDOW = 11


def psnr(
    a: Shaped[ArrayLike, "H W *A"], b: Shaped[ArrayLike, "H W *B"], *, data_range: float = 1.0, clip: bool = True
) -> float:
    """The peak signal-to-noise ratio of two images in dB: 10 log10 of data_range^2 over the mean squared difference.

    Args:
      a, b: images of one shape; either may leave [0, data_range], see :func:`as_noisy_image`.
      data_range: what white is: 1, or 255 for values of the 8-bit scale.
      clip: compare the images clipped to [0, data_range], as figures are quoted, those of noisy images included.

    Returns:
      Infinity for equal images.

    Raises:
      TypeError, ValueError: not images, of different shapes, or on another scale.
    """
    first, second = _comparable(a, b, data_range, clip)
    error = float(np.mean(np.square((first - second) / data_range)))
    return math.inf if error == 0 else -10 * math.log10(error)


def ssim(
    a: Shaped[ArrayLike, "H W *A"], b: Shaped[ArrayLike, "H W *B"], *, data_range: float = 1.0, clip: bool = True
) -> float:
    """The structural similarity of two images, 1 for equal ones, mean over pixels and channels.

    scikit-image's, with the settings of Wang et al. (2004): Gaussian window of standard deviation 1.5 (11x11),
    population covariances, K1 = 0.01, K2 = 0.03.

    Args:
      a, b: images of one shape, at least 11x11; either may leave [0, data_range].
      data_range, clip: as for :func:`psnr`.

    Raises:
      TypeError, ValueError: not images, of different shapes, or smaller than the window.
    """
    from skimage.metrics import structural_similarity

    first, second = _comparable(a, b, data_range, clip)
    height, width = first.shape[:2]
    if min(height, width) < _SSIM_WINDOW:
        window = f"{_SSIM_WINDOW}x{_SSIM_WINDOW}"
        raise ValueError(f"ssim looks through a window of {window} pixels, got images of {height}x{width}; use psnr")
    settings = {"data_range": data_range, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(first, second, channel_axis=2, **settings))  # type: ignore[no-untyped-call]


def _comparable(
    a: ArrayLike, b: ArrayLike, data_range: float, clip: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    white = positive("data_range", data_range)
    first, second = (as_noisy_image(image, dtype=np.float64, data_range=white) for image in (a, b))
    if first.shape != second.shape:
        raise ValueError(f"two images are compared at one shape, got {first.shape} and {second.shape}")
    return (np.clip(first, 0, white), np.clip(second, 0, white)) if clip else (first, second)
