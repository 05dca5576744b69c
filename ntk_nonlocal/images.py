"""Images as arrays: what is accepted, the bundled example, noise by one protocol, and the two measures of quality.

An image is a float array (H, W, C) with values in [0, 1]; sigma, a noise level, lives on the same scale. Quality: the
peak signal-to-noise ratio with peak 1 over all channels, and the structural similarity of Wang, Bovik, Sheikh and
Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity" (IEEE TIP 2004).
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .checks import real_array
from .checks import seed as check_seed

# An array whose first axis is this short, and whose last is not, has its channels first.
_FEW_CHANNELS = 4
# Values this close to [0, 1] are rounding errors of averaging and resampling.
_ROUNDING = 1e-6
# Noise may leave [0, 1], but an image that is further away than this is on another scale.
_FURTHEST_VALUE = 20.0
_EXAMPLE_SIZE = 512
_SSIM_WINDOW = 11


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


def add_noise(clean: ArrayLike, sigma: float, *, seed: int = 0) -> NDArray[Any]:
    """The image with white Gaussian noise: y = x + sigma n, neither clipped nor rounded.

    n is ``numpy.random.default_rng(seed).normal(size=x.shape)``, so that everybody measures on the same noise.

    Args:
      clean: an image, see :func:`as_image`; (H, W) counts as (H, W, 1).
      sigma: standard deviation on the [0, 1] scale, 25/255 for instance.
      seed: a non-negative integer below 2^63.

    Returns:
      Shape (H, W, C), in the precision of the image.

    Raises:
      TypeError, ValueError: not an image, not a noise level, not a seed.
    """
    image = as_image(clean)
    level = check_sigma(sigma)
    noise = np.random.default_rng(check_seed(seed)).normal(size=image.shape) * level
    return (image + noise).astype(image.dtype)


def psnr(a: ArrayLike, b: ArrayLike, *, clip: bool = True) -> float:
    """The peak signal-to-noise ratio of two images in dB: -10 log10 of the mean squared difference, peak 1.

    Args:
      a, b: images of one shape; either may leave [0, 1], see :func:`as_noisy_image`.
      clip: compare the images clipped to [0, 1], as figures are quoted, those of noisy images included.

    Returns:
      Infinity for equal images.

    Raises:
      TypeError, ValueError: not images, or of different shapes.
    """
    first, second = _comparable(a, b, clip)
    error = float(np.mean(np.square(first - second)))
    return math.inf if error == 0 else -10 * math.log10(error)


def ssim(a: ArrayLike, b: ArrayLike, *, clip: bool = True) -> float:
    """The structural similarity of two images, 1 for equal ones, mean over pixels and channels.

    scikit-image's, with the settings of Wang et al. (2004): Gaussian window of standard deviation 1.5 (11x11),
    population covariances, K1 = 0.01, K2 = 0.03, data range 1.

    Args:
      a, b: images of one shape, at least 11x11; either may leave [0, 1].
      clip: compare the images clipped to [0, 1], as for :func:`psnr`.

    Raises:
      TypeError, ValueError: not images, of different shapes, or smaller than the window.
    """
    from skimage.metrics import structural_similarity

    first, second = _comparable(a, b, clip)
    height, width = first.shape[:2]
    if min(height, width) < _SSIM_WINDOW:
        window = f"{_SSIM_WINDOW}x{_SSIM_WINDOW}"
        raise ValueError(f"ssim looks through a window of {window} pixels, got images of {height}x{width}; use psnr")
    settings = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(first, second, channel_axis=2, **settings))  # type: ignore[no-untyped-call]


def _comparable(a: ArrayLike, b: ArrayLike, clip: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = as_noisy_image(a, dtype=np.float64), as_noisy_image(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"two images are compared at one shape, got {first.shape} and {second.shape}")
    return (np.clip(first, 0, 1), np.clip(second, 0, 1)) if clip else (first, second)


def crop(image: NDArray[Any], size: int | tuple[int, int], *, center: tuple[int, int] | None = None) -> NDArray[Any]:
    """A part of an image, (h, w) or (h, w, C) like the image, of its own memory.

    Args:
      image: shape (H, W) or (H, W, C).
      size: (h, w), or one number for a square.
      center: (row, column) of the pixel in the middle of the part (right of and below the middle at even sizes); the
        part is moved inwards where it would stick out. Default: the middle of the image.

    Raises:
      ValueError: a part that is empty or larger than the image, a centre outside it.
    """
    array = np.asarray(real_array("image", image))
    _check_shape(array.shape)
    height, width = array.shape[:2]
    rows, columns = _pair("size", size if isinstance(size, tuple) else (size, size))
    if not (1 <= rows <= height and 1 <= columns <= width):
        raise ValueError(f"a part of a {height}x{width} image is 1x1 to {height}x{width}, got {rows}x{columns}")
    row, column = (height // 2, width // 2) if center is None else _pair("center", center)
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(f"the centre of a part lies in the {height}x{width} image, got row {row}, column {column}")
    top = min(max(row - rows // 2, 0), height - rows)
    left = min(max(column - columns // 2, 0), width - columns)
    return array[top : top + rows, left : left + columns].copy()


def _pair(name: str, value: Any) -> tuple[int, int]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ValueError(f"{name} is a pair of whole numbers of pixels, got {value!r}")
    first, second = (_whole_number(item, name) for item in value)
    return first, second


def _whole_number(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"{name} is one whole number of pixels or a pair of them, got {value!r}")
    return int(value)


def example_image(size: int = _EXAMPLE_SIZE) -> NDArray[np.float64]:
    """The bundled example: the astronaut Eileen Collins (NASA, public domain), as scikit-image ships it.

    Args:
      size: its side in pixels, a divisor of 512 (64, 128, 256, ...): blocks of pixels are averaged.

    Returns:
      Shape (size, size, 3), float64 in [0, 1].

    Raises:
      ValueError: a size that does not divide 512.
    """
    from skimage.data import astronaut

    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1 or _EXAMPLE_SIZE % size:
        raise ValueError(f"the example image has a size that divides {_EXAMPLE_SIZE}, got size={size!r}")
    block = _EXAMPLE_SIZE // int(size)
    blocks = as_image(astronaut()).reshape(size, block, size, block, 3)  # type: ignore[no-untyped-call]
    return cast(NDArray[np.float64], blocks.mean(axis=(1, 3)))
