"""The one gate for arrays: what is taken for an image, a network input or a vector, and in which form it goes on.

Whatever public functions are given goes through :func:`real_array`: it is brought to native byte order and to a type
that is computed with (float32 for half precision and bfloat16, float64 for long doubles); complex numbers, masked
arrays, lists of unequal rows and what is no number are refused. :func:`finite_array` adds the shape and looks for NaN,
:func:`as_image` and :func:`as_noisy_image` what is special to pictures: integers have a largest value, channels may be
missing, values have a scale.

Values are looked at with numpy, outside every trace of JAX: what is known is checked inside ``jit``, ``scan`` and
``cg`` as it is outside, and stays a known array; of what is traced only type and shape can be checked.

An image is a float array (H, W, C); where a function does not say otherwise its values lie in [0, 1] and sigma, a noise
level, is on the same scale.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ntk_nonlocal.checks import told

if TYPE_CHECKING:
    import jax
    from jaxtyping import Float, Shaped

    Known = NDArray[Any] | jax.Array

# An array whose first axis is this short, and whose last is not, has its channels first.
FEW_CHANNELS = 4
# Values this close to [0, 1] are rounding errors of averaging and resampling.
_ROUNDING = 1e-6
# Noise may leave [0, 1], but an image that is further away than this is on another scale.
_FURTHEST_VALUE = 20.0
# Of Pillow's images: of whose numbers an array of grey or RGB is made.
_PLAIN_MODES = ("1", "L", "RGB", "F", "I", "I;16", "I;16L", "I;16B", "I;16N")
# What white is, and the darkest picture of such a scale: one of 8 bits that is nearly black, or of 12 bits among 16.
_WHITES = ((1.0, 1 / 256), (255.0, 16.0), (65535.0, 4096.0))


def real_array(name: str, value: Any) -> Known:
    """``value`` as an array of real numbers, of JAX where it is one, in native byte order and a type to compute with.

    Raises:
      ValueError: rows of different lengths, a masked array, or something else than real numbers.
    """
    array = plain_array(name, value)
    if _kind(array.dtype) not in "fiub":
        advice = "take its real part or its modulus" if _kind(array.dtype) == "c" else "pass an array of numbers"
        raise ValueError(f"{name} must hold real numbers, got {type(value).__name__} of {array.dtype}; {advice}")
    return _cast(array, _computed_in(array.dtype))


def finite_array(
    name: str,
    value: Any,
    shape: Sequence[int | str] = ("H", "W", "C"),
    *,
    whose: str = "",
    floats: bool = False,
    dtype: Any = None,
) -> Known:
    """``value`` as :func:`real_array` gives it, of a given shape and without NaN and infinity where that is known.

    Args:
      name: what the argument is called.
      shape: what is expected along every axis: a number, or the name of any number above zero.
      whose: what that shape belongs to, for the sentence, such as "the kernel's ".
      floats: refuse integers, whose scale is not known.
      dtype: the type that it goes on in.

    Raises:
      ValueError: anything else.
    """
    array = real_array(name, value)
    if floats and _kind(array.dtype) != "f":
        raise ValueError(
            f"{name} must be a floating-point array, got {array.dtype}; divide values of 8 bits by 255, with "
            f"{name}.astype('float32') / 255"
        )
    found = array.shape
    fits = all(wanted == length or isinstance(wanted, str) for wanted, length in zip(shape, found, strict=False))
    if len(found) != len(shape) or 0 in found or not fits:
        advice = ""
        if len(found) == len(shape) - 1:
            advice = f"; add the axis of the channels with {name}[..., None]"
        elif len(found) > len(shape):
            advice = "; give the images of a batch one by one"
        expected = f"({', '.join(map(str, shape))})"
        raise ValueError(f"{name} must have {whose}shape {expected}, none of them zero, got {found}{advice}")
    array = array if dtype is None else _cast(array, dtype)
    _check_finite(name, array)
    return array


def finite_jax(
    name: str,
    value: Any,
    shape: Sequence[int | str] = ("H", "W", "C"),
    *,
    whose: str = "",
    floats: bool = False,
    dtype: Any = None,
) -> jax.Array:
    """The same as an array of JAX, in the type that it has there: float64 becomes float32 without 64-bit types."""
    import jax

    array = real_array(name, value)
    target = jax.dtypes.canonicalize_dtype(array.dtype if dtype is None else dtype)
    return to_jax(finite_array(name, array, shape, whose=whose, floats=floats, dtype=target))


def to_jax(array: Known, dtype: Any = None) -> jax.Array:
    """The array as one of JAX, in ``dtype`` where one is given; what is known stays so inside a trace."""
    import jax
    import jax.numpy as jnp

    if isinstance(array, jax.core.Tracer):
        return jnp.asarray(array, dtype)
    with jax.ensure_compile_time_eval():
        return jnp.asarray(array, dtype)


def checked_input(network_input: Any) -> jax.Array:
    """What a network is fed as a float array (H, W, C), after checking it.

    Raises:
      ValueError: not a finite floating-point array (H, W, C).

    Warns:
      UserWarning: float64 without 64-bit JAX; it becomes float32.
    """
    given = real_array("network_input", network_input)
    image = finite_jax("network_input", given, floats=True)
    if image.dtype != given.dtype:
        warnings.warn(
            "the network input is float64 but JAX has no 64-bit types enabled: the kernel is computed in float32; "
            'call jax.config.update("jax_enable_x64", True) first, or pass float32',
            stacklevel=4,
        )
    return image


def as_image(
    array: Shaped[ArrayLike, "H W *C"], *, dtype: DTypeLike | None = None
) -> Float[NDArray[Any], "H W channels"]:
    """Clean image data as a float array of shape (H, W, C) with values in [0, 1].

    Args:
      array: shape (H, W) or (H, W, C); uint8 (divided by 255), uint16 (by 65535), bool, or float with values in [0, 1],
        where rounding errors up to 1e-6 are clipped.
      dtype: float32 or float64. Default: that of a floating-point input (float32 for half precision), else float64.

    Returns:
      A new array, never a view of the input.

    Raises:
      TypeError: another type of values.
      ValueError: another shape, channels first, nothing in it, NaN or infinity, values outside [0, 1].
    """
    image = _as_float(array, dtype)
    low, high = float(image.min()), float(image.max())
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        advice = _scale_advice(low, high) or "clip it with numpy.clip(x, 0, 1)"
        raise ValueError(f"the values of an image lie in [0, 1], got {low:.6g}..{high:.6g}; {advice}")
    return cast(NDArray[Any], np.clip(image, 0, 1))


def as_noisy_image(
    array: Shaped[ArrayLike, "H W *C"], *, dtype: DTypeLike | None = None, data_range: float | None = 1.0
) -> Float[NDArray[Any], "H W channels"]:
    """Noisy image data as a float array of shape (H, W, C): like :func:`as_image`, but noise may leave [0, 1].

    Args:
      array, dtype: see :func:`as_image`.
      data_range: what white is; None is any scale. With another white than 1, integers are taken as they are.

    Raises:
      TypeError: another type of values.
      ValueError: as for :func:`as_image`, but values are refused only where they are clearly on another scale (beyond
        -20..20 times ``data_range``), such as 0..255.
    """
    image = _as_float(array, dtype, scaled=data_range in (1, None))
    low, high = float(image.min()), float(image.max())
    if data_range is not None and max(-low, high) > _FURTHEST_VALUE * data_range:
        advice = _scale_advice(low, high) or "rescale it"
        raise ValueError(
            f"the values of a noisy image lie around [0, {data_range:g}], got {low:.6g}..{high:.6g}; {advice}"
        )
    return image


def white_of(image: NDArray[Any]) -> float:
    """What white most likely is in an image of unknown scale: 1, 255 or 65535 where its values are of that order,
    else its largest absolute value (1 where all are zero)."""
    largest = float(np.abs(image).max())
    return next((white for white, darkest in _WHITES if darkest < largest <= 2 * white), largest or 1.0)


def check_sigma(sigma: float, largest: float | None = None) -> float:
    """A noise standard deviation as a float: positive, finite and at most 1, or ``largest``.

    Args:
      sigma: on the [0, 1] scale, or in the units of an image whose largest absolute value is ``largest``.
      largest: noise is never larger than all values of the image that holds it.

    Raises:
      TypeError: not a single number.
      ValueError: not in (0, largest].
    """
    scale, most = "on the [0, 1] scale", 1.0
    if largest is not None:
        reach = f", whose values reach {largest:.4g}" if math.isfinite(largest) else ""
        scale, most = f"in the units of the image{reach}", largest
    number = np.asarray(sigma)
    if number.ndim != 0 or number.dtype.kind not in "iuf":
        raise TypeError(f"sigma is one number {scale}, got {told(sigma)}")
    value = float(number)
    if value > most:
        raise ValueError(f"sigma is {scale}, got {value:g}; where white is 1, a level of 25 in 8-bit units is 25/255")
    if not 0 < value < math.inf:
        limit = f" and at most {most:.4g}" if math.isfinite(most) else ""
        raise ValueError(f"sigma is a standard deviation above 0{limit}, got {value:g}")
    return value


def check_picture_shape(shape: tuple[int, ...]) -> None:
    """Raises ValueError unless it is (H, W) or (H, W, C) with the channels last."""
    if len(shape) not in (2, 3):
        advice = "pass the images of a batch one by one" if len(shape) > 3 else "restore its rows with x.reshape(H, W)"
        raise ValueError(f"an image has shape (H, W) or (H, W, C), got {shape}; {advice}")
    if 0 in shape:
        raise ValueError(f"an image has at least one pixel and one channel, got shape {shape}")
    if len(shape) == 3 and shape[0] <= FEW_CHANNELS < shape[2]:
        raise ValueError(
            f"an image has its channels last, (H, W, C), got shape {shape} that looks like channels first; "
            "move them with numpy.moveaxis(x, 0, -1)"
        )


def plain_array(name: str, value: Any) -> Known:
    """``value`` as an array of whatever kind, of JAX where it is one.

    Raises:
      ValueError: rows of different lengths, a masked array, or a Pillow image of palette indices, ink or transparency.
    """
    loaded = sys.modules.get("jax")  # before it is loaded nothing is an array of JAX
    if loaded is not None and isinstance(value, loaded.Array):
        return cast("jax.Array", value)
    pillow = sys.modules.get("PIL.Image")
    if pillow is not None and isinstance(value, pillow.Image) and value.mode not in _PLAIN_MODES:
        raise ValueError(
            f"{name} must be grey or RGB, got a Pillow image of mode {value.mode!r}, whose numbers are no plain "
            "brightness or colour; convert it, with x.convert('RGB') or x.convert('L')"
        )
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(
            f"{name} must be a plain array, got a masked one, whose mask would be ignored; "
            "fill its gaps with x.filled(value), or take x.data, with mask=~x.mask where a function has mask="
        )
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array of numbers, got {type(value).__name__}: {error}") from None


def _kind(dtype: Any) -> str:
    """numpy's letter for the kind of a type; bfloat16 and its like, which numpy does not know, are floats."""
    return "f" if dtype.name.startswith(("float", "bfloat")) else getattr(dtype, "kind", "O")


def _computed_in(dtype: Any) -> np.dtype[Any]:
    """The type in which values of this one are computed: native, and for floats float32 or float64."""
    if _kind(dtype) == "f":
        return np.dtype(np.float32 if dtype.itemsize <= 4 else np.float64)
    native: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
    return native


def _is_traced(array: object) -> bool:
    loaded = sys.modules.get("jax")
    return loaded is not None and isinstance(array, loaded.core.Tracer)


def _cast(array: Known, dtype: Any) -> Known:
    """In another type; with numpy, so that what is known stays so inside a trace."""
    if array.dtype == dtype:
        return array
    if _is_traced(array):
        return array.astype(dtype)
    with np.errstate(over="ignore"):
        return np.asarray(array).astype(dtype)


def _check_finite(name: str, array: Known) -> None:
    if _is_traced(array):
        return
    bad = ~np.isfinite(np.asarray(array))
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{name} has values that are not finite, got {int(bad.sum())} of {bad.size} that are NaN or infinite in "
            f"{array.dtype}, the first at index {first}; replace them first, for instance with numpy.nan_to_num"
        )


def _as_float(array: Any, dtype: DTypeLike | None, *, scaled: bool = True) -> NDArray[Any]:
    """The array with its channel axis, integers divided by their largest value, after all checks but its range."""
    found = plain_array("an image", array)
    if _is_traced(found):
        raise TypeError(f"the values of an image must be known, got a traced array, {found}; call this outside jax.jit")
    given = np.asarray(found)
    target = _float_type(given.dtype, dtype)
    check_picture_shape(given.shape)
    with np.errstate(over="ignore"):
        image = given.astype(target)  # a copy in any case
    if given.dtype.kind == "u" and scaled:
        image /= target.type(np.iinfo(given.dtype).max)
    _check_finite("an image", image)
    return image[:, :, None] if image.ndim == 2 else image


def _float_type(given: np.dtype[Any], wanted: DTypeLike | None) -> np.dtype[Any]:
    kind = _kind(given)
    if kind not in "fb" and not (kind == "u" and given.itemsize <= 2):
        advice = "pass numbers in an array of shape (H, W) or (H, W, C)"
        if kind in "iu":
            advice = (
                "say what the range is by x.astype('uint8') for 0..255 or x.astype('uint16') for 0..65535, or take "
                "x.astype('float32'), values as they are"
            )
        elif kind == "c":
            advice = "take its real part or its modulus"
        raise TypeError(f"the values of an image are uint8, uint16, bool or float, got {given}; {advice}")
    if wanted is None:
        return _computed_in(given) if kind == "f" else np.dtype(np.float64)
    target = np.dtype(wanted)
    if target not in (np.float32, np.float64):
        raise TypeError(f"images are computed in float32 or float64, got dtype={target}")
    return target


def _scale_advice(low: float, high: float) -> str | None:
    if low > -128 and 2 < high <= 2 * 255:
        return "divide by 255 if it is on the 8-bit scale"
    if low > -32768 and 255 < high <= 2 * 65535:
        return "divide by 65535 if it is on the 16-bit scale"
    return None
