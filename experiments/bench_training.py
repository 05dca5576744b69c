"""Steps per second of the finite networks, here and in PyTorch: the same network, one run, as a ratio.

    pip install torch                                     # a build for the processor is enough
    python experiments/bench_training.py                  about ten minutes on 2 cores
    python experiments/bench_training.py --only 64        one image size

The network is ``autoencoder(levels=3)`` in the standard parametrisation, trained by Adam at 1e-3 on one noisy image.
Before anything is timed, PyTorch's network gets our weights and has to give our output. Both sides take turns, each
``--repeats`` times, and every turn is timed over several seconds; a step's time is the least of all turns, compilation
left out (it is given by itself). PyTorch runs in both of its memory layouts, and the faster one counts.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import ntk_nonlocal as nnl
from ntk_nonlocal.architecture import convolutions
from ntk_nonlocal.networks import parameters_at
from ntk_nonlocal.results import atomic_file, environment, read_json, write_json

RESULTS = Path(__file__).parent / "results" / "bench_training.json"
SIZES = ((32, 64), (64, 64), (64, 128), (128, 64), (128, 128))  # (side, channels)
TURN = 6.0  # seconds


def torch_network(torch: Any, network: Any, params: Any) -> Any:
    """The same network in PyTorch, with the same weights."""
    layers = torch.nn
    modules, width = [], 3
    placed = iter(convolutions(network.architecture))
    for layer in network.architecture.layers:
        match layer:
            case nnl.Conv():
                own = parameters_at(params, next(placed).position)
                kernel = torch.tensor(np.asarray(own["kernel"]).transpose(3, 2, 0, 1).copy())
                made = layers.Conv2d(width, len(kernel), layer.kernel_size, padding="same", bias="bias" in own)
                made.weight.data, width = kernel, len(kernel)
                if "bias" in own:
                    made.bias.data = torch.tensor(np.asarray(own["bias"]).copy())
                modules.append(made)
            case nnl.Relu():
                modules.append(layers.ReLU())
            case nnl.Downsample():
                modules.append(layers.AvgPool2d(layer.factor))
            case nnl.Upsample():
                modules.append(layers.Upsample(scale_factor=layer.factor, mode="bilinear", align_corners=False))
            case _:
                raise ValueError(f"no PyTorch module is known for {layer!r}")
    return layers.Sequential(*modules)


class Ours:
    """``train`` as users call it, with a record of every tenth step."""

    def __init__(self, network: Any, fed: Any, y: Any, params: Any) -> None:
        self.arguments = (network, fed, y)
        self.options: dict[str, Any] = {"optimizer": "adam", "params": params, "record_every": 10}

    def steps(self, count: int) -> None:
        nnl.train(*self.arguments, steps=10 * max(1, count // 10), **self.options)


class Torch:
    """The usual loop; the loss is read every tenth step."""

    def __init__(self, torch: Any, network: Any, fed: Any, y: Any, channels_last: bool) -> None:
        layout = torch.channels_last if channels_last else torch.contiguous_format

        def image(values: Any) -> Any:
            return torch.tensor(np.asarray(values).transpose(2, 0, 1)[None].copy()).contiguous(memory_format=layout)

        self.network, self.fed, self.y = network.to(memory_format=layout), image(fed), image(y)
        self.optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def steps(self, count: int) -> None:
        for step in range(10 * max(1, count // 10)):
            self.optimizer.zero_grad(set_to_none=True)
            loss = 0.5 * (self.network(self.fed) - self.y).square().sum()
            loss.backward()
            self.optimizer.step()
            if step % 10 == 9:
                loss.item()


def measure(torch: Any, side: int, width: int, repeats: int) -> dict[str, Any]:
    """Steps per second of all sides, and the ratio of ours to PyTorch's best."""
    clean = np.asarray(nnl.crop(nnl.example_image(256), side), np.float32)
    noisy = np.asarray(nnl.add_noise(clean, 25 / 255), np.float32)
    fed = np.asarray(nnl.noise_input((side, side), 3), np.float32)
    network = nnl.to_flax(nnl.autoencoder(levels=3), width=width, out_channels=3, parameterization="standard")
    params = network.init(jax.random.key(0), fed)
    expected = np.asarray(network.apply(params, fed))
    sides: dict[str, Any] = {"ntk-nonlocal": Ours(network, fed, noisy, params)}
    for name, channels_last in (("torch", False), ("torch channels last", True)):
        theirs = Torch(torch, torch_network(torch, network, params), fed, noisy, channels_last)
        found = theirs.network(theirs.fed).detach().numpy()[0].transpose(1, 2, 0)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * float(np.abs(expected).max()))
        sides[name] = theirs
    begin = time.perf_counter()
    sides["ntk-nonlocal"].steps(10)
    compilation = time.perf_counter() - begin
    counts, best = {}, dict.fromkeys(sides, np.inf)
    for name, runner in sides.items():
        runner.steps(10)
        begin = time.perf_counter()
        runner.steps(10)
        counts[name] = 10 * max(1, int(TURN / (time.perf_counter() - begin)))
    for _ in range(repeats):
        for name, runner in sides.items():
            begin = time.perf_counter()
            runner.steps(counts[name])
            best[name] = min(best[name], (time.perf_counter() - begin) / counts[name])
    rates = {name: 1 / seconds for name, seconds in best.items()}
    ratio = rates["ntk-nonlocal"] / max(rate for name, rate in rates.items() if name != "ntk-nonlocal")
    return {"side": side, "width": width, "steps_per_second": rates, "ratio": ratio, "first_call_seconds": compilation}


def table(stored: dict[str, Any]) -> str:
    """The stored results as Markdown."""
    about = "Made by `experiments/bench_training.py`: autoencoder(levels=3), Adam, one image. Above one: faster here."
    lines = ["# Steps of training per second", "", about, ""]
    versions = stored["environment"]["versions"]
    lines += [f"PyTorch {stored['torch']}, {stored['threads']} threads; jax {versions['jax']}", ""]
    heads = (
        "image",
        "channels",
        "ntk-nonlocal",
        "PyTorch",
        "its channels last",
        "ratio",
        "ratio to its best",
        "first call",
    )
    lines += [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for entry in stored["entries"]:
        found = entry["steps_per_second"]
        rates = " | ".join(f"{rate:.2f}" for rate in (*found.values(), found["ntk-nonlocal"] / found["torch"]))
        side, first = entry["side"], entry["first_call_seconds"]
        lines.append(f"| {side}x{side} | {entry['width']} | {rates} | {entry['ratio']:.2f} | {first:.1f} s |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=int, choices=sorted({side for side, _ in SIZES}), help="one image size")
    parser.add_argument("--repeats", type=int, default=3, help="turns of every side (default: 3)")
    arguments = parser.parse_args()
    try:
        import torch
    except ImportError:
        parser.error("this comparison needs PyTorch: pip install torch")
    entries = {}
    if RESULTS.exists():
        entries = {(entry["side"], entry["width"]): entry for entry in read_json(RESULTS)["entries"]}
    for side, width in SIZES:
        if arguments.only in (None, side):
            entries[side, width] = measure(torch, side, width, arguments.repeats)
            print(entries[side, width], f"load {os.getloadavg()[0]:.1f}", flush=True)
    stored = {
        "entries": [entries[size] for size in SIZES if size in entries],
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "environment": environment(),
    }
    write_json(RESULTS, stored)
    with atomic_file(RESULTS.with_suffix(".md")) as output:
        output.write(table(stored).encode())


if __name__ == "__main__":
    main()
