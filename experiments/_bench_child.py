"""One measurement of the kernel benchmark, in the process that runs it.

Imports come before every time. Memory is counted above the size of the process after one small jit-compiled call.
"Cold" is the first call, compilation included; "warm" are the calls after it, each on another image. The engine's
operator belongs to an image, so that building it is part of every time; neural-tangents' kernel function is compiled
once. A product with neural-tangents is its matrix times V.

Throughput counts ordered pixel pairs times layers, d^2 per convolution with its nonlinearity at its own resolution d,
however many of them symmetry saves.
"""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

Method = Literal["engine", "neural-tangents"]
MemoryPlan = Literal["auto", "recompute", "keep", "matrix"]
NOISE = 25 / 255


@dataclass(frozen=True)
class Spec:
    """What a child process measures.

    ``what`` names a function of ``MEASUREMENTS``; ``operation`` is "product" (with ``columns`` columns) or "matrix".
    ``calls`` counts the warm calls, or the further products of a kept kernel.
    """

    what: str
    method: Method = "engine"
    architecture: str = "cnn:depth=3,kernel_size=3"
    side: int = 64
    operation: Literal["product", "matrix"] = "product"
    columns: int = 3
    calls: int = 0
    window: int | None = None
    memory_plan: MemoryPlan = "recompute"


@dataclass
class Clock:
    """Wall and processor (user and system, all threads) seconds of named stages, several calls each."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    cpu_seconds: dict[str, list[float]] = field(default_factory=dict)

    def time(self, stage: str, call: Callable[[], Any]) -> Any:
        """The call's result, once it is on the device."""
        import jax

        cpu, wall = time.process_time(), time.perf_counter()
        result = jax.block_until_ready(call())
        self.seconds.setdefault(stage, []).append(time.perf_counter() - wall)
        self.cpu_seconds.setdefault(stage, []).append(time.process_time() - cpu)
        return result


def measure(spec: Spec) -> dict[str, Any]:
    """The measurement's numbers, with the date and the load of the machine before and after it."""
    started, load = datetime.now(UTC).isoformat(timespec="seconds"), os.getloadavg()
    result = MEASUREMENTS[spec.what](spec)
    return {"started": started, "load_before": load, "load_after": os.getloadavg(), **result}


# --- what is measured ------------------------------------------------------------------------------------------------


def calls(spec: Spec) -> dict[str, Any]:
    """Stages "cold" and "warm" of one operation, and the peak memory of each."""
    run, images, columns = _ready(spec)
    memory, clock = Memory(), Clock()
    clock.time("cold", partial(run, images[0], columns))
    result: dict[str, Any] = {"peak_bytes": memory.above_start()}
    for image in images[1:]:
        memory.forget_peak()
        clock.time("warm", partial(run, image, columns))
    if spec.calls:
        result["warm_peak_bytes"] = memory.above_start()
    layers = pair_layers(spec.architecture, spec.side, spec.window)
    best = min(clock.seconds["warm" if spec.calls else "cold"])
    return {**vars(clock), **result, "pair_layers": layers, "throughput": layers / best}


def kept(spec: Spec) -> dict[str, Any]:
    """Stages "kernel" (slices kept), "first product", "further product" and their sum "total"."""
    from ntk_nonlocal.architecture import parse_architecture
    from ntk_nonlocal.kernels import tangent_kernel
    from ntk_nonlocal.memory import available_memory

    _, images, columns = _ready(spec)
    free = available_memory()
    budget = None if free is None else int(0.9 * free)
    memory, clock = Memory(), Clock()

    def kernel() -> Any:
        architecture = parse_architecture(spec.architecture)
        return tangent_kernel(
            architecture, images[0], window=spec.window, memory_plan=spec.memory_plan, memory_budget=budget
        )

    op = clock.time("kernel", kernel)
    clock.time("first product", lambda: op @ columns)
    for _ in range(spec.calls):
        clock.time("further product", lambda: op @ columns)
    for times in (clock.seconds, clock.cpu_seconds):
        times["total"] = [sum(sum(values) for values in times.values())]
    return {**vars(clock), "peak_bytes": memory.above_start(), "budget_bytes": budget}


def restarted(spec: Spec) -> dict[str, Any]:
    """Stages "empty cache" and "filled cache": from the package's import (that of JAX left out) to the first product,
    in the first process with a folder for compiled programs and in those after it."""
    script = (
        "import sys, time, json, jax; start = time.perf_counter(); from _bench_child import Spec, first_product; "
        "first_product(Spec(**json.loads(sys.argv[1]))); print(time.perf_counter() - start)"
    )
    return _restarts([sys.executable, "-c", script, json.dumps(asdict(spec))], spec.calls, lambda out, _: float(out))


def first_product(spec: Spec) -> None:
    import jax

    rng = np.random.default_rng(0)
    image, columns = (rng.random(shape, np.float32) for shape in ((spec.side, spec.side, 3), (spec.side**2, 3)))
    jax.block_until_ready(run_engine(spec)(image, columns))


def denoised(spec: Spec) -> dict[str, Any]:
    """Stages "empty cache" and "filled cache": the whole process of `ntk-nonlocal denoise` on a photograph."""
    from ntk_nonlocal.images import write_photo

    with tempfile.TemporaryDirectory() as folder:
        noisy, out = Path(folder, "noisy.png"), Path(folder, "out.png")
        write_photo(noisy, np.clip(images_of(spec.side, 1)[0], 0, 1))
        command = [sys.executable, "-m", "ntk_nonlocal", "denoise", str(noisy), "-q", "-o", str(out)]

        def taken(_: str, wall: float) -> float:
            out.unlink()  # for the next process
            return wall

        return _restarts(command, spec.calls, taken)


def _restarts(command: list[str], calls: int, seconds: Callable[[str, float], float]) -> dict[str, Any]:
    """A command in a process with an empty cache, and ``calls`` times after it; ``seconds`` of what it prints and of
    its wall time."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "JAX_ENABLE_COMPILATION_CACHE": "true",
            "JAX_COMPILATION_CACHE_DIR": folder,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "XDG_CACHE_HOME": folder,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        }
        for stage in ["empty cache", *["filled cache"] * calls]:
            start = time.perf_counter()
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            wall = time.perf_counter() - start
            found.setdefault(stage, []).append(seconds(done.stdout.strip(), wall))
    return {"seconds": found}


def error(spec: Spec) -> dict[str, Any]:
    """Largest |K - K'|_ij / sqrt(K_ii K_jj) against K by neural-tangents, run eagerly in float64.

    The engine's matrix, its products with all unit vectors and its diagonal count alike, in float32 and in float64. The
    same for neural-tangents, compiled.
    """
    import jax

    from ntk_nonlocal.architecture import parse_architecture
    from ntk_nonlocal.kernels import tangent_kernel
    from ntk_nonlocal.kernels.oracle.stax import exact_kernel

    architecture, image = parse_architecture(spec.architecture), images_of(spec.side, 1)[0]

    def of_engine(x: Any) -> tuple[list[Any], Any]:
        op = tangent_kernel(architecture, x, backend="lag", memory_plan=spec.memory_plan)
        return [op.as_matrix(), op @ np.eye(op.shape[0])], op.diagonal()

    def of_oracle(x: Any, jit: bool) -> tuple[list[Any], Any]:
        op = exact_kernel(architecture, x, jit=jit)
        return [op.as_matrix()], op.diagonal()

    single = {"engine float32": of_engine(image), "neural-tangents float32": of_oracle(image, True)}
    with jax.enable_x64(True):
        double = image.astype(np.float64)
        exact = np.asarray(exact_kernel(architecture, double).matrix)
        found = {**single, "engine float64": of_engine(double), "neural-tangents float64": of_oracle(double, True)}
    return {"errors": {name: _error(*values, exact) for name, values in found.items()}}


def _error(matrices: list[Any], diagonal: Any, exact: np.ndarray[Any, Any]) -> dict[str, float]:
    scale = np.sqrt(np.diag(exact))
    ends = [np.diag(np.asarray(matrix)) for matrix in matrices] + [np.asarray(diagonal)]
    on_it = max(float((np.abs(end - scale**2) / scale**2).max()) for end in ends)
    off_it = max(float((np.abs(np.asarray(matrix) - exact) / np.outer(scale, scale)).max()) for matrix in matrices)
    return {"largest": max(on_it, off_it), "on the diagonal": on_it}


def limits(spec: Spec) -> dict[str, Any]:
    """Arithmetic and memory traffic of one product per second, and what the device reaches at its best.

    The first two are XLA's own count of a compiled block (fusion included) times the number of blocks, over the time of
    a warm product; a transcendental function counts as one operation. The device's best: a chain of multiply-adds
    on values in registers, and a copy.
    """
    import jax
    import jax.numpy as jnp

    from ntk_nonlocal.architecture import parse_architecture
    from ntk_nonlocal.kernels import tangent_kernel

    timed = calls(spec)
    op: Any = tangent_kernel(parse_architecture(spec.architecture), images_of(spec.side, 1)[0], memory_plan="recompute")
    block = jax.jit(lambda op: op.block_values(jnp.int32(0))).lower(op).compile()
    cost, blocks = block.cost_analysis() or {}, op.block_count
    best = min(timed["seconds"]["warm"])
    operations = blocks * (cost["flops"] + cost.get("transcendentals", 0.0)) / best
    traffic = blocks * cost["bytes accessed"] / best
    peak_operations, peak_traffic = _device_limits(jax.default_backend() == "cpu")
    return {
        **timed,
        "operations_per_second": operations,
        "bytes_per_second": traffic,
        "device_operations_per_second": peak_operations,
        "device_bytes_per_second": peak_traffic,
        "arithmetic_share": operations / peak_operations,
        "bandwidth_share": traffic / peak_traffic,
    }


def _device_limits(small: bool) -> tuple[float, float]:
    import jax
    import jax.numpy as jnp

    length = 64
    values = jnp.ones((1 << (22 if small else 26),), jnp.float32)

    def chain(x: Any) -> Any:
        y = x
        for _ in range(length):
            y = y * x + 0.5
        return y

    def seconds(function: Callable[[Any], Any], argument: Any) -> float:
        compiled, clock = jax.jit(function), Clock()
        compiled(argument).block_until_ready()
        for _ in range(5):
            clock.time("call", lambda: compiled(argument))
        return min(clock.seconds["call"])

    wide = jnp.ones((1 << (26 if small else 28),), jnp.float32)
    return 2 * length * values.size / seconds(chain, values), 2 * wide.nbytes / seconds(lambda x: x + 1, wide)


def environment(spec: Spec) -> dict[str, Any]:
    """The machine and the versions."""
    from importlib import metadata

    from ntk_nonlocal.results import environment as common

    found = common()
    try:
        found["versions"]["neural-tangents"] = metadata.version("neural-tangents")
    except metadata.PackageNotFoundError:
        found["versions"]["neural-tangents"] = None
    return {
        **found,
        "cpu": found["processor"],
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    }


MEASUREMENTS: dict[str, Callable[[Spec], dict[str, Any]]] = {
    "calls": calls,
    "kept": kept,
    "restarted": restarted,
    "denoised": denoised,
    "error": error,
    "limits": limits,
    "environment": environment,
}


# --- the two sides ---------------------------------------------------------------------------------------------------

Run = Callable[[Any, Any], Any]


def images_of(side: int, count: int) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    """Noisy colour images (side, side, 3): the middle of the bundled example, with other noise each."""
    from ntk_nonlocal.images import add_noise, crop, example_image

    clean = crop(example_image(), side)
    return [add_noise(clean, NOISE, seed=seed).astype(np.float32) for seed in range(count)]


def _ready(spec: Spec) -> tuple[Run, list[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    """What runs the operation, with everything imported, the images and the columns."""
    images = images_of(spec.side, 1 + (spec.calls if spec.what != "kept" else 0))
    columns = np.random.default_rng(0).normal(size=(spec.side**2, spec.columns)).astype(np.float32)
    return (run_engine if spec.method == "engine" else run_neural_tangents)(spec), images, columns


def run_engine(spec: Spec) -> Run:
    from ntk_nonlocal.architecture import parse_architecture
    from ntk_nonlocal.kernels import tangent_kernel

    def run(image: Any, columns: Any) -> Any:
        op = tangent_kernel(
            parse_architecture(spec.architecture),
            image,
            backend="lag",
            window=spec.window,
            memory_plan=spec.memory_plan,
        )
        return op @ columns if spec.operation == "product" else op.as_matrix()

    return run


def run_neural_tangents(spec: Spec) -> Run:
    """neural-tangents' kernel function, compiled once (``exact_kernel`` compiles anew in every call)."""
    import jax
    import jax.numpy as jnp

    from ntk_nonlocal.architecture import parse_architecture
    from ntk_nonlocal.kernels import to_stax
    from ntk_nonlocal.kernels.oracle import neural_tangents

    neural_tangents.stax()
    pixels = spec.side**2

    @jax.jit
    def run(image: Any, columns: Any) -> Any:
        kernel = to_stax(parse_architecture(spec.architecture), width=1)[2](image[None], None, ("ntk", "is_reversed"))
        order = (2, 0, 3, 1) if kernel.is_reversed else (0, 2, 1, 3)
        matrix = kernel.ntk[0, 0].transpose(order).reshape(pixels, pixels)
        return jnp.matmul(matrix, columns, precision="highest") if spec.operation == "product" else matrix

    return run


# --- counting --------------------------------------------------------------------------------------------------------


def pair_layers(architecture: str, side: int, window: int | None = None) -> int:
    """Ordered pixel pairs (within the window, scaled with the resolution) times nonlinearities, summed over layers."""
    from ntk_nonlocal.architecture import parse_architecture

    total = 0
    for length in _resolutions(parse_architecture(architecture), side):
        reach = length if window is None else min(length, math.ceil(window * length / side))
        total += (length + 2 * sum(length - lag for lag in range(1, reach))) ** 2
    return total


def _resolutions(layer: Any, side: int) -> Iterator[int]:
    """The side of the image behind every nonlinearity."""
    from ntk_nonlocal.architecture import Concat, Nonlinearity, Serial, Signal, Sum

    if isinstance(layer, Serial):
        for inner in layer.layers:
            yield from _resolutions(inner, side)
            size = inner.propagate(Signal(size=(side, side)), "").size
            assert size is not None
            side = size[0]
    elif isinstance(layer, Concat | Sum):
        for branch in layer.branches:
            yield from _resolutions(branch, side)
    elif isinstance(layer, Nonlinearity):
        yield side


class Memory:
    """Peak memory above the size at the start: of the process, or of the device where that has its own."""

    def __init__(self) -> None:
        import jax
        import jax.numpy as jnp

        jax.jit(lambda x: x + 1)(jnp.zeros(8)).block_until_ready()
        self._device = jax.local_devices()[0]
        self._on_device = self._device.platform != "cpu"
        self.forget_peak()
        self._start = self._device_bytes("bytes_in_use") if self._on_device else _process_bytes("VmRSS")

    def forget_peak(self) -> None:
        """Counts the peak from here, where the system can do that."""
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return

    def above_start(self) -> int:
        peak = self._device_bytes("peak_bytes_in_use") if self._on_device else _process_bytes("VmHWM")
        return peak - self._start

    def _device_bytes(self, name: str) -> int:
        return int((self._device.memory_stats() or {})[name])


def _process_bytes(name: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
    except (OSError, StopIteration):  # not Linux: the largest size so far
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
