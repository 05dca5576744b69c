"""The denoiser in closed form: gradient descent of infinitely wide networks, stopped and mixed by Stein's risk.

What method "ntk" of ``denoise`` stands for. In every pass,

1. several networks with one sinusoidal hidden layer of infinite width, ``Conv(k), Rbf(gamma), Conv(1)``, are fed the
   noisy image (first pass) or the estimate of the pass before. Training their last layer follows their fixed kernel K
   (``kernels/affinity.py``); dividing the output by the degrees D = diag(K 1) and weighting the loss by them turns the
   filter of a step into D^-1 K, that of non-local means. Their outputs after t steps are F_t y,
   F_t = I - (I - D^-1 K)^t (Tachella, Tang & Davies 2021: twicing).
2. A last linear layer mixes the outputs, each split into frequency bands, in opponent colours; its weights, and in the
   last pass the step t, have the least Stein risk (``combination.py``). The divergences come from a second run of the
   whole chain on a slightly perturbed image, kernels included: the filters' dependence on the noise is accounted for.

Where the noise is not equally strong everywhere, patches are compared in its units (``affinity.py``), the loss is
weighted by its inverse variance, which is zero at missing pixels, and the probes and Stein's risk have its local level.

Where neighbouring pixels share noise, Stein's risk holds the trace of the noise's covariance with the derivatives of
the estimate, and so it does of probes that have the same covariance: they are given the noise's spectrum.

Feeding the estimate back is the closed-form counterpart of the feature learning that Adam does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ntk_nonlocal.kernels import PatchAffinity, patch_affinity
from ntk_nonlocal.linalg import probe_generator

from .levels import filled
from .mixing import Normal, Small, bands
from .spectrum import coloured
from .tiles import Tiles

Planes = NDArray[np.float32]
Tick = Callable[[], None]

_PERTURBATION = 0.1  # in units of sigma
_PROBE_PIXELS = 2**16  # images below are given more than one probe
_MOST_PROBES = 3
_UNREACHED = 1e-9  # the degree of a missing pixel without any neighbour like it
_LEAST_PULL = 4.0  # in pixels, for the smallest images


@dataclass(frozen=True)
class Branch:
    """One network: its filter size, its bandwidth in units of sigma, and whether noise is taken off its distances."""

    patch_size: int
    bandwidth: float
    corrected: bool = False


@dataclass(frozen=True)
class Setting:
    """What the closed-form denoiser does.

    Attributes:
      passes: the networks of every pass.
      window: lags stay below it.
      levels: frequency bands beyond the first.
      steps: numbers of steps among which the last pass chooses.
      early_steps: numbers of steps that the earlier passes mix.
      strength: of the prior weights, see ``Normal.minimise``, relative to the number of pixels.
      block: side of the parts of the image that have weights of their own, blended where they overlap.
      local_strength: how much these are drawn towards those of the whole image.
    """

    passes: tuple[tuple[Branch, ...], ...] = (
        (Branch(5, 0.6, corrected=True), Branch(3, 1.2)),
        (Branch(1, 0.6), Branch(3, 1.0)),
    )
    window: int = 12
    levels: int = 2
    steps: tuple[int, ...] = (1, 2, 4, 6)
    early_steps: tuple[int, ...] = (1, 2)
    strength: float = 1e-3
    block: int = 160
    local_strength: float = 1e-3

    def describe(self) -> str:
        """Which networks and kernels these are, in words."""
        parts = []
        for number, branches in enumerate(self.passes):
            fed = "the noisy image" if number == 0 else "the estimate before"
            nets = " and ".join(
                f"Conv({b.patch_size}), Rbf of length {b.bandwidth:g} sigma{' (corrected)' * b.corrected}, Conv(1)"
                for b in branches
            )
            parts.append(f"pass {number + 1}, fed {fed}: {nets}")
        return (
            f"infinitely wide networks, last layer trained by gradient descent (NNGP kernel, normalised by its degrees "
            f"and tapered to lags below {self.window}); {'; '.join(parts)}; outputs mixed in opponent colours and "
            f"{self.levels + 1} frequency bands by Stein's risk"
        )


BEST = Setting()
FAST = Setting(passes=BEST.passes[:1], window=7, steps=(1, 2))


@dataclass(frozen=True)
class ClosedForm:
    """Estimates of the last pass.

    Attributes:
      steps: shape (S,).
      estimates: after each of the steps, planes of shape (S, D, H, W).
      risks: their estimated mean squared errors over the image's channels, shape (S,).
    """

    steps: tuple[int, ...]
    estimates: Planes
    risks: Small

    @property
    def best(self) -> int:
        """Index of the step with the least risk."""
        return int(np.argmin(self.risks))


@dataclass
class _Run:
    """The noisy image and its perturbed copies, on their way through the passes.

    ``shares``: what each plane's risk counts. ``deviation``: the noise in units of sigma, zero where there is no value,
    shape (1, H, W) or (D, H, W); None: even.
    """

    sigma: float
    noisy: list[Planes]
    probes: list[Planes]
    shares: Small
    deviation: Planes | None
    fed: list[Planes] = field(init=False)

    def __post_init__(self) -> None:
        self.fed = list(self.noisy)


def products(setting: Setting, shape: tuple[int, ...]) -> int:
    """How many times ``closed_form`` calls ``tick`` for an image of this shape."""
    return sum(len(branches) for branches in setting.passes) * (1 + _probe_count(shape))


def closed_form(
    planes: Planes,
    sigma: float,
    setting: Setting = BEST,
    *,
    shares: Small | None = None,
    deviation: Planes | None = None,
    spectra: Small | None = None,
    seed: int = 0,
    tick: Tick = lambda: None,
) -> ClosedForm:
    """Denoise planes (D, H, W), at least 8x8, with independent white noise of standard deviation sigma > 0.

    Deterministic for a seed. Memory: about 2 window^2 + 200 numbers a pixel.

    Args:
      shares: what an error of each plane adds to that of the image, shape (D,); equal unless given.
      deviation: the noise in units of sigma, shape (1, H, W) or (D, H, W), zero where there is no value.
      spectra: of noise that is not white, in each plane, up to a factor, shape (D, 8, 8), see ``spectrum.Coarse``.
    """
    rng = probe_generator(seed)
    depth, height, width = planes.shape
    probes = [rng.normal(size=planes.shape).astype(np.float32) for _ in range(_probe_count((height, width)))]
    if spectra is not None:
        probes = [coloured(probe, spectra) for probe in probes]
    if deviation is not None:
        probes = [probe * deviation for probe in probes]
    moved = [planes + np.float32(_PERTURBATION * sigma) * probe for probe in probes]
    noisy = [planes, *moved]
    if deviation is not None:
        noisy = [filled(image, deviation > 0) for image in noisy]
    shares = np.full(depth, 1 / depth) if shares is None else shares
    run = _Run(sigma, noisy, probes, shares, deviation)
    for number, branches in enumerate(setting.passes):
        last = number == len(setting.passes) - 1
        mixed, risks = _one_pass(run, branches, setting, last, tick)
        run.fed = [stream[-1] for stream in mixed]
    return ClosedForm(setting.steps, mixed[0], risks)


def _probe_count(shape: Sequence[int]) -> int:
    return int(np.clip(_PROBE_PIXELS // (shape[0] * shape[1]), 1, _MOST_PROBES))


def _one_pass(
    run: _Run, branches: Sequence[Branch], setting: Setting, last: bool, tick: Tick
) -> tuple[list[Planes], Small]:
    """Mixtures of every stream, (S, C, H, W) each, and their risks (S,); one mixture unless this is the last pass."""
    steps = setting.steps if last else setting.early_steps
    levels = _levels(run.noisy[0].shape, setting.levels)
    streams = [
        _outputs(fed, noisy, branches, steps, setting, run, tick) for fed, noisy in zip(run.fed, run.noisy, strict=True)
    ]
    choices = _choices(len(branches), steps, levels, last)
    prior = np.zeros(streams[0].shape[0])
    prior[: levels + 1] = 1.0
    everywhere = (slice(None), slice(None))
    pull = setting.strength * run.noisy[0][0].size + _LEAST_PULL
    common, _ = _weights(run, streams, everywhere, choices, [[prior] * len(run.noisy[0])] * len(choices), pull)
    blocks = Tiles.of(run.noisy[0].shape[1:], setting.block, setting.block // 3)
    mixed = [np.zeros((len(choices), *run.noisy[0].shape), np.float32) for _ in streams]
    total, risks = np.zeros(run.noisy[0].shape[1:], np.float32), np.zeros(len(choices))
    for part in blocks.parts:
        pull = setting.local_strength * blocks.ramp.size + _LEAST_PULL
        weights, found = _weights(run, streams, part, choices, common, pull)
        risks += found / len(blocks.parts)
        total[part] += blocks.ramp
        for stream, image in zip(streams, mixed, strict=True):
            here = stream[:, :, *part]
            image[:, :, *part] += blocks.ramp * np.einsum("scm,mchw->schw", weights, here, optimize=True)
    for image in mixed:
        image /= total
    return mixed, risks


def _weights(
    run: _Run,
    streams: Sequence[Planes],
    part: tuple[slice, slice],
    choices: Sequence[NDArray[np.intp]],
    prior: Any,
    pull: float,
) -> tuple[NDArray[np.float32], Small]:
    """The best weights within a part of the image, shape (S, C, M), and the risks there, shape (S,)."""
    channels = streams[0].shape[1]
    weights = np.zeros((len(choices), channels, len(streams[0])))
    risks = np.zeros(len(choices))
    for channel in range(channels):
        own = streams[0][:, channel, *part]
        divergence = np.zeros(len(own))
        for moved, probe in zip(streams[1:], run.probes, strict=True):
            change = (moved[:, channel, *part] - own).astype(np.float64)
            divergence += np.tensordot(change, probe[channel, *part], 2)
        divergence /= len(run.probes) * _PERTURBATION * run.sigma
        here = None
        if run.deviation is not None:
            here = np.broadcast_to(run.deviation, run.noisy[0].shape)[channel, *part]
        normal = Normal.of(own, run.noisy[0][channel, *part], divergence, run.sigma, here)
        for index, used in enumerate(choices):
            weights[index, channel] = normal.minimise(prior[index][channel], used, pull)
            risks[index] += normal.risk(weights[index, channel]) * run.shares[channel]
    return weights.astype(np.float32), risks


def _outputs(
    fed: Planes,
    noisy: Planes,
    branches: Sequence[Branch],
    steps: Sequence[int],
    setting: Setting,
    run: _Run,
    tick: Tick,
) -> Planes:
    """The bands of every network's output after every step, then those of the noisy image, shape (M, C, H, W)."""
    levels = _levels(noisy.shape, setting.levels)
    channels = len(noisy)

    def columns(planes: Planes) -> Array:
        return jnp.asarray(planes).reshape(len(planes), -1).T

    def shown(values: Array) -> NDArray[Any]:
        return np.asarray(bands(values.T.reshape(channels, *noisy.shape[1:]), levels))

    target = columns(noisy)
    precision = None if run.deviation is None else _precision(run.deviation)
    loss = jnp.ones_like(target[:, :1]) if precision is None else columns(precision)
    parts = []
    for branch in branches:
        kernel = _kernel(fed, branch, setting.window, run.sigma, precision)
        degrees = kernel @ loss
        if precision is not None:
            reached = degrees > _UNREACHED
            degrees = jnp.maximum(degrees, _UNREACHED)
        output = jnp.zeros_like(target)
        for step in range(1, max(steps) + 1):
            rest = target - output
            output = output + (kernel @ (rest * loss)) / degrees
            if step in steps:
                parts.append(shown(output if precision is None else jnp.where(reached, output, target)))
        tick()
    parts.append(shown(target))
    return np.concatenate(parts)


def _kernel(fed: Planes, branch: Branch, window: int, sigma: float, precision: Planes | None) -> PatchAffinity:
    if precision is None:
        offset = 2 * sigma**2 if branch.corrected else 0.0
        return patch_affinity(fed, branch.patch_size, branch.bandwidth * sigma, window, offset)
    scaled, offset = fed / np.float32(sigma), 2.0 if branch.corrected else 0.0
    return patch_affinity(scaled, branch.patch_size, branch.bandwidth, window, offset, precision=precision)


def _precision(deviation: Planes) -> Planes:
    """The inverse of the noise's variance in units of sigma^2, zero where there is no value."""
    found: Planes = np.where(deviation > 0, 1 / np.square(np.where(deviation > 0, deviation, 1)), 0).astype(np.float32)
    return found


def _choices(branches: int, steps: Sequence[int], levels: int, last: bool) -> list[NDArray[np.intp]]:
    """Which estimates of ``_outputs`` are mixed: in the last pass those after the first step and after one other."""
    count = (branches * len(steps) + 1) * (levels + 1)
    if not last:
        return [np.arange(count)]
    step = np.repeat(np.append(np.tile(np.arange(len(steps)), branches), 0), levels + 1)
    return [np.flatnonzero((step == 0) | (step == index)) for index in range(len(steps))]


def _levels(shape: tuple[int, ...], wanted: int) -> int:
    """Frequency bands that an image of shape (C, H, W) has room for."""
    smallest = min(shape[1:])
    return min(wanted, 0 if smallest < 16 else 1 if smallest < 32 else wanted)
