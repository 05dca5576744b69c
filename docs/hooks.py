"""What the documentation site adds to its Markdown files: formulas, tutorials, and tables from stored results.

mkdocs calls the functions named ``on_...``; the others are plain functions of the repository's files, which the tests
use too. Nothing here fetches anything.
"""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ntk_nonlocal.reproduce.versions import syntax_digest

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
TUTORIALS = DOCS / "tutorials"
RESULTS = ROOT / "experiments" / "results"
FIGURES = ROOT / "figures"

ORDER = ("denoise_my_photo", "finite_and_limit", "look_at_a_filter", "new_architecture", "new_layer", "new_optimiser")


# --- tutorials -------------------------------------------------------------------------------------------------------


def tutorials() -> list[Path]:
    """The tutorials' scripts in the order of the site."""
    return [TUTORIALS / f"{name}.py" for name in ORDER]


def code_digest(script: Path) -> str:
    """A digest of what a script does, in any Python: comments, layout and its docstring do not count."""
    tree = ast.parse(script.read_text())
    assert ast.get_docstring(tree) is not None
    tree.body = tree.body[1:]
    return syntax_digest(tree)[:16]


def tutorial_title(script: Path) -> str:
    """The first line of a script's docstring."""
    return (ast.get_docstring(ast.parse(script.read_text())) or "").splitlines()[0]


def tutorial_page(script: Path) -> str:
    """A script as Markdown: its docstring, its comments at the margin as text, the rest as code, what it printed."""
    source = script.read_text()
    first, _, rest = (ast.get_docstring(ast.parse(source)) or "").partition("\n")
    parts = [f"# {first}\n", rest.strip() + "\n"]
    body = source.split('"""', 2)[2]
    for block in re.split(r"(?m)((?:^#(?: .*)?\n)+)", body):
        if block.startswith("#"):
            parts.append(re.sub(r"(?m)^# ?", "", block))
        elif block.strip():
            parts.append(f"```python\n{block.strip()}\n```\n")
    stored = TUTORIALS / "stored" / script.stem
    made = json.loads((stored / "made.json").read_text())
    versions = made["environment"]["versions"]
    parts.append(
        f"## What it gives\n\nMade on {made['date']} by `python docs/tutorials/{script.name}`, jax {versions['jax']} "
        f"on {made['environment']['cpus']} CPU cores, in {made['cpu_seconds']:.0f} CPU seconds. "
        f"[The whole script]({script.name}).\n"
    )
    parts.append(f"```text\n{(stored / 'output.txt').read_text().strip()}\n```\n")
    parts += [f"![{p.stem}](stored/{script.stem}/{p.name})\n" for p in sorted(stored.glob("*.png"))]
    return "\n".join(parts)


# --- tables from stored results --------------------------------------------------------------------------------------


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "&#124;") for cell in line) + " |" for line in lines)


def _stored_markdown(name: str) -> str:
    """A stored table, its headings one level lower and without its title."""
    text = (RESULTS / name).read_text().split("\n", 1)[1]
    return re.sub(r"(?m)^(#+) ", r"#\1 ", text).strip()


def kernel_table() -> str:
    """The kernel benchmark as it is stored."""
    return _stored_markdown("bench_kernel.md")


def denoising_table() -> str:
    """The denoisers as they are stored."""
    return _stored_markdown("denoise_table.md")


def unusual_table() -> str:
    """What was found where the noise is not what the denoiser assumes."""
    return _stored_markdown("denoise_unusual.md")


def prior_table() -> str:
    """The closed form beside networks trained on the picture, as it is stored."""
    return _stored_markdown("denoise_prior.md")


def adapted_table() -> str:
    """The denoiser made of Adam's features, as it is stored."""
    return _stored_markdown("denoise_adapted.md")


def training_table() -> str:
    """Training speed beside PyTorch as it is stored."""
    return _stored_markdown("bench_training.md")


def workers_ratio() -> str:
    """How much faster trainings are side by side."""
    found = sorted(entry["one"] / entry["two"] for entry in _read(RESULTS / "bench_workers.json")["entries"])
    return f"{found[0]:.1f} to {found[-1]:.1f} times"


def denoising_environment() -> str:
    """With what the denoisers were measured."""
    found = sorted({_machine(entry["environment"]) for entry in _read(RESULTS / "denoise_table.json")["entries"]})
    return "; ".join(found)


def _machine(environment: dict[str, Any]) -> str:
    versions = environment["versions"]
    chosen = ", ".join(f"{name} {versions[name]}" for name in ("jax", "scikit-image", "bm3d") if name in versions)
    return f"{environment['cpus']} cores ({environment['machine']}), Python {environment['python']}, {chosen}"


def scorecard() -> str:
    """Eight claims, one verdict each."""
    from ntk_nonlocal.reproduce import largest, markdown
    from ntk_nonlocal.reproduce import scorecard as lines

    return markdown(lines(largest(sorted(RESULTS.glob("reproduce-*")))))


def poster_table() -> str:
    """The poster's cells beside ours."""
    from ntk_nonlocal.reproduce import poster_table as table

    return table(sorted(RESULTS.glob("reproduce-*")))


def simple_filters() -> str:
    """What filters without a network reach on the poster's picture."""
    from ntk_nonlocal.reproduce import simple_filters as line

    return line(sorted(RESULTS.glob("reproduce-*")))


def whole_picture() -> str:
    """What networks reach on the poster's picture."""
    from ntk_nonlocal.reproduce import whole_picture_line as line

    return line(sorted(RESULTS.glob("reproduce-*")))


def tried_table() -> str:
    """All settings that were tried."""
    from ntk_nonlocal.reproduce import tried_table as table

    return table(sorted(RESULTS.glob("reproduce-*")))


def criteria() -> str:
    """How each claim is judged."""
    from ntk_nonlocal.reproduce import CRITERIA

    rows = [[str(one.claim or "beside"), f"{one.sentence}", one.experiment, one.holds] for one in CRITERIA]
    return _table(["claim", "what is tested", "experiment", "holds where"], [[html.escape(c) for c in r] for r in rows])


def dropped_criteria() -> str:
    """What was judged once, and why it is not any more."""
    from ntk_nonlocal.reproduce import DROPPED

    return "\n".join(f"- *{html.escape(what)}*: {html.escape(why)}" for what, why in DROPPED.items())


def verdicts() -> str:
    """Every stored verdict, folded, one table for each claim; of every experiment the largest preset."""
    from ntk_nonlocal.reproduce import largest

    rows: dict[str, list[list[str]]] = {}
    for name, content in largest(sorted(RESULTS.glob("reproduce-*"))).items():
        for verdict in content["verdicts"]:
            claim = f"Claim {verdict['claim']}" if verdict["claim"] else "Beside the paper"
            published = f" (published: {verdict['published']})" if verdict["published"] else ""
            cells = [verdict["statement"], verdict["ours"] + published, verdict["outcome"], verdict["role"],
                     verdict["note"], f"{name}, {content['preset']}"]  # fmt: skip
            rows.setdefault(claim, []).append([html.escape(cell) for cell in cells])
    head = ["tested", "found", "outcome", "role", "note", "experiment"]
    order = sorted(rows, key=lambda claim: (not claim.startswith("Claim"), claim))
    return "\n\n".join(f'??? note "{claim}"\n\n{_indented(_table(head, rows[claim]))}' for claim in order)


def adam_verdicts() -> str:
    """What the experiment "adam" found, of its largest stored preset."""
    return _found("adam")


def regime_verdicts() -> str:
    """The same of the experiment "optimizers"."""
    return _found("optimizers")


def _found(experiment: str) -> str:
    from ntk_nonlocal.reproduce import largest

    content = largest(sorted(RESULTS.glob("reproduce-*")))[experiment]
    rows = [[html.escape(one[key]) for key in ("statement", "ours", "outcome", "note")] for one in content["verdicts"]]
    return f"Preset {content['preset']}.\n\n{_table(['statement', 'found', 'outcome', 'note'], rows)}"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


# --- figures ---------------------------------------------------------------------------------------------------------

_COMPARE = "ntk-nonlocal compare --out build/demo"
# Figures that no experiment of `ntk-nonlocal reproduce` makes: the pattern of their names, the command, what they show.
_WHOLE = "python experiments/whole_picture.py"
OTHER_FIGURES = {
    "compare_outputs": (
        _COMPARE,
        "The bundled face: theory, gradient descent and Adam, fed the image and fed noise",
    ),
    "compare_psnr": (_COMPARE, "PSNR against steps"),
    "compare_kernel": (_COMPARE, "Weights of four pixels, drawn over the image"),
    "explorer": (
        "python experiments/explorer_picture.py",
        "The page of `ntk-nonlocal explore`: weights of one pixel, by four denoisers",
    ),
    "reproduce-paper/poster": (
        _WHOLE,
        "The fourteen numbers of the poster beside ours",
    ),
    "reproduce-paper/steps": (
        _WHOLE,
        "PSNR over the steps of networks trained with the whole House, 256x256",
    ),
    "reproduce-paper/outputs": (
        f"{_WHOLE} --out OUT",
        "What networks give of the whole House after their last step",
    ),
    "profile_time": (
        "python experiments/profile_time.py",
        "Where the time goes: the start of an exact kernel, and a step of training",
    ),
    "gallery/*": (
        "python experiments/gallery.py",
        "A network of the gallery: weights of two pixels, its best output, PSNR against steps",
    ),
    "kernel_scaling*": (
        "python experiments/bench_kernel.py",
        "The kernel engine beside neural-tangents: how time grows",
    ),
    "denoise_blind*": (
        "python experiments/denoise_table.py --data DIR",
        "What blind noise estimation and Stein's choice of the step cost",
    ),
    "denoise*": ("python experiments/denoise_table.py --data DIR", "Denoisers side by side"),
}


def figure_origin(path: Path) -> tuple[str, str]:
    """The command that makes a figure of ``figures/``, and what it shows.

    Raises:
      LookupError: nobody knows; says where to write it down.
    """
    preset = path.parent.name.removeprefix("reproduce-")
    if preset != path.parent.name:
        folder = RESULTS / path.parent.name
        known = sorted((p.stem for p in folder.glob("*.json")), key=len, reverse=True)
        for name in known:
            if path.stem == name or path.stem.startswith(f"{name}-"):
                return _read(folder / f"{name}.json")["command"], _experiment_title(name)
    for pattern, origin in OTHER_FIGURES.items():
        if path.match(f"figures/{pattern}.*"):
            return origin
    raise LookupError(f"{path.relative_to(ROOT)}: add the command that makes it to OTHER_FIGURES in docs/hooks.py")


def _experiment_title(name: str) -> str:
    source = (ROOT / "ntk_nonlocal" / "reproduce" / f"{name.replace('-', '_')}.py").read_text()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "TITLE":
            return str(ast.literal_eval(node.value))
    raise LookupError(f"the experiment {name} has no TITLE")


def optimizers() -> str:
    """Every optimizer by name, and its rate unless another is given."""
    from ntk_nonlocal.networks import OPTIMIZERS, OptimizerFactory

    lines = ["| name | of optax | unless given |", "| --- | --- | --- |"]
    for name, one in OPTIMIZERS.items():
        if not isinstance(one, OptimizerFactory):  # someone's own, not part of the package
            continue
        origin = f"`{one.function}`" if isinstance(one.function, str) else "our own"
        rates = {"step_size": one.step_size, "learning_rate": one.learning_rate}
        rates |= {key: value for key, value in one.defaults.items() if not callable(value)}
        given = ", ".join(f"{key} = {value}" for key, value in rates.items() if value is not None)
        lines.append(f"| {name} | {origin} | {given} |")
    return "\n".join(lines)


def _gallery() -> dict[str, dict[str, dict[str, float]]]:
    return {name: entry["crops"] for name, entry in _read(RESULTS / "gallery.json")["networks"].items()}


def gallery_table() -> str:
    """The networks of the gallery in numbers, face / grass."""
    head = ["network", "best PSNR", "at step", "freedom", "radius", "likeness", "200 steps, theory", "finite"]
    rows = []
    for name, crops in _gallery().items():
        one, two = crops.values()
        rows.append(
            [
                f"[`{name}`](#{name})",
                f"{one['best']:.1f} / {two['best']:.1f} dB",
                f"{one['best_step']} / {two['best_step']}",
                f"{one['freedom']:.1%} / {two['freedom']:.1%}",
                f"{one['radius']:.0f} / {two['radius']:.0f}",
                f"{one['selectivity']:.2f} / {two['selectivity']:.2f}",
                f"{one['theory']:.1f} / {two['theory']:.1f} dB",
                f"{one['network']:.1f} / {two['network']:.1f} dB",
            ]
        )
    return _table(head, rows)


def gallery() -> str:
    """Every network of the gallery: what it is, its lines, what it does to the filter, its picture."""
    source = (ROOT / "experiments" / "gallery.py").read_text()
    builders = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    measured = _gallery()
    plain = measured["plain"]
    parts = []
    for name, crops in measured.items():
        node = builders[name]
        doc, code = ast.get_docstring(node) or "", ast.get_source_segment(source, node) or ""
        code = re.sub(r'\n    """.*?"""', "", code, count=1, flags=re.S)
        found = "" if name == "plain" else _compared(crops, plain)
        parts.append(f"## {name} {{ #{name} }}\n\n{doc}\n\n```python\n{code}\n```\n\n{found}\n\n")
        parts.append(f"![{name}](figures/gallery/{name}.png)\n")
    return "\n".join(parts)


def _compared(crops: dict[str, dict[str, float]], plain: dict[str, dict[str, float]]) -> str:
    """What an architecture does to the filter, in one sentence, on the face and on the grass."""
    one, two = crops.values()
    other_one, other_two = plain.values()

    def change(key: str, more: str, less: str, same: str, margin: float) -> str:
        changes = [one[key] - other_one[key], two[key] - other_two[key]]
        if max(map(abs, changes)) <= margin:
            return same
        return more if min(changes) > -margin and sum(changes) > 0 else less if max(changes) < margin else "changes"

    reaches = change("radius", "reaches further", "reaches less far", "reaches as far", 2)
    follows = change("selectivity", "follows likeness more", "follows likeness less", "follows likeness as much", 0.03)
    better = [f"{a['best'] - b['best']:+.1f}" for a, b in ((one, other_one), (two, other_two))]
    return (
        f"Beside the plain network its filter {reaches} ({one['radius']:.0f} and {two['radius']:.0f} pixels after "
        f"{other_one['radius']:.0f} and {other_two['radius']:.0f}), {follows} ({one['selectivity']:.2f} and "
        f"{two['selectivity']:.2f} after {other_one['selectivity']:.2f} and {other_two['selectivity']:.2f}); PSNR "
        f"{better[0]} and {better[1]} dB."
    )


def exactness_table() -> str:
    """How exact every layer is, as it is stored."""
    return _stored_markdown("exactness_table.md")


def figure_gallery() -> str:
    """Every picture under figures/ with its command."""
    parts = []
    for path in sorted(FIGURES.rglob("*.png")):
        command, shows = figure_origin(path)
        name = path.relative_to(FIGURES).with_suffix("").as_posix()
        parts.append(f"## {name}\n\n{shows}.\n\n    {command}\n\n![{name}](figures/{name}.png)\n")
    return "\n".join(parts)


TABLES: dict[str, Callable[[], str]] = {
    table.__name__: table
    for table in (
        kernel_table,
        denoising_table,
        denoising_environment,
        unusual_table,
        prior_table,
        adapted_table,
        training_table,
        workers_ratio,
        scorecard,
        poster_table,
        whole_picture,
        simple_filters,
        tried_table,
        criteria,
        dropped_criteria,
        verdicts,
        adam_verdicts,
        regime_verdicts,
        optimizers,
        gallery_table,
        gallery,
        exactness_table,
        figure_gallery,
    )
}


def fill(markdown: str) -> str:
    """Puts what ``TABLES`` makes in the place of ``{{ its name }}``."""
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: TABLES[found[1]](), markdown)


# --- what mkdocs calls -----------------------------------------------------------------------------------------------


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages of the tutorials, the contributors' page and the figures."""
    from mkdocs.structure.files import File

    for script in tutorials():
        files.append(File.generated(config, f"tutorials/{script.stem}.md", content=tutorial_page(script)))
    files.append(File.generated(config, "contributing.md", content=(ROOT / "CONTRIBUTING.md").read_text()))
    page = ROOT / "build" / "explorer.html"
    if not page.exists():
        raise FileNotFoundError(f"{page} is missing: run make docs, or ntk-nonlocal explore --crop 32 -o {page}")
    files.append(File.generated(config, "explorer.html", abs_src_path=str(page)))
    for path in sorted(FIGURES.rglob("*.png")):
        target = f"figures/{path.relative_to(FIGURES).as_posix()}"
        files.append(File.generated(config, target, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fills in tables."""
    return fill(markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Sets formulas as MathML, which browsers draw by themselves, and takes the roles off names in docstrings."""
    from latex2mathml.converter import convert

    def formula(found: re.Match[str]) -> str:
        source = html.unescape(found[2])
        display = source.startswith("\\[")
        return str(convert(source[2:-2].strip(), display="block" if display else "inline"))

    content = re.sub(r'<(span|div) class="arithmatex">(.*?)</\1>', formula, content, flags=re.DOTALL)
    return re.sub(r":(?:meth|func|class|data|mod|attr|obj):(?=<code>)", "", content)


def on_post_build(config: Any) -> None:
    """Refuses a site that would fetch something from elsewhere, or shows a formula as source."""
    from mkdocs.exceptions import PluginError

    refused = {
        "fetches from elsewhere": r"<(?:script|img|iframe|source)[^>]*\ssrc=\"?https?:|@import[^;]*https?:"
        r"|<link[^>]*rel=\"?(?:stylesheet|preconnect)[^>]*https?:",
        "has a formula that is not set": r"class=\"arithmatex|\$\$",
    }
    for page in sorted(Path(config["site_dir"]).rglob("*.html")):
        text = page.read_text()
        for what, pattern in refused.items():
            found = re.search(pattern, text)
            if found:
                raise PluginError(f"{page.name} {what}: {text[found.start() : found.start() + 80]!r}")
