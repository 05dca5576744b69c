"""The list of slow tests names tests that exist."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def test_every_line_is_a_test_of_a_file_that_is_there() -> None:
    lines = (HERE / "slow.txt").read_text().splitlines()
    assert lines == sorted(set(lines))
    for line in lines:
        path, *names = line.partition("[")[0].split("::")
        assert f"def {names[-1]}(" in (HERE.parent / path).read_text(), f"{line} is no test any more; take it out"
