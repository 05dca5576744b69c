"""The package: what its wheel and source distribution hold, and what it says of itself."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("hatchling") is None:
        pytest.skip("hatchling, which builds the package, is not installed")
    folder = tmp_path_factory.mktemp("dist")
    for kind in ("wheel", "sdist"):
        command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
        subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    return folder


def test_the_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith("/METADATA"))
    assert "ntk_nonlocal/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names} == {"ntk_nonlocal", f"ntk_nonlocal-{PROJECT['version']}.dist-info"}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "ntk_nonlocal").rglob("*.py*")}
    assert {name for name in sources if not name.endswith("pyc")} <= set(names)  # stubs too: façades are made of them
    assert not [name for name in names if "__pycache__" in name]
    for dependency in PROJECT["dependencies"]:
        assert f"Requires-Dist: {dependency}" in metadata


def test_the_source_distribution_builds_tests_and_reads_alike(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"README.md", "LICENSE", "pyproject.toml", "ntk_nonlocal/py.typed", "tests/test_package.py"} <= names


def test_the_lowest_versions_are_those_of_the_metadata() -> None:
    """requirements-lowest.txt, with which the tests were run, pins every dependency at its declared lower bound."""
    pinned = {}
    for line in (ROOT / "requirements-lowest.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            pinned[name.lower().replace("_", "-")] = version
    for dependency in PROJECT["dependencies"]:
        name, _, bound = dependency.partition(">=")
        parts = pinned[name.lower()].split(".")
        assert parts[: len(bound.split("."))] == bound.split("."), dependency
