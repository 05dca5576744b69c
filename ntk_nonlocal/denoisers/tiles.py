"""Large images in overlapping tiles of one size, blended linearly where they overlap."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntk_nonlocal.checks import told


@dataclass(frozen=True)
class Tiles:
    """Where the tiles of an image (H, W) lie: all of one size, the last ones flush with the border."""

    size: tuple[int, int]
    overlap: int
    corners: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, shape: tuple[int, int], largest: int, overlap: int) -> Tiles:
        """The fewest tiles with sides up to ``largest``, overlapping by at least ``overlap`` pixels.

        Raises:
          ValueError: ``largest`` is not above twice the overlap.
        """
        if largest <= 2 * overlap:
            raise ValueError(f"a tile must be larger than twice the overlap of {overlap} pixels, got {told(largest)}")
        (height, rows), (width, columns) = (_along(length, largest, overlap) for length in shape)
        return cls((height, width), overlap, tuple((row, column) for row in rows for column in columns))

    @property
    def parts(self) -> list[tuple[slice, slice]]:
        """The rows and columns of every tile."""
        height, width = self.size
        return [(slice(row, row + height), slice(column, column + width)) for row, column in self.corners]

    @property
    def ramp(self) -> NDArray[np.float32]:
        """Weights of a tile's pixels, rising linearly over the overlap from every side."""
        ramp: NDArray[np.float32] = np.outer(*(_ramp(length, self.overlap) for length in self.size))
        return ramp

    def blend(self, shape: tuple[int, ...], work: Callable[[tuple[slice, slice]], NDArray[Any]]) -> NDArray[Any]:
        """What ``work`` gives for the parts of an image of shape (H, W, C), put together."""
        if len(self.corners) == 1:
            return work(self.parts[0])
        total: NDArray[np.float32] = np.zeros(shape, np.float32)
        weight: NDArray[np.float32] = np.zeros(shape[:2], np.float32)
        for part in self.parts:
            total[part] += self.ramp[:, :, None] * work(part)
            weight[part] += self.ramp
        total /= weight[:, :, None]
        return total


def _along(length: int, largest: int, overlap: int) -> tuple[int, list[int]]:
    """Size and starts along one axis."""
    if length <= largest:
        return length, [0]
    count = math.ceil((length - overlap) / (largest - overlap))
    size = math.ceil((length + (count - 1) * overlap) / count)
    return size, [round(start) for start in np.linspace(0, length - size, count)]


def _ramp(length: int, overlap: int) -> NDArray[np.float32]:
    position = np.arange(length) + 0.5
    ramp: NDArray[np.float64] = np.minimum(1, np.minimum(position, length - position) / overlap)
    return ramp.astype(np.float32)
