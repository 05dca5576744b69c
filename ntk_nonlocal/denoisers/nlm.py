"""Non-local means as a kernel, a row-normalised filter, and iterations: the other end of the link.

Buades, Coll & Morel (2005), in the form of Tachella, Tang & Davies (2021): k(i, j) = exp(-|y_i - y_j|^2 / h^2) for the
patches y_i, y_j around two pixels, W = D^-1 K with D = diag(K 1); twicing (Tukey 1977) is z(t+1) = z(t) + W (y - z(t)).
Here |.|^2 is the MEAN over the samples of a patch (as in scikit-image), so that h is an intensity whatever the size of
the patch: the paper's h is this one times patch_size * sqrt(channels). Patches at the border see the mirrored image.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ntk_nonlocal.checks import positive, whole
from ntk_nonlocal.images import finite_jax
from ntk_nonlocal.linalg import check_image
from ntk_nonlocal.operators import LinearOperator, ScaledOperator, static_field

if TYPE_CHECKING:
    from jaxtyping import Float, Real


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class PatchAffinity(LinearOperator):
    """exp(-max(|y_i - y_j|^2 - offset, 0) / h^2) for patches at lags below ``window`` per axis, zero beyond.

    Nothing of size (H W)^2 is held: every product computes the affinities anew, one lag after another.
    """

    padded: Array
    h: Array
    offset: Array
    patch_size: int = static_field()
    window: int = static_field()

    @property
    def image_shape(self) -> tuple[int, int]:  # type: ignore[override]
        margin = 2 * (self.patch_size // 2)
        return (self.padded.shape[0] - margin, self.padded.shape[1] - margin)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return np.dtype(self.padded.dtype)

    def _product(self, columns: Array) -> Array:
        product: Array = _affinity_product(self, columns)
        return product

    def rows(self, pixels: ArrayLike) -> Array:
        rows: Array = _affinity_rows(self, jnp.asarray(self.check_pixels(pixels)))
        return rows

    def diagonal(self) -> Array:
        return jnp.ones(self.shape[0], self.dtype)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class NonLocalFilter(ScaledOperator):
    """W = D^-1 K, a filter whose rows sum to one; an operator over pixels.

    ``kernel`` is the affinity K, ``left`` the inverse of its degrees K 1, ``right`` ones.
    """

    @property
    def degrees(self) -> Array:
        """The row sums K 1, shape (H W,)."""
        return 1 / self.left

    def apply(self, image: Real[ArrayLike, "H W C"]) -> Float[Array, "H W C"]:
        """W image, for an image of shape (H, W, C)."""
        checked = check_image(self, image, "image")
        filtered: Array = self @ checked.reshape(self.shape[0], -1)
        return filtered.reshape(checked.shape)

    def weights(self, pixel: int) -> Float[Array, "H W"]:
        """The weights that make up the output at a pixel (row * W + column), as a map of shape (H, W)."""
        return self.rows(np.array([pixel]))[0].reshape(self.image_shape)

    def __repr__(self) -> str:
        height, width = self.image_shape
        kernel = self.kernel
        assert isinstance(kernel, PatchAffinity)
        return f"NonLocalFilter({height}x{width} image, patch_size={kernel.patch_size}, window={kernel.window})"


def nonlocal_means(
    y: Float[ArrayLike, "H W C"],
    patch_size: int = 7,
    h: float | None = None,
    window: int | None = None,
    sigma: float | None = None,
) -> NonLocalFilter:
    """The non-local means filter of an image.

    Args:
      y: the image that the weights are taken from, shape (H, W, C), on any scale: with h and sigma in its units, the
        filter is the same.
      patch_size: side of the patches, odd.
      h: decay of the affinity, an intensity (see the module). 0.6 sigma unless given.
      window: keep pairs at lags below it in both axes; None is the whole image (cost (H W)^2 patch distances per
        product, for small images). A window cuts off hard, so that the affinity need not be positive semi-definite.
      sigma: standard deviation of the noise, in the units of y; 2 sigma^2, what it adds to a distance on average, is
        then subtracted. None is the paper's form.

    Raises:
      ValueError: neither h nor sigma given, or values outside their ranges.
    """
    image = finite_jax("y", y, floats=True)
    if whole("patch_size", patch_size, 1) % 2 == 0:
        raise ValueError(f"patch_size must be odd and positive, got {patch_size!r}")
    margin = patch_size // 2
    if margin >= min(image.shape[:2]):
        raise ValueError(f"patch_size {patch_size} is too large to mirror a {image.shape[0]}x{image.shape[1]} image")
    if sigma is not None:
        sigma = positive("sigma, in the units of y,", sigma)
    if h is None and sigma is None:
        raise ValueError("give h (an intensity such as 0.06), or sigma, from which h = 0.6 sigma")
    decay = positive("h", 0.6 * sigma if h is None and sigma is not None else h)
    if window is not None:
        window = whole("window", window, 1)
    largest = max(image.shape[:2])
    kernel = PatchAffinity(
        padded=jnp.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="reflect"),
        h=jnp.asarray(decay, image.dtype),
        offset=jnp.asarray(0.0 if sigma is None else 2 * sigma**2, image.dtype),
        patch_size=patch_size,
        window=largest if window is None else min(window, largest),
    )
    degrees = kernel @ jnp.ones(kernel.shape[0], image.dtype)
    return NonLocalFilter(kernel, 1 / degrees, jnp.ones_like(degrees))


def _box(values: Array, size: int) -> Array:
    """Sums over size x size windows that lie inside, per axis by shifted adds."""
    rows = values.shape[0] - size + 1
    columns = values.shape[1] - size + 1
    tall = functools.reduce(jnp.add, [values[o : o + rows] for o in range(size)])
    return functools.reduce(jnp.add, [tall[:, o : o + columns] for o in range(size)])


def _affinity(op: PatchAffinity, square_differences: Array) -> Array:
    """From squared differences of samples, (H + margin, W + margin), to affinities of patches, (H, W)."""
    samples = op.patch_size**2 * op.padded.shape[2]
    distance = _box(square_differences, op.patch_size) / samples
    return jnp.exp(-jnp.maximum(distance - op.offset, 0) / op.h**2)


@jax.jit
def _affinity_rows(op: PatchAffinity, pixels: Array) -> Array:
    rows: Array = jax.lax.map(functools.partial(_affinity_row, op), pixels)
    return rows


def _affinity_row(op: PatchAffinity, pixel: Array) -> Array:
    height, width = op.image_shape
    row, column, size = pixel // width, pixel % width, op.patch_size
    patch = jax.lax.dynamic_slice(op.padded, (row, column, 0), (size, size, op.padded.shape[2]))
    square = sum(
        jnp.sum((op.padded[a : a + height, b : b + width] - patch[a, b]) ** 2, axis=2)
        for a in range(size)
        for b in range(size)
    )
    samples = size**2 * op.padded.shape[2]
    affinity = jnp.exp(-jnp.maximum(square / samples - op.offset, 0) / op.h**2)
    near = (jnp.abs(jnp.arange(height) - row) < op.window)[:, None] & (jnp.abs(jnp.arange(width) - column) < op.window)
    return jnp.where(near, affinity, 0).reshape(-1)


@jax.jit
def _affinity_product(op: PatchAffinity, columns: Array) -> Array:
    """Sum over half of all lags; each gives a pair's affinity to both of its pixels."""
    (height, width), reach = op.image_shape, op.window - 1
    values = columns.reshape(height, width, -1)
    around = jnp.pad(values, ((reach, reach), (reach, reach), (0, 0)))
    far = jnp.pad(op.padded, ((reach, reach), (reach, reach), (0, 0)))
    inside = jnp.pad(jnp.ones((height, width), op.dtype), reach)
    lags = [(dy, dx) for dy in range(reach + 1) for dx in range(-reach, reach + 1) if dy > 0 or dx > 0]
    lags = [lag for lag in lags if lag[0] < height and abs(lag[1]) < width]
    if not lags:
        return columns

    def add(total: Array, lag: Array) -> tuple[Array, None]:
        y, x = lag[0] + reach, lag[1] + reach
        other = jax.lax.dynamic_slice(far, (y, x, 0), op.padded.shape)
        affinity = _affinity(op, jnp.sum((op.padded - other) ** 2, axis=2))
        affinity = (affinity * jax.lax.dynamic_slice(inside, (y, x), (height, width)))[:, :, None]
        total = total.at[reach : reach + height, reach : reach + width].add(
            affinity * jax.lax.dynamic_slice(around, (y, x, 0), values.shape)
        )
        there = jax.lax.dynamic_slice(total, (y, x, 0), values.shape) + affinity * values
        return jax.lax.dynamic_update_slice(total, there, (y, x, 0)), None

    total, _ = jax.lax.scan(add, around, jnp.asarray(lags))
    return total[reach : reach + height, reach : reach + width].reshape(columns.shape)
