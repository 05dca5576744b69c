"""``denoise``: one call for every method, and what it gives back."""

from __future__ import annotations

import math
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ntk_nonlocal.architecture import Layer
from ntk_nonlocal.checks import choice, whole
from ntk_nonlocal.checks import seed as check_seed
from ntk_nonlocal.images import (
    PoissonGaussian,
    as_mask,
    estimate_poisson_gaussian,
    estimate_sigma,
    masked_image,
    middle_range,
    neighbours_of,
    noise_grows,
    outlying,
    white_of,
)

from . import classical
from .cameras import check_camera, removed_too_much
from .colours import Colours, colours_of, representative
from .levels import Levels, Sigma, filled, levels_of
from .ntk import BEST, FAST, Setting, closed_form, products
from .oddities import SPIKE, at_ends, check_scale, no_data, origin
from .result import Denoised, Method
from .stacks import Axes, denoise_slices, is_stack
from .tiles import Tiles

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
_CLIPPED = 1e-3  # a share of the values
# Estimates, of the largest value, and shares of values that stand at an end: there clipping makes the estimate too low.
_CUT = ((30 / 255, 0.05), (2 / 255, 0.5))
_TWO_VALUED = 0.9  # a drawing

# Where the standard deviation of stabilised noise is believed to lie, whatever is measured.
_STABLE = (0.85, 1.1)

Noise = Literal["gaussian", "poisson-gaussian"]


@dataclass(frozen=True)
class _Options:
    """What the methods take beside the image and its noise."""

    method: Method
    fast: bool
    seed: int
    architecture: Layer | None
    width: int | None
    steps: int | None


@dataclass(frozen=True)
class _Found:
    """What a method gives: an image (H, W, C), and see :class:`Denoised`."""

    image: NDArray[Any]
    step: int | None
    risk: float | None
    network: str
    settings: dict[str, Any]


def denoise(
    noisy: Shaped[ArrayLike, "H W *C"],
    sigma: ArrayLike | None = None,
    method: Method = "ntk",
    *,
    mask: ArrayLike | None = None,
    fill: bool = False,
    noise: Noise | PoissonGaussian = "gaussian",
    axes: Axes | None = None,
    out: NDArray[Any] | None = None,
    fast: bool = False,
    seed: int = 0,
    architecture: Layer | None = None,
    width: int | None = None,
    steps: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Denoised:
    """Remove noise from an image of any scale, denoise(a y, a sigma) is a denoise(y, sigma), or from a stack's slices.

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
      noisy: shape (H, W) or (H, W, C), at least 8x8, or a stack, see ``axes``; see
        :func:`ntk_nonlocal.images.as_noisy_image`.
      sigma: standard deviation of white Gaussian noise in the units of the image, which for integers are those of
        [0, 1]: a number, or an array of shape (C,) by channel, (H, W) by pixel ("ntk") or (H, W, C). Estimated where it
        is None, one number, or by channel where channels differ (:func:`ntk_nonlocal.images.estimate_sigma` says when
        that fails). Noise found coarser than pixels, as demosaicing and resizing leave it, is not taken for white then:
        "ntk" uses its spectrum, estimated too; behind JPEG compression the level is that before it. Zero gives the
        image back, and so does, with a warning, less than 1e-5 of the largest value (of the range, of values far from
        zero). A channel of level zero takes no part; one of a small level guides the others. One number is the noise
        of the noisiest channel where channels share theirs (a grey picture stored as RGB).
      mask: shape (H, W) or (H, W, C), True where there is a value ("ntk"). What is not there, NaN for instance, takes
        no part in estimates, kernels and averages, and comes back as it was. So do, with a warning, values a thousand
        times the range of all others beyond them; where several are the same they are taken for no data.
      fill: give estimates for pixels that the mask leaves out, and for no data.
      noise: "gaussian"; "poisson-gaussian", whose gain and dark variance are estimated from the image; or a
        :class:`PoissonGaussian`, in the units of the array. Without sigma then: the result is E[y] in the image's
        units.
      axes: "YX", "YXC", or of a stack "TYX" or "TYXC", denoised slice by slice; None: (H, W) or (H, W, C). With more
        than four channels it has to be said.
      out: an array that takes the result of a stack, shape (T, H, W, C), or (T, H, W) for "TYX"; floating, such as a
        numpy.memmap. May be the stack itself.
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
      TypeError, ValueError: not an image, smaller than 8x8, not a noise level, NaN that the mask does not leave out, an
        unknown method, an option of another method, a level above all values of the image.
      ImportError: "bm3d" is not installed; says how to.
    """
    begin = time.perf_counter()
    options = _Options(method, fast, seed, architecture, width, steps)
    _check_options(options)
    _check_noise(noise, sigma)
    report = progress or (lambda share: None)
    if is_stack(noisy, axes):

        def one(picture: NDArray[Any], missing: NDArray[Any] | None, tell: Callable[[float], None]) -> Denoised:
            return _picture(picture, sigma, missing, fill, noise, options, tell)

        return denoise_slices(noisy, mask, str(axes), out, one, report, begin)
    if out is not None:
        raise ValueError("out= is for stacks; say which axes they have by axes='TYX' or 'TYXC'")
    return _picture(noisy, sigma, mask, fill, noise, options, report)


def _picture(
    noisy: ArrayLike,
    sigma: ArrayLike | None,
    mask: ArrayLike | None,
    fill: bool,
    noise: Noise | PoissonGaussian,
    options: _Options,
    report: Callable[[float], None],
) -> Denoised:
    """One image."""
    begin = time.perf_counter()
    image = masked_image(noisy, mask)
    height, columns = image.shape[:2]
    if min(height, columns) < _SMALLEST_SIDE:
        raise ValueError(f"denoise needs an image of at least 8x8 pixels, got {height}x{columns}; pad it first")
    valid = None if mask is None else as_mask(mask, image.shape)
    if valid is not None and valid.all():
        valid = None
    nothing = no_data(image, valid)
    if nothing.any():
        warnings.warn(
            f"{np.count_nonzero(nothing)} values are the same, {image[nothing].flat[0]:.6g}, far beyond the range of "
            f"all others: they are taken for no data, and {'filled' if fill else 'left as they are'}; mask= says which "
            "pixels have a value",
            stacklevel=3,
        )
        mask = valid = ~nothing if valid is None else valid & ~nothing
        image = masked_image(noisy, mask)
    given_image = image
    spikes = outlying(image, np.zeros((1, 1, 1), bool) if valid is None else ~valid, SPIKE)
    if spikes.any():
        warnings.warn(
            f"values farther than {SPIKE:g} times the range of all others beyond them, {np.count_nonzero(spikes)} in "
            "number, are left as they are; mask= and fill= give estimates for such",
            stacklevel=3,
        )
        image = neighbours_of(image, spikes)
    check_scale(image)
    ends = at_ends(image)
    settings: dict[str, Any] = {"method": options.method, "seed": options.seed, "clipped": ends > _CLIPPED}
    settings["white"] = white_of(image)
    seen = representative(image)
    settings["span"] = max(float(np.ptp(middle_range(seen[:, :, c]))) for c in range(seen.shape[2]))
    known: Sigma
    if noise == "poisson-gaussian" and not np.ptp(image, axis=(0, 1)).any():
        noise = "gaussian"  # of which there is none either, and which needs no gain
    if isinstance(noise, str) and noise == "gaussian":
        levels = levels_of(image, sigma, valid)
        settings |= {"sigma_given": sigma is not None, "sigma": levels.sigma}
        if sigma is None and any(
            levels.level >= level * image.max() > 0 and share < ends < _TWO_VALUED for level, share in _CUT
        ):
            settings["cut"] = ends
        coarse = levels.coarse
        sure = coarse is not None and coarse.sure
        if coarse is not None and not sure:
            settings["coarse_sigma"] = coarse.level
        elif coarse is not None:
            compressed = coarse.before_compression is not None
            settings |= {"compressed": True} if compressed else {"correlation": coarse.correlation}
        if sigma is None and not sure and noise_grows(seen if valid is None else image, valid):
            settings["grows"] = True
        zero = origin(image).astype(image.dtype)
        far = bool(zero.any())
        settings |= {"far": True} if far else {}
        found, known = _gaussian(image - zero if far else image, levels, valid, options, report), levels.sigma
        if far:
            found = replace(found, image=found.image + zero)
    else:
        unit = float(np.iinfo(np.asarray(noisy).dtype).max) if np.asarray(noisy).dtype.kind == "u" else 1.0
        given = isinstance(noise, PoissonGaussian)
        if isinstance(noise, PoissonGaussian):
            model = noise.scaled(1 / unit)
            check_camera(model, image, valid)
        else:
            model = estimate_poisson_gaussian(image, mask=valid)
        found, known = _poisson(image, model, valid, options, report)
        told = model.scaled(unit)
        settings |= {"sigma_given": given, "sigma": known, "noise": "poisson-gaussian"}
        settings |= {"gain": told.gain, "dark_variance": told.dark_variance}
        settings |= {"offset": told.offset, "read": told.read} if given else {}
    report(1.0)
    result = found.image.astype(image.dtype, copy=False)
    if spikes.any():
        result = np.where(spikes, given_image, result)
    if valid is not None and not fill:
        original = _as_given(noisy, image)
        result = np.where(valid, result, original)
    seconds = time.perf_counter() - begin
    settings |= found.settings
    return Denoised(result, known, options.method, found.step, found.risk, seconds, found.network, settings)


def _as_given(noisy: ArrayLike, image: NDArray[Any]) -> NDArray[Any]:
    """The values of the image, those included that a mask leaves out."""
    data = np.asarray(noisy)
    scale = np.iinfo(data.dtype).max if data.dtype.kind == "u" else 1
    return (data.reshape(image.shape) / scale).astype(image.dtype)


def _gaussian(
    image: NDArray[Any],
    levels: Levels,
    valid: NDArray[np.bool_] | None,
    options: _Options,
    report: Callable[[float], None],
) -> _Found:
    """The image without white noise of these levels."""
    if valid is not None:
        image = np.moveaxis(filled(np.moveaxis(image, 2, 0), np.moveaxis(valid, 2, 0)), 0, 2)
    if levels.level <= _NO_NOISE * float(np.abs(image).max()):
        if levels.given and levels.level > 0:
            warnings.warn(
                f"sigma {levels.level:.3g} is less than a hundred-thousandth of the image's largest value, no more "
                "than rounding; the image is given back as it is",
                stacklevel=4,
            )
        return _Found(image.copy(), 0, 0.0, "", {})
    if options.method != "ntk":
        levels.evenly()
    spectra = None
    if levels.coarse is not None and levels.coarse.sure and levels.coarse.before_compression is None:
        colours = Colours.coarse(image, levels.coarse)
        spectra = levels.coarse.spectra[levels.coarse.planes[0]]
    elif valid is not None and valid.shape[2] > 1 and (valid != valid[:, :, :1]).any():
        colours = Colours.apart(levels.channels)
    else:
        seen = image if valid is None else np.where(valid, image, np.nan)
        colours = colours_of(seen, levels.channels, levels.by_channel)
    extra = {"colours": colours.describe()} if colours.describe() else {}
    if options.method == "ntk":
        setting = FAST if options.fast else BEST
        deviation = levels.deviation
        if deviation is not None and deviation.shape[2] > 1:
            deviation = colours.deviation(deviation, levels.channels)
        found, step, risk, more = _in_tiles(image, colours, deviation, spectra, setting, options.seed, report)
        settings = {"fast": options.fast, **asdict(setting), **more, **extra}
        return _Found(found, step, risk, setting.describe(), settings)
    planes = image if colours.plain else np.moveaxis(colours.planes(image), 0, 2)
    if options.method in TRAINED:
        from .trained import trained  # and with it what training needs

        result = trained(
            planes, colours.sigma, options.method, options.architecture, options.width or 64, options.steps or 2000,
            options.seed, report,
        )  # fmt: skip
        cleaned, step_, network, more = result.image, result.step, result.network, result.settings
    else:
        cleaned, more = classical.CLASSICAL[options.method](planes, colours.sigma)
        step_, network = None, ""
    if not colours.plain:
        cleaned = colours.image(np.moveaxis(cleaned, 2, 0), image)
    return _Found(cleaned, step_, None, network, more | extra)


def _poisson(
    image: NDArray[Any],
    noise: PoissonGaussian,
    valid: NDArray[np.bool_] | None,
    options: _Options,
    report: Callable[[float], None],
) -> tuple[_Found, Sigma]:
    """The image without noise that grows with its brightness, and the root mean square of that noise."""
    zero = image.min(axis=(0, 1))
    stable = noise.stabilise(image, zero)
    largest = float(np.abs(stable).max())
    unit = 1 / max(largest, 1.0)
    seen = estimate_sigma(unit * stable, mask=valid) / unit  # 1 by theory, less where there are few photons
    level = min(float(np.clip(seen, *_STABLE)), largest or 1.0)
    levels = levels_of(unit * stable, unit * level, valid)
    found = _gaussian((unit * stable).astype(image.dtype), levels, valid, options, report)
    mean = noise.invert(found.image / unit, zero)
    mean += removed_too_much(image, mean, noise.variance(mean), valid)
    variance = noise.variance(mean)
    risk = None
    if found.risk is not None:  # an error of the stabilised image stands for one of sqrt(variance)
        risk = float(found.risk / unit**2 * variance.mean())
    result = _Found(mean, found.step, risk, found.network, found.settings)
    if noise.channels is not None:
        return result, np.sqrt(variance.mean(axis=(0, 1)))
    return result, float(np.sqrt(variance.mean()))


def _in_tiles(
    image: NDArray[Any],
    colours: Colours,
    deviation: NDArray[np.float32] | None,
    spectra: NDArray[np.float64] | None,
    setting: Setting,
    seed: int,
    report: Callable[[float], None],
) -> tuple[NDArray[Any], int, float, dict[str, Any]]:
    """The closed form on every tile, brought near 1 by a power of two, which changes no digit."""
    exponent = math.frexp(float(np.abs(image).max()))[1] - 1
    colours = replace(colours, sigma=math.ldexp(colours.sigma, -exponent))
    height, width = image.shape[:2]
    tiles = Tiles.of((height, width), _LARGEST_TILE, _OVERLAP)
    total, done = len(tiles.corners) * products(setting, tiles.size), 0
    chosen: list[tuple[int, float]] = []
    noise = colours.sigma**2 * float(colours.shares.sum())

    def tick() -> None:
        nonlocal done
        done += 1
        report(done / total)

    def work(part: tuple[slice, slice]) -> NDArray[Any]:
        here: NDArray[Any] = np.ldexp(image[part], -exponent)
        local = None if deviation is None else np.moveaxis(deviation[part], 2, 0)
        share = 1.0
        if local is not None:
            if not (local > 0).any():
                chosen.append((0, noise))
                return here
            share = float(np.square(local[local > 0]).mean())
        result = closed_form(
            colours.planes(here), colours.sigma, setting, shares=colours.shares, deviation=local, spectra=spectra,
            seed=seed, tick=tick,
        )  # fmt: skip
        best = result.best
        if result.risks[best] >= noise * share:  # no better than the noisy image itself
            chosen.append((0, noise * share))
            return here
        chosen.append((result.steps[best], float(result.risks[best])))
        return colours.image(result.estimates[best], here)

    found = tiles.blend(image.shape, work)
    counts = Counter(step for step, _ in chosen)
    extra = {"tile": tiles.size, "steps_of_tiles": dict(sorted(counts.items()))}
    risk = float(np.ldexp(np.mean([risk for _, risk in chosen]), 2 * exponent))
    found = found.astype(image.dtype, copy=False)
    return np.ldexp(found, exponent, out=found), counts.most_common(1)[0][0], risk, extra


def _check_noise(noise: object, sigma: object) -> None:
    if isinstance(noise, PoissonGaussian):
        pass
    elif isinstance(noise, str):
        choice("noise", noise, get_args(Noise))
    else:
        raise TypeError(f"noise is 'gaussian', 'poisson-gaussian' or a PoissonGaussian, got {type(noise).__name__}")
    if sigma is not None and noise != "gaussian":
        raise ValueError("sigma is the level of Gaussian noise, and Poisson-Gaussian noise has its own; leave it out")


def _check_options(options: _Options) -> None:
    choice("method", options.method, METHODS)
    if options.fast and options.method != "ntk":
        raise ValueError(f"fast is a setting of method 'ntk', got method {options.method!r}; leave it out")
    for name in ("architecture", "width", "steps"):
        value = getattr(options, name)
        if value is not None and options.method not in TRAINED:
            raise ValueError(
                f"{name} is an option of methods 'gd' and 'adam', got method {options.method!r}; leave it out"
            )
        if name != "architecture" and value is not None:
            whole(name, value, 1, 10**6)
    check_seed(options.seed)
    if options.method == "bm3d":
        classical.require_bm3d()
