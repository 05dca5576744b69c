"""How exact every layer is: against formulas written out, against neural-tangents, finite networks and a denoising run.

    python experiments/exactness_table.py [ROW ...]

For every layer a small network that has it, on a noisy image of 4x6 pixels: the largest error of its tangent kernel,
relative to the largest entry, in float64 and float32, against the formulas to 50 digits of ``tests/kernels`` (functions
of one's own by quadrature in float64), and the difference from neural-tangents. The distance of the kernels of finite
networks from it, mean and standard error of 8 seeds, and the exponent with which it falls with the width. The PSNR of
a noisy crop of 24x24 pixels before and at the best step of its trajectory. Writes results/exactness_table.json and
.md beside this script; rows that are stored already are kept.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ntk_nonlocal as nnl
from ntk_nonlocal import (
    Concat,
    Conv,
    Downsample,
    Erf,
    LeakyRelu,
    Normalize,
    Pointwise,
    Rbf,
    Relu,
    Serial,
    Sum,
    Upsample,
)
from ntk_nonlocal.results import atomic_file, environment, read_json, write_json

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "kernels"))
from lag_reference import reference  # noqa: E402

RESULTS = HERE / "results"
SIGMA = 25 / 255
WIDTHS, SEEDS = (64, 256), 8
STEPS = np.unique(np.round(np.logspace(0, 6, 73)).astype(int))
END = (Conv(3), Relu(), Conv(1, 1.0))


def between(*layers: nnl.Layer) -> Serial:
    """Layers behind a first convolution and in front of the last ones."""
    return Serial(Conv(3), *layers, *END)


ROWS: dict[str, Serial] = {
    "Conv with biases": between(Conv(3, bias_std=0.3), Relu()),
    'Conv(weight_std="pytorch")': Serial(Conv(3, "pytorch"), Relu(), Conv(3, "pytorch"), Relu(), Conv(1, "pytorch")),
    'Conv(padding="circular")': Serial(Conv(3, padding="circular"), Relu(), Conv(3, padding="circular"), *END[1:]),
    'Conv(padding="reflect")': Serial(Conv(3, padding="reflect"), Relu(), Conv(3, padding="reflect"), *END[1:]),
    'Conv(padding="reflect", dilation=2)': between(Relu(), Conv(3, padding="reflect", dilation=2), Relu()),
    'Conv(padding="reflect", stride=2)': between(Relu(), Conv(3, padding="reflect", stride=2), Relu(), Upsample(2)),
    "Conv(dilation=2)": between(Relu(), Conv(3, dilation=2), Relu()),
    "Conv(stride=2)": between(Relu(), Conv(3, stride=2), Relu(), Upsample(2)),
    "Conv(channels=0.25)": between(Relu(), Conv(1, channels=0.25), Relu()),
    'Conv(groups="depthwise")': between(Conv(3, 1.0, groups="depthwise"), Conv(1), Relu()),
    "Relu": between(Relu()),
    "LeakyRelu": between(LeakyRelu(0.2)),
    "Erf": between(Erf()),
    "Rbf": between(Rbf(0.7)),
    "Pointwise(gelu)": between(Pointwise(lambda x: jax.nn.gelu(x, approximate=False))),
    "Pointwise(silu)": between(Pointwise(jax.nn.silu)),
    "Pointwise(tanh)": between(Pointwise(jnp.tanh)),
    "Pointwise(softplus)": between(Pointwise(jax.nn.softplus)),
    "Pointwise(sin)": between(Pointwise(jnp.sin)),
    "Normalize": between(Normalize(0.01), Relu()),
    'Downsample("average"), Upsample("bilinear")': between(Relu(), Downsample(2), Conv(3), Relu(), Upsample(2)),
    'Downsample("stride"), Upsample("nearest")': between(
        *(Relu(), Downsample(2, "stride"), Conv(3), Relu(), Upsample(2, "nearest"))
    ),
    'Upsample("zero")': between(Relu(), Downsample(2), Conv(3), Relu(), Upsample(2, "zero")),
    "Concat": between(Relu(), Concat(Serial(), Serial(Conv(3), Relu()))),
    "Sum": between(Relu(), Sum(Conv(1), Serial(Conv(3), Relu(), Conv(3))), Relu()),
    "Sum(Serial(), ...)": between(Sum(Serial(), Serial(Relu(), Conv(3))), Relu()),
    "Sum(Serial(Downsample(2), Upsample(2)), ...)": between(
        Sum(Serial(Downsample(2), Upsample(2)), Serial(Relu(), Conv(3), Normalize(0.1))), Relu()
    ),
}


def noisy_image(height: int, width: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A clean crop of the bundled picture, and with noise; float64."""
    clean = np.asarray(nnl.crop(nnl.example_image(256), max(height, width), center=(60, 112)), np.float64)
    clean = clean[:height, :width]
    return clean, np.asarray(nnl.add_noise(clean, SIGMA, seed=0), np.float64)


def kernel(architecture: Serial, x: np.ndarray[Any, Any], **options: Any) -> np.ndarray[Any, Any]:
    return np.asarray(nnl.tangent_kernel(architecture, x, **options).as_matrix(), np.float64)


def measure(architecture: Serial) -> dict[str, Any]:
    _, x = noisy_image(4, 6)
    exact = reference(architecture, x)["ntk"]
    largest = float(abs(exact).max())
    single = x.astype(np.float32)
    exact_single = reference(architecture, single.astype(np.float64))["ntk"]
    row: dict[str, Any] = {
        "float64": float(abs(kernel(architecture, x) - exact).max() / largest),
        "float32": float(abs(kernel(architecture, single) - exact_single).max() / largest),
    }
    try:
        row["neural_tangents"] = float(abs(kernel(architecture, x, backend="neural-tangents") - exact).max() / largest)
    except NotImplementedError as error:
        row["neural_tangents"] = str(error).partition(": ")[2]
    means, errors = [], []
    for width in WIDTHS:
        network = nnl.to_flax(architecture, width=width, out_channels=1)
        found = []
        for key in jax.random.split(jax.random.key(1), SEEDS):
            own = nnl.empirical_kernel(network, network.init(key, single), single).as_matrix()
            found.append(float(np.linalg.norm(own - exact) / np.linalg.norm(exact)))
        means.append(float(np.mean(found)))
        errors.append(float(np.std(found, ddof=1) / np.sqrt(SEEDS)))
    octaves = np.log(WIDTHS[1] / WIDTHS[0])
    row["distances"], row["distance_errors"] = means, errors
    row["exponent"] = float(np.log(means[1] / means[0]) / octaves)
    row["exponent_error"] = float(
        np.hypot(*(error / mean for error, mean in zip(errors, means, strict=True))) / octaves
    )
    clean, noisy = noisy_image(24, 24)
    values, vectors = np.linalg.eigh(kernel(architecture, noisy))
    share, target = np.clip(values / values[-1], 0, 1), vectors.T @ noisy.reshape(-1, noisy.shape[2])
    outputs = [(vectors @ ((1 - (1 - share) ** int(steps))[:, None] * target)).reshape(clean.shape) for steps in STEPS]
    row["noisy_psnr"] = float(nnl.psnr(noisy, clean))
    row["best_psnr"] = float(max(nnl.psnr(output, clean) for output in outputs))
    return row


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The rows as Markdown."""
    heads = ["layer", "float64", "float32", "neural-tangents", *(f"finite, {width}" for width in WIDTHS)]
    lines = [[*heads, "exponent of the width", "denoising, dB"]]
    lines.append(["---"] * len(lines[0]))
    for name, row in rows.items():
        other = row["neural_tangents"]
        lines.append(
            [
                f"`{name}`",
                f"{row['float64']:.0e}",
                f"{row['float32']:.0e}",
                "has none" if isinstance(other, str) else f"{other:.0e}",
                *(f"{m:.3f} ± {e:.3f}" for m, e in zip(row["distances"], row["distance_errors"], strict=True)),
                f"{row['exponent']:.2f} ± {row['exponent_error']:.2f}",
                f"{row['noisy_psnr']:.1f} → {row['best_psnr']:.1f}",
            ]
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(names: list[str]) -> None:
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        raise SystemExit(f"unknown row {unknown[0]!r}; known: {', '.join(ROWS)}")
    jax.config.update("jax_enable_x64", True)
    path = RESULTS / "exactness_table.json"
    stored = read_json(path)["rows"] if path.exists() else {}
    for name in names or [name for name in ROWS if name not in stored]:
        stored[name] = {**measure(ROWS[name]), "architecture": repr(ROWS[name]), "environment": environment()}
        print(name, stored[name], flush=True)
        _store(path, stored)
    _store(path, stored)


def _store(path: Path, stored: dict[str, Any]) -> None:
    rows = {known: stored[known] for known in ROWS if known in stored}
    write_json(path, {"settings": {"sigma": SIGMA, "widths": list(WIDTHS), "seeds": SEEDS}, "rows": rows})
    with atomic_file(path.with_suffix(".md")) as file:
        file.write(f"# How exact every layer is\n\n{table(rows)}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1:])
