"""From a kernel to the few numbers that the page holds of it (``stored``)."""

from __future__ import annotations

import bisect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.linalg

from ntk_nonlocal.denoisers import NonLocalFilter
from ntk_nonlocal.dynamics import monte_carlo_sure, trajectory
from ntk_nonlocal.images import psnr
from ntk_nonlocal.kernels import PatchAffinity
from ntk_nonlocal.linalg import symmetric_form
from ntk_nonlocal.networks import EmpiricalKernel
from ntk_nonlocal.operators import DenseOperator, LinearOperator, ScaledOperator

from .stored import Floats, StoredFilter, filtered

_KNOTS = 73  # steps at which estimates are stored: twelve a decade, from 1 to 10^6
_COARSE, _FINE, _FINELY = 0.02, 0.002, 16  # grain of eigenvectors over their mean size; the first few are held finely
_BITS = {_COARSE: 7.7, _FINE: 11.0}  # of an entry, after compression
_LAYER_GRAIN = 1e-3
_LAYER_ERROR = 2e-4  # root mean square, on the [0, 1] scale
_ACCURATE = 0.01  # a relative error below which further eigenpairs are not needed

Tick = Callable[[float], None]


@dataclass(frozen=True)
class Task:
    """One filter to be stored: how to make its kernel from any noisy picture, and what is known of the picture."""

    name: str
    make: Callable[[Floats], LinearOperator]
    noisy: Floats
    clean: Floats | None
    sigma: float
    seed: int
    moves: bool


def store(task: Task, budget: int, tick: Tick) -> StoredFilter:
    """The filter in at most about ``budget`` bytes of the page."""
    op = task.make(task.noisy)
    tick(0.15)
    matrix, scale = _symmetric(op)
    tick(0.3)
    pairs = _pairs(matrix, _rank(op.shape[0], budget))
    tick(0.5)
    times, layers, risk, quality = _estimates(task, _for_products(op, matrix, scale))
    tick(0.95)
    low = _lower_end(matrix, pairs)
    for share in (8, 4, 2, 1):
        found = StoredFilter(
            name=task.name,
            image_shape=(task.noisy.shape[0], task.noisy.shape[1], task.noisy.shape[2]),
            scale=np.ones(op.shape[0]) if scale is None else scale.astype(np.float32).astype(np.float64),
            times=times,
            layers=layers,
            layer_grain=_LAYER_GRAIN,
            risk=risk,
            psnr=quality,
            low=low,
            **_spectral(matrix, pairs.first(-(-len(pairs.x) // share)), low),
        )
        if _accurate(found):
            break
    return found


def _accurate(found: StoredFilter) -> bool:
    """Whether further eigenpairs would hardly be seen."""
    height, width, _ = found.image_shape
    places = [(height // 4, width // 4), (height // 2, width // 2), (3 * height // 4, width // 4)]
    return all(found.error(*place, step) < _ACCURATE for place in places for step in 10.0 ** np.arange(7))


def _rank(pixels: int, budget: int) -> int:
    """How many eigenpairs fit: pairs beside pixels' arrays, in base64."""
    bytes_of = {grain: 4 / 3 * pixels * bits / 8 for grain, bits in _BITS.items()}
    room = budget - _FINELY * bytes_of[_FINE]
    most = _FINELY + int(room / bytes_of[_COARSE])
    return max(1, min(most, pixels - 1))


def _symmetric(op: LinearOperator) -> tuple[Floats, Floats | None]:
    """The matrix of a symmetric kernel similar to ``op``, and the scale between them, None for none."""
    scale = None
    if isinstance(op, NonLocalFilter):
        scale = 1 / np.sqrt(np.asarray(op.degrees, np.float64))
        matrix = _affinities(op)
        matrix *= scale[:, None]
        matrix *= scale
    else:
        matrix = np.array(symmetric_form(op)[0].as_matrix(), np.float64)
    matrix += matrix.T.copy()
    matrix /= 2
    return matrix, scale


def _affinities(op: NonLocalFilter) -> Floats:
    """All affinities of patches in double precision, from one product of matrices: a row by itself takes longer."""
    kernel = op.kernel
    assert isinstance(kernel, PatchAffinity) and kernel.window >= max(kernel.image_shape)
    size, margin = kernel.patch_size, kernel.patch_size // 2
    framed = np.pad(np.asarray(kernel.planes, np.float64), ((0, 0), (margin, margin), (margin, margin)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(framed, (size, size), (1, 2))
    patches = windows.transpose(1, 2, 0, 3, 4).reshape(kernel.shape[0], -1)
    patches = patches - patches.mean(axis=0)
    squares = np.sum(patches**2, axis=1)
    matrix = patches @ patches.T
    matrix *= -2
    matrix += squares
    matrix += squares[:, None]
    matrix /= patches.shape[1]
    matrix -= float(kernel.offset)
    np.maximum(matrix, 0, out=matrix)
    matrix /= -(float(kernel.bandwidth) ** 2)
    return np.asarray(np.exp(matrix, out=matrix))


def _for_products(op: LinearOperator, matrix: Floats, scale: Floats | None) -> LinearOperator:
    """The operator with its matrix, in single precision."""
    dense = DenseOperator(jnp.asarray(matrix.astype(np.float32)), op.image_shape)
    if scale is None:
        return dense
    return ScaledOperator(dense, jnp.asarray(scale, jnp.float32), jnp.asarray(1 / scale, jnp.float32))


def _held(op: LinearOperator) -> LinearOperator:
    """The operator, ready for one trajectory: a trained network's matrix costs more than that."""
    return op if isinstance(op, EmpiricalKernel) else _for_products(op, *_symmetric(op))


@dataclass(frozen=True)
class _Pairs:
    largest: float
    x: Floats
    vectors: Floats
    beyond: float  # the next eigenvalue over the largest

    def first(self, rank: int) -> _Pairs:
        """The first ``rank`` of them."""
        if rank == len(self.x):
            return self
        return _Pairs(self.largest, self.x[:rank], self.vectors[:, :rank], float(self.x[rank]))


def _pairs(matrix: Floats, rank: int) -> _Pairs:
    """The ``rank`` leading eigenpairs."""
    count = rank + 1
    values, vectors = scipy.linalg.eigh(
        matrix, subset_by_index=(len(matrix) - count, len(matrix) - 1), check_finite=False
    )
    values, vectors = values[::-1], vectors[:, ::-1]
    vectors = vectors * np.where(vectors.sum(axis=0) < 0, -1, 1)
    x = values / values[0]
    return _Pairs(float(values[0]), x[:rank], vectors[:, :rank], float(x[rank]))


def _spectral(matrix: Floats, pairs: _Pairs, low: float) -> dict[str, Any]:
    """The fields of ``StoredFilter`` that are about the spectrum, but for ``low``."""
    pixels, high = len(matrix), pairs.beyond
    weight = np.clip(1 - np.sum(pairs.vectors**2, axis=1), 0, 1)
    left = np.diagonal(matrix) / pairs.largest - pairs.vectors**2 @ pairs.x
    middle = float(np.clip(left.sum() / max(float(weight.sum()), 1e-300), 0, high))
    mean = np.clip(np.divide(left, weight, out=np.full(pixels, high), where=weight > 1e-9), low, high)
    grain = np.where(np.arange(len(pairs.x)) < _FINELY, _FINE, _COARSE) / np.sqrt(pixels)
    levels = np.rint(pairs.vectors / grain)
    return {
        "x": pairs.x,
        "levels": levels.astype(np.int16),
        "grain": grain,
        "middle": middle,
        "high": high,
        "weight": _up(weight),
        "mean": mean.astype(np.float32).astype(np.float64),
    }


def _up(values: Floats) -> Floats:
    """In single precision, not below the value."""
    return np.nextafter(values.astype(np.float32), np.float32(2)).astype(np.float64)


def _lower_end(matrix: Floats, pairs: _Pairs) -> float:
    """A lower bound of all eigenvalues over the largest one: what can be taken off with a Cholesky factor left."""
    places, diagonal = np.arange(len(matrix)), np.diagonal(matrix).copy()
    middle = max(float(diagonal.sum() / pairs.largest - pairs.x.sum()) / len(matrix), 1e-9)
    trials = [middle / 2**power for power in range(1, 11)] + [0.0] + [-(10.0**power) for power in range(-9, -3)]

    def holds(number: int) -> bool:
        shifted = np.array(matrix, order="F")
        shifted[places, places] = diagonal - trials[number] * pairs.largest
        return bool(scipy.linalg.lapack.dpotrf(shifted, lower=1, clean=0, overwrite_a=1)[1] == 0)

    first = bisect.bisect_left(range(len(trials)), True, key=holds)
    if first < len(trials):
        return float(trials[first])
    raise ValueError("the kernel is not positive semi-definite; its filter cannot be shown")


def _estimates(task: Task, op: LinearOperator) -> tuple[Floats, Floats, Floats, Floats]:
    """(times, layers, risk, psnr) of ``StoredFilter``, from two trajectories: of y, and of y slightly perturbed."""
    steps = 10 ** np.linspace(0, 6, _KNOTS)
    waiting = [op]

    def run(image: Floats) -> Floats:
        kernel = waiting.pop() if waiting else (_held(task.make(image)) if task.moves else op)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            path = trajectory(kernel, image.astype(np.float32), steps=[10**6], tolerance=3e-4, max_products=600)
        return np.asarray(path.filtered(lambda x: np.stack([filtered(x, step) for step in steps])))

    noisy = task.noisy.astype(np.float32)
    estimates, risk = monte_carlo_sure(run, noisy, task.sigma, seed=task.seed)
    quality = [] if task.clean is None else [psnr(estimate, task.clean) for estimate in estimates]
    flat = estimates.reshape(_KNOTS, -1).astype(np.float64)
    left, sizes, right = np.linalg.svd(flat, full_matrices=False)
    missing = np.sqrt(np.cumsum(sizes[::-1] ** 2)[::-1] / flat.size)
    count = max(4, int(np.sum(missing > _LAYER_ERROR)))
    reach = np.abs(left[:, :count]).max(axis=0)
    layers = right[:count] * (sizes[:count] * reach)[:, None]
    return left[:, :count] / reach, np.rint(layers / _LAYER_GRAIN).astype(np.int16), risk.values, np.asarray(quality)
