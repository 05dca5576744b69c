"""``denoise``: one call for every method, and what it gives back."""

from __future__ import annotations

import time
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
    pass

METHODS: tuple[Method, ...] = get_args(Method)
TRAINED = ("gd", "adam")

_SMALLEST_SIDE = 8
_LARGEST_TILE = 576
_OVERLAP = 48
# Below this, in float32, perturbations by a tenth of sigma are rounding errors, and no image shows such noise.
_NO_NOISE = 1e-5
_CLIPPED = 1e-3  # a share of the values


def denoise(
    noisy: ArrayLike,
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
    """Remove white Gaussian noise from an image.

    Methods:
      "ntk": the infinitely wide network in closed form, without training (``ntk_nonlocal.denoisers.ntk``).
      "nlm": non-local means of scikit-image (patches of 5, distance 10, h = 0.6 sigma).
      "tv": total variation (Chambolle 2004) of scikit-image, weight 0.9 sigma.
      "bm3d": block matching (Dabov et al. 2007), the optional extra "bm3d"; its licence allows non-commercial use only.
      "gd": a finite network fed the noisy image and trained on it by gradient descent.
      "adam": a finite network fed noise and trained on the noisy image by Adam: the deep image prior (Ulyanov et al.
        2018), its outputs averaged before the stop. Both stop where the residual falls to sigma.

    Args:
      noisy: shape (H, W) or (H, W, C), at least 8x8; see :func:`ntk_nonlocal.images.as_noisy_image`.
      sigma: standard deviation of the noise on the [0, 1] scale; estimated from the image where it is None
        (:func:`ntk_nonlocal.images.estimate_sigma` says when that fails). Zero gives the image back.
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
      TypeError, ValueError: not an image, smaller than 8x8, not a noise level, an unknown method, an option of another
        method.
      ImportError: "bm3d" is not installed; says how to.
    """
    begin = time.perf_counter()
    image = as_noisy_image(noisy)
    _check(image, method, fast, architecture, width, steps, seed)
    if sigma is not None and np.ndim(sigma) == 0 and sigma == 0:
        level = 0.0
    else:
        level = estimate_sigma(image) if sigma is None else check_sigma(sigma)
    settings: dict[str, Any] = {"method": method, "sigma_given": sigma is not None, "sigma": level, "seed": seed}
    settings["clipped"] = _clipped(image)
    report = progress or (lambda share: None)
    step: int | None
    if level < _NO_NOISE:
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


def _clipped(image: NDArray[Any]) -> bool:
    """Whether values stop at 0 or 1, and so many stand there that they did not come there by chance."""
    ends = (image <= 0) | (image >= 1)
    return bool(image.min() >= 0 and image.max() <= 1 and ends.mean() > _CLIPPED)


def _in_tiles(
    image: NDArray[Any], sigma: float, setting: Setting, seed: int, report: Callable[[float], None]
) -> tuple[NDArray[Any], int, float, dict[str, Any]]:
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
    return found, counts.most_common(1)[0][0], float(np.mean([risk for _, risk in chosen])), extra


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
    height, columns = image.shape[:2]
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
