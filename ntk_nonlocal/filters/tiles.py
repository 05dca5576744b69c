"""Large images in overlapping tiles of one size, blended linearly where they overlap."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_OVERLAP = 48


@dataclass(frozen=True)
class Tiles:
    """Where the tiles of an image (H, W) lie: all of one size, the last ones flush with the border."""

    size: tuple[int, int]
    corners: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, shape: tuple[int, int], largest: int) -> Tiles:
        """The fewest tiles with sides up to ``largest``, overlapping by at least 48 pixels.

        Raises:
          ValueError: ``largest`` is not above twice the overlap.
        """
        if largest <= 2 * _OVERLAP:
            raise ValueError(f"a tile must be larger than {2 * _OVERLAP} pixels, got {largest!r}")
        (height, rows), (width, columns) = (_along(length, largest) for length in shape)
        return cls((height, width), tuple((row, column) for row in rows for column in columns))

    def blend(self, image: NDArray[Any], work: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[np.float32]:
        """``work`` on every tile of an image (H, W, C), put together."""
        if len(self.corners) == 1:
            whole: NDArray[np.float32] = work(image).astype(np.float32)
            return whole
        total: NDArray[np.float32] = np.zeros(image.shape, np.float32)
        weight: NDArray[np.float32] = np.zeros(image.shape[:2], np.float32)
        ramp = np.outer(*(_ramp(length) for length in self.size))
        for row, column in self.corners:
            part = np.s_[row : row + self.size[0], column : column + self.size[1]]
            total[part] += ramp[:, :, None] * work(image[part])
            weight[part] += ramp
        found: NDArray[np.float32] = total / weight[:, :, None]
        return found


def _along(length: int, largest: int) -> tuple[int, list[int]]:
    """Size and starts along one axis."""
    if length <= largest:
        return length, [0]
    count = math.ceil((length - _OVERLAP) / (largest - _OVERLAP))
    size = math.ceil((length + (count - 1) * _OVERLAP) / count)
    return size, [round(start) for start in np.linspace(0, length - size, count)]


def _ramp(length: int) -> NDArray[np.float32]:
    """Rises linearly over the overlap from both ends."""
    position = np.arange(length) + 0.5
    return np.minimum(1, np.minimum(position, length - position) / _OVERLAP).astype(np.float32)
