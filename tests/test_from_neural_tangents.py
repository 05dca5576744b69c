"""What the page for users of neural-tangents says runs, and agrees with neural-tangents where that is installed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ntk_nonlocal as nnl
from ntk_nonlocal.kernels.oracle import neural_tangents

_PAGE = Path(__file__).parent.parent / "docs" / "howto" / "from_neural_tangents.md"


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """The names defined by the page's Python blocks, run one after another."""
    blocks = re.findall(r"^```python\n(.*?)^```$", _PAGE.read_text(), re.DOTALL | re.MULTILINE)
    found: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, str(_PAGE), "exec", dont_inherit=True), found)
    return found


def test_the_code_there_gives_the_kernel_here(names: dict[str, Any]) -> None:
    try:
        stax = neural_tangents.stax()
    except ImportError as error:
        pytest.skip(str(error))
    there = next(block for block in re.findall(r"(?ms)^```text\n(.*?)^```$", _PAGE.read_text()) if "kernel_fn" in block)
    image = names["noisy"][:6, :8]
    found = {"stax": stax, "noisy": image}
    exec(there.replace("from neural_tangents import stax\n", ""), found)
    theirs = np.asarray(found["theta"])[0, 0].transpose(0, 2, 1, 3).reshape(48, 48)
    ours = np.asarray(nnl.tangent_kernel(names["architecture"], image).as_matrix())
    np.testing.assert_allclose(ours, theirs, rtol=2e-4)


def test_a_layer_from_outside_has_the_limit_that_neural_tangents_says(names: dict[str, Any]) -> None:
    try:
        neural_tangents.stax()
    except ImportError as error:
        pytest.skip(str(error))
    image = names["noisy"][:6, :8]
    for kernel in (nnl.tangent_kernel, nnl.nngp_kernel):
        ours = kernel(names["waves"], image).as_matrix()
        oracle = kernel(names["waves"], image, backend="neural-tangents").as_matrix()
        np.testing.assert_allclose(ours, oracle, rtol=2e-5, atol=2e-5 * float(np.max(oracle)))


def test_a_layer_from_outside_makes_networks_that_approach_the_limit(names: dict[str, Any]) -> None:
    import jax

    image = names["noisy"][:6, :8]
    exact = np.asarray(nnl.tangent_kernel(names["waves"], image).as_matrix())
    network = nnl.to_flax(names["waves"], width=4096, out_channels=1)
    params = network.init(jax.random.key(0), image)
    finite = np.asarray(nnl.empirical_kernel(network, params, image).as_matrix())
    assert np.linalg.norm(finite - exact) < 0.1 * np.linalg.norm(exact)
