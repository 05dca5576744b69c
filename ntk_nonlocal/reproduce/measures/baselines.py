"""What a reader would compare with: filters that know nothing of networks, on the same noisy picture."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass

import numpy as np

from ntk_nonlocal.denoisers import denoise
from ntk_nonlocal.images import psnr

from ..pictures import Picture
from ..workspace import Arrays, Workspace

_WIDTHS = np.geomspace(0.3, 4, 40)
_SHARES = np.linspace(0, 1, 201)


@dataclass(frozen=True)
class Baselines:
    """The best of the linear ones are chosen with the clean picture, as best steps are."""

    picture: Picture
    bm3d: bool = False


def baselines(settings: Baselines, workspace: Workspace) -> Arrays:
    """PSNR of simple filters.

    Returns:
      "noisy"; "blur", the best Gaussian one, with its "blur_sigma" in pixels; "shrinkage", the best a in
      mean + a (y - mean), which is what a white kernel with a constant can do; "nlm", non-local means, and of the first
      noise draw "nlm_image" in half precision, to draw; "bm3d" where it is asked for and its package is there.
    """
    from skimage.filters import gaussian

    clean, noisy = workspace.pictures.clean(settings.picture), workspace.pictures.noisy(settings.picture)
    blur = functools.partial(gaussian, noisy, channel_axis=2, mode="reflect")
    blurs = [psnr(blur(sigma=width), clean) for width in _WIDTHS]
    mean = noisy.mean(axis=(0, 1))
    shrunk = [psnr(mean + share * (noisy - mean), clean) for share in _SHARES]
    means = denoise(noisy, sigma=settings.picture.sigma, method="nlm").image
    found = {
        "noisy": psnr(noisy, clean),
        "blur": max(blurs),
        "blur_sigma": _WIDTHS[int(np.argmax(blurs))],
        "shrinkage": max(shrunk),
        "nlm": psnr(means, clean),
    }
    if settings.bm3d and importlib.util.find_spec("bm3d") is not None:
        found["bm3d"] = psnr(denoise(noisy, sigma=settings.picture.sigma, method="bm3d").image, clean)
    arrays = {name: np.asarray(value) for name, value in found.items()}
    return arrays | ({"nlm_image": means.astype(np.float16)} if settings.picture.noise_seed == 0 else {})
