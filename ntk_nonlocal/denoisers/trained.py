"""Finite networks trained on the noisy image itself, as denoisers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntk_nonlocal.architecture import Layer, as_serial, autoencoder, divisor, output_signal
from ntk_nonlocal.networks import noise_input, to_flax, train

Image = NDArray[Any]

_KEPT_OUTPUTS = 100


_AVERAGED_SHARE = 0.2


@dataclass(frozen=True)
class Trained:
    """What a trained network gives."""

    image: Image
    step: int
    network: str
    settings: dict[str, Any]


def trained(
    noisy: Image,
    sigma: float,
    optimizer: str,
    architecture: Layer | None,
    width: int,
    steps: int,
    seed: int,
    report: Callable[[float], None],
) -> Trained:
    """A finite network trained on the image itself, stopped where its residual falls to sigma (Morozov 1966).

    Gradient descent is fed the noisy image, Adam fixed noise, and its outputs over the last fifth before the stop are
    averaged. The image is divided by its largest absolute value, so that its scale does not matter, and mirrored at its
    lower and right border until the architecture fits it.

    Raises:
      ValueError: an architecture that fits no padded image.
    """

    unit = float(np.abs(noisy).max()) or 1.0
    noisy, sigma = noisy / unit, sigma / unit
    height, columns, channels = noisy.shape
    body = as_serial(architecture or autoencoder(levels=3, kernel_size=3))
    padded = _pad(np.asarray(noisy, np.float32), body)
    network = to_flax(body, width=width, out_channels=channels, parameterization="standard")
    fed = padded if optimizer == "gd" else noise_input(padded.shape[:2], seed=seed)
    kept = sorted({round(share * steps) for share in np.linspace(0, 1, _KEPT_OUTPUTS + 1)} - {0})
    result = train(
        network,
        fed,
        padded,
        optimizer="adam" if optimizer == "adam" else "gd",
        steps=steps,
        seed=seed,
        keep_outputs=kept,
        progress=lambda step, total, loss: report(step / total),
    )
    residuals = [float(np.mean((result.outputs[step] - padded) ** 2)) for step in kept]
    stop = next((step for step, residual in zip(kept, residuals, strict=True) if residual <= sigma**2), kept[-1])
    first = stop if optimizer == "gd" else (1 - _AVERAGED_SHARE) * stop
    averaged = [result.outputs[step] for step in kept if first <= step <= stop]
    found = unit * np.mean(averaged, axis=0)[:height, :columns]
    settings = {"architecture": repr(body), "width": width, "steps": steps, "averaged": len(averaged)}
    return Trained(found, stop, f"{network!r} trained by {optimizer}", settings)


def _pad(image: NDArray[np.float32], body: Layer) -> NDArray[np.float32]:
    """The image mirrored at its end until height and width are divisible as the architecture asks.

    Raises:
      ValueError: more than the image itself would have to be added, or the architecture does not fit even then.
    """
    factor = divisor(body)
    extra = [(-length) % factor for length in image.shape[:2]]
    if extra[0] >= image.shape[0] or extra[1] >= image.shape[1]:
        raise ValueError(
            f"the architecture lowers the resolution by {factor}, too much for an image of "
            f"{image.shape[0]}x{image.shape[1]} pixels; take fewer levels"
        )
    padded = np.pad(image, ((0, extra[0]), (0, extra[1]), (0, 0)), mode="symmetric")
    output_signal(body, padded.shape[:2])
    return padded
