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


def _slope(x: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> Any:
    centred = x - x.mean()
    return np.log(values) @ centred / (centred @ centred)


def _interval(value: float, draws: np.ndarray[Any, Any]) -> Interval:
    low, high = np.quantile(draws, (0.025, 0.975))
    return Interval(float(value), float(low), float(high), float(draws.std(ddof=1)))
