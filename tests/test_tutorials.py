"""The tutorials of the site run, at small sizes, and what they say is true."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

_ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(_ROOT / "docs"))
import hooks  # noqa: E402

ARGUMENTS = {
    "denoise_my_photo": ["32"],
    "finite_and_limit": ["8", "128"],
    "look_at_a_filter": ["16"],
    "new_architecture": ["8", "vanilla_cnn:kernel_size=3"],
    "new_layer": ["8", "512"],
    "new_optimiser": ["12", "cnn:depth=2", "Adam"],
}


@pytest.fixture(autouse=True)
def quick_compilation() -> Iterator[None]:
    """Small images are computed faster than programs for them are optimised."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def _check_denoise_my_photo(found: dict[str, Any]) -> None:
    noisy = found["nnl"].psnr(found["photo"].image, found["clean"])
    assert all(value > noisy + 2 for value in found["quality"].values())
    assert found["nnl"].read_photo("clean.png").image.shape == found["photo"].image.shape


def _check_finite_and_limit(found: dict[str, Any]) -> None:
    assert found["kernel_distances"][0] < 0.2
    assert found["distances"][128][-1] < 0.15


def _check_look_at_a_filter(found: dict[str, Any]) -> None:
    assert found["correlations"]["vanilla-ntk-image"] > found["correlations"]["vanilla-ntk-noise"]
    assert Path("page.html").stat().st_size > 10_000 and set(found["weights"]) == set(found["names"])


def _check_new_architecture(found: dict[str, Any]) -> None:
    assert found["distance"].value < 0.6
    noisy = found["nnl"].psnr(found["noisy"], found["clean"])
    assert all(value > noisy + 1 for _, value in found["best"].values())


def _check_new_layer(found: dict[str, Any]) -> None:
    assert found["distances"][0] < 0.3
    assert found["agreement"] is None or found["agreement"] < 1e-5


def _check_new_optimiser(found: dict[str, Any]) -> None:
    results = found["results"]
    assert results["before training"]["alignment"] == pytest.approx(1, abs=1e-5)
    assert results["Adam"]["alignment"] < results["gradient descent"]["alignment"] < 1
    assert results["Adam"]["psnr"] > results["before training"]["psnr"] + 3


@pytest.mark.slow
@pytest.mark.parametrize("name", hooks.ORDER)
def test_it_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    script = hooks.TUTORIALS / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(script), *ARGUMENTS[name]])
    found = runpy.run_path(str(script))
    stored = hooks.TUTORIALS / "stored" / name
    assert {path.name for path in tmp_path.glob("*.png")} == {path.name for path in stored.glob("*.png")}
    assert len(capsys.readouterr().out.splitlines()) >= 3
    globals()[f"_check_{name}"](found)


@pytest.mark.parametrize("name", hooks.ORDER)
def test_what_is_stored_is_of_this_code(name: str) -> None:
    made = json.loads((hooks.TUTORIALS / "stored" / name / "made.json").read_text())
    assert made["code"] == hooks.code_digest(hooks.TUTORIALS / f"{name}.py"), (
        f"the code has changed since; run python docs/store_tutorials.py {name}"
    )


def test_every_tutorial_is_on_the_site() -> None:
    scripts = {path.stem for path in hooks.TUTORIALS.glob("*.py")}
    assert scripts == set(hooks.ORDER) == set(ARGUMENTS)
    pages = (_ROOT / "mkdocs.yml").read_text()
    assert all(f"tutorials/{name}.md" in pages for name in hooks.ORDER)


def test_a_page_shows_all_of_the_code(tmp_path: Path) -> None:
    script = hooks.TUTORIALS / "new_layer.py"
    page = hooks.tutorial_page(script)
    shown = "".join(block for block in page.split("```python\n")[1:])
    for line in script.read_text().split('"""', 2)[2].splitlines():
        assert not line.strip() or line.startswith("#") or line in shown
    assert np.all([page.startswith("# A new layer"), "# **" not in page])
