"""Non-local means as a kernel, a row-normalised filter, and iterations: the other end of the link.

Buades, Coll & Morel (2005), in the form of Tachella, Tang & Davies (2021): k(i, j) = exp(-|y_i - y_j|^2 / h^2) for the
patches y_i, y_j around two pixels, W = D^-1 K with D = diag(K 1); twicing (Tukey 1977) is z(t+1) = z(t) + W (y - z(t)).
Here |.|^2 is the MEAN over the samples of a patch (as in scikit-image), so that h is an intensity whatever the size of
the patch: the paper's h is this one times patch_size * sqrt(channels). Patches at the border see the mirrored image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ntk_nonlocal.checks import positive, whole
from ntk_nonlocal.images import finite_jax
from ntk_nonlocal.kernels import PatchAffinity, patch_affinity
from ntk_nonlocal.linalg import check_image
from ntk_nonlocal.operators import ScaledOperator

if TYPE_CHECKING:
    from jaxtyping import Float, Real


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
      window: keep pairs at lags below it in both axes; None is the whole image, for small ones: 2 (H W)^2 affinities,
        kept where half of the free memory allows it and computed anew in every product otherwise. A window cuts off
        hard, so that the affinity need not be positive semi-definite.
      sigma: standard deviation of the noise, in the units of y; 2 sigma^2, what it adds to a distance on average, is
        then subtracted. None is the paper's form.

    Raises:
      ValueError: neither h nor sigma given, or values outside their ranges.
    """
    image = finite_jax("y", y, floats=True)
    if sigma is not None:
        sigma = positive("sigma, in the units of y,", sigma)
    if h is None and sigma is None:
        raise ValueError("give h (an intensity such as 0.06), or sigma, from which h = 0.6 sigma")
    decay = positive("h", 0.6 * sigma if h is None and sigma is not None else h)
    largest = max(image.shape[:2])
    kernel = patch_affinity(
        jnp.moveaxis(image, 2, 0),
        patch_size,
        decay,
        largest if window is None else min(whole("window", window, 1), largest),
        0.0 if sigma is None else 2 * sigma**2,
        tapered=False,
    )
    degrees = kernel @ jnp.ones(kernel.shape[0], image.dtype)
    return NonLocalFilter(kernel, 1 / degrees, jnp.ones_like(degrees))
