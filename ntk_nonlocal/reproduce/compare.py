"""Trained networks beside their infinite-width limit on one image: the comparison the paper is about.

For both network inputs, the noisy image and iid noise: the exact tangent kernel and the trajectory of gradient descent
that it predicts (Tachella, Tang and Davies 2021, the twicing iteration), a finite network trained by gradient descent
in the "ntk" parametrisation with the same step size relative to 1 / lambda_max, and the same function trained by Adam
(or another optimizer) in the "standard" parametrisation. All three start from the same output, that of the finite
network as it was drawn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ntk_nonlocal import plotting
from ntk_nonlocal.architecture import Layer, as_serial, autoencoder, output_signal
from ntk_nonlocal.checks import choice, told
from ntk_nonlocal.dynamics import trajectory
from ntk_nonlocal.images import add_noise, as_image, check_sigma, psnr
from ntk_nonlocal.kernels import tangent_kernel
from ntk_nonlocal.linalg import check_step_size, eigenpairs, leading_eigenvectors
from ntk_nonlocal.networks import FlaxNetwork, NamedOptimizer, Params, noise_input, parse_optimizer, to_flax, train
from ntk_nonlocal.operators import DenseOperator, LinearOperator
from ntk_nonlocal.results import environment, plain, write_arrays, write_json

from .compare_figures import DESCENT, DRAWINGS, INPUTS, method_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Input = Literal["image", "noise"]
Progress = Callable[[float], None]

# Up to this many pixels the kernel is held as a matrix (400 MB), which makes its many products cheap.
_DENSE_PIXELS = 10_000
_EIGENVECTORS = 3
_LONGEST = 10**6


@dataclass(frozen=True)
class CompareSettings:
    """What is compared.

    Attributes:
      architecture: the network's description.
      sigma: standard deviation of the noise that is added, on the [0, 1] scale.
      width: channels of the finite networks.
      steps: training steps of both networks.
      step_size: of gradient descent, relative to 1 / lambda_max of the network's own kernel; the theory's is relative
        to that of the exact one. Below 2.
      optimizer: of the other network, by its name and with its settings (``parse_optimizer``); no gradient descent
        without momentum, which is there already.
      noise_channels, noise_scale: channels and standard deviation of the iid noise input.
      seed: of the image's noise; the noise input takes seed + 1, the networks' parameters seed.
    """

    architecture: Layer = field(default_factory=lambda: autoencoder(levels=2))
    sigma: float = 25 / 255
    width: int = 64
    steps: int = 1000
    step_size: float = 0.5
    optimizer: str = "adam"
    noise_channels: int = 32
    noise_scale: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        check_sigma(self.sigma)
        check_step_size(self.step_size)
        for name, value, least in (
            ("width", self.width, 1),
            ("steps", self.steps, 1),
            ("noise_channels", self.noise_channels, 1),
            ("seed", self.seed, 0),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _LONGEST:
                raise ValueError(f"{name} must be an integer in {least}..{_LONGEST}, got {told(value)}")
        if parse_optimizer(self.optimizer).name == DESCENT:
            raise ValueError(f"{DESCENT} is compared in any case; choose another optimizer beside it")
        if not 0 < self.noise_scale < float("inf"):
            raise ValueError(f"noise_scale must be a finite number above 0, got {told(self.noise_scale)}")

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**self.__dict__, "architecture": repr(self.architecture)}


@dataclass(repr=False)
class Comparison:
    """A comparison that is being made: ``facts`` (JSON values) and ``arrays`` hold all that is finished.

    Args:
      clean: the clean image, (H, W, C) with values in [0, 1].
      settings: see :class:`CompareSettings`.

    Raises:
      ValueError: an image that does not fit the architecture.
    """

    clean: ArrayLike
    settings: CompareSettings = field(default_factory=CompareSettings)
    facts: dict[str, Any] = field(init=False)
    arrays: dict[str, NDArray[Any]] = field(init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        clean = as_image(self.clean, dtype=np.float32)
        height, width, channels = clean.shape
        output = output_signal(as_serial(settings.architecture), (height, width)).size
        if output != (height, width):
            raise ValueError(f"the network turns {height}x{width} pixels into {output}; compare needs the same size")
        to_flax(settings.architecture, settings.width, channels)  # it has a finite meaning
        noisy = add_noise(clean, settings.sigma, seed=settings.seed)
        pixels = _chosen_pixels(height, width)
        self.arrays = {"clean": clean, "noisy": noisy, "pixels": np.asarray(pixels)}
        self.facts = {
            "complete": False,
            "settings": settings.as_dict(),
            "image_shape": clean.shape,
            "noisy_psnr": psnr(noisy, clean),
            "trained": [DESCENT, parse_optimizer(settings.optimizer).name],
            "inputs": {},
        }

    def stages(self) -> Iterator[tuple[str, float, Callable[[Progress], None]]]:
        """The work in order: (what it is, how long it takes compared with the others, the function that does it)."""
        for name in INPUTS:
            one = _OneInput(self, name)
            label = "noisy image" if name == "image" else "iid noise"
            yield f"exact kernel, input {label}", 8.0, one.kernel
            yield f"theory, input {label}", 4.0, one.theory
            for method, training in zip(self.facts["trained"], (one.gradient_descent, one.other), strict=True):
                yield f"{method_name(method)}, input {label}", 20.0, training
        yield "environment", 0.1, self._finish

    def save(self, folder: Path) -> None:
        """Writes arrays.npz and result.json, with "complete": false while stages are missing."""
        write_arrays(folder / "arrays.npz", **self.arrays)
        write_json(folder / "result.json", self.facts)

    def __repr__(self) -> str:
        height, width = self.arrays["clean"].shape[:2]
        finished = [f"{name}: {', '.join(found)}" for name, found in self.facts["inputs"].items()]
        state = "complete" if self.facts["complete"] else f"finished: {'; '.join(finished) or 'nothing'}"
        return f"Comparison({height}x{width} image, {self.settings.architecture!r}, {state})"

    def plot(self, name: Literal["outputs", "psnr", "kernel", "eigenvectors"] = "outputs") -> Figure:
        """One of the figures that ``ntk-nonlocal compare`` draws, as a matplotlib figure.

        Raises:
          ValueError: an unknown figure, or a comparison that is not complete.
        """
        choice("name", name, DRAWINGS)
        if not self.facts["complete"]:
            raise ValueError("the comparison is not complete; run all of its stages() first")
        with plotting.style():
            return DRAWINGS[name](plain(self.facts), self.arrays)

    def _finish(self, progress: Progress) -> None:
        self.facts |= {"environment": environment(), "complete": True}


class _OneInput:
    """The stages for one network input; the exact kernel is forgotten as soon as it is not needed any more."""

    def __init__(self, comparison: Comparison, name: Input) -> None:
        self.settings, self.name = comparison.settings, name
        self.arrays, self.all_facts = comparison.arrays, comparison.facts["inputs"]
        self.op: LinearOperator | None = None

    def kernel(self, progress: Progress) -> None:
        start = time.perf_counter()
        self.clean, self.noisy = self.arrays["clean"], self.arrays["noisy"]
        height, width = self.clean.shape[:2]
        self.x = (
            self.noisy
            if self.name == "image"
            else noise_input(
                (height, width), self.settings.noise_channels, self.settings.noise_scale, self.settings.seed + 1
            )
        )
        op = tangent_kernel(self.settings.architecture, self.x)
        self.op = DenseOperator(op.as_matrix(), op.image_shape) if op.shape[0] <= _DENSE_PIXELS else op
        rows = self.op.rows(self.pixels)
        self._store("kernel_rows", rows.reshape(-1, height, width))
        # The part of the kernel that is the same for every pair of pixels only moves the mean brightness.
        degrees = np.asarray(self.op @ np.ones(self.op.shape[0], np.float32)) / self.op.shape[0]
        centred = rows - degrees[None] - degrees[self.pixels][:, None] + degrees.mean()
        self._store("centred_kernel_rows", centred.reshape(-1, height, width))
        count = min(_EIGENVECTORS, self.op.shape[0])
        pairs = eigenpairs(self.op, count)
        vectors = np.asarray(pairs.vectors)
        vectors = vectors * np.where(vectors[np.abs(vectors).argmax(0), np.arange(count)] < 0, -1, 1)
        self._store("kernel.eigenvectors", vectors.reshape(height, width, count))
        self.facts: dict[str, Any] = {"kernel": {"eigenvalues": pairs.values, "seconds": time.perf_counter() - start}}
        self.all_facts[self.name] = self.facts

    def theory(self, progress: Progress) -> None:
        assert self.op is not None
        start = time.perf_counter()
        height, width = self.clean.shape[:2]
        steps, step_size = np.array(theory_steps(self.settings.steps)), self.settings.step_size
        initial = np.asarray(self._network("ntk").apply(self._params("ntk"), self.x))
        path = trajectory(self.op, self.noisy, steps=steps, step_size=step_size, start=initial)
        outputs = np.asarray(path.estimates(steps, step_size))
        values = [psnr(_bounded(z), self.clean) for z in outputs]
        best = int(np.argmax(values))
        self.predicted = dict(zip(steps.tolist(), outputs, strict=True))
        self._store("theory.output", self.predicted[self.settings.steps])
        self._store("theory.best_output", outputs[best])
        # F_t is symmetric: its rows are what it makes of single pixels.
        units = np.zeros((height * width, len(self.pixels)), np.float32)
        units[self.pixels, np.arange(len(self.pixels))] = 1
        units = units.reshape(height, width, -1)
        end = [self.settings.steps]
        filtered = trajectory(self.op, units, steps=end, step_size=step_size, tolerance=1e-3).estimates(end, step_size)[
            0
        ]
        self._store("filter_rows", np.moveaxis(np.asarray(filtered), 2, 0))
        self.facts["theory"] = {
            **_curve(steps.tolist(), values, self.settings.steps),
            "lambda_max": path.lambda_max,
            "products": path.products,
            "converged": path.converged,
            "seconds": time.perf_counter() - start,
        }
        self.op = None

    def gradient_descent(self, progress: Progress) -> None:
        self._train("ntk", progress, NamedOptimizer(DESCENT, step_size=self.settings.step_size))

    def other(self, progress: Progress) -> None:
        self._train("standard", progress, parse_optimizer(self.settings.optimizer))

    def _train(
        self, parameterization: Literal["ntk", "standard"], progress: Progress, optimizer: NamedOptimizer
    ) -> None:
        method = optimizer.name
        network, params, total = self._network(parameterization), self._params(parameterization), self.settings.steps
        steps = logarithmic_steps(total)
        result = train(
            network,
            self.x,
            self.noisy,
            steps=total,
            params=params,
            keep_outputs=steps,
            record_every=max(1, total // 50),
            progress=lambda done, of, loss: progress(done / of),
            optimizer=optimizer,
        )
        values = [psnr(_bounded(result.outputs[step]), self.clean) for step in steps]
        distances = [
            float(np.linalg.norm(result.outputs[step] - self.predicted[step]) / np.linalg.norm(self.predicted[step]))
            for step in steps
        ]
        self._store(f"{method}.output", result.output)
        if network.last_nonlinearity is not None:
            if method == DESCENT:
                self._store_features("initial", network, result.initial_params)
            self._store_features(method, network, result.params)
        change = result.history.weight_change
        self.facts[method] = {
            **_curve(steps, values, total),
            "distance_to_theory": distances,
            "parameterization": parameterization,
            "learning_rate": result.learning_rate,
            "hidden_weight_change_l2": change.hidden_l2[-1],
            "hidden_weight_change_linf": change.hidden_linf[-1],
            "seconds": result.seconds,
        }

    def _store_features(self, stage: str, network: FlaxNetwork, params: Params) -> None:
        features = np.asarray(network.pre_activations(params, self.x))
        count = min(_EIGENVECTORS, features.shape[0] * features.shape[1], features.shape[2])
        self._store(f"{stage}.eigenvectors", leading_eigenvectors(features, count).vectors)

    def _store(self, name: str, array: ArrayLike) -> None:
        self.arrays[f"{self.name}.{name}"] = np.asarray(array, np.float32)

    def _network(self, parameterization: Literal["ntk", "standard"]) -> FlaxNetwork:
        return to_flax(self.settings.architecture, self.settings.width, self.clean.shape[2], parameterization)

    def _params(self, parameterization: Literal["ntk", "standard"]) -> Params:
        return self._network(parameterization).init(jax.random.key(self.settings.seed), self.x)

    @property
    def pixels(self) -> NDArray[np.intp]:
        """The chosen pixels as flat indices."""
        return np.asarray(self.arrays["pixels"] @ [self.clean.shape[1], 1], np.intp)


def logarithmic_steps(total: int, per_decade: int = 10) -> list[int]:
    """Whole numbers from 1 to ``total``, evenly spread on a logarithmic axis, ``total`` included."""
    count = max(2, int(np.ceil(per_decade * np.log10(max(total, 2)))) + 1)
    return sorted({int(step) for step in np.round(np.geomspace(1, total, count))} | {total})


def theory_steps(total: int) -> list[int]:
    """The steps of training, and on to a hundred times as many (at most 10^6), which cost the theory nothing."""
    end = max(total, min(100 * total, _LONGEST))
    beyond = [step for step in logarithmic_steps(end) if step > total]
    return logarithmic_steps(total) + beyond


def _curve(steps: list[int], values: list[float], total: int) -> dict[str, Any]:
    best = int(np.argmax(values))
    return {
        "steps": steps,
        "psnr": values,
        "psnr_at_end": values[steps.index(total)],
        "best_psnr": values[best],
        "best_step": steps[best],
    }


def _bounded(output: NDArray[Any]) -> NDArray[Any]:
    """Within what counts as an image: some optimizers, Adam among them, may overshoot far on their first steps."""
    return np.asarray(np.clip(output, -10, 10))


def _chosen_pixels(height: int, width: int) -> list[tuple[int, int]]:
    """Four pixels spread over the image."""
    shares = ((0.3, 0.32), (0.44, 0.66), (0.62, 0.5), (0.2, 0.85))
    return [(int(row * height), int(column * width)) for row, column in shares]
