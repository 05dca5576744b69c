"""What float32 costs, stage by stage: the same pipeline in float32 and in float64, on a part of the bundled image.

    python experiments/precision_table.py

writes results/precision_table.json and results/precision_table.md beside this script, and prints the table. Every
figure is the largest or the relative difference from the same computation in float64, on the same noisy pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

import ntk_nonlocal as nnl
from ntk_nonlocal.dynamics import choose_step, monte_carlo_sure
from ntk_nonlocal.results import atomic_file, environment, write_json

SIZE = 32
SIGMA = 25 / 255
STEPS = [1, 10, 100, 1000, 10_000]
ARCHITECTURES = ("vanilla_cnn:kernel_size=7", "cnn:depth=3", "autoencoder:levels=2")
RESULTS = Path(__file__).parent / "results"


def pipeline(spelling: str, noisy: NDArray[Any], clean: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """All that is compared, in the floating-point type of ``noisy``."""
    architecture = nnl.parse_architecture(spelling)

    def filtered(image: NDArray[Any]) -> Any:
        kernel = nnl.tangent_kernel(architecture, image, memory_plan="matrix")
        return nnl.gradient_descent(kernel, image, STEPS)

    kernel = nnl.tangent_kernel(architecture, noisy, memory_plan="matrix")
    probe = np.random.default_rng(1).choice([-1.0, 1.0], (SIZE**2, 3))
    estimates, risk = monte_carlo_sure(filtered, noisy, SIGMA, seed=0)
    return {
        "diagonal": np.asarray(kernel.diagonal(), np.float64),
        "product": np.asarray(kernel @ probe, np.float64),
        "eigenvalues": np.asarray(nnl.eigenpairs(kernel, 8).values, np.float64),
        "estimates": estimates.astype(np.float64),
        "risk": risk.values,
        "step": np.asarray(choose_step(STEPS, risk)),
        "psnr": np.asarray([nnl.psnr(estimate, clean) for estimate in estimates]),
    }


def difference(single: dict[str, NDArray[Any]], double: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """One row of the table."""

    def relative(name: str) -> float:
        return float(np.linalg.norm(single[name] - double[name]) / np.linalg.norm(double[name]))

    moved, sizes = (
        np.linalg.norm(estimates.reshape(len(STEPS), -1), axis=1)
        for estimates in (single["estimates"] - double["estimates"], double["estimates"])
    )
    return {
        "diagonal": float(np.max(np.abs(single["diagonal"] / double["diagonal"] - 1))),
        "product": relative("product"),
        "eigenvalues": float(np.max(np.abs(single["eigenvalues"] / double["eigenvalues"] - 1))),
        "estimates": dict(zip(map(str, STEPS), (moved / sizes).tolist(), strict=True)),
        "risk": float(np.max(np.abs(single["risk"] - double["risk"]) / np.abs(double["risk"]))),
        "step_float32": int(single["step"]),
        "step_float64": int(double["step"]),
        "psnr": float(np.max(np.abs(single["psnr"] - double["psnr"]))),
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The rows as Markdown."""
    heads = ["architecture", "diagonal", "product", "8 eigenvalues", *(f"step {step}" for step in STEPS)]
    heads += ["SURE", "its step, float32 / float64", "PSNR [dB]"]
    lines = [heads, ["---"] * len(heads)]
    for name, row in rows.items():
        numbers = [row["diagonal"], row["product"], row["eigenvalues"], *row["estimates"].values(), row["risk"]]
        chosen = f"{row['step_float32']} / {row['step_float64']}"
        lines.append([f"`{name}`", *(f"{number:.1e}" for number in numbers), chosen, f"{row['psnr']:.1e}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main() -> None:
    """Runs everything, in float32 first, for 64-bit types stay on."""
    clean = nnl.crop(nnl.example_image(256), SIZE, center=(60, 112))
    noisy = nnl.add_noise(clean, SIGMA).astype(np.float32)
    single = {name: pipeline(name, noisy, clean) for name in ARCHITECTURES}
    facts = environment()
    with jax.enable_x64(True):
        double = {name: pipeline(name, noisy.astype(np.float64), clean) for name in ARCHITECTURES}
    rows = {name: difference(single[name], double[name]) for name in ARCHITECTURES}
    settings = {"size": SIZE, "sigma": SIGMA, "steps": STEPS, "window": None}
    write_json(RESULTS / "precision_table.json", {"settings": settings, "rows": rows, "environment": facts})
    text = table(rows)
    with atomic_file(RESULTS / "precision_table.md") as file:
        file.write(text.encode())
    print(text)


if __name__ == "__main__":
    main()
