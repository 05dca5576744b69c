"""The house: imports run one way and never in a circle, and packages meet at their façades."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import ntk_nonlocal as nnl

ROOT = Path(nnl.__file__).parent
# From the ground up: what stands in one line does not know of each other, nor of the lines below it.
FLOORS = (
    {"version", "checks", "results", "xla", "memory"},
    {"plotting"},
    {"images"},
    {"architecture", "operators"},
    {"linalg", "kernels"},
    {"networks"},
    {"dynamics"},
    {"denoisers"},
    {"reproduce", "explore", "adapters"},
    {"cli"},
    {"__main__"},
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
# What lies below the denoisers may use the gate for arrays, and nothing else of the pictures.
GATE = {"arrays", "inputs"}


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@cache
def facade(package: str) -> dict[str, str]:
    """Where the names of a package come from."""
    stub = ROOT.parent.joinpath(*package.split("."), "__init__.pyi")
    if not stub.exists():
        return {}
    nodes = [node for node in ast.parse(stub.read_text()).body if isinstance(node, ast.ImportFrom)]
    return {alias.name: f"{package}.{node.module}" for node in nodes for alias in node.names}


def home(source: str, name: str) -> str:
    while name in facade(source):
        source = facade(source)[name]
    return f"{source}.{name}" if f"{source}.{name}" in MODULES else source


def imports(module: str) -> set[tuple[str, str]]:
    """(module as it is written, module that it comes from), imports inside functions included."""
    path = MODULES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            if source.split(".")[0] == "ntk_nonlocal":
                found |= {(source, home(source, alias.name)) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {(alias.name, alias.name) for alias in node.names if alias.name.startswith("ntk_nonlocal.")}
    return found


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("module", sorted(name for name in MODULES if "." in name))
def test_imports_run_down(module: str) -> None:
    for written, source in imports(module):
        if room(source) in ("", room(module)):
            continue
        assert FLOOR[room(source)] < FLOOR[room(module)], f"{module} imports {written}"
        if room(source) == "images" and FLOOR[room(module)] < FLOOR["denoisers"]:
            assert source.rpartition(".")[2] in GATE, f"{module} imports {written}"


@pytest.mark.parametrize("module", sorted(name for name in MODULES if "." in name))
def test_nothing_outside_reaches_deeper_than_a_facade(module: str) -> None:
    """``ntk_nonlocal.linalg``, not ``ntk_nonlocal.linalg.krylov``."""
    for written, _ in imports(module):
        parts = written.split(".")
        if len(parts) > 2 and parts[1] != room(module):
            pytest.fail(f"{module} imports {written}; offer the name in {parts[1]}/__init__.pyi and take it from there")


def test_there_are_no_circles() -> None:
    waiting = {name: {source for _, source in imports(name) if source in MODULES} - {name} for name in MODULES}
    while leaves := [name for name, sources in waiting.items() if not sources & waiting.keys()]:
        for name in leaves:
            del waiting[name]
    assert not waiting, f"these import each other: {', '.join(sorted(waiting))}"


@pytest.mark.parametrize("package", [name for name in MODULES if facade(name)])
def test_facades_give_what_they_promise(package: str) -> None:
    import importlib

    loaded = importlib.import_module(package)
    assert set(loaded.__all__) == set(facade(package))
    assert all(getattr(loaded, name) is not None for name in loaded.__all__)
