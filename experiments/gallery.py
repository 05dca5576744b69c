"""Ten networks as people write them, and what each does to its filter.

    python experiments/gallery.py [NAME ...]

For every network: the exact tangent kernel of a noisy crop, all eigenvalues of it, the filter after every number of
steps of gradient descent, the weights of pixels at the best step, and a finite network of 64 channels trained beside
the theory. Writes results/gallery.json and ../figures/gallery/NAME.png beside this script; what is stored of other
networks is kept. Crops of the pictures that scikit-image ships, noise of 25 grey levels.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

import ntk_nonlocal as nnl
from ntk_nonlocal import (
    Concat,
    Conv,
    Downsample,
    LeakyRelu,
    Normalize,
    Pointwise,
    Relu,
    Serial,
    Sum,
    Upsample,
    plotting,
)
from ntk_nonlocal.reproduce import Pictures
from ntk_nonlocal.results import environment, read_json, write_json

SIZE, SIGMA, WIDTH = 48, 25 / 255, 64
CROPS = {"astronaut": "smooth", "grass": "texture"}  # by the roles that they play
STEPS = np.unique(np.round(np.logspace(0, 6, 73)).astype(int))
TRAINED = 200  # steps of the finite network, at half of 1 / lambda_max of the exact kernel
PIXELS = ((15, 27), (33, 12))  # whose weights are drawn
BESIDE = 4  # likeness is judged beyond this distance, where all filters could as well be zero
HERE = Path(__file__).parent
RESULTS, FIGURES = HERE / "results" / "gallery.json", HERE.parent / "figures" / "gallery"

gelu, silu = Pointwise(jax.nn.gelu), Pointwise(jax.nn.silu)


def plain() -> nnl.Layer:
    """Three 3x3 convolutions with ReLU: what the others are compared with."""
    return nnl.cnn(depth=3)


def patches() -> nnl.Layer:
    """The paper's non-local filter: one hidden layer of 11x11 filters."""
    return nnl.vanilla_cnn(kernel_size=11)


def resnet() -> nnl.Layer:
    """A residual network before its activation (He et al. 2016), with LayerNorm and GELU."""
    block = Serial(Normalize(), gelu, Conv(3), Normalize(), gelu, Conv(3))
    return Serial(Conv(3), *[Sum(Serial(), block) for _ in range(3)], Normalize(), gelu, Conv(1, 1.0))


def convnext() -> nnl.Layer:
    """Blocks of ConvNeXt (Liu et al. 2022): 7x7 by channel, LayerNorm, four times the channels with GELU."""
    block = Serial(Conv(7, 1.0, groups="depthwise"), Normalize(), Conv(1, channels=4), gelu, Conv(1))
    return Serial(Conv(3), *[Sum(Serial(), block) for _ in range(3)], Conv(1, 1.0))


def context() -> nnl.Layer:
    """A context network (Yu and Koltun 2016): 3x3 filters with dilations of 1, 2, 4 and 8."""
    stages = [layer for dilation in (1, 2, 4, 8, 1) for layer in (Conv(3, dilation=dilation), Relu())]
    return Serial(*stages, Conv(1, 1.0))


def sines() -> nnl.Layer:
    """Sines in place of ReLU, as in SIREN (Sitzmann et al. 2020), on patches in place of coordinates."""
    sine = Pointwise(lambda x: jnp.sin(3 * x))
    return Serial(Conv(3, 1.0), sine, Conv(3, 1.0), sine, Conv(3, 1.0), sine, Conv(1, 1.0))


def unet_silu() -> nnl.Layer:
    """A U-Net of two levels with SiLU and LayerNorm, as in diffusion models."""
    step = (Conv(3), Normalize(), silu)
    inner = Serial(Downsample(2), *step, Upsample(2))
    outer = Serial(Downsample(2), *step, Concat(Serial(), inner), *step, Upsample(2))
    return Serial(*step, Concat(Serial(), outer), *step, Conv(1, 1.0))


def image_prior() -> nnl.Layer:
    """The network of the deep image prior with three levels, its narrow skips, strides and reflected borders."""
    return nnl.dip(levels=3, skip=4, padding="reflect")


def transposed() -> nnl.Layer:
    """Strides on the way down and transposed convolutions on the way up, which older generators were made of."""
    down = [layer for _ in range(2) for layer in (Conv(3, stride=2), LeakyRelu(0.2))]
    up = [layer for _ in range(2) for layer in (Upsample(2, "zero"), Conv(5, 2.8), LeakyRelu(0.2))]
    return Serial(*down, *up, Conv(1, 1.0))


def inception() -> nnl.Layer:
    """Filters of several sizes side by side (Szegedy et al. 2015)."""

    def mixed() -> nnl.Layer:
        return Concat(*(Serial(Conv(size, channels=0.25), Relu()) for size in (1, 3, 5, 7)))

    return Serial(mixed(), mixed(), Conv(1, 1.0))


NETWORKS: dict[str, Callable[[], nnl.Layer]] = {
    build.__name__: build
    for build in (
        *(plain, patches, resnet, convnext, context),
        *(sines, unet_silu, image_prior, transposed, inception),
    )
}

Array = NDArray[np.float64]


def distances() -> Array:
    """Between all pairs of pixels, (SIZE^2, SIZE^2)."""
    places = np.indices((SIZE, SIZE)).reshape(2, -1).T
    return np.linalg.norm(places[:, None] - places, axis=2)


def unlikeness(clean: Array) -> Array:
    """Between the clean 7x7 patches of all pairs of pixels."""
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(clean, [(3, 3), (3, 3), (0, 0)], mode="reflect"), (7, 7, 1)
    )
    rows = windows.reshape(SIZE**2, -1)
    squares = np.square(rows).sum(1)
    return squares[:, None] + squares - 2 * rows @ rows.T


def radius(weights: Array, far: Array) -> float:
    """Within how many pixels half of the sum of a pixel's absolute weights lies; the median over all pixels."""
    order = np.argsort(far, axis=1, kind="stable")
    sums = np.cumsum(np.take_along_axis(np.abs(weights), order, 1), 1)
    half = np.argmax(sums >= sums[:, -1:] / 2, axis=1)
    return float(np.median(np.take_along_axis(far, order, 1)[np.arange(len(far)), half]))


def selectivity(weights: Array, unlike: Array, far: Array) -> float:
    """Rank correlation of a pixel's weights with the likeness of patches, beyond its surroundings; mean over pixels."""
    found = []
    for row in range(0, SIZE**2, 7):
        beyond = far[row] > BESIDE
        ranks = [np.argsort(np.argsort(values[beyond])) for values in (weights[row], -unlike[row])]
        found.append(np.corrcoef(ranks[0], ranks[1])[0, 1])
    return float(np.mean(found))


def measure(name: str, crop: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """One network on one crop: numbers, and what is drawn."""
    pictures = Pictures()
    picture = pictures.picture(CROPS[crop], SIZE, SIGMA)  # type: ignore[arg-type]
    clean, noisy = pictures.clean(picture), pictures.noisy(picture)
    architecture = NETWORKS[name]()
    start = time.process_time()
    kernel = np.asarray(nnl.tangent_kernel(architecture, noisy).as_matrix(), np.float64)
    seconds = time.process_time() - start
    values, vectors = np.linalg.eigh(kernel)
    share = np.clip(values / values[-1], 0, 1)
    target = vectors.T @ noisy.reshape(-1, 3)

    def kept(steps: int, rate: float = 1.0) -> Array:
        return 1 - (1 - rate * share) ** steps

    def filtered(steps: int, rate: float = 1.0) -> Array:
        return (vectors @ (kept(steps, rate)[:, None] * target)).reshape(SIZE, SIZE, 3)

    curve = np.array([nnl.psnr(filtered(int(steps)), clean) for steps in STEPS])
    best = int(STEPS[curve.argmax()])
    weights = (vectors * kept(best)) @ vectors.T
    far = distances()
    network = nnl.to_flax(architecture, width=WIDTH, centered=True)
    rate = 0.5 / values[-1]
    trained = nnl.train(network, noisy, noisy, steps=TRAINED, learning_rate=rate, keep_outputs=[TRAINED])
    numbers = {
        "noisy": float(nnl.psnr(noisy, clean)),
        "best": float(curve.max()),
        "best_step": best,
        "freedom": float(kept(best).mean()),
        "radius": radius(weights, far),
        "selectivity": selectivity(weights, unlikeness(clean), far),
        "theory": float(nnl.psnr(filtered(TRAINED, 0.5), clean)),
        "network": float(nnl.psnr(trained.outputs[TRAINED], clean)),
        "kernel_cpu_seconds": seconds,
    }
    rows = {f"weights{i}": weights[y * SIZE + x].reshape(SIZE, SIZE) for i, (y, x) in enumerate(PIXELS)}
    return numbers, {"clean": clean, "noisy": noisy, "output": filtered(best), "curve": curve, **rows}


def draw(name: str, drawn: dict[str, dict[str, Array]], numbers: dict[str, Any]) -> None:
    """Weights of two pixels and the output of both crops, and the curves."""
    with plotting.style():
        figure = plotting.new_figure(9.6, 4.1)
        grid = figure.add_gridspec(2, 4, width_ratios=(1, 1, 1, 1.45))
        for row, (crop, arrays) in enumerate(drawn.items()):
            for index, pixel in enumerate(PIXELS):
                title = "weights of a pixel" if row == 0 and index == 0 else "of another" if row == 0 else ""
                axes = figure.add_subplot(grid[row, index])
                plotting.show_weights(axes, arrays["clean"], arrays[f"weights{index}"], pixel, title)
            found = numbers[crop]
            axes = figure.add_subplot(grid[row, 2])
            below = f"{found['best']:.1f} dB after {plotting.step_text(found['best_step'], int(STEPS[-1]))} steps"
            plotting.show_image(axes, arrays["output"], "output at the best step" if row == 0 else "", below)
        axes = figure.add_subplot(grid[:, 3])
        for colour, (crop, arrays) in zip((plotting.BLUE, plotting.ORANGE), drawn.items(), strict=True):
            axes.semilogx(STEPS, arrays["curve"], color=colour, label=crop)
            axes.axhline(numbers[crop]["noisy"], color=colour, ls=":", lw=1)
        axes.set_xlabel("steps of gradient descent")
        axes.set_title("PSNR [dB] (dotted: the noisy crop)", fontsize=9)
        axes.legend(loc="lower right")
        FIGURES.mkdir(exist_ok=True)
        plotting.save_figure(figure, FIGURES / f"{name}.png", small=True)


def main(names: list[str]) -> None:
    unknown = [name for name in names if name not in NETWORKS]
    if unknown:
        raise SystemExit(f"unknown network {unknown[0]!r}; known: {', '.join(NETWORKS)}")
    stored = read_json(RESULTS)["networks"] if RESULTS.exists() else {}
    for name in names or NETWORKS:
        found, drawn = {}, {}
        for crop in CROPS:
            found[crop], drawn[crop] = measure(name, crop)
            print(name, crop, {key: round(value, 3) for key, value in found[crop].items()}, flush=True)
        draw(name, drawn, found)
        stored[name] = {"crops": found, "environment": environment()}
        kept = {name: stored[name] for name in NETWORKS if name in stored}
        settings = {"size": SIZE, "sigma": SIGMA, "width": WIDTH, "trained": TRAINED, "last_step": int(STEPS[-1])}
        write_json(RESULTS, {"settings": settings, "networks": kept})


if __name__ == "__main__":
    main(sys.argv[1:])
