"""What one accelerator can add in eight minutes: throughput, agreement in float32, figure 4 and the table at 256x256.

    python experiments/on_device.py prepare --data DIR --folder build/device     on a CPU: pictures, float64 oracle
    python experiments/on_device.py run --folder build/device --out build/device/results --minutes 8

``run`` stores every step as soon as it is done, leaves out what is stored already, and begins nothing after its time.
Repeat the command to go on. It needs jax, flax, optax, orbax-checkpoint and numpy (and lazy-loader, with which the
package loads itself), and writes one JSON file for each kind of step. ``--toy`` makes everything tiny.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Step = tuple[str, Callable[[], dict[str, Any]]]

SIGMA = 25 / 255
NETWORKS = ("vanilla_cnn:kernel_size=11", "unet:levels=2", "autoencoder:levels=2")
INPUTS = ("image", "noise")


def prepare(data: Path | None, folder: Path, toy: bool) -> None:
    """Stores the noisy House, and kernel rows and trajectories of a crop in float64."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import ntk_nonlocal as nnl
    from ntk_nonlocal.reproduce import Pictures

    pictures = Pictures(data)
    picture = pictures.picture("smooth", 32 if toy else 256)
    clean, noisy = pictures.clean(picture), pictures.noisy(picture)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "pictures.npz", clean=clean, noisy=noisy)
    arrays = {}
    for architecture, source, x, y, rows in _oracle_cases(noisy, toy):
        op = nnl.tangent_kernel(nnl.parse_architecture(architecture), x.astype(np.float64))
        name = f"{architecture} {source}"
        arrays[f"{name} rows"] = np.asarray(op.rows(rows))
        arrays[f"{name} steps"] = np.asarray(nnl.gradient_descent(op, y.astype(np.float64), (1, 10, 100)))
    np.savez(folder / "oracle.npz", **arrays)


def _oracle_cases(noisy: np.ndarray[Any, Any], toy: bool) -> Iterator[tuple[str, str, Any, Any, Any]]:
    import ntk_nonlocal as nnl

    size = 8 if toy else 32
    y = noisy[:size, :size].astype(np.float32)
    for architecture in NETWORKS:
        for source in INPUTS:
            x = y if source == "image" else nnl.noise_input((size, size), 32, 0.5, 0)
            yield architecture, source, x, y, np.arange(0, size * size, size + 1)


def throughput(side: int) -> dict[str, Any]:
    """Pixel-pair-layers per second of a warm product, and the share of what the arc-cosine formula alone reaches."""
    import jax
    import jax.numpy as jnp

    import ntk_nonlocal as nnl

    image = np.random.default_rng(0).uniform(size=(side, side, 3)).astype(np.float32)
    found: dict[str, Any] = {"side": side}
    for architecture, layers in (("cnn:depth=3", 4), ("autoencoder:levels=3", 8)):
        op = nnl.tangent_kernel(nnl.parse_architecture(architecture), image)
        v = np.random.default_rng(1).normal(size=(side * side, 3)).astype(np.float32)
        jax.block_until_ready(op @ v)
        start = time.perf_counter()
        jax.block_until_ready(op @ v)
        seconds = time.perf_counter() - start
        found[architecture] = {"seconds": seconds, "pair_layers_per_second": layers * side**4 / seconds}

    @jax.jit
    def arc_cosine(c: Any) -> Any:
        angle = jnp.arccos(c)
        return jnp.sin(angle) + (jnp.pi - angle) * c

    c = jnp.asarray(np.random.default_rng(2).uniform(-1, 1, 2**24), jnp.float32)
    jax.block_until_ready(arc_cosine(c))
    start = time.perf_counter()
    for _ in range(8):
        c = arc_cosine(c) / (2 * jnp.pi)
    jax.block_until_ready(c)
    limit = 8 * 2**24 / (time.perf_counter() - start)
    found["formula_per_second"] = limit
    found["share"] = found["cnn:depth=3"]["pair_layers_per_second"] / limit
    return found


def agreement(folder: Path, toy: bool) -> dict[str, Any]:
    """Largest differences from the float64 arrays, relative to their largest entries."""
    import ntk_nonlocal as nnl

    with np.load(folder / "pictures.npz") as pictures, np.load(folder / "oracle.npz") as oracle:
        found = {}
        for architecture, source, x, y, rows in _oracle_cases(pictures["noisy"], toy):
            op = nnl.tangent_kernel(nnl.parse_architecture(architecture), x)
            name = f"{architecture} {source}"
            ours = {"rows": op.rows(rows), "steps": nnl.gradient_descent(op, y, (1, 10, 100))}
            for what, value in ours.items():
                exact = oracle[f"{name} {what}"]
                found[f"{name} {what}"] = float(np.abs(np.asarray(value) - exact).max() / np.abs(exact).max())
    return found


def training(folder: Path, steps: int, architecture: str, source: str, width: int, **options: Any) -> dict[str, Any]:
    """One training on the noisy picture: PSNR and weight change over the steps."""
    import ntk_nonlocal as nnl

    with np.load(folder / "pictures.npz") as pictures:
        clean, noisy = pictures["clean"], pictures["noisy"]
    seed = options.get("seed", 0)
    x = noisy if source == "image" else nnl.noise_input(noisy.shape[:2], 32, 0.5, seed)
    network = nnl.to_flax(nnl.parse_architecture(architecture), width, 3, "standard")
    settings = {"architecture": architecture, "input": source, "width": width, "steps": steps} | options
    try:
        result = nnl.train(network, x, noisy, steps=steps, clean=clean, **options)
    except ArithmeticError as problem:
        return settings | {"diverged": str(problem)}
    assert result.history.psnr is not None
    change = result.history.weight_change
    return settings | {
        "recorded": result.history.steps.tolist(),
        "psnr": np.round(result.history.psnr, 3).tolist(),
        "hidden_l2": float(change.hidden_l2[-1]),
        "hidden_linf": float(change.hidden_linf[-1]),
        "seconds": round(result.seconds, 2),
    }


def steps(folder: Path, toy: bool) -> Iterator[Step]:
    """The steps in the order of what they decide."""
    yield "agreement", lambda: agreement(folder, toy)
    for side in (8, 16) if toy else (128, 256, 512):
        yield f"throughput {side}", lambda side=side: throughput(side)  # type: ignore[misc]
    count, levels = (6, 1) if toy else (3000, 3)
    for source in INPUTS:
        for architecture in (f"autoencoder:levels={levels}", f"unet:levels={levels}", "vanilla_cnn:kernel_size=11"):
            for optimizer in ("adam", "gd"):
                yield (
                    f"table {architecture} {source} {optimizer}",
                    lambda a=architecture, s=source, o=optimizer: training(  # type: ignore[misc]
                        folder, count, a, s, 8 if toy else 64, optimizer=o
                    ),
                )
    for width in (4, 8) if toy else (8, 16, 32, 64, 128, 256, 512):
        for optimizer in ("gd", "adam"):
            rate = {"step_size": 0.5} if optimizer == "gd" else {"learning_rate": 1e-3 * 32 / width}
            yield (
                f"figure-4 {width} {optimizer}",
                lambda w=width, o=optimizer, r=rate: training(  # type: ignore[misc]
                    folder, count // 3, f"autoencoder:levels={levels}", "noise", w, optimizer=o, **r
                ),
            )


def run(folder: Path, out: Path, minutes: float, toy: bool) -> None:
    """Makes the steps that are missing, within the time, one file for each kind of them."""
    import jax

    from ntk_nonlocal.results import environment, read_json, write_json

    end = time.monotonic() + 60 * minutes
    out.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", os.environ.get("JAX_COMPILATION_CACHE_DIR"))
    left = []
    for name, make in steps(folder, toy):
        path = out / f"{name.split()[0]}.json"
        known = read_json(path) if path.exists() else {"environment": environment(), "steps": {}}
        if name in known["steps"]:
            continue
        if time.monotonic() > end:
            left.append(name)
            continue
        start = time.perf_counter()
        known["steps"][name] = make() | {"wall_seconds": round(time.perf_counter() - start, 2)}
        write_json(path, known)
        print(f"{time.perf_counter() - start:7.1f} s  {name}", flush=True)
    print(json.dumps({"left": left}), flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("prepare", "run"))
    parser.add_argument("--data", type=Path, help="prepare: folder with House (default: the bundled picture)")
    parser.add_argument("--folder", type=Path, default=Path("build/device"), help="what prepare writes and run reads")
    parser.add_argument(
        "--out", type=Path, default=Path("build/device/results"), help="run: one JSON file for each kind"
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="run: nothing is begun after this time")
    parser.add_argument("--toy", action="store_true", help="tiny sizes, to try it anywhere")
    args = parser.parse_args(arguments)
    if args.task == "prepare":
        prepare(args.data, args.folder, args.toy)
    else:
        run(args.folder, args.out, args.minutes, args.toy)


if __name__ == "__main__":
    main()
