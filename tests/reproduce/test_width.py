"""What the experiment "width" says of exponents: inside, outside, too uncertain."""

from __future__ import annotations

import pytest

from ntk_nonlocal.reproduce.experiment import judged
from ntk_nonlocal.reproduce.statistics import Interval
from ntk_nonlocal.reproduce.width import SLOPE_MARGIN, _allowed


@pytest.mark.parametrize(
    "value, half, outcome",
    [(-0.45, 0.1, "holds"), (-0.45, 0.6, "undecided"), (0.3, 0.1, "contradicted"), (-0.6, 0.1, "undecided")],
)
def test_an_exponent_holds_by_its_whole_interval(value: float, half: float, outcome: str) -> None:
    """Between -0.4, the poster's points, and -0.5, the asymptote, with a margin; a wider interval never helps."""
    assert SLOPE_MARGIN == 0.15
    assert judged(Interval(value, value - half, value + half, half / 2).within(*_allowed(-0.5, -0.4))) == outcome
