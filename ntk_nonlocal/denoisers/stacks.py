"""Stacks of images: which axes an array has, and slice after slice without a second copy of the stack."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ntk_nonlocal.checks import told
from ntk_nonlocal.images import masked_image, plain_array

from .result import Denoised

Axes = Literal["YX", "YXC", "TYX", "TYXC"]
Report = Callable[[float], None]

_MOST_CHANNELS = 4


def is_stack(noisy: ArrayLike, axes: str | None) -> bool:
    """Whether an array is a stack.

    Raises:
      ValueError: unknown axes, not as many as the array has, or more than four channels that nobody spoke of.
    """
    shape = plain_array("noisy", noisy).shape
    if axes is None:
        if len(shape) == 3 and shape[2] > _MOST_CHANNELS:
            first = shape[0] <= _MOST_CHANNELS
            moved = (
                f"; of one image of {shape[0]} channels that come first, pass np.moveaxis(x, 0, -1)" if first else ""
            )
            raise ValueError(
                f"the last axis of an image is its channels, up to {_MOST_CHANNELS}; shape {shape} is either one image "
                f"of {shape[2]} channels or {shape[0]} slices of {shape[1]}x{shape[2]} pixels; say which by axes='YXC' "
                f"or axes='TYX'{moved}"
            )
        return False
    if axes not in get_args(Axes):
        raise ValueError(f"axes is one of {', '.join(map(repr, get_args(Axes)))}, got {told(axes)}")
    if len(shape) != len(axes):
        raise ValueError(f"axes={axes!r} names {len(axes)} axes, and the array has shape {shape}")
    if axes[0] == "T" and shape[0] == 0:
        raise ValueError(f"a stack has at least one slice, got shape {shape}")
    return axes[0] == "T"


def denoise_slices(
    noisy: ArrayLike,
    mask: ArrayLike | None,
    axes: str,
    out: NDArray[Any] | None,
    one: Callable[[NDArray[Any], NDArray[Any] | None, Report], Denoised],
    report: Report,
    begin: float,
) -> Denoised:
    """``one`` on every slice; images are written into ``out`` (T, H, W, C) as they are ready.

    Raises:
      ValueError: a mask or ``out`` of another shape, or what a slice is refused for, with its number.
    """
    stack = noisy if isinstance(noisy, np.ndarray) else np.asarray(noisy)
    count = len(stack)
    missing = None if mask is None else np.asarray(mask)
    if missing is not None and missing.ndim >= len(axes) and len(missing) != count:
        raise ValueError(
            f"the mask of a stack of {count} slices has as many, or is that of one slice, got {missing.shape}"
        )
    by_slice = missing is not None and missing.ndim == len(axes)
    target = _target(stack, out, axes)

    def missing_of(number: int) -> NDArray[Any] | None:
        return missing[number] if by_slice and missing is not None else missing

    if target is not None and np.may_share_memory(stack, target):  # a slice that is refused is not to cost the others
        _check_slices(stack, missing_of)
    results: list[Denoised] = []
    for number in range(count):

        def tell(share: float, number: int = number) -> None:
            report(min((number + share) / count, 1.0))

        picture = np.array(stack[number])
        try:
            result = one(picture, missing_of(number), tell)
        except ValueError as error:
            raise ValueError(f"slice {number}: {error}") from error
        if target is None:
            target = np.empty((count, *result.image.shape), result.image.dtype)
        target[number] = result.image.reshape(target.shape[1:])
        results.append(_without_image(result))
    assert target is not None
    images = target if target.ndim == 4 else target[:, :, :, None]
    levels = _of_slices([result.sigma for result in results])
    steps = Counter(result.step for result in results)
    risks = [result.risk for result in results if result.risk is not None]
    first = results[0]
    settings = first.settings | {"slices": count, "sigma": levels, "steps_of_slices": [r.step for r in results]}
    settings["clipped"] = any(result.settings["clipped"] for result in results)
    for key in ("white", "span", "correlation", "coarse_sigma", "compressed", "grows", "cut", "far"):
        if found := [result.settings[key] for result in results if key in result.settings]:
            settings[key] = max(found)
    for key in ("gain", "dark_variance"):
        if not settings["sigma_given"] and any(key in result.settings for result in results):
            settings[key] = _of_slices([result.settings.get(key, np.nan) for result in results])
    sigma = first.sigma if first.settings["sigma_given"] and "noise" not in first.settings else levels
    risk = float(np.mean(risks)) if risks else None
    seconds = time.perf_counter() - begin
    return Denoised(images, sigma, first.method, steps.most_common(1)[0][0], risk, seconds, first.network, settings)


def _of_slices(numbers: list[Any]) -> NDArray[np.float64]:
    """What was estimated, shape (T,), or (T, C) where it was by channel in some."""
    channels = max(np.size(number) for number in numbers)
    if len({np.shape(number) for number in numbers}) > 1:
        numbers = [np.broadcast_to(number, channels) for number in numbers]
    return np.array(numbers)


def _target(stack: NDArray[Any], out: NDArray[Any] | None, axes: str) -> NDArray[Any] | None:
    if out is None:
        return None
    if not isinstance(out, np.ndarray) or out.dtype.kind != "f":
        raise ValueError("out= is a floating-point array of numpy; estimates are no whole numbers")
    shapes = (stack.shape, (*stack.shape, 1)) if axes == "TYX" else (stack.shape,)
    if out.shape not in shapes:
        raise ValueError(f"out= has the shape of the result, {' or '.join(map(str, shapes))}, got {out.shape}")
    same = stack.ctypes.data == out.ctypes.data and stack.strides == out.strides[: stack.ndim]
    if np.may_share_memory(stack, out) and not (same and stack.dtype == out.dtype):
        raise ValueError(
            "out= is the stack itself or shares no memory with it, got a part of it; pass an array of its own"
        )
    return out


def _check_slices(stack: NDArray[Any], missing_of: Callable[[int], NDArray[Any] | None]) -> None:
    """Raises ValueError, with its number, for a slice that holds no image where the mask leaves it."""
    for number in range(len(stack)):
        try:
            masked_image(np.array(stack[number]), missing_of(number))
        except ValueError as error:
            raise ValueError(f"slice {number}: {error}; or leave pixels out by mask=") from error


def _without_image(result: Denoised) -> Denoised:
    """The same without its pixels, which are in the stack."""
    empty = np.empty((0, 0, result.image.shape[2]), result.image.dtype)
    return Denoised(
        empty, result.sigma, result.method, result.step, result.risk, result.seconds, result.network, result.settings
    )
