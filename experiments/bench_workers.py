"""Trainings one after another on all cores, and side by side on one core each: seconds, one run, as a ratio.

    python experiments/bench_workers.py                   about four minutes on 2 cores

What is timed is what ``ntk-nonlocal reproduce --workers N`` does: N processes complete the same trainings, eight seeds
of the quick table's autoencoder, and eight of the full one's for fewer steps. Both sides take turns; the lesser of two
counts. Compiled programs come from a cache that a turn beforehand has filled.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ntk_nonlocal.reproduce import Pictures, Store, helpers, most_workers
from ntk_nonlocal.reproduce.measures.training import Training, training
from ntk_nonlocal.reproduce.parts import Part
from ntk_nonlocal.results import atomic_file, environment, write_json

RESULTS = Path(__file__).parent / "results" / "bench_workers.json"
CASES = {64: ("autoencoder:levels=2", 250), 128: ("autoencoder:levels=3", 60)}  # side: architecture, steps
SEEDS, TURNS = 8, 2


def complete(side: int, workers: int, folder: Path) -> None:
    """What a turn does, in a process of its own."""
    architecture, steps = CASES[side]
    pictures = Pictures()
    picture = pictures.picture("smooth", side)
    parts = [
        Part(str(seed), training, Training(picture, architecture, "image", "adam", 32, steps, seed, learning_rate=1e-3))
        for seed in range(SEEDS)
    ]
    store = Store(folder, pictures)
    with helpers(workers, store, {"bench": parts}, quiet=True):
        store.complete(parts)


def turn(side: int, workers: int, cache: Path) -> float:
    """Seconds of one turn."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--turn", str(side), str(workers), folder]
        cached = os.environ | {
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
        }
        started = time.perf_counter()
        subprocess.run(command, check=True, env=cached)
        return time.perf_counter() - started


def table(entries: list[dict[str, float]]) -> str:
    """The results as Markdown."""
    lines = [
        "# Trainings side by side",
        "",
        "Made by `experiments/bench_workers.py`. Above one: faster side by side.",
        "",
    ]
    lines += ["| image | one after another | two processes, one core each | ratio |", "| --- | --- | --- | --- |"]
    for entry in entries:
        side, one, two = int(entry["side"]), entry["one"], entry["two"]
        lines.append(f"| {side}x{side} | {one:.1f} s | {two:.1f} s | {one / two:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turn", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.turn:
        side, workers, folder = arguments.turn
        complete(int(side), int(workers), Path(folder))
        return
    if most_workers() < 2:
        parser.error("there is one core; this needs two")
    entries = []
    with tempfile.TemporaryDirectory() as cache:
        for side in CASES:
            seconds: dict[int, list[float]] = {1: [], 2: []}
            for round_ in range(TURNS + 1):
                for workers, found in seconds.items():
                    found.append(turn(side, workers, Path(cache) / str(workers)))
                    print(f"{side}x{side}, {workers} workers: {found[-1]:.1f} s", flush=True)
                    if round_ == 0:
                        found.clear()
            entries.append({"side": side, "one": min(seconds[1]), "two": min(seconds[2])})
    write_json(RESULTS, {"entries": entries, "seeds": SEEDS, "environment": environment()})
    with atomic_file(RESULTS.with_suffix(".md")) as output:
        output.write(table(entries).encode())


if __name__ == "__main__":
    main()
