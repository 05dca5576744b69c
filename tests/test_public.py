"""The public names: all there, each what its module defines, and nothing heavy imported before it is used."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import ntk_nonlocal as nnl


def _imported_modules(statement: str) -> set[str]:
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("name", nnl.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(nnl, name) is not None
    assert name in dir(nnl)


def test_names_in_packages_are_those_of_their_modules() -> None:
    from ntk_nonlocal import architecture
    from ntk_nonlocal.kernels import tangent_kernel

    assert nnl.tangent_kernel is tangent_kernel
    assert nnl.unet is architecture.unet


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(nnl.__file__).with_suffix(".pyi").read_text())
    seen = {alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == set(nnl.__all__)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="ntk_nonlocal attribute tangent_kernels"):
        _ = nnl.tangent_kernels


def test_import_is_light() -> None:
    heavy = {"jax", "numpy", "flax", "optax", "matplotlib", "skimage", "scipy", "orbax", "rich"}
    assert not heavy & _imported_modules("import ntk_nonlocal")


def test_the_oracle_needs_neither_flax_nor_skimage() -> None:
    heavy = {"flax", "optax", "matplotlib", "skimage", "orbax", "tensorflow"}
    assert not heavy & _imported_modules(
        "import ntk_nonlocal.kernels.oracle.neural_tangents, ntk_nonlocal.kernels.oracle.stax"
    )


def test_a_kernel_needs_no_figures_and_no_image_library() -> None:
    heavy = {"flax", "optax", "matplotlib", "skimage", "orbax", "PIL", "rich", "tifffile", "imagecodecs"}
    used = "nnl.tangent_kernel; nnl.gradient_descent; nnl.unet; nnl.nystrom"
    assert not heavy & _imported_modules(f"import ntk_nonlocal as nnl; {used}")
