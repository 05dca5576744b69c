"""The other denoisers: classical ones from well-kept libraries, and finite networks that are trained."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntk_nonlocal.images import white_of

Image = NDArray[Any]


def nlm(noisy: Image, sigma: float) -> tuple[Image, dict[str, Any]]:
    """Non-local means (Buades, Coll & Morel 2005) with the settings that comparisons quote."""
    from skimage.restoration import denoise_nl_means

    settings = {"patch_size": 5, "patch_distance": 10, "h": 0.6 * sigma, "fast_mode": True}
    if noisy.shape[2] == 1:  # a channel axis of one is an error to scikit-image 0.26
        return denoise_nl_means(noisy[:, :, 0], sigma=sigma, **settings)[:, :, None], settings
    return denoise_nl_means(noisy, sigma=sigma, channel_axis=2, **settings), settings


def tv(noisy: Image, sigma: float) -> tuple[Image, dict[str, Any]]:
    """Total variation (Rudin, Osher & Fatemi 1992; the algorithm of Chambolle 2004)."""
    from skimage.restoration import denoise_tv_chambolle

    settings = {"weight": 0.9 * sigma}
    exponent = math.frexp(float(np.abs(noisy).max()))[1]  # near 1, where no square overflows
    found = denoise_tv_chambolle(  # type: ignore[no-untyped-call]
        np.ldexp(noisy, -exponent), channel_axis=2, weight=math.ldexp(settings["weight"], -exponent)
    )
    return np.ldexp(found, exponent), settings


def require_bm3d() -> None:
    """Raises ImportError, saying how to install it, unless the package bm3d is there."""
    if importlib.util.find_spec("bm3d") is None:
        raise ImportError(
            "method 'bm3d' needs the package bm3d, whose licence allows non-commercial use only; where that fits: "
            "pip install 'ntk-nonlocal[bm3d]'"
        )


def bm3d(noisy: Image, sigma: float) -> tuple[Image, dict[str, Any]]:
    """Block matching and 3-D filtering (Dabov, Foi, Katkovnik & Egiazarian 2007), by its authors' package."""
    require_bm3d()
    package = importlib.import_module("bm3d")
    white = white_of(noisy)
    noisy, sigma = noisy / white, sigma / white
    if noisy.shape[2] == 3:
        return white * np.asarray(package.bm3d_rgb(noisy, sigma)), {"profile": "np", "colour": "opponent"}
    planes = [np.asarray(package.bm3d(noisy[:, :, c], sigma)) for c in range(noisy.shape[2])]
    return white * np.stack([plane.reshape(noisy.shape[:2]) for plane in planes], axis=2), {"profile": "np"}


CLASSICAL: dict[str, Callable[[Image, float], tuple[Image, dict[str, Any]]]] = {"nlm": nlm, "tv": tv, "bm3d": bm3d}
