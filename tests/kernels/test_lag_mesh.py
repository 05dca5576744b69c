"""The exact kernel spread over devices of one process and of several, against one device."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

COMMON = """
import dataclasses, os, sys
import jax, numpy as np
from jax.sharding import Mesh
from ntk_nonlocal.architecture import (Conv, Relu, Serial)
from ntk_nonlocal.kernels import tangent_kernel

architecture = Serial(Conv(3), Relu(), Conv(3), Relu(), Conv(1))
x = np.random.default_rng(0).normal(0.4, 0.3, (9, 8, 2)).astype(np.float32)
v = np.random.default_rng(1).normal(size=(72, 2)).astype(np.float32)

def compare(expected, got, what):
    error = abs(np.asarray(got) - expected).max() / abs(expected).max()
    assert error < 1e-6, (what, error)
"""

ONE_PROCESS = (
    COMMON
    + """
assert jax.device_count() == 4
for window in (None, 3):
    single = tangent_kernel(architecture, x, window=window)
    matrix, product = np.asarray(single.as_matrix()), np.asarray(single @ v)
    for shape, plan in (((1,), "recompute"), ((2,), "recompute"), ((2, 2), "keep"), ((4,), "keep")):
        if window is not None and shape in ((1,), (4,)):
            continue
        devices = np.array(jax.devices()[: int(np.prod(shape))]).reshape(shape)
        mesh = Mesh(devices, tuple("ab"[: len(shape)]))
        op = tangent_kernel(architecture, x, window=window, mesh=mesh, memory_plan=plan)
        where = (window, shape, plan)
        compare(product, op @ v, where)
        if plan == "keep":
            assert op.kept.sharding.num_devices == devices.size
            compare(matrix[[0, 5, 71]], op.rows([0, 5, 71]), where)
        if shape == (4,):
            compare(matrix, op.as_matrix(), where)
            compare(matrix.diagonal(), op.diagonal(), where)
print("same on all")
"""
)

TWO_PROCESSES = (
    COMMON
    + """
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
assert jax.device_count() == 2 and jax.local_device_count() == 1
mesh = Mesh(np.array(jax.devices()), ("devices",))
products = []
for window, plan in ((None, "recompute"), (None, "keep"), (3, "recompute")):
    single = tangent_kernel(architecture, x, window=window)
    op = tangent_kernel(architecture, x, window=window, mesh=mesh, memory_plan=plan)
    compare(np.asarray(single @ v), op @ v, (window, plan))
print("same on all")
"""
)


def environment(devices: int) -> dict[str, str]:
    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }


def test_two_and_four_devices_give_the_same_as_one() -> None:
    run = subprocess.run(
        [sys.executable, "-c", ONE_PROCESS], env=environment(4), capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert "same on all" in run.stdout


def test_two_processes_give_the_same_as_one() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_PROCESSES, address, str(number)],
            env=environment(1),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    errors = "\n".join(error for _, error in outputs)
    if "gloo" in errors.lower() and "not" in errors and "available" in errors:
        pytest.skip("this jaxlib has no gloo collectives for CPU")
    assert all(process.returncode == 0 for process in processes), errors[-4000:]
    assert all("same on all" in output for output, _ in outputs)
