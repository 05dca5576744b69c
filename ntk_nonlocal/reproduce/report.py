"""One HTML page that needs nothing else: the scorecard, and folded below it every test, figure, command and setting."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ntk_nonlocal.results import atomic_file, read_json

from .catalogue import MODULES, experiment
from .published import CLAIMS
from .scorecard import SIGNS, scorecard

_ROLES = ("deciding", "test", "control")


def write_report(folder: Path) -> Path:
    """Writes FOLDER/report.html from the results and figures that lie in the folder."""
    import jinja2

    found = {name: read_json(folder / f"{name}.json") for name in MODULES if (folder / f"{name}.json").exists()}
    verdicts = [(name, verdict) for name, content in found.items() for verdict in content["verdicts"]]
    verdicts.sort(key=lambda pair: _ROLES.index(pair[1]["role"]))
    claims = {**CLAIMS, 0: "Beside the paper: what the theory of infinite width promises."}
    template = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.policies["json.dumps_kwargs"] = {}  # in the order of the settings
    page = environment.from_string(template).render(
        signs={outcome: f"{sign} {outcome}" for outcome, sign in SIGNS.items()},
        lines=scorecard(found),
        claims=[
            (number, text, [pair for pair in verdicts if pair[1]["claim"] == number]) for number, text in claims.items()
        ],
        experiments=[
            (name, experiment(name).TITLE, content, _images(folder / "figures", name), _made_on(content))
            for name, content in found.items()
        ],
    )
    target = folder / "report.html"
    with atomic_file(target) as file:
        file.write(page.encode())
    return target


def _images(figures: Path, name: str) -> list[tuple[str, str]]:
    """Names and contents, in base64, of an experiment's figures."""
    return [(path.stem, base64.b64encode(path.read_bytes()).decode()) for path in sorted(figures.glob(f"{name}*.png"))]


def _made_on(content: Mapping[str, Any]) -> list[str]:
    """With what the parts of stored results were computed, a line each: processor, commit, versions."""
    lines = []
    for made in content["made_with"]:
        versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
        commit = f"commit {made['commit']}" if made.get("commit") else "no commit recorded"
        where = f"{made.get('processor') or made['device']} ({made['backend']}, cores: {made['cpus']})"
        lines.append(f"{where}; {commit}; {versions}")
    return list(dict.fromkeys(lines))
