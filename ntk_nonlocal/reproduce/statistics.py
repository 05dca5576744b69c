"""Slopes and means with bootstrap intervals over repetitions (Efron 1979)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

_RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % bootstrap interval and its bootstrap standard error."""

    value: float
    low: float
    high: float
    standard_error: float

    def __str__(self) -> str:
        return f"{self.value:.2f}" + (f" [{self.low:.2f}, {self.high:.2f}]" if self.low < self.high else "")

    def within(self, low: float, high: float) -> bool | None:
        """True where the whole interval lies in [low, high], False where it lies outside, None where neither."""
        if low <= self.low and self.high <= high:
            return True
        return False if self.high < low or self.low > high else None

    def contains(self, value: float) -> bool:
        """Whether the interval contains a value."""
        return self.low <= value <= self.high


def slope(values: Mapping[int, Any], seed: int = 0) -> Interval:
    """Exponent a of values ~ width^a: least squares through the logarithms of the means over the repetitions.

    Args:
      values: the repetitions for every width, positive.
      seed: of the bootstrap, which draws repetitions anew at every width.

    Raises:
      ValueError: fewer than two widths, no repetitions, or values that are not positive.
    """
    samples = {width: np.asarray(found, np.float64) for width, found in sorted(values.items())}
    if len(samples) < 2 or any(found.size == 0 or not (found > 0).all() for found in samples.values()):
        raise ValueError(f"a slope needs positive values at two or more widths, got {dict(values)}")
    x = np.log(list(samples))
    rng = np.random.default_rng(seed)
    draws = np.stack([rng.choice(found, (_RESAMPLES, found.size)).mean(axis=1) for found in samples.values()], axis=1)
    return _interval(_slope(x, np.array([found.mean() for found in samples.values()])), _slope(x, draws))


def plateau(values: Mapping[int, Any], seed: int = 0) -> Interval:
    """The limit a of values = a + b width^-1/2: least squares through the means over the repetitions.

    Args:
      values: the repetitions for every width.
      seed: of the bootstrap, which draws repetitions anew at every width.

    Raises:
      ValueError: fewer than two widths, or no repetitions.
    """
    samples = {width: np.asarray(found, np.float64) for width, found in sorted(values.items())}
    if len(samples) < 2 or any(found.size == 0 for found in samples.values()):
        raise ValueError(f"a plateau needs values at two or more widths, got {dict(values)}")
    x = np.asarray(list(samples), np.float64) ** -0.5
    design = np.linalg.pinv(np.stack([np.ones_like(x), x], axis=1))[0]
    rng = np.random.default_rng(seed)
    draws = np.stack([rng.choice(found, (_RESAMPLES, found.size)).mean(axis=1) for found in samples.values()], axis=1)
    return _interval(float(design @ [found.mean() for found in samples.values()]), draws @ design)


def mean(values: ArrayLike, seed: int = 0) -> Interval:
    """The mean of repetitions."""
    sample = np.asarray(values, np.float64)
    draws = np.random.default_rng(seed).choice(sample, (_RESAMPLES, sample.size)).mean(axis=1)
    return _interval(float(sample.mean()), draws)


def rank_correlations(x: ArrayLike, y: ArrayLike, seed: int = 0) -> list[Interval]:
    """Spearman's rank correlations of quantities with another one, over subjects, of the means over repetitions.

    Args:
      x: shape (quantities, subjects, repetitions).
      y: shape (subjects, repetitions).
      seed: of the bootstrap, which draws subjects anew, and repetitions, the same for all of them.

    Raises:
      ValueError: shapes that do not fit, or fewer than three subjects.
    """
    first, second = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if first.ndim != 3 or first.shape[1:] != second.shape or len(second) < 3:
        raise ValueError(
            "a rank correlation needs values (quantities, subjects, repetitions) and (subjects, repetitions) with at "
            f"least three subjects, got shapes {first.shape} and {second.shape}"
        )
    subjects, repetitions = second.shape
    rng = np.random.default_rng(seed)
    rows = rng.integers(subjects, size=(_RESAMPLES, subjects))
    columns = rng.integers(repetitions, size=(_RESAMPLES, repetitions))

    def ranks(values: Any, drawn: bool) -> Any:
        means = values[rows[:, :, None], columns[:, None, :]].mean(axis=2) if drawn else values.mean(axis=1)[None]
        pairs = means[:, :, None] - means[:, None, :]
        found = (pairs > 0).sum(axis=2) + 0.5 * (pairs == 0).sum(axis=2)  # those who share a rank have its middle
        found = found - found.mean(axis=1, keepdims=True)
        length = np.linalg.norm(found, axis=1, keepdims=True)
        return np.divide(found, length, out=np.zeros_like(found), where=length > 0)

    def correlate(values: Any, drawn: bool) -> Any:
        return (ranks(values, drawn) * ranks(second, drawn)).sum(axis=1)

    return [_interval(correlate(values, False)[0], correlate(values, True)) for values in first]


def _slope(x: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> Any:
    centred = x - x.mean()
    return np.log(values) @ centred / (centred @ centred)


def _interval(value: float, draws: np.ndarray[Any, Any]) -> Interval:
    low, high = np.quantile(draws, (0.025, 0.975))
    return Interval(float(value), float(low), float(high), float(draws.std(ddof=1)))
