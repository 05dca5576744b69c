"""One training of a finite network on one noisy picture, and what is read off it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np

from ntk_nonlocal.architecture import parse_architecture
from ntk_nonlocal.linalg import alignment, energy_shares, leading_eigenvectors, relative_distance
from ntk_nonlocal.networks import (
    DivergenceError,
    FlaxNetwork,
    TrainingResult,
    empirical_kernel,
    noise_input,
    to_flax,
    train,
)

from ..pictures import Picture, Pictures
from ..workspace import Arrays, Workspace

_CHECKPOINT_EVERY = 500


@dataclass(frozen=True)
class Training:
    """A training by any named optimizer: gradient descent with ``step_size``, others with ``learning_rate``."""

    picture: Picture
    architecture: str
    input: Literal["image", "noise"]
    optimizer: str
    width: int
    steps: int
    seed: int = 0
    parameterization: Literal["ntk", "standard"] = "standard"
    centered: bool = False
    step_size: float | None = None
    learning_rate: float | None = None
    noise_channels: int = 32
    noise_scale: float = 0.5
    keep_output: bool = False

    def network(self) -> FlaxNetwork:
        """The finite network."""
        return to_flax(parse_architecture(self.architecture), self.width, 3, self.parameterization, self.centered)


def network_input(settings: Training, pictures: Pictures) -> np.ndarray[Any, Any]:
    """What the network is fed: the noisy picture, or iid noise drawn with the run's seed."""
    if settings.input == "image":
        return pictures.noisy(settings.picture)
    size = (settings.picture.size, settings.picture.size)
    return noise_input(size, settings.noise_channels, settings.noise_scale, settings.seed)


def trained(settings: Training, workspace: Workspace, record_every: int | None = None) -> TrainingResult:
    """The training itself, resumed from its checkpoint where it was interrupted; a part may have several."""
    every = workspace.checkpoint_every or _CHECKPOINT_EVERY
    folder = workspace.folder / "checkpoints" / f"{settings.optimizer}-{settings.steps}"
    return train(
        settings.network(),
        network_input(settings, workspace.pictures),
        workspace.pictures.noisy(settings.picture),
        optimizer=settings.optimizer,
        steps=settings.steps,
        step_size=settings.step_size,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        clean=workspace.pictures.clean(settings.picture),
        record_every=record_every,
        # A short run is sooner repeated than resumed.
        checkpoint=folder if settings.steps > every else None,
        checkpoint_every=every,
    )


def training(settings: Training, workspace: Workspace) -> Arrays:
    """The history of a training and its last output. A training that diverges has one entry, of NaN.

    Returns:
      "steps", "psnr", "loss" (a mean square over pixels and channels), the "hidden_l2" and "hidden_linf" change of the
      hidden weights, all (entries,); "parameters", "learning_rate"; with ``keep_output`` "output" (H, W, 3) of the last
      step in half precision, for figures.
    """
    try:
        result = trained(settings, workspace)
    except DivergenceError as error:
        lost = {name: np.full(1, np.nan, np.float32) for name in ("psnr", "loss", "hidden_l2", "hidden_linf")}
        return {
            "steps": np.array([error.step]),
            **lost,
            "parameters": np.asarray(0),
            "learning_rate": np.asarray(np.nan),
        }
    history = result.history
    assert history.psnr is not None
    shown = {"output": result.output.astype(np.float16)} if settings.keep_output else {}
    return shown | {
        "steps": history.steps,
        "psnr": history.psnr.astype(np.float32),
        "loss": (2 * history.loss / result.output.size).astype(np.float32),
        "hidden_l2": history.weight_change.hidden_l2.astype(np.float32),
        "hidden_linf": history.weight_change.hidden_linf.astype(np.float32),
        "parameters": np.asarray(sum(leaf.size for leaf in jax.tree.leaves(result.params))),
        "learning_rate": np.asarray(np.nan if result.learning_rate is None else result.learning_rate),
    }


@dataclass(frozen=True)
class Features:
    """Leading eigenvectors of the last pre-activations' covariance, before and after a training."""

    training: Training
    vectors: int


def features(settings: Features, workspace: Workspace) -> Arrays:
    """What a training does to the features (the paper's figure 5).

    Returns:
      of seed 0 "before" and "after" (H, W, 3), the first three in half precision, for figures; "share_before" and
      "share_after" (k,), the share of the clean picture's energy beside its mean in the first 1..k of them; "psnr" of
      the output.
    """
    result = trained(settings.training, workspace)
    network, x = settings.training.network(), network_input(settings.training, workspace.pictures)
    clean = workspace.pictures.clean(settings.training.picture)
    arrays: Arrays = {"psnr": np.asarray(result.history.psnr)[-1]}
    for when, params in (("before", result.initial_params), ("after", result.params)):
        found = leading_eigenvectors(network.pre_activations(params, x), settings.vectors)
        if settings.training.seed == 0:
            arrays[when] = found.vectors[:, :, :3].astype(np.float16)
        arrays[f"share_{when}"] = energy_shares(clean, found.vectors, remove_mean=True)
    return arrays


@dataclass(frozen=True)
class KernelChange:
    """How far the tangent kernel of a network moves in a training; ``probes`` estimate its norms."""

    training: Training
    probes: int


def kernel_change(settings: KernelChange, workspace: Workspace) -> Arrays:
    """The tangent kernel after a training beside the initial one.

    Returns:
      "alignment" and "centred_alignment" (the cosine between the two kernels: its direction), "distance" (relative to
      the initial one: direction and scale), each (value, standard error of the probes); "scale", by how much its
      Frobenius norm has grown; "psnr" of the output.
    """
    result = trained(settings.training, workspace)
    network, x = settings.training.network(), network_input(settings.training, workspace.pictures)
    before = empirical_kernel(network, result.initial_params, x)
    after = empirical_kernel(network, result.params, x)
    plain = alignment(after, before, probes=settings.probes)
    centred = alignment(after, before, centered=True, probes=settings.probes)
    distance = relative_distance(after, before, probes=settings.probes)
    return {
        "alignment": np.array([plain.value, plain.standard_error]),
        "centred_alignment": np.array([centred.value, centred.standard_error]),
        "distance": np.array([distance.value, distance.standard_error]),
        "scale": np.asarray(distance.value / relative_distance(before, after, probes=settings.probes).value),
        "psnr": np.asarray(result.history.psnr)[-1],
    }
