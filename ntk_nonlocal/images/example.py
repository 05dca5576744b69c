"""The bundled example image, and parts of images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from ntk_nonlocal.checks import told

from .arrays import as_image, check_picture_shape, real_array

if TYPE_CHECKING:
    from jaxtyping import Float64, Shaped

_EXAMPLE_SIZE = 512


def crop(
    image: Shaped[NDArray[Any], "H W *C"], size: int | tuple[int, int], *, center: tuple[int, int] | None = None
) -> Shaped[NDArray[Any], "h w *C"]:
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
    check_picture_shape(array.shape)
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
        raise ValueError(f"{name} is a pair of whole numbers of pixels, got {told(value)}")
    first, second = (_whole_number(item, name) for item in value)
    return first, second


def _whole_number(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"{name} is one whole number of pixels or a pair of them, got {told(value)}")
    return int(value)


def example_image(size: int = _EXAMPLE_SIZE) -> Float64[NDArray[Any], "{size} {size} 3"]:
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
    return cast(NDArray[Any], blocks.mean(axis=(1, 3)))
