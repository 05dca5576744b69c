"""Noise of cameras, around the denoiser: whether given parameters can be those of an image, and the mean they keep."""

from __future__ import annotations

import warnings
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ntk_nonlocal.images import PoissonGaussian

Valid = NDArray[np.bool_] | None

_SIGMAS = 4.0
_WRONG, _DOUBTFUL = 0.5, 0.02  # shares of the pixels
_AROUND = 31  # pixels: a neighbourhood whose mean hardly knows the noise of one of them


def check_camera(noise: PoissonGaussian, image: NDArray[Any], valid: Valid) -> None:
    """Warns of an offset that a few per cent of an image (H, W, C) contradict, being below it by more than noise.

    Raises:
      ValueError: half of a channel does, the gain is beyond all values, or it is given for other channels.
    """
    there = np.broadcast_to(True if valid is None else valid, image.shape)
    most = 0.0
    for channel, camera in enumerate(noise.of_channels(image.shape[2])):
        gain, offset, read = (cast(float, n) for n in (camera.gain, camera.offset, camera.read))
        values = image[:, :, channel][there[:, :, channel]]
        largest = float(np.abs(values).max())
        if gain > largest and np.ptp(values) > 0:
            raise ValueError(
                f"the gain, what one photon adds, is {gain / largest if largest else np.inf:.3g} times the largest "
                "value of the image; give it in the units of the image, counts of whole numbers"
            )
        below = float(np.mean(values < offset - _SIGMAS * read - gain))
        if below >= _WRONG:
            raise ValueError(f"{_told(below)}; it is too high, or not in the units of the image: measure a dark frame")
        most = max(most, below)
    if most > _DOUBTFUL:
        warnings.warn(
            f"{_told(most)}; it may be too high, and what is below it is denoised as if there were read noise alone",
            stacklevel=4,
        )


def _told(share: float) -> str:
    return (
        f"{100 * share:.0f} % of the pixels are below the offset by more than {_SIGMAS:.0f} standard deviations of the "
        "read noise and a photon"
    )


def removed_too_much(image: NDArray[Any], mean: NDArray[Any], variance: NDArray[Any], valid: Valid) -> NDArray[Any]:
    """What the estimates of a channel lack: the mean of what was removed, in the darkest neighbourhoods above all.

    Stabilised noise is a little skew where there is hardly any light, and estimates follow the mode. Weighted pixel by
    pixel the mean would be too low, since where noise is negative estimates are.
    """
    from scipy.ndimage import uniform_filter

    around = uniform_filter(variance, (_AROUND, _AROUND, 0), mode="nearest")
    largest = np.maximum(around.max(axis=(0, 1)), 1e-300)
    trust = 1 / np.square(np.maximum(around / largest, 1e-9))
    if valid is not None:
        trust = trust * valid
    found: NDArray[Any] = np.average(image - mean, axis=(0, 1), weights=trust)
    return found
