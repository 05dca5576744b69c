"""What networks and kernels are compared by: leading eigenvectors, energy shares, alignment, distance.

Norms and inner products of kernels are Frobenius ones. For images of a few thousand pixels they are exact; above that
they are estimated by products with random signs z (Hutchinson 1990), tr A^T B = E[(A z) . (B z)], with standard error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike

from ntk_nonlocal.checks import told
from ntk_nonlocal.images import finite_array
from ntk_nonlocal.operators import LinearOperator
from ntk_nonlocal.xla import by_value

if TYPE_CHECKING:
    from jaxtyping import Float64, Real

__all__ = [
    "Eigenvectors",
    "Estimate",
    "alignment",
    "energy_shares",
    "leading_eigenvectors",
    "relative_distance",
]

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
# Up to this many pixels all unit vectors are used as probes instead of random ones.
_EXACT_PIXELS = 2048


@dataclass(frozen=True)
class Eigenvectors:
    """``values`` (k,), falling; ``vectors`` (H, W, k), each of unit norm with its largest entry positive; ``total`` is
    the sum of all eigenvalues."""

    values: FloatArray
    vectors: FloatArray
    total: float


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error (0 where it is exact)."""

    value: float
    standard_error: float

    def __str__(self) -> str:
        return f"{self.value:.4g}" + (f" +- {self.standard_error:.2g}" if self.standard_error else "")


def leading_eigenvectors(
    features: Real[ArrayLike, "H W channels"], k: int = 3, *, centered: bool = False
) -> Eigenvectors:
    """Leading eigenvectors over pixels of the covariance of features, as in the paper's figure 5.

    The covariance F F^T / channels, with F the features as a (H W, channels) matrix, through F's singular vectors.

    Args:
      features: (H, W, channels), for instance ``network.pre_activations(params, x)``.
      k: how many, at most min(H W, channels).
      centered: subtract from every pixel its mean over the channels first.

    Raises:
      ValueError: features that are not finite of three dimensions, or k out of range.
    """
    array = _image("features", features, "channels")
    height, width, channels = array.shape
    matrix = array.reshape(-1, channels)
    if not 1 <= k <= min(matrix.shape):
        raise ValueError(
            f"k must lie in 1..{min(matrix.shape)} (pixels or channels, whichever are fewer), got {told(k)}"
        )
    if centered:
        matrix = matrix - matrix.mean(axis=1, keepdims=True)
    left, singular, _ = np.linalg.svd(matrix, full_matrices=False)
    values = singular**2 / channels
    vectors = left[:, :k]
    vectors = vectors * np.where(vectors[np.abs(vectors).argmax(0), np.arange(k)] < 0, -1.0, 1.0)
    return Eigenvectors(values[:k], vectors.reshape(height, width, k), float(values.sum()))


def energy_shares(
    image: Real[ArrayLike, "H W C"], vectors: Real[ArrayLike, "H W k"], *, remove_mean: bool = False
) -> Float64[FloatArray, " k"]:
    """Share of an image's energy |x|^2 in the span of the first 1, 2, ..., k vectors, shape (k,).

    Args:
      image: (H, W, C).
      vectors: (H, W, k), orthonormal over the pixels, as from ``leading_eigenvectors`` or ``eigenpairs``.
      remove_mean: subtract the mean of every channel first: nearly all of an image's energy is its mean, which any
        smooth vector catches.

    Raises:
      ValueError: shapes that do not fit together, or vectors that are not orthonormal.
    """
    x, basis = _image("image", image, "C"), _image("vectors", vectors, "k")
    if x.shape[:2] != basis.shape[:2]:
        raise ValueError(f"image and vectors must have the same height and width, got {x.shape} and {basis.shape}")
    columns = basis.reshape(-1, basis.shape[2])
    if not np.allclose(columns.T @ columns, np.eye(columns.shape[1]), atol=1e-3):
        raise ValueError("vectors must be orthonormal over the pixels, as eigenvectors are")
    pixels = x.reshape(-1, x.shape[2])
    if remove_mean:
        pixels = pixels - pixels.mean(axis=0)
    energy = float(np.sum(pixels**2))
    if energy == 0:
        raise ValueError("the image has no energy" + (" beside its mean" if remove_mean else ""))
    return np.asarray(np.cumsum(np.sum((columns.T @ pixels) ** 2, axis=1)) / energy)


@by_value
def alignment(
    a: LinearOperator, b: LinearOperator, *, centered: bool = False, probes: int | None = None, seed: int = 0
) -> Estimate:
    """Cosine between two kernels, tr A^T B / (|A| |B|), from -1 to 1.

    Args:
      a, b: symmetric kernels over the same pixels.
      centered: of H A H and H B H instead, H = 1 - 11^T / d (Cortes, Mohri and Rostamizadeh 2012, Algorithms for
        learning kernels based on centered alignment): the common constant part does not count.
      probes: number of random probes; without, the exact value up to 2048 pixels, and 32 probes above.
      seed: of the probes.

    Raises:
      ValueError: kernels over different images, fewer than two probes, or a kernel that is zero.
    """
    products = _moments(a, b, centered, probes, seed)
    aa, bb, ab, _ = products.mean(axis=0)
    if aa <= 0 or bb <= 0:
        raise ValueError("alignment with a kernel that is zero is not defined")
    value = ab / math.sqrt(aa * bb)
    # The ratio's first-order influence of every probe.
    influence = (
        value * (products[:, 2] / ab - products[:, 0] / (2 * aa) - products[:, 1] / (2 * bb)) if ab else products[:, 2]
    )
    return Estimate(float(value), _standard_error(influence, a, probes))


@by_value
def relative_distance(
    a: LinearOperator, reference: LinearOperator, *, probes: int | None = None, seed: int = 0
) -> Estimate:
    """|A - R| / |R|: how far a kernel, of a finite network for instance, is from its theory.

    Args:
      a, reference: symmetric kernels over the same pixels.
      probes: number of random probes; without, the exact value up to 2048 pixels, and 32 probes above.
      seed: of the probes.

    Raises:
      ValueError: kernels over different images, fewer than two probes, or a reference that is zero.
    """
    products = _moments(a, reference, False, probes, seed)
    difference = products[:, 3]
    dd, rr = difference.mean(), products[:, 1].mean()
    if rr <= 0:
        raise ValueError("the distance relative to a kernel that is zero is not defined")
    value = math.sqrt(dd / rr)
    influence = value / 2 * (difference / dd - products[:, 1] / rr) if dd > 0 else np.zeros_like(difference)
    return Estimate(value, _standard_error(influence, a, probes))


def _moments(a: LinearOperator, b: LinearOperator, centered: bool, probes: int | None, seed: int) -> FloatArray:
    """(|A z|^2, |B z|^2, A z . B z, |A z - B z|^2) for every probe z, shape (probes, 4)."""
    if a.image_shape != b.image_shape:
        raise ValueError(f"the kernels belong to images of {a.image_shape} and {b.image_shape} pixels")
    if probes is not None and (isinstance(probes, bool) or not isinstance(probes, int) or probes < 2):
        raise ValueError(f"probes must be an integer of at least 2, got {told(probes)}")
    count = a.shape[0]
    if probes is None and count <= _EXACT_PIXELS:
        z = np.eye(count)
    else:
        z = np.random.default_rng(seed).choice([-1.0, 1.0], size=(count, 32 if probes is None else probes))
    if centered:
        z = z - z.mean(axis=0)
    az, bz = (np.asarray(kernel @ z, np.float64) for kernel in (a, b))
    if centered:
        az, bz = az - az.mean(axis=0), bz - bz.mean(axis=0)
    pairs = ((az, az), (bz, bz), (az, bz), (az - bz, az - bz))
    return np.stack([np.sum(left * right, axis=0) for left, right in pairs], axis=1)


def _standard_error(influence: FloatArray, kernel: LinearOperator, probes: int | None) -> float:
    if probes is None and kernel.shape[0] <= _EXACT_PIXELS:
        return 0.0
    return float(influence.std(ddof=1) / math.sqrt(len(influence)))


def _image(name: str, value: ArrayLike, last: str) -> FloatArray:
    return np.asarray(finite_array(name, value, ("H", "W", last)), np.float64)
