"""Which code a result belongs to: a digest of the measuring module and of everything in the package that it imports.

Comments, docstrings and layout do not count, so that only changes of what is computed make results outdated.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

import ntk_nonlocal

_PACKAGE = "ntk_nonlocal"
_ROOT = Path(ntk_nonlocal.__file__).parent


@cache
def code_version(module: str) -> str:
    """Digest of a module of the package and of all modules that it imports, directly or not."""
    total = hashlib.sha256()
    for name in sorted(_reachable(module)):
        total.update(f"{name}:{_digest(_file(name))};".encode())
    return total.hexdigest()[:16]


def _reachable(module: str) -> set[str]:
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name)
        # The root module only gathers the public names.
        if name in found or path is None or name == _PACKAGE:
            continue
        found.add(name)
        waiting.extend(_imports(name, path))
    return found


def _file(name: str) -> Path | None:
    """The file of a module of the package, None for other names."""
    if name != _PACKAGE and not name.startswith(f"{_PACKAGE}."):
        return None
    stem = _ROOT.joinpath(*name.split(".")[1:])
    candidates = (stem / "__init__.py", stem.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


def _imports(name: str, path: Path) -> list[str]:
    """Modules that a module imports, and, harmlessly, names that are none."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = []
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            source = ".".join(filter(None, (base, node.module)))
            for alias in node.names:
                home = _home(source, alias.name)
                found += [home, f"{home}.{alias.name}"]
    # Importing a module runs the packages around it.
    return [".".join(full.split(".")[:end]) for full in found for end in range(1, full.count(".") + 2)]


def _home(source: str, name: str) -> str:
    """The module from which a package takes a name that it offers (packages load their names lazily, see their stubs);
    the source itself where it is no package, or does not offer it."""
    while True:
        stub = _ROOT.joinpath(*source.split(".")[1:], "__init__.pyi")
        if source.split(".")[0] != _PACKAGE or not stub.is_file():
            return source
        nodes = [node for node in _tree(stub).body if isinstance(node, ast.ImportFrom)]
        module = next((node.module for node in nodes if any(alias.name == name for alias in node.names)), None)
        if module is None:
            return source
        source = f"{source}.{module}"


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _digest(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                del body[0]
    return syntax_digest(tree)


def syntax_digest(tree: ast.AST) -> str:
    """A digest of a syntax tree that is the same in all versions of Python."""
    return hashlib.sha256(repr(_without_empty_fields(tree)).encode()).hexdigest()


def _without_empty_fields(node: object) -> object:
    """A syntax tree as nested tuples and lists; empty fields are left out, since newer versions of Python add some."""
    if isinstance(node, list):
        return [_without_empty_fields(part) for part in node]
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
        return type(node).__name__, [(name, _without_empty_fields(value)) for name, value in fields]
    return node
