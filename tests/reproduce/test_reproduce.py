"""The command: bad input is one line, results, figures and report come from one run, and again from files alone."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ntk_nonlocal.cli import main
from ntk_nonlocal.reproduce import Pictures, catalogue, load
from ntk_nonlocal.reproduce.published import CLAIMS


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["widht"], "did you mean 'width'"),
        (["width", "--data", "nowhere"], "not a folder"),
        (["width", "--data", "."], "image_House256rgb.png"),
        (["width", "--preset", "huge"], "quick"),
        (["width", "--out", "file"], "file"),
        (["all", "--draw", "--out", "nowhere"], "no results"),
        ([], "NAME"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(["reproduce", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", catalogue.MODULES)
@pytest.mark.parametrize("preset", ["quick", "full", "paper"])
def test_every_experiment_has_frozen_configurations_and_parts_of_distinct_keys(name: str, preset: str) -> None:
    module = catalogue.experiment(name)
    config = module.configure(preset, Pictures() if preset != "paper" else _Large())  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.picture = None
    parts = module.parts(config)
    assert parts and len({part.key for part in parts}) == len(parts)
    assert module.TITLE


class _Large(Pictures):
    """Pictures of any size that nobody looks at, for House is not shipped."""

    def picture(self, role, size, sigma=25 / 255, noise_seed=0):  # type: ignore[no-untyped-def]
        return dataclasses.replace(super().picture(role, 16, sigma, noise_seed), size=size)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def _small_dynamics(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dynamics on 4x4 pixels, one hidden layer."""
    module = catalogue.experiment("dynamics")
    real = module.configure

    def configure(preset, pictures):  # type: ignore[no-untyped-def]
        config = real(preset, pictures)
        small = {"architectures": ("cnn:depth=1",), "controls": (), "widths": (8, 32), "steps": (1, 10)}
        return dataclasses.replace(config, picture=pictures.picture("smooth", 4), **small)

    monkeypatch.setattr(module, "configure", configure)


def test_a_run_gives_results_figures_and_a_page_and_draws_them_again_from_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _small_dynamics(monkeypatch)
    assert main(["reproduce", "dynamics", "--out", str(tmp_path / "out")]) == 0
    out = tmp_path / "out"
    output = capsys.readouterr()
    assert "claim 1" in output.out and "8/8" in output.err
    content = json.loads((out / "dynamics.json").read_text())
    assert content["command"] == "ntk-nonlocal reproduce dynamics --preset quick"
    assert content["verdicts"] and all(verdict["claim"] in (0, *CLAIMS) for verdict in content["verdicts"])
    held = load("dynamics", out).parts
    assert all({"settings", "seconds", "versions", "device", "code"} <= part.facts.keys() for part in held)
    page = _Page()
    page.feed((out / "report.html").read_text())
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in page.sources)
    assert sum(source.startswith("data:") for source in page.sources) == 1
    assert content["command"] in page.text and content["verdicts"][0]["ours"] in page.text
    drawn = (out / "figures" / "dynamics.png").read_bytes()

    for path in (*(out / "figures").iterdir(), *(out / "parts").iterdir()):
        path.unlink()
    assert main(["reproduce", "all", "--draw", "--out", str(out)]) == 0
    assert (out / "figures" / "dynamics.png").read_bytes() == drawn
    assert [path.name for path in (out / "figures").iterdir()] == ["dynamics.png"]
    assert not list((out / "parts").iterdir())


def test_a_second_run_computes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _small_dynamics(monkeypatch)
    assert main(["reproduce", "dynamics", "--out", str(tmp_path)]) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.suffix in (".json", ".npz", ".png")}
    capsys.readouterr()
    assert main(["reproduce", "dynamics", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().err == ""
    assert {path: path.read_bytes() for path in before} == before


def test_results_of_another_version_are_not_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = next((Path(__file__).parents[2] / "experiments" / "results").glob("reproduce-*/dynamics.json"))
    for suffix in (".json", ".npz"):
        shutil.copy(found.with_suffix(suffix), tmp_path)
    assert main(["reproduce", "dynamics", "--draw", "--out", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "dynamics.json").read_text())
    del content["config"]["controls"]
    (tmp_path / "dynamics.json").write_text(json.dumps(content))
    capsys.readouterr()
    assert main(["reproduce", "dynamics", "--draw", "--out", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "earlier version" in message and "run ntk-nonlocal reproduce dynamics again" in message


def test_the_command_is_listed_with_its_experiments() -> None:
    from ntk_nonlocal.cli import reproduce

    parser = argparse.ArgumentParser()
    reproduce.add_parser(parser.add_subparsers())
    args = parser.parse_args(["reproduce", "width", "--no-resume"])
    assert args.resume is False and args.preset == "quick"
