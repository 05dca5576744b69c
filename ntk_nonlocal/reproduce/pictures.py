"""The pictures of the experiments: House and Baboon where a folder has them, pictures scikit-image ships otherwise.

Two roles: "smooth", the House of the paper, and "texture", its Baboon. Without a folder they are played by the
astronaut and by a photograph of grass (both public domain), so that everything runs from a fresh checkout.
Smaller pictures are crops at full resolution: averaging blocks would remove the redundancy a non-local filter lives on.
Noise as everywhere: sigma times ``numpy.random.default_rng(seed).normal``, neither clipped nor rounded.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ntk_nonlocal.images import add_noise, as_image, crop, read_photo

Image = np.ndarray[Any, np.dtype[np.float32]]
Role = Literal["smooth", "texture"]

_FILES = {"smooth": ("House", "image_House256rgb.png"), "texture": ("Baboon", "image_Baboon512rgb.png")}
_BUNDLED = {"smooth": "astronaut", "texture": "grass"}
# Beside the two roles, where a folder has it.
_BESIDE = ("Lena", "image_Lena512rgb.png")
# Pixels in the middle of the crops: wall, roof and sky; the face; fur.
_CENTRES = {"House": (92, 132), "astronaut": (120, 224), "Lena": (264, 264), "Baboon": (384, 100), "grass": (256, 256)}


@dataclass(frozen=True)
class Picture:
    """A square crop of a picture, at full resolution, with the noise that is put on it.

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
        """The crop of a role's picture of ``size`` pixels a side.

        Raises:
          ValueError: a size beyond that of the original.
        """
        return self._crop(_BUNDLED[role] if self.folder is None else _FILES[role][0], size, sigma, noise_seed)

    def beside(self, size: int) -> tuple[Picture, ...]:
        """Crops of further pictures: where a folder is given Lena, if it has her, and the bundled smooth one."""
        if self.folder is None:
            return ()
        names = (_BESIDE[0],) if (self.folder / _BESIDE[1]).is_file() else ()
        return tuple(self._crop(name, size) for name in (*names, _BUNDLED["smooth"]))

    def _crop(self, name: str, size: int, sigma: float = 25 / 255, noise_seed: int = 0) -> Picture:
        digest = hashlib.sha256(_cropped(name, size, self.folder).tobytes()).hexdigest()[:16]
        return Picture(name, size, digest, sigma, noise_seed)

    @property
    def shareable(self) -> bool:
        """Whether the pictures may be stored with results: the bundled ones are in the public domain."""
        return self.folder is None

    def clean(self, picture: Picture) -> Image:
        """Shape (size, size, 3), float32 in [0, 1].

        Raises:
          ValueError: the picture that is found under the name has other pixels.
        """
        image = _cropped(picture.name, picture.size, self.folder)
        if hashlib.sha256(image.tobytes()).hexdigest()[:16] != picture.digest:
            raise ValueError(f"the pixels of {picture.name} at {picture.size} are not those that were asked for")
        return image

    def noisy(self, picture: Picture) -> Image:
        """The clean picture with the noise of its protocol, float32."""
        return add_noise(self.clean(picture), picture.sigma, seed=picture.noise_seed)


@lru_cache(maxsize=32)
def _cropped(name: str, size: int, folder: Path | None) -> Image:
    original = _original(name, folder)
    side = min(original.shape[:2])
    if not 1 <= size <= side:
        raise ValueError(f"{name} has {side} pixels a side; give a size of at most that, got {size}")
    part = crop(original, size, center=_CENTRES[name]).astype(np.float32)
    return np.repeat(part, 3, axis=2) if part.shape[2] == 1 else part


def _original(name: str, folder: Path | None) -> np.ndarray[Any, np.dtype[np.float64]]:
    files = dict((*_FILES.values(), _BESIDE))
    if folder is not None and name in files:
        return as_image(read_photo(folder / files[name]).image, dtype=np.float64)
    import skimage.data

    return as_image(getattr(skimage.data, name)(), dtype=np.float64)
