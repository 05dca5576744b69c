"""Rows of the kernel of a network with one hidden layer, directly from patches.

Behind one convolution the distance D of two pixels is the mean squared difference of their patches, which needs no
other pixel; a row then costs k^2 C operations per pixel, where deeper networks need the whole kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntk_nonlocal.architecture import Conv, Nonlinearity, Path, Serial

from .axes import box_image
from .duals import dual

# One step of the sum over a patch costs this share of the evaluation of a pair of pixels by lags (measured).
_STEP = 0.1


def has_patches(architecture: Serial) -> bool:
    """Whether this is Conv, nonlinearity, Conv(1)."""
    if len(architecture.layers) != 3:
        return False
    first, middle, last = architecture.layers
    has_dual = isinstance(middle, Nonlinearity) and dual.dispatch(type(middle)) is not dual.dispatch(object)
    convs = isinstance(first, Conv) and isinstance(last, Conv) and last.kernel_size == first.stride == last.stride == 1
    return has_dual and convs


def patches_are_cheaper(architecture: Serial, image: Array, pairs: int, count: int) -> bool:
    """Whether ``count`` rows are faster from patches than by evaluating ``pairs`` pairs of pixels by lags."""
    if not has_patches(architecture):
        return False
    first = architecture.layers[0]
    assert isinstance(first, Conv)
    height, width, channels = image.shape
    return count * height * width * first.kernel_size**2 * channels * _STEP < pairs


def patch_distances(padded: Array, y: Array, x: Array, size: int, dilation: int = 1) -> Array:
    """Sums of squared differences between the patches of some pixels and all patches, (number of pixels, H, W).

    ``padded`` is the image with its frame, (H + dilation (size - 1), W + dilation (size - 1), C).
    """
    frame, channels = dilation * (size - 1), padded.shape[2]
    height, width = padded.shape[0] - frame, padded.shape[1] - frame

    def add(index: Array, total: Array) -> Array:
        down, right = dilation * (index // size), dilation * (index % size)
        window = lax.dynamic_slice(padded, (down, right, jnp.zeros_like(down)), (height, width, channels))
        own = padded[y + down, x + right]
        for channel in range(channels):
            total = total + jnp.square(window[None, :, :, channel] - own[:, None, None, channel])
        return total

    return lax.fori_loop(0, size**2, add, jnp.zeros((len(y), height, width), padded.dtype))


@partial(jax.jit, static_argnames=("architecture", "kind", "window"))
def patch_rows(
    image: Array,
    pixels: Array,
    *,
    architecture: Serial,
    kind: str,
    weights: Mapping[Path, tuple[Array, Array]],
    window: int | None,
) -> Array:
    """The rows of the given pixels, (number of pixels, H W)."""
    first, middle, last = architecture.layers
    assert isinstance(first, Conv) and isinstance(middle, Nonlinearity) and isinstance(last, Conv)
    height, width, channels = image.shape
    reach, size = first.reach, first.kernel_size
    y, x = pixels // width, pixels % width
    mode = "wrap" if first.padding == "circular" else "constant"
    padded = jnp.pad(image, [(reach, reach), (reach, reach), (0, 0)], mode=mode)

    distance = patch_distances(padded, y, x, size, first.dilation) * (0.5 * first.std**2 / (size**2 * channels))

    def pair(table: Array) -> tuple[Array, Array]:
        return jnp.expand_dims(table, -3), table[..., y, x][..., None, None]

    def covariance(variance: Array, difference: Array) -> Array:
        here, there = pair(variance)
        return 0.5 * (here + there) - difference

    mean_square = jnp.mean(jnp.square(image), axis=-1)
    variance = first.std**2 * box_image(mean_square, first) + first.bias_std**2
    hidden = dual(middle, distance, variance, pair, False)
    output = last.std**2 * covariance(hidden.variance, hidden.difference) + last.bias_std**2
    if kind == "ntk":
        weight, bias = weights.get(Path("layer 0"), (1.0, 1.0))
        below = weight * covariance(variance, distance) + (bias - weight) * first.bias_std**2
        weight, bias = weights.get(Path("layer 2"), (1.0, 1.0))
        own = weight * output + (bias - weight) * last.bias_std**2
        output = own + last.std**2 * below * hidden.derivative
    if window is not None:
        rows = jnp.maximum(1 - jnp.abs(np.arange(height) - y[:, None]) / window, 0)
        columns = jnp.maximum(1 - jnp.abs(np.arange(width) - x[:, None]) / window, 0)
        output = output * (rows[:, :, None] * columns[:, None, :]).astype(image.dtype)
    return output.reshape(len(pixels), height * width)
