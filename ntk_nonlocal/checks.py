"""Checks that many functions share: what was got, what was expected, and what to do, before any work."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from numbers import Integral, Real

_LARGEST_SEED = 2**63 - 1
_LONGEST = 300  # characters


def whole(name: str, value: object, least: int, most: int | None = None) -> int:
    """``value`` as an int.

    Raises:
      ValueError: not an integer, below ``least`` or above ``most``.
    """
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_whole or int(value) < least or (most is not None and int(value) > most):  # type: ignore[call-overload]
        limit = "" if most is None else f" and at most {most}"
        raise ValueError(f"{name} must be an integer of at least {least}{limit}, got {told(value)}")
    return int(value)  # type: ignore[call-overload, no-any-return]


def seed(value: object) -> int:
    """A seed of random numbers as an int; None is none, for nothing here is random without one.

    Raises:
      ValueError: not an integer in 0..2^63 - 1.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or not 0 <= int(value) <= _LARGEST_SEED:
        raise ValueError(f"seed is a non-negative integer below 2^63, got {told(value)}")
    return int(value)


def positive(name: str, value: object, most: float = math.inf) -> float:
    """``value`` as a float.

    Raises:
      ValueError: not one finite number above 0 and at most ``most``.
    """
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not (math.isfinite(number) and 0 < number <= most):
        limit = f" and at most {most:g}" if math.isfinite(most) else ""
        raise ValueError(f"{name} must be a positive number{limit}, got {told(value)}")
    return number


def choice(name: str, value: object, known: Iterable[str]) -> None:
    """Raises ValueError, with the nearest known word, unless ``value`` is one of the known ones."""
    words = tuple(known)
    if not isinstance(value, str) or value not in words:
        hint = nearest(value, words) if isinstance(value, str) else ""
        raise ValueError(f"{name} must be one of {', '.join(map(repr, words))}, got {told(value)}{hint}")


def nearest(word: str, known: Iterable[str]) -> str:
    """ ", did you mean 'x'?" for the nearest of the known words, nothing where none is near."""
    match = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean {match[0]!r}?" if match else ""


def told(value: object) -> str:
    """What was got, on one line: of an array its shape and type, of what is long the beginning."""
    shape = getattr(value, "shape", ())
    if isinstance(shape, tuple) and shape and hasattr(value, "dtype"):
        return f"an array of shape {shape} and type {value.dtype}"
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
