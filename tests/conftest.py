"""What the tests share. Nothing is imported here that the smallest environment (see ``.ci/run``) does not have."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from ntk_nonlocal.xla import free_programs

# A shell that starts the tests in the background has interrupts ignored, and what the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if importlib.util.find_spec("jaxtyping") and importlib.util.find_spec("beartype"):
    import shapes

    shapes.check_all()


@pytest.fixture(autouse=True, scope="module")
def _room_for_programs() -> None:
    """The tests are a long run themselves."""
    free_programs()


@pytest.fixture
def x64() -> Iterator[None]:
    """64-bit types in JAX for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def set9() -> Path:
    """The folder of the test images, given in the environment variable NTK_NONLOCAL_DATA."""
    folder = os.environ.get("NTK_NONLOCAL_DATA")
    if not folder:
        pytest.skip("set NTK_NONLOCAL_DATA to the folder of the test images to run this test")
    return Path(folder)
