"""The pictures of the experiments: House and Baboon where a folder has them, pictures scikit-image ships otherwise.

Two roles: "smooth", the House of the paper, and "texture", its Baboon. Without a folder they are played by the
astronaut and by a photograph of grass (both public domain), so that everything runs from a fresh checkout.
Noise as everywhere: sigma times ``numpy.random.default_rng(seed).normal``, neither clipped nor rounded.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ntk_nonlocal.images import add_noise, as_image, read_photo

Image = np.ndarray[Any, np.dtype[np.float32]]
Role = Literal["smooth", "texture"]

_FILES = {"smooth": ("House", "image_House256rgb.png"), "texture": ("Baboon", "image_Baboon512rgb.png")}
_BUNDLED = {"smooth": "astronaut", "texture": "grass"}


@dataclass(frozen=True)
class Picture:
    """A picture at one size, reduced from the original by averaging blocks, with the noise that is put on it.

    ``digest`` is that of the clean pixels, so that results belong to the picture and not to its name.
    """

    name: str
    size: int
    digest: str
    sigma: float = 25 / 255
    noise_seed: int = 0


class Pictures:
    """Where pictures come from: a folder with House and Baboon, or without one the bundled pictures."""

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None:
            missing = [file for _, file in _FILES.values() if not (folder / file).is_file()]
            if missing:
                raise ValueError(f"{folder} has no {' and no '.join(missing)}; give the folder that holds these images")
        self.folder = folder

    def picture(self, role: Role, size: int, sigma: float = 25 / 255, noise_seed: int = 0) -> Picture:
        """The picture of a role at a size in pixels.

        Raises:
          ValueError: a size that does not divide that of the original.
        """
        name = _BUNDLED[role] if self.folder is None else _FILES[role][0]
        digest = hashlib.sha256(_reduced(name, size, self.folder).tobytes()).hexdigest()[:16]
        return Picture(name, size, digest, sigma, noise_seed)

    def clean(self, picture: Picture) -> Image:
        """Shape (size, size, 3), float32 in [0, 1].

        Raises:
          ValueError: the picture that is found under the name has other pixels.
        """
        image = _reduced(picture.name, picture.size, self.folder)
        if hashlib.sha256(image.tobytes()).hexdigest()[:16] != picture.digest:
            raise ValueError(f"the pixels of {picture.name} at {picture.size} are not those that were asked for")
        return image

    def noisy(self, picture: Picture) -> Image:
        """The clean picture with the noise of its protocol, float32."""
        return add_noise(self.clean(picture), picture.sigma, seed=picture.noise_seed)


@lru_cache(maxsize=32)
def _reduced(name: str, size: int, folder: Path | None) -> Image:
    """The picture's central square, reduced to size x size by averaging blocks."""
    original = _original(name, folder)
    side = min(original.shape[:2])
    if size < 1 or side % size:
        raise ValueError(f"{name} has {side} pixels a side; give a size that divides it, got {size}")
    top, left = (original.shape[0] - side) // 2, (original.shape[1] - side) // 2
    square = original[top : top + side, left : left + side].reshape(size, side // size, size, side // size, -1)
    reduced = square.mean(axis=(1, 3)).astype(np.float32)
    return np.repeat(reduced, 3, axis=2) if reduced.shape[2] == 1 else reduced


def _original(name: str, folder: Path | None) -> np.ndarray[Any, np.dtype[np.float64]]:
    if folder is not None:
        file = next(file for known, file in _FILES.values() if known == name)
        return as_image(read_photo(folder / file).image, dtype=np.float64)
    import skimage.data

    return as_image(getattr(skimage.data, name)(), dtype=np.float64)
