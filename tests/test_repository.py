"""The repository stays light: what is tracked, and in which form figures are kept."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MOST = 10_000_000


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    """Every file under version control."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is not a checkout")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in names.split("\0") if name and (path := ROOT / name).is_file()]


def test_at_most_ten_megabytes_are_tracked(tracked: list[Path]) -> None:
    sizes = {path.relative_to(ROOT).as_posix(): path.stat().st_size for path in tracked}
    largest = sorted(sizes, key=lambda name: -sizes[name])[:5]
    assert sum(sizes.values()) <= MOST, f"{sum(sizes.values())} bytes; the largest: {', '.join(largest)}"


def test_figures_are_kept_as_png_alone(tracked: list[Path]) -> None:
    figures = [path for path in tracked if path.is_relative_to(ROOT / "figures")]
    assert figures and {path.suffix for path in figures} == {".png"}
