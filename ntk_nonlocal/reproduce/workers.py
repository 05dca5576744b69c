"""Processes that share the measurements of a run, each on cores of its own.

The networks of the paper are small: a training is hardly faster on two cores than on one, so that two trainings side by
side, on one core each, take 0.6 of the time of one after another once they are compiled
(``experiments/bench_workers.py``).
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ntk_nonlocal.memory import share_memory

from .parts import Part, Progress, Store

_JAX_SETTINGS = (
    "jax_platforms",
    "jax_enable_x64",
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)
_HELP = "from ntk_nonlocal.reproduce.workers import help_out; help_out()"


@dataclass(frozen=True)
class _Task:
    store: Store
    experiments: dict[str, list[Part]]
    workers: int
    quiet: bool
    jax_settings: dict[str, Any]


def most_workers() -> int:
    """The cores that this process may use."""
    return len(_cores()) or os.cpu_count() or 1


@contextmanager
def helpers(workers: int | None, store: Store, experiments: dict[str, list[Part]], *, quiet: bool) -> Iterator[None]:
    """Has ``workers - 1`` further processes complete the parts of the experiments, too, while the block lasts.

    This process and each of the others keep to their share of the cores and of the memory. The helpers leave what
    another process is busy with to it, end when they find nothing more to do, and end with this process at the latest,
    however that ends; what they were at is computed by whoever comes next, from its last checkpoint.

    Args:
      workers: processes in all, this one included; None for two where JAX computes on the CPU and there are two cores.
      store: of the run.
      experiments: by name, in the order in which this process completes them.
      quiet: no progress on stderr.

    Raises:
      ValueError: several workers, and JAX does not compute on the CPU.
    """
    count = min(2, most_workers()) if workers is None else workers
    if count == 1:
        yield
        return
    import jax

    every, (own, *others) = _cores(), _shares(count)
    with ExitStack() as ended:
        ended.callback(_keep_to, every)
        _keep_to(own)  # before JAX makes its threads
        if jax.default_backend() == "cpu":
            settings = {name: getattr(jax.config, name) for name in _JAX_SETTINGS}
            task = _Task(store, experiments, count, quiet, settings)
            for cores in others:
                ended.callback(_end, _start(task, cores), quiet)
            _keep_to(own)
            share_memory(count)
            ended.callback(share_memory, 1)
        elif workers is None:
            _keep_to(every)
        else:
            backend = jax.default_backend()
            raise ValueError(f"--workers {workers} shares CPU cores, and JAX computes on {backend}; give 1")
        yield


def _start(task: _Task, cores: list[int]) -> subprocess.Popen[bytes]:
    # Its standard input stays open as long as this process lives.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-P", "-c", _HELP]  # -P: nothing is imported from the current folder
    _keep_to(cores)  # inherited, so that it holds before the libraries make threads
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment)
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it has said why
        pickle.dump(task, process.stdin)
        process.stdin.flush()
    return process


def _end(process: subprocess.Popen[bytes], quiet: bool) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    if process.wait() != 0 and not quiet:
        print("ntk-nonlocal reproduce: a worker had ended early; its work was done here", file=sys.stderr)


def help_out() -> None:
    """A helper: completes the parts that it reads from its standard input, and ends when that is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends, and this one with it
    task: _Task = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    import jax

    for name, value in task.jax_settings.items():
        jax.config.update(name, value)
    share_memory(task.workers)
    for name, parts in task.experiments.items():
        task.store.complete(parts, None if task.quiet else print_progress(name), patient=False)


def _end_with_the_first() -> None:
    from ntk_nonlocal.results import discard_unfinished

    os.read(sys.stdin.fileno(), 1)
    discard_unfinished()
    os._exit(0)


def print_progress(experiment: str) -> Progress:
    """A line on stderr for every part that was computed."""

    def report(done: int, total: int, name: str, seconds: float | None) -> None:
        if seconds:
            print(f"{experiment} {done}/{total}  {name}  {seconds:.1f} s", file=sys.stderr, flush=True)

    return report


def _cores() -> list[int]:
    """The cores that this process may use, none where the system cannot tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _keep_to(cores: Sequence[int]) -> None:
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def _shares(workers: int) -> list[list[int]]:
    """Neighbouring cores for every worker, as many for each: their number decides the last bits of a result."""
    cores = _cores()
    each = len(cores) // workers
    return [cores[index * each : (index + 1) * each] for index in range(workers)]
