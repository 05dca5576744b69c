"""The page in a real browser: it computes what Python computes, shows it, and asks nothing of anybody."""

from __future__ import annotations

import json

import numpy as np
import pytest

import ntk_nonlocal as nnl
from ntk_nonlocal.explore import read_page

from .browser import Browser
from .pages import KERNELS, STEPS, Made


def _call(browser: Browser, method: str, *arguments: object) -> object:
    return browser.value(f"window.explorer.{method}({', '.join(map(json.dumps, arguments))})")


def _state(browser: Browser) -> dict[str, object]:
    browser.frame()
    found = browser.value("window.explorer.state()")
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("which", ["made", "square"])
def test_it_opens_from_a_file_without_an_error_or_a_request(
    which: str, browser: Browser, request: pytest.FixtureRequest
) -> None:
    page: Made = request.getfixturevalue(which)
    browser.open(page.path)
    browser.frame()
    assert browser.errors == [] and browser.requests == [page.path.resolve().as_uri()]
    assert browser.value("window.explorer.kernels()") == list(page.explorer.filters)
    assert browser.value("document.title") == "Hold the filter in your hand"
    assert browser.value("document.querySelectorAll('img, script:not([type])').length") == 0
    assert "onerror" in str(browser.value("document.getElementById('title').textContent"))


@pytest.mark.parametrize("which", ["made", "square"])
def test_weights_errors_and_estimates_are_those_of_python_from_the_same_numbers(
    which: str, browser: Browser, request: pytest.FixtureRequest
) -> None:
    page: Made = request.getfixturevalue(which)
    browser.open(page.path)
    held = read_page(page.path)["filters"]
    height, width = page.noisy.shape[:2]
    for name, stored in held.items():
        for step in STEPS:
            for row, column in ((0, 0), (height - 1, 3), (height // 2, width // 2)):
                found = np.asarray(_call(browser, "weights", name, row, column, step))
                assert found.shape == (height * width,)
                np.testing.assert_allclose(found, stored.weights(row, column, step), atol=1e-9)
                error = _call(browser, "error", name, row, column, step)
                expected = stored.error(row, column, step)
                assert error == pytest.approx(expected, rel=1e-6) if np.isfinite(expected) else error is None
            estimate = np.asarray(_call(browser, "estimate", name, step)).reshape(page.noisy.shape)
            np.testing.assert_allclose(estimate, stored.estimate(step), atol=1e-9)
            quality = _call(browser, "psnr", name, step)
            assert quality == pytest.approx(nnl.psnr(stored.estimate(step), page.clean), abs=0.01)


def test_a_page_holds_what_was_made(made: Made) -> None:
    held = read_page(made.path)
    assert list(held["filters"]) == list(KERNELS) and held["noisy"].shape == made.noisy.shape
    for name, stored in held["filters"].items():
        expected = made.explorer.filters[name].weights(3, 4, 50)
        np.testing.assert_allclose(stored.weights(3, 4, 50), expected, atol=1e-7 * np.abs(expected).max())
    with pytest.raises(ValueError, match="holds no data"):
        read_page(__file__)


def test_the_slider_moves_everything(made: Made, browser: Browser) -> None:
    browser.open(made.path)
    for step in (1, 100, 10000):
        browser.value(
            f"(() => {{ const s = document.getElementById('step'); s.value = {1000 * np.log10(step)};"
            " s.dispatchEvent(new Event('input')); })()"
        )
        assert _state(browser)["step"] == step and _state(browser)["own"] is False
        shown = str(browser.value("document.getElementById('picture-text').textContent"))
        name = str(browser.value("window.explorer.state().kernel"))
        expected = nnl.psnr(made.explorer.filters[name].estimate(step), made.clean)
        assert float(shown.split("PSNR ")[1].split(" ")[0]) == pytest.approx(expected, abs=0.01)


def test_pointer_pins_swipe_and_keys(made: Made, browser: Browser) -> None:
    browser.size(1200)
    browser.open(made.path)
    browser.pointer("canvas.weights", 3.5 / 16, 5.5 / 20)
    assert _state(browser)["pixel"] == [5, 3]
    browser.key("ArrowDown")
    browser.key("ArrowRight", shift=True)
    assert _state(browser)["pixel"] == [6, 11]
    browser.key("p")
    browser.key("ArrowUp")
    browser.key("p")
    assert _state(browser)["pins"] == [[6, 11], [5, 11]]
    assert browser.value("document.querySelector('.pins').children.length") == 2
    before = _state(browser)["step"]
    browser.key("+")
    assert _state(browser)["step"] > before  # type: ignore[operator]
    browser.key("l")
    assert _state(browser)["scale"] == "linear"
    browser.key("]")
    assert _state(browser)["vector"] == 6
    browser.pointer("#picture", 0.25, 0.5, "mousePressed")
    browser.pointer("#picture", 0.25, 0.5, "mouseReleased")
    assert _state(browser)["swipe"] == pytest.approx(0.25, abs=0.02)
    assert browser.value("document.getElementById('left-canvas').style.clipPath").startswith("inset(0px 7")
    browser.key("x")
    assert _state(browser)["pins"] == [] and browser.errors == []


def test_a_link_restores_the_view(made: Made, browser: Browser) -> None:
    browser.open(made.path)
    browser.value(
        "window.explorer.set({step: 77, pixel: [2, 3], pins: [[1, 1]], scale: 'linear', greys: true, swipe: 0.25,"
        " vector: 2, right: 'residual', kernels: ['nlm', 'empirical-adam'], kernel: 'empirical-adam'})"
    )
    link, state = str(browser.value("window.explorer.link()")), _state(browser)
    browser.open(made.path, link)
    assert _state(browser) == state
    browser.open(made.path, "#k=<b>,constructor&t=-5&p=99.99&pins=1.1,x.y&w=2&f=nothing&e=1e9")
    broken = _state(browser)
    assert broken["kernels"] and broken["pins"] == [[1, 1]] and 1 <= int(broken["step"]) <= 10**6  # type: ignore[call-overload]
    assert browser.errors == []


def test_a_hover_draws_the_weights_of_every_filter_once_a_frame_and_nothing_else(made: Made, browser: Browser) -> None:
    """Five moves of the pointer before every one of twelve frames; experiments/bench_page.py times them."""
    browser.open(made.path)
    browser.frame()
    drawn = browser.value(
        "(async () => { const drawn = {}, put = CanvasRenderingContext2D.prototype.putImageData;"
        " CanvasRenderingContext2D.prototype.putImageData = function (...given) {"
        " const name = this.canvas.id || this.canvas.className;"
        " drawn[name] = (drawn[name] ?? 0) + 1; return put.apply(this, given); };"
        " const c = document.querySelector('canvas.weights'), b = c.getBoundingClientRect();"
        " for (let i = 0; i < 60; i++) { c.dispatchEvent(new PointerEvent('pointermove', {clientX: b.left + b.width"
        " * (i + 0.5) / 60, clientY: b.top + b.height * (i % 7 + 0.5) / 7}));"
        " if (i % 5 === 4) await new Promise(requestAnimationFrame); }"
        " CanvasRenderingContext2D.prototype.putImageData = put; return drawn; })()"
    )
    shown = browser.value("document.querySelectorAll('canvas.weights').length")
    assert shown > 1 and drawn == {"weights": 12 * shown}
    assert browser.value("window.explorer.state().pixel[1]") == made.noisy.shape[1] - 1


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1400, 800, 390])
def test_nothing_sticks_out(made: Made, browser: Browser, width: int, dark: bool) -> None:
    browser.size(width, dark=dark)
    browser.open(made.path)
    browser.frame()
    assert browser.value("document.documentElement.scrollWidth") <= width
    small = "[...document.querySelectorAll('button, select')].filter((e) => !e.hidden && e.offsetHeight < 30).length"
    assert browser.value(small) == 0


def test_notebooks_show_it_in_a_frame_without_an_address(made: Made, browser: Browser, tmp_path) -> None:
    (tmp_path / "notebook.html").write_text(f"<!DOCTYPE html><body>{made.explorer._repr_html_()}</body>")
    browser.errors.clear()
    browser.call("Page.navigate", url=(tmp_path / "notebook.html").as_uri())
    browser.value(
        "new Promise((done) => (document.readyState === 'complete' ? done() : addEventListener('load', done)))"
    )
    browser.value("new Promise((done) => setTimeout(done, 2000))")
    assert browser.errors == []
