"""What the experiment "dynamics" says of made-up networks: near, far, nearer with the width, diverged."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ntk_nonlocal.reproduce import Verdict
from ntk_nonlocal.reproduce.dynamics import summarise
from ntk_nonlocal.reproduce.experiment import Results
from ntk_nonlocal.reproduce.parts import Measured

WIDTHS, STEPS = (16, 64, 256), (1, 10)
CONFIG = {
    "picture": {"name": "House", "size": 64}, "architectures": ["cnn:depth=1"], "widths": list(WIDTHS),
    "seeds": [3, 3, 3], "controls": [["ntk", False]], "controls_width": 64, "controls_seeds": 3, "steps": list(STEPS),
}  # fmt: skip


def verdicts(
    gap: Callable[[int, int], float], own: Callable[[int, int], float] = lambda width, seed: 0.1
) -> list[Verdict]:
    """Networks that lie ``gap(width, seed)`` dB above the theory, ``own`` above the filter of their own kernel."""
    runs = [(width, seed, True) for width in WIDTHS for seed in range(3)] + [(64, seed, False) for seed in range(3)]
    parts = []
    for width, seed, centered in runs:
        for source in ("image", "noise"):
            settings = {"architecture": "cnn:depth=1", "input": source, "parameterization": "ntk", "centered": centered,
                        "width": width, "seed": seed}  # fmt: skip
            psnr = np.array([20.0, 20.0 + gap(width, seed) * 0])
            arrays = {
                "psnr": psnr + (np.nan if np.isnan(gap(width, seed)) else 0),
                "theory": psnr - np.nan_to_num(gap(width, seed)),
                "from_zero": psnr - 9,
                "linear": psnr - own(width, seed),
                "distance": np.full(2, width**-0.5 * (1 + 0.01 * seed)),
            }
            parts.append(Measured(f"{source} {width} {seed}", "following", settings, arrays, {}))
    return summarise(Results("dynamics", "full", CONFIG, tuple(parts)))


def spread(value: float) -> Callable[[int, int], float]:
    return lambda width, seed: value * (1 + 0.02 * seed)


def test_near_networks_agree() -> None:
    first, fed_the_image, distances, own, control = verdicts(spread(0.1))
    assert (first.outcome, fed_the_image.outcome, own.outcome) == ("holds",) * 3
    assert distances.outcome == "holds" and "channels^-0.5" in distances.ours
    assert control.role == "control" and "9.00 dB from the theory from zero" in control.ours


def test_far_networks_contradict_unless_they_come_nearer_with_the_width() -> None:
    assert verdicts(spread(2.0))[0].outcome == "contradicted"
    falling = verdicts(lambda width, seed: 8 * width**-0.5 * (1 + 0.02 * seed))[0]
    assert falling.outcome == "undecided" and "about 740 channels [720 to 770]" in falling.note
    # a fall that may be chance is none
    drawn = np.random.default_rng(0).normal(size=(300, 3))
    assert verdicts(lambda width, seed: 2 + 0.1 * drawn[width, seed] - 1e-4 * width)[0].outcome == "contradicted"


@pytest.mark.parametrize("width, outcome", [(256, "contradicted"), (16, "holds")])
def test_a_network_that_diverges_does_not_agree(width: int, outcome: str) -> None:
    found = verdicts(lambda w, seed: np.nan if (w, seed) == (width, 1) else 0.1)[0]
    assert found.outcome == outcome
    assert ("(1 of 3 diverged)" in found.ours) == (width == 256)


def test_an_own_filter_that_diverges_is_not_followed() -> None:
    found = verdicts(spread(0.1), lambda width, seed: np.nan if seed == 0 else 0.1)
    assert found[0].outcome == "holds" and found[3].outcome == "contradicted"
    assert "1 of 3 diverged" in found[3].ours
