"""What the documentation says of the repository is so: names, figures, tests, commands, dependencies, code."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import ntk_nonlocal as nnl
from ntk_nonlocal.cli import main
from ntk_nonlocal.reproduce import largest

_ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(_ROOT / "docs"))
import hooks  # noqa: E402

PAGES = sorted(path for path in hooks.DOCS.rglob("*.md") if "stored" not in path.parts)
TEXTS = {path.relative_to(hooks.DOCS).as_posix(): path.read_text() for path in PAGES}
ENTRIES = [name for text in TEXTS.values() for name in re.findall(r"(?m)^::: ntk_nonlocal\.(\S+)$", text)]
WITH_CODE = [page for page, text in TEXTS.items() if "```python" in text and page != "howto/devices.md"]


def test_every_public_name_is_in_the_reference() -> None:
    # the function explore stands beside the package explore, in which the reference finds it
    found = {"explore" if name == "explore.explore" else name for name in ENTRIES}
    in_words = {"OPTIMIZERS"}  # a mapping: its page says what it holds
    assert all(f"`{name}`" in TEXTS["api/networks.md"] for name in in_words)
    missing = [f"::: ntk_nonlocal.{name}" for name in sorted(set(nnl.__all__) - {"__version__"} - in_words - found)]
    assert not missing, f"add to a page of docs/api: {', '.join(missing)}"


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_of_the_reference_exists_and_is_documented(name: str) -> None:
    *module, last = name.split(".")
    assert getattr(importlib.import_module(".".join(["ntk_nonlocal", *module])), last).__doc__


def test_every_page_is_on_the_site() -> None:
    listed = (_ROOT / "mkdocs.yml").read_text()
    assert all(page in listed for page in TEXTS)


def test_every_figure_has_its_command() -> None:
    pictures = sorted(hooks.FIGURES.rglob("*.png"))
    gallery = hooks.fill(TEXTS["figures.md"])
    assert pictures
    for path in pictures:
        command, shows = hooks.figure_origin(path)
        assert command.startswith(("ntk-nonlocal ", "python experiments/")) and shows
        assert f"    {command}\n\n![{path.relative_to(hooks.FIGURES).with_suffix('').as_posix()}]" in gallery


def test_a_figure_of_unknown_origin_is_named() -> None:
    with pytest.raises(LookupError, match=r"figures/unheard\.png: add the command"):
        hooks.figure_origin(hooks.FIGURES / "unheard.png")


def test_what_pages_ask_for_is_filled_in() -> None:
    for text in TEXTS.values():
        assert "{{" not in hooks.fill(text)
    assert set(hooks.TABLES) == {name for text in TEXTS.values() for name in re.findall(r"\{\{ (\w+) \}\}", text)}


def test_the_claims_page_has_the_claims_of_the_package() -> None:
    from ntk_nonlocal.reproduce.published import CLAIMS

    page = hooks.fill(TEXTS["claims.md"])
    for number, claim in CLAIMS.items():
        assert f"| {number}. {claim} |" in page


def test_every_promise_has_its_test() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXTS["promises.md"])
    assert len(named) > 40
    for file, test in named:
        functions = [
            node.name for node in ast.parse((_ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)
        ]
        assert test in functions, f"{file} has no {test}"


def test_every_dependency_is_justified() -> None:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())
    wanted = list(project["build-system"]["requires"]) + list(project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    text = (_ROOT / "CONTRIBUTING.md").read_text()
    justified = {name for line in re.findall(r"(?m)^- (`.*?):", text) for name in re.findall(r"`([\w-]+)`", line)}
    missing = {re.split(r"[\[<>=~! ]", requirement)[0] for requirement in wanted} - justified
    assert not missing, f"give each a line in CONTRIBUTING.md: {sorted(missing)}"


def _commands() -> list[tuple[str, str]]:
    """(command, its options) of every call of ntk-nonlocal in the texts."""
    texts = [*TEXTS.values(), (_ROOT / "README.md").read_text()]
    calls = [call for text in texts for call in re.findall(r"ntk-nonlocal (\w+)([^`\n]*)", text)]
    return sorted({(name, option) for name, rest in calls for option in re.findall(r"(?<=\s)--?[a-z][\w-]*", rest)})


@pytest.fixture(scope="module")
def manuals() -> dict[str, str]:
    import contextlib
    import io

    found = {}
    for name in ("compare", "denoise", "explore", "reproduce"):
        with contextlib.redirect_stdout(io.StringIO()) as text:
            assert main([name, "--help"]) == 0
        found[name] = text.getvalue()
    return found


@pytest.mark.parametrize(("command", "option"), _commands())
def test_commands_in_texts_have_these_options(command: str, option: str, manuals: dict[str, str]) -> None:
    if option != "--help":
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", manuals[command])


@pytest.mark.parametrize("page", WITH_CODE)
def test_the_code_on_a_page_runs(page: str, tmp_path: Path) -> None:
    code = "\n".join(re.findall(r"(?ms)^```python\n(.*?)^```$", TEXTS[page]))
    here = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(_ROOT), *sys.path]))}
    here["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_code_for_devices_is_python_with_public_names() -> None:
    for block in re.findall(r"(?ms)^```python\n(.*?)^```$", TEXTS["howto/devices.md"]):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "nnl":
                assert node.attr in nnl.__all__


def test_links_between_pages_lead_somewhere() -> None:
    made = {f"tutorials/{name}.md" for name in hooks.ORDER} | {"contributing.md"} | set(TEXTS)
    made |= {f"figures/{path.relative_to(hooks.FIGURES).as_posix()}" for path in hooks.FIGURES.rglob("*.png")} | {
        "explorer.html"
    }
    for page, text in TEXTS.items():
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
            if "://" not in target:
                assert os.path.normpath(os.path.join(os.path.dirname(page), target)) in made, f"{page}: {target}"


def test_tables_are_made_of_the_stored_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stored(path: Path) -> Any:
        return hooks._read(path)

    entries = stored(hooks.RESULTS / "denoise_table.json")["entries"]
    found = next(entry for entry in entries if entry["method"] == "ntk" and entry["image"] == "House")
    assert f"{found['psnr']:.2f}" in hooks.denoising_table()
    assert all(verdict["ours"].split()[0] in hooks.verdicts() for verdict in _all_verdicts())


def _all_verdicts() -> list[dict[str, Any]]:
    shown = largest(sorted(hooks.RESULTS.glob("reproduce-*")))
    return [verdict for content in shown.values() for verdict in content["verdicts"]]
