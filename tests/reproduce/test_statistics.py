"""Intervals of few repetitions cover the truth as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from ntk_nonlocal.reproduce.statistics import Interval, mean, paired_slope, plateau, slope


@pytest.mark.parametrize("repetitions", [2, 3, 5, 10])
def test_means_of_few_repetitions_are_covered(repetitions: int) -> None:
    rng = np.random.default_rng(repetitions)
    covered = np.mean([mean(rng.normal(3, 2, repetitions)).contains(3) for _ in range(600)])
    assert 0.92 < covered < 0.975


@pytest.mark.parametrize("repetitions", [2, 5, 20])
def test_exponents_and_plateaus_are_covered(repetitions: int) -> None:
    rng = np.random.default_rng(repetitions)
    widths, found = (8, 16, 32, 64), []
    for _ in range(400):
        noisy = {width: width**-1.0 * np.exp(0.1 * rng.normal(size=repetitions)) for width in widths}
        flat = {width: 0.3 + width**-0.5 + 0.02 * rng.normal(size=repetitions) for width in widths}
        found.append((slope(noisy).contains(-1), plateau(flat).contains(0.3)))
    shares = np.mean(found, axis=0)
    assert (shares > 0.92).all() and (shares < 0.99).all()


def test_values_are_those_of_least_squares() -> None:
    assert slope({width: [3 * width**-0.5] * 2 for width in (8, 16, 64)}).value == pytest.approx(-0.5)
    assert plateau({width: [0.2 + 3 * width**-0.5] * 2 for width in (8, 16, 64)}).value == pytest.approx(0.2)
    known = mean([1.0, 3.0])  # Student's t of one degree of freedom: 12.706
    assert known.value == 2 and known.high == pytest.approx(2 + 12.706, abs=1e-3)
    assert str(mean([2.0, 2.0])) == "2.00" and str(known) == "2.00 [-10.71, 14.71]"


def test_one_repetition_decides_nothing() -> None:
    for found in (mean([0.1]), slope({8: [1.0], 16: [0.5, 0.6]}), plateau({8: [1.0], 16: [0.5]})):
        assert found.within(-1, 1) is None and found.contains(100) and str(found).endswith("[one draw]")
    with pytest.raises(ValueError, match="at least one repetition"):
        mean([])


def test_intervals_lie_inside_outside_or_neither() -> None:
    assert Interval(0, -1, 1, 0.5).within(-1, 1) is True
    assert Interval(3, 2, 4, 0.5).within(-1, 1) is False
    assert Interval(0, -3, 3, 0.5).within(-1, 1) is None


def test_a_slope_of_repetitions_that_share_something_is_that_of_each() -> None:
    """All values of a repetition are moved together, which says nothing of the slope."""
    widths, moved = (8, 32, 128), {0: 1.0, 1: 3.0, 2: 0.2}
    values = {w: {seed: by * w ** (-0.5 + 0.01 * seed) for seed, by in moved.items()} for w in widths}
    found = paired_slope(values | {32: values[32] | {7: 5.0}})
    assert found.value == pytest.approx(-0.49) and -0.52 < found.low < -0.5 < -0.48 < found.high < -0.46
    alone = slope({width: list(by_seed.values()) for width, by_seed in values.items()})
    assert alone.high - alone.low > 10 * (found.high - found.low)


def test_repetitions_of_which_none_is_common_are_independent() -> None:
    assert paired_slope({8: {0: 1.0, 2: 1.1}, 16: {1: 2.0, 3: 2.2}}) == slope({8: [1.0, 1.1], 16: [2.0, 2.2]})


@pytest.mark.parametrize("values", [{}, {8: {0: 1.0}}, {8: {0: 1.0}, 16: {0: 0.0}}])
def test_a_paired_slope_needs_two_widths_with_positive_repetitions(values: dict[int, dict[int, float]]) -> None:
    with pytest.raises(ValueError, match="positive values at two or more widths"):
        paired_slope(values)
