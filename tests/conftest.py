"""What the tests share. Nothing is imported here that the smallest environment (see ``.ci/run``) does not have."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib.util
import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

# Programs that one process of the tests has compiled, the others and what they start need not compile again.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _programs = tempfile.mkdtemp(prefix="ntk-nonlocal-tests-")
    atexit.register(shutil.rmtree, _programs, ignore_errors=True)
    os.environ |= {
        "JAX_COMPILATION_CACHE_DIR": _programs,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }

import jax
import pytest
from compiling import compiled_quickly

# A shell that starts the tests in the background has interrupts ignored, and what the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if importlib.util.find_spec("jaxtyping") and importlib.util.find_spec("beartype"):
    import shapes

    shapes.check_all()


# Tests that take long: a name with its parameters, or without them for all. Made by --write-slow; a test marked
# "always" runs all the same.
SLOW = Path(__file__).parent / "slow.txt"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-slow",
        type=float,
        metavar="SECONDS",
        help="write the tests that take longer than this into tests/slow.txt, which `make test` leaves out",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow = set(SLOW.read_text().splitlines())
    for item in items:
        if {item.nodeid, item.nodeid.partition("[")[0]} & slow and "always" not in item.keywords:
            item.add_marker("slow")


class _Stopwatch:
    """Writes the list of slow tests from what this run measured; tests that did not run stay as they were."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.passed:
            self.seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        kept = {line for line in SLOW.read_text().splitlines() if line not in self.seconds}
        slow = {name for name, seconds in self.seconds.items() if seconds > self.limit and name.isprintable()}
        SLOW.write_text("".join(f"{line}\n" for line in sorted(kept | slow)))


def pytest_configure(config: pytest.Config) -> None:
    limit = config.getoption("--write-slow")
    if limit is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Stopwatch(limit))


if importlib.util.find_spec("hypothesis"):
    import hypothesis

    # A machine that is busy with other work is no fault of the tests.
    hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
    hypothesis.settings.load_profile("busy")


# Where the subject is not how exactly something is computed, programs are compiled with few optimizations: a quarter
# less time. The slow tests have all of them.
COMPILED_QUICKLY = ("adapters", "cli", "dynamics", "experiments", "explore", "networks", "operators", "reproduce")


@pytest.fixture(autouse=True)
def _compiled_quickly(request: pytest.FixtureRequest) -> Iterator[None]:
    quickly = request.path.parent.name in COMPILED_QUICKLY and "slow" not in request.node.keywords
    with compiled_quickly() if quickly else contextlib.nullcontext():
        yield


@pytest.fixture(autouse=True, scope="module")
def _memory_back() -> None:
    """What the module before compiled goes, and its memory back to the system."""
    jax.clear_caches()
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of the GNU C library
    if trim is not None:
        trim(0)


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
