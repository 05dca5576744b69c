"""Images as arrays: what is accepted, the bundled example, noise by one protocol, and the two measures of quality.

An image is a float array (H, W, C) with values in [0, 1]; sigma, a noise level, lives on the same scale. Quality: the
peak signal-to-noise ratio with peak 1 over all channels, and the structural similarity of Wang, Bovik, Sheikh and
Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity" (IEEE TIP 2004).
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

# An array whose first axis is this short, and whose last is not, has its channels first.
_FEW_CHANNELS = 4
# Values this close to [0, 1] are rounding errors of averaging and resampling.
_ROUNDING = 1e-6
# Noise may leave [0, 1], but an image that is further away than this is on another scale.
_FURTHEST_VALUE = 20.0


def as_image(array: ArrayLike, *, dtype: DTypeLike | None = None) -> NDArray[Any]:
    """Clean image data as a float array of shape (H, W, C) with values in [0, 1].

    Args:
      array: shape (H, W) or (H, W, C); uint8 (divided by 255), uint16 (by 65535), bool, or float with values in [0, 1],
        where rounding errors up to 1e-6 are clipped.
      dtype: float32 or float64. Default: that of a floating-point input (float32 for half precision), else float64.

    Returns:
      A new array, never a view of the input.

    Raises:
      TypeError: another type of values.
      ValueError: another shape, channels first, nothing in it, NaN or infinity, values outside [0, 1].
    """
    image = _as_float(array, dtype)
    low, high = float(image.min()), float(image.max())
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        advice = _scale_advice(low, high) or "clip it with numpy.clip(x, 0, 1)"
        raise ValueError(f"the values of an image lie in [0, 1], got {low:.6g}..{high:.6g}; {advice}")
    return cast(NDArray[Any], np.clip(image, 0, 1))


def as_noisy_image(array: ArrayLike, *, dtype: DTypeLike | None = None) -> NDArray[Any]:
    """Noisy image data as a float array of shape (H, W, C): like :func:`as_image`, but noise may leave [0, 1].

    Raises:
      TypeError: another type of values.
      ValueError: as for :func:`as_image`, but values are refused only where they are clearly on another scale (beyond
        -20..20), such as 0..255.
    """
    image = _as_float(array, dtype)
    low, high = float(image.min()), float(image.max())
    if max(-low, high) > _FURTHEST_VALUE:
        advice = _scale_advice(low, high) or "rescale it"
        raise ValueError(f"the values of a noisy image lie around [0, 1], got {low:.6g}..{high:.6g}; {advice}")
    return image


def _as_float(array: ArrayLike, dtype: DTypeLike | None) -> NDArray[Any]:
    """The array with its channel axis, scaled by its integer type, after checking everything but its range."""
    try:
        data = np.asarray(array)
    except ValueError as error:
        raise ValueError(f"an image is an array (H, W) or (H, W, C), got {type(array).__name__}: {error}") from None
    target = _float_type(data.dtype, dtype)
    _check_shape(data.shape)
    image: NDArray[Any]
    if data.dtype.kind == "u":
        image = data.astype(target) / target.type(np.iinfo(data.dtype).max)
    else:
        if data.dtype.kind == "f" and not np.isfinite(data).all():
            bad = np.argwhere(~np.isfinite(data))
            raise ValueError(
                f"an image holds finite numbers, got {len(bad)} of {data.size} that are NaN or infinite, the first at "
                f"index {tuple(int(i) for i in bad[0])}; replace them before, for instance with numpy.nan_to_num"
            )
        with np.errstate(over="ignore"):
            image = data.astype(target)
    return image[:, :, None] if image.ndim == 2 else image


def _float_type(given: np.dtype[Any], wanted: DTypeLike | None) -> np.dtype[Any]:
    if given.kind not in "fb" and not (given.kind == "u" and given.itemsize <= 2):
        advice = "pass numbers in an array of shape (H, W) or (H, W, C)"
        if given.kind in "iu":
            advice = "say what the range is by x.astype('uint8') for 0..255 or x.astype('uint16') for 0..65535"
        elif given.kind == "c":
            advice = "take its real part or its modulus"
        raise TypeError(f"the values of an image are uint8, uint16, bool or float, got {given}; {advice}")
    if wanted is None:
        return np.dtype(np.float32 if given.kind == "f" and given.itemsize <= 4 else np.float64)
    target = np.dtype(wanted)
    if target not in (np.float32, np.float64):
        raise TypeError(f"images are computed in float32 or float64, got dtype={target}")
    return target


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) not in (2, 3):
        advice = "pass the images of a batch one by one" if len(shape) > 3 else "restore its rows with x.reshape(H, W)"
        raise ValueError(f"an image has shape (H, W) or (H, W, C), got {shape}; {advice}")
    if 0 in shape:
        raise ValueError(f"an image has at least one pixel and one channel, got shape {shape}")
    if len(shape) == 3 and shape[0] <= _FEW_CHANNELS < shape[2]:
        raise ValueError(
            f"an image has its channels last, (H, W, C), got shape {shape} that looks like channels first; "
            "move them with numpy.moveaxis(x, 0, -1)"
        )


def _scale_advice(low: float, high: float) -> str | None:
    if low > -128 and 2 < high <= 2 * 255:
        return "divide by 255 if it is on the 8-bit scale"
    if low > -32768 and 255 < high <= 2 * 65535:
        return "divide by 65535 if it is on the 16-bit scale"
    return None


def check_sigma(sigma: float) -> float:
    """A noise standard deviation on the [0, 1] scale, as a float: positive, finite and at most 1.

    Raises:
      TypeError: not a single number.
      ValueError: not in (0, 1].
    """
    number = np.asarray(sigma)
    if number.ndim != 0 or number.dtype.kind not in "iuf":
        raise TypeError(f"sigma is one number on the [0, 1] scale, got {sigma!r}")
    value = float(number)
    if value > 1:
        raise ValueError(f"sigma is on the [0, 1] scale, got {value:g}; divide a level in 8-bit units by 255: 25/255")
    if not value > 0:
        raise ValueError(f"sigma is a standard deviation above 0 and at most 1, got {value:g}")
    return value
