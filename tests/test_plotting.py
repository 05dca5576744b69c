"""Figures as files: the form follows the name, the bytes follow from the figure, and small ones stay as they look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ntk_nonlocal import plotting


def _figure(pixels: np.ndarray) -> Any:
    with plotting.style():
        figure = plotting.new_figure(2, 2)
        plotting.show_image(figure.subplots(), pixels, "title")
    return figure


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.PDF", b"%PDF"), ("a.svg", b"<?xml")])
def test_the_form_follows_the_name_and_the_bytes_from_the_figure(name: str, start: bytes, tmp_path: Path) -> None:
    figure = _figure(np.linspace(0, 1, 192).reshape(8, 8, 3))
    written = plotting.save_figure(figure, tmp_path / name).read_bytes()
    assert written.startswith(start)
    assert plotting.save_figure(figure, tmp_path / name).read_bytes() == written


@pytest.mark.parametrize("name", ["a", "a.jpg"])
def test_other_forms_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.png, \.pdf or \.svg"):
        plotting.save_figure(_figure(np.zeros((4, 4))), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_small_figures_have_few_colours_near_the_true_ones_and_white_paper(tmp_path: Path) -> None:
    figure = _figure(np.random.default_rng(0).uniform(0.2, 0.7, (64, 64, 3)))
    path = plotting.save_figure(figure, tmp_path / "small.png", small=True)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), np.float64)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) <= 256
    assert (pixels[0] == 255).all() and (pixels[:, -1] == 255).all()
    with plotting.style():
        figure.savefig(tmp_path / "true.png", dpi=plotting.SMALL_DPI)
    true = np.asarray(Image.open(tmp_path / "true.png").convert("RGB"), np.float64)
    assert np.abs(pixels - true).mean() < 8  # of 255, for colours that fill a cube


def test_levels_of_integers_are_the_image_they_stand_for() -> None:
    levels = np.array([[0, 51], [102, 255]], np.uint8)
    np.testing.assert_allclose(plotting._unit(levels), [[0, 0.2], [0.4, 1]])
