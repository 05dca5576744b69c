"""What ``train`` gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .finite import Params
from .weights import FloatArray, WeightChange

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class DivergenceError(ArithmeticError):
    """Training left the finite numbers, or gradient descent raised its loss a hundredfold. Has ``step``."""

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


@dataclass(frozen=True)
class History:
    """What was recorded, one entry per recorded step.

    ``loss`` is 1/2 ||z - y||^2 over all pixels and channels; ``psnr`` is in dB against the clean image with peak 1, of
    the output clipped to [0, 1] (None without a clean image); ``weight_change`` has arrays (entries, convolutions).
    """

    steps: np.ndarray[Any, np.dtype[np.int64]]
    loss: FloatArray
    psnr: FloatArray | None
    weight_change: WeightChange


@dataclass(frozen=True, repr=False)
class TrainingResult:
    """A trained network: ``output`` (H, W, C) after the last step, ``outputs`` at the steps asked for.

    ``params`` are the weights of ``output``: where the optimizer is judged by an average of those that it steps from
    (schedule_free) or by slower ones (lookahead), these; so are ``outputs`` and ``history``. ``optimizer_params``, for
    all others ``params`` too, and ``optimizer_state`` are where the optimizer itself stands, as optax has it.
    ``learning_rate`` is the step size per unit of gradient (None for an optimizer that was handed in, or that has
    none), ``seconds`` counts all parts of a resumed run, compilation included.
    """

    output: FloatArray
    outputs: dict[int, FloatArray]
    params: Params
    initial_params: Params
    optimizer_params: Params
    optimizer_state: Any
    history: History
    learning_rate: float | None
    seconds: float
    settings: dict[str, Any]

    def __repr__(self) -> str:
        psnr = "" if self.history.psnr is None else f", {self.history.psnr[-1]:.2f} dB"
        return (
            f"TrainingResult({self.settings['optimizer']}, {self.history.steps[-1]} steps in {self.seconds:.1f} s, "
            f"loss {self.history.loss[0]:.4g} -> {self.history.loss[-1]:.4g}{psnr})"
        )

    def plot(self) -> Figure:
        """Loss, and PSNR where a clean image was given, against steps, as a matplotlib figure."""
        from ntk_nonlocal import plotting

        curves = {"loss": self.history.loss} | ({} if self.history.psnr is None else {"PSNR [dB]": self.history.psnr})
        with plotting.style():
            figure = plotting.new_figure(4.2 * len(curves), 3.0)
            for axes, (name, values) in zip(
                figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True
            ):
                axes.plot(self.history.steps, values, color=plotting.BLUE)
                axes.set_xscale("symlog", linthresh=1)
                axes.set_yscale("log" if name == "loss" else "linear")
                axes.set_xlabel("step")
                axes.set_ylabel(name)
        return figure
