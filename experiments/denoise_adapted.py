"""A denoiser made of Adam's features: a few hundred steps, the kernel frozen there, the rest in closed form.

    python experiments/denoise_adapted.py --data FOLDER      images of the colour set; without it the bundled image
    python experiments/denoise_adapted.py --draw             only the table, from the stored results

Crops of 64x64 from the middle, sigma 25 of 255, three draws of noise and weights (one at 64 channels). Beside it the
method "adam". A network of that method (autoencoder with 3 levels) is trained for 300 steps; gradient flow from zero
with its kernel, all colours together, is stopped where the risk of the whole, training included, is least, by one
perturbed picture (`monte_carlo_sure`). With "P" the kernel has Adam's preconditioner. The method was to be shipped if
it beat "adam" by 0.5 dB, with an interval above zero, in no more processor time. What is stored is not run again.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _by_picture import Entry, Picture, run

from ntk_nonlocal.architecture import autoencoder
from ntk_nonlocal.denoisers import denoise
from ntk_nonlocal.dynamics import monte_carlo_sure
from ntk_nonlocal.images import add_noise, psnr
from ntk_nonlocal.networks import noise_input, preconditioner, to_flax, train
from ntk_nonlocal.reproduce.measures.joint import joint_flow, joint_kernel
from ntk_nonlocal.reproduce.statistics import mean
from ntk_nonlocal.results import environment

RESULTS = Path(__file__).parent / "results" / "denoise_adapted.json"
SIDE, SIGMA, FROZEN_AT = 64, 25 / 255, 300
DRAWS = {32: 3, 64: 1}  # by channels
STEPS = {32: 1000, 64: 2000}  # of the method "adam", by channels
KERNELS = ("kernel", "kernel, P")
TIMES = np.geomspace(1.0, 1e6, 80)  # in units of 1 / lambda_max
WITH_P = (32,)
CASES = [f"{width} channels, draw {draw}" for width, draws in DRAWS.items() for draw in range(draws)]


def measure(clean: Picture, case: str) -> Entry:
    """PSNR in dB and processor seconds of the method "adam" and of kernels frozen on its way."""
    width, draw = (int(words.split()[index]) for words, index in zip(case.split(","), (0, 1), strict=True))
    noisy = add_noise(clean, SIGMA, seed=draw).astype(np.float32)
    begin = time.process_time()
    adam = denoise(noisy, SIGMA, "adam", width=width, steps=STEPS[width], seed=draw)
    entry: Entry = {"adam": psnr(adam.image, clean), "adam, seconds": time.process_time() - begin}
    for name in KERNELS:
        if name.endswith("P") and width not in WITH_P:
            continue
        begin = time.process_time()
        denoiser, stopped = _adapted(width, draw, name.endswith("P"))
        estimates, risk = monte_carlo_sure(denoiser, noisy, SIGMA, seed=draw)
        entry[f"{name}, seconds"] = time.process_time() - begin
        quality = [psnr(estimate, clean) for estimate in estimates]
        entry["adam at the step"] = psnr(stopped[0], clean)
        entry[name] = quality[int(np.argmin(risk.values))]
        entry[f"{name}, best"] = max(quality)
        entry[f"{name}, rising"] = bool(np.argmax(quality) == len(quality) - 1)
    return entry | {"environment": environment()}


def _adapted(width: int, seed: int, preconditioned: bool) -> tuple[Callable[[Any], Any], list[Any]]:
    """From a noisy picture to the closed form at all times; and a list of the outputs at which kernels were frozen."""
    stopped: list[Any] = []

    def denoiser(noisy: Any) -> Any:
        network = to_flax(autoencoder(levels=3, kernel_size=3), width, noisy.shape[2], "standard")
        fed = noise_input(noisy.shape[:2], seed=seed)
        result = train(network, fed, noisy, optimizer="adam", steps=FROZEN_AT, seed=seed)
        stopped.append(result.output)
        divisor = preconditioner(result) if preconditioned else None
        outputs, _ = joint_flow(joint_kernel(network, result.params, fed, divisor), noisy, TIMES, 400)
        return outputs

    return denoiser, stopped


def table(entries: list[Entry]) -> str:
    """The stored results as Markdown: means over the draws, and the difference from "adam"."""
    lines = ["# A denoiser made of Adam's features", "", *(__doc__ or "").strip().split("\n\n")[-1:], ""]
    lines += ["Mean PSNR over the draws in dB; the interval is Student's, of the means over the draws of the pictures."]
    for width, steps in STEPS.items():
        own = [entry for entry in entries if entry["case"].startswith(f"{width} ")]
        pictures = list(dict.fromkeys(entry["image"] for entry in own))
        draws = len({entry["case"] for entry in own})
        lines += ["", f"## {width} channels, {draws} draw{'s' * (draws > 1)}", ""]
        lines += [f"| | {' | '.join(pictures)} | above adam | processor seconds | rising |"]
        lines += ["| --- " * (len(pictures) + 4) + "|"]
        names = {"adam": f'method "adam", {steps} steps', "adam at the step": f"Adam at step {FROZEN_AT}"}
        for name in KERNELS:
            names |= {name: f"{name}: by the risk", f"{name}, best": f"{name}: at its best"}
        for name, label in names.items():
            values = defaultdict(list)
            for entry in own:
                if name in entry:
                    values[entry["image"]].append((entry[name], entry[name] - entry["adam"]))
            if not values:
                continue
            cells = [f"{np.mean([value for value, _ in values[picture]]):.1f}" for picture in pictures]
            above = mean([float(np.mean([gain for _, gain in values[picture]])) for picture in pictures])
            seconds = [entry[f"{name}, seconds"] for entry in own if f"{name}, seconds" in entry]
            rising = [entry[f"{name}, rising"] for entry in own if f"{name}, rising" in entry]
            cells += ["" if name == "adam" else str(above), f"{np.mean(seconds):.0f}" if seconds else ""]
            cells += [f"{sum(rising)} of {len(rising)}" if rising else ""]
            lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run(__doc__, RESULTS, SIDE, CASES, measure, table)
