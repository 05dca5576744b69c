"""What the tests share. Nothing is imported here that the smallest environment (see ``.ci/run``) does not have."""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

# A shell that starts the tests in the background has interrupts ignored, and what the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if importlib.util.find_spec("jaxtyping") and importlib.util.find_spec("beartype"):
    import shapes

    shapes.check_all()


# Tests that take long: a name with its parameters, or without them for all. Made by --write-slow.
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
        if {item.nodeid, item.nodeid.partition("[")[0]} & slow:
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
