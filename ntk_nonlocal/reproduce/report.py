"""One HTML page that needs nothing else: the scorecard, and folded below it every test, figure, command and setting."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import Any

from ntk_nonlocal.results import atomic_file, read_json

from .catalogue import MODULES, experiment
from .published import CLAIMS
from .scorecard import scorecard

_STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 1060px; margin: 2em auto; padding: 0 1em; color: #1a1a1a; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2em; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; width: 100%; } td, th { border: 1px solid #ddd; padding: .35em .5em;
text-align: left; vertical-align: top; font-size: 14px; } th { background: #f4f4f4; }
details { margin: 1em 0; } summary { cursor: pointer; } summary h2 { display: inline-block; margin: .3em 0; border: 0; }
.note { color: #555; font-size: 13px; }
.outcome { font-weight: 600; white-space: nowrap; } img { max-width: 100%; }
code, pre { background: #f6f6f6; font-size: 13px; } pre { padding: .6em; overflow-x: auto; }
"""
# Words and signs, not colours alone.
_SIGNS = {"holds": "✓ holds", "holds in part": "◐ holds in part", "contradicted": "✗ contradicted",
          "undecided": "? undecided"}  # fmt: skip
_ROLES = ("deciding", "test", "control")


def write_report(folder: Path) -> Path:
    """Writes FOLDER/report.html from the results and figures that lie in the folder."""
    found = {name: read_json(folder / f"{name}.json") for name in MODULES if (folder / f"{name}.json").exists()}
    verdicts = [(name, verdict) for name, content in found.items() for verdict in content["verdicts"]]
    sections = [_claim(number, text, verdicts) for number, text in CLAIMS.items()]
    sections.append(_claim(0, "Beside the paper: what the theory of infinite width promises.", verdicts))
    experiments = "".join(_experiment(name, content, folder / "figures") for name, content in found.items())
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>The neural tangent link</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>The neural tangent link between CNN denoisers and non-local "
        "filters, reproduced</h1>\n<p>Tachella, Tang and Davies, CVPR 2021. One line for each claim: its verdict and "
        "what decides it; every test and figure is below. Pictures are crops at full resolution, networks "
        "are compared with theory from the same start, best steps are chosen with the clean picture.</p>\n"
        f"{_scorecard(found)}{_folded('All tests, claim by claim', ''.join(sections))}{experiments}</body></html>\n"
    )
    target = folder / "report.html"
    with atomic_file(target) as file:
        file.write(page.encode())
    return target


def _scorecard(found: dict[str, dict[str, Any]]) -> str:
    rows = []
    for line in scorecard(found):
        figures = ", ".join(f'<a href="#{name}">{name}</a>' for name in line.figures)
        but = "".join(f'<div class="note">{_text(text)}</div>' for text in line.but)
        rows.append(
            f"<tr><td>{line.claim}. {_text(line.text)}</td>"
            f'<td class="outcome">{_SIGNS[line.outcome]}{line.marked}</td><td>{_text(line.number)}{but}</td>'
            f"<td>{figures}</td></tr>"
        )
    head = "<tr><th>claim</th><th>verdict</th><th>what decides it, and what does not hold</th><th>figures</th></tr>"
    return f"<table>{head}\n{''.join(rows)}</table>\n"


def _folded(title: str, content: str) -> str:
    return f"<details><summary><b>{title}</b></summary>\n{content}</details>\n"


def _claim(number: int, text: str, verdicts: list[tuple[str, dict[str, Any]]]) -> str:
    rows = [
        f"<tr><td>{_text(v['statement'])}{_note(v['note'])}</td><td>{_text(v['published'])}</td><td>{_text(v['ours'])}"
        f'</td><td class="outcome">{_SIGNS[v["outcome"]]}</td><td>{v["role"]}</td>'
        f'<td><a href="#{name}">{name}</a></td></tr>'
        for name, v in sorted(verdicts, key=lambda pair: _ROLES.index(pair[1]["role"]))
        if v["claim"] == number
    ]
    heading = f"Claim {number}. " if number else ""
    if not rows:
        return f"<h2>{heading}{_text(text)}</h2><p>Not tested by the experiments that were run.</p>\n"
    return (
        f"<h2>{heading}{_text(text)}</h2>\n<table><tr><th>tested</th><th>published</th><th>ours, with 95 % bootstrap "
        f"intervals</th><th>outcome</th><th>role</th><th>experiment</th></tr>\n{''.join(rows)}</table>\n"
    )


def _experiment(name: str, content: dict[str, Any], figures: Path) -> str:
    images = "".join(_image(path) for path in sorted(figures.glob(f"{name}*.png")))
    first = content["parts"][0]
    versions = ", ".join(f"{library} {version}" for library, version in first["versions"].items())
    return (
        f'<details><summary><h2 id="{name}">{_text(experiment(name).TITLE)}</h2></summary>\n{images}'
        f"<p><code>{_text(content['command'])}</code><br>{len(content['parts'])} parts in {content['seconds']:.0f} s "
        f"on {_text(first['device'])} ({_text(first['backend'])}); {_text(versions)}</p>\n"
        f"<details><summary>Settings</summary><pre>{_text(json.dumps(content['config'], indent=1))}</pre></details>"
        "</details>\n"
    )


def _image(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<p><img alt="{_text(path.stem)}" src="data:image/png;base64,{data}"></p>\n'


def _note(text: str) -> str:
    return f'<div class="note">{_text(text)}</div>' if text else ""


def _text(value: object) -> str:
    return html.escape(str(value))
