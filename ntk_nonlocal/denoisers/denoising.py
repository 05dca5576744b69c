"""``denoise``: one call for every method, and what it gives back."""

from __future__ import annotations

import math
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ntk_nonlocal.architecture import Layer
from ntk_nonlocal.checks import choice, whole
from ntk_nonlocal.checks import seed as check_seed
from ntk_nonlocal.images import as_noisy_image, check_sigma, estimate_sigma

from . import classical
from .ntk import BEST, FAST, Setting, closed_form, products
from .result import Denoised, Method
from .tiles import Tiles
from .trained import trained

if TYPE_CHECKING:
    from jaxtyping import Shaped

METHODS: tuple[Method, ...] = get_args(Method)
TRAINED = ("gd", "adam")

_SMALLEST_SIDE = 8
_LARGEST_TILE = 576
_OVERLAP = 48
# Below this share of the largest value perturbations by a tenth of sigma are rounding errors in float32, and no image
# shows such noise.
_NO_NOISE = 1e-5
_MOST_CHANNELS = 4
_CLIPPED = 1e-3  # a share of the values


def denoise(
    noisy: Shaped[ArrayLike, "H W *C"],
    sigma: float | None = None,
    method: Method = "ntk",
    *,
    fast: bool = False,
    seed: int = 0,
    architecture: Layer | None = None,
    width: int | None = None,
    steps: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Denoised:
    """Remove white Gaussian noise from an image, of any scale: denoise(a y, a sigma) is a denoise(y, sigma).

    Methods:
      "ntk": the infinitely wide network in closed form, without training (``ntk_nonlocal.denoisers.ntk``).
      "nlm": non-local means of scikit-image (patches of 5, distance 10, h = 0.6 sigma).
      "tv": total variation (Chambolle 2004) of scikit-image, weight 0.9 sigma.
      "bm3d": block matching (Dabov et al. 2007), the optional extra "bm3d"; its licence allows non-commercial use only.
        It has thresholds of its own that count on white at 1: images of other scales are brought there first, by 255,
        65535 or their largest value.
      "gd": a finite network fed the noisy image and trained on it by gradient descent.
      "adam": a finite network fed noise and trained on the noisy image by Adam: the deep image prior (Ulyanov et al.
        2018), its outputs averaged before the stop. Both stop where the residual falls to sigma.

    Args:
      noisy: shape (H, W) or (H, W, C) with up to 4 channels, at least 8x8; see
        :func:`ntk_nonlocal.images.as_noisy_image`.
      sigma: standard deviation of the noise in the units of the image, which for integers are those of [0, 1];
        estimated from the image where it is None (:func:`ntk_nonlocal.images.estimate_sigma` says when that fails).
        Zero gives the image back, and so does, with a warning, less than 1e-5 of the largest value.
      fast: for "ntk": one pass in a smaller window; about five times as fast, for 0.3 dB at sigma 15 and 0.7 dB at 50
        (of 255).
      seed: of the probes of "ntk" and of the weights and input of trained networks.
      architecture: for "gd" and "adam"; ``autoencoder(levels=3)`` unless given.
      width: for "gd" and "adam": channels of the hidden layers, 64 unless given.
      steps: for "gd" and "adam": the most steps, 2000 unless given.
      progress: called with the share of the work that is done, 0 to 1.

    Returns:
      See :class:`Denoised`.

    Raises:
      TypeError, ValueError: not an image, smaller than 8x8, a stack or more than 4 channels, not a noise level or one
        above all values of the image, an unknown method, an option of another method.
      ImportError: "bm3d" is not installed; says how to.
    """
    begin = time.perf_counter()
    image = as_noisy_image(noisy, data_range=None)
    _check(image, method, fast, architecture, width, steps, seed)
    level = estimate_sigma(image) if sigma is None else _given(sigma, image)
    settings: dict[str, Any] = {"method": method, "sigma_given": sigma is not None, "sigma": level, "seed": seed}
    settings["clipped"] = _clipped(image)
    report = progress or (lambda share: None)
    step: int | None
    if level <= _NO_NOISE * float(np.abs(image).max()):
        if sigma is not None and level > 0:
            warnings.warn(
                f"sigma {level:.3g} is less than a hundred-thousandth of the image's largest value, no more than "
                "rounding; the image is given back as it is",
                stacklevel=2,
            )
        found, step, risk, network = image.copy(), 0, 0.0, ""
    elif method == "ntk":
        setting = FAST if fast else BEST
        found, step, risk, extra = _in_tiles(image, level, setting, seed, report)
        network = setting.describe()
        settings |= {"fast": fast, **asdict(setting), **extra}
    elif method in TRAINED:
        network_result = trained(image, level, method, architecture, width or 64, steps or 2000, seed, report)
        found, step, risk, network = network_result.image, network_result.step, None, network_result.network
        settings |= network_result.settings
    else:
        found, extra = classical.CLASSICAL[method](image, level)
        step, risk, network = None, None, ""
        settings |= extra
    report(1.0)
    found = found.astype(image.dtype)
    return Denoised(found, level, method, step, risk, time.perf_counter() - begin, network, settings)


def _given(sigma: float, image: NDArray[Any]) -> float:
    """A noise level that is zero or in proportion to the image; to one without contrast nothing is."""
    if np.ndim(sigma) == 0 and sigma == 0:
        return 0.0
    return check_sigma(sigma, math.inf if image.min() == image.max() else float(np.abs(image).max()))


def _clipped(image: NDArray[Any]) -> bool:
    """Whether values stop at 0 and at their largest, and so many stand there that they did not come there by chance."""
    ends = np.count_nonzero(image <= 0) + np.count_nonzero(image == image.max()) - 1
    return bool(image.min() >= 0 and ends > _CLIPPED * image.size)


def _in_tiles(
    image: NDArray[Any], sigma: float, setting: Setting, seed: int, report: Callable[[float], None]
) -> tuple[NDArray[Any], int, float, dict[str, Any]]:
    """The closed form on every tile, brought near 1 by a power of two, which changes no digit."""
    exponent = math.frexp(float(np.abs(image).max()))[1] - 1
    image, sigma = np.ldexp(image, -exponent), math.ldexp(sigma, -exponent)
    height, width, channels = image.shape
    tiles = Tiles.of((height, width), _LARGEST_TILE, _OVERLAP)
    total, done = len(tiles.corners) * products(setting, (*tiles.size, channels)), 0
    chosen: list[tuple[int, float]] = []

    def tick() -> None:
        nonlocal done
        done += 1
        report(done / total)

    def work(part: NDArray[Any]) -> NDArray[Any]:
        result = closed_form(part, sigma, setting, seed=seed, tick=tick)
        best = result.best
        if result.risks[best] >= sigma**2:  # no better than the noisy image itself
            chosen.append((0, sigma**2))
            return part
        chosen.append((result.steps[best], float(result.risks[best])))
        estimate: NDArray[Any] = result.estimates[best]
        return estimate

    found = tiles.blend(image, work)
    counts = Counter(step for step, _ in chosen)
    extra = {"tile": tiles.size, "steps_of_tiles": dict(sorted(counts.items()))}
    risk = float(np.ldexp(np.mean([risk for _, risk in chosen]), 2 * exponent))
    return np.ldexp(found, exponent), counts.most_common(1)[0][0], risk, extra


def _check(
    image: NDArray[Any],
    method: str,
    fast: bool,
    architecture: Layer | None,
    width: int | None,
    steps: int | None,
    seed: int,
) -> None:
    choice("method", method, METHODS)
    height, columns, channels = image.shape
    if channels > _MOST_CHANNELS:
        raise ValueError(
            f"the last axis of an image is its channels, up to {_MOST_CHANNELS}, got shape {image.shape}; a stack of "
            f"{height} slices of {columns}x{channels} pixels is denoised slice by slice, noisy[i], and {channels} "
            f"channels of {height}x{columns} pixels channel by channel, noisy[..., c]"
        )
    if min(height, columns) < _SMALLEST_SIDE:
        raise ValueError(f"denoise needs an image of at least 8x8 pixels, got {height}x{columns}; pad it first")
    if fast and method != "ntk":
        raise ValueError(f"fast is a setting of method 'ntk', got method {method!r}; leave it out")
    for name, value in {"architecture": architecture, "width": width, "steps": steps}.items():
        if value is not None and method not in TRAINED:
            raise ValueError(f"{name} is an option of methods 'gd' and 'adam', got method {method!r}; leave it out")
        if name != "architecture" and value is not None:
            whole(name, value, 1, 10**6)
    check_seed(seed)
    if method == "bm3d":
        classical.require_bm3d()
