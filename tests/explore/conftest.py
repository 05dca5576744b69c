"""The pages of the tests, made once."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from compiling import compiled_quickly

import ntk_nonlocal as nnl

from .browser import Browser, installed
from .pages import KERNELS, SIGMA, Made

TITLE = "<img src=x onerror=alert(1)>\u2028\"'&amp;--></script><script>document.title = 'run'</script>.png"


def _make(folder: Path, shape: tuple[int, int], kernels: tuple[str, ...]) -> Made:
    clean = nnl.crop(nnl.example_image(128), shape, center=(32, 56)).astype("float32")
    noisy = np.asarray(nnl.add_noise(clean, SIGMA), np.float32)
    explorer = importlib.import_module("ntk_nonlocal.explore.explorer")
    before = explorer._BYTES
    explorer._BYTES = 700 * shape[0] * shape[1]  # as few eigenpairs for each pixel as a large picture has
    path = folder / "page.html"
    try:
        with compiled_quickly():
            shown = nnl.explore(noisy, path, clean=clean, sigma=SIGMA, kernels=kernels, title=TITLE)
    finally:
        explorer._BYTES = before
    return Made(shown, path, noisy, clean)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A page with five kernels, not square."""
    return _make(tmp_path_factory.mktemp("page"), (20, 16), KERNELS)


@pytest.fixture(scope="session")
def square(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A square page with two kernels."""
    return _make(tmp_path_factory.mktemp("square"), (16, 16), ("nlm", "vanilla-ntk-noise"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless browser."""
    if installed() is None:
        pytest.skip("no Chromium found: install it to test the page (Debian: apt-get install chromium)")
    with Browser() as one:
        yield one
