"""The convolution of finite networks, and its gradient with respect to the weights, fast on a CPU.

XLA takes that gradient as a convolution whose window is the whole image and which has one input channel. On a CPU it
gathers what the window covers number by number. Here the columns of the image are the channels of a convolution along
the rows alone, so that everything is gathered in runs as long as a row. Where that pays depends on the size. Measured
with jax 0.10 on two cores of an Intel Xeon (Sapphire Rapids), in CPU seconds, XLA's over these:

  one layer, 3x3, 32 to 128 channels      16x16: 0.5 to 1    32x32: 1 to 1.2    64x64: 1.2 to 2    128x128: 2 to 3
  one layer, 11x11, 3 to 128 channels     16x16: 0.8         32x32: 1.3         64x64: 2.6         128x128: 2.9
  one layer, 1x1                          1.3 to 50: one matrix product
  a step of autoencoder(), 128 channels   64x64: 1.2         128x128: 1.7
  the same, 64 channels                   64x64: 1.0         128x128: 1.1
  the same, 32 channels                   64x64: 0.9         128x128: 1.1
  a step of vanilla_cnn(), 128 channels   64x64: 1.7         128x128: 2.4

On an AMD EPYC, whose convolutions by XLA run near its peak, steps gained 0 to 19 %. So it is used for 1x1 windows, and
otherwise from 64x64 pixels and 10^8 multiplications on; the layers of low resolution in an autoencoder are left to XLA.

Winograd's F(4x4, 3x3) (a quarter of the multiplications, as 36 matrix products, its transforms materialised) was tried
on that Xeon, 64 and 128 channels, 64x64 and 128x128: forward 1.2 to 1.6 times XLA's time, the weights' gradient .65 to
1.05 times that by rows, with errors 3 times as large. XLA's batched products of such sizes reach half the rate of its
convolutions, and the transforms take a tenth to a third of the time. Not kept.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntk_nonlocal.architecture import PAD_MODES

# Times as many channels that are far more (measured).
_FAR = 4
# Pixels, and multiplications, from which on the gradient by rows is faster (measured, see above).
_MANY_PIXELS, _MANY_PRODUCTS = 64 * 64, 10**8


def convolve(
    x: Array,
    kernel: Array,
    padding: str,
    *,
    dilation: int = 1,
    stride: int = 1,
    depthwise: bool = False,
    reverse_mode: bool = False,
    in_loop: bool = False,
) -> Array:
    """The convolution of an image, (H, W, C) with (k, k, C, D) -> (H, W, D), k odd, at every ``stride``-th pixel.

    Args:
      x: the image.
      kernel: the filters.
      padding: "zero", "circular" or "reflect".
      dilation: the distance of the pixels that a filter reads.
      depthwise: every channel by itself, the kernel (k, k, 1, C).
      stride: of the rows and columns that are kept, the first one among them.
      reverse_mode: ``jax.jvp`` and what is built on it are given up for a faster gradient on the CPU.
      in_loop: for the body of a compiled loop or branch on a CPU, where XLA's own convolutions are slow.
    """
    reach = dilation * (kernel.shape[0] // 2)
    if padding != "zero" and reach:
        x, reach = jnp.pad(x, ((reach, reach), (reach, reach), (0, 0)), mode=PAD_MODES[padding]), 0
    if reverse_mode and dilation == stride == 1 and not depthwise:
        return _reversible(x, kernel, reach)
    if in_loop and not depthwise:
        return _products(x, kernel, reach, dilation, stride)
    return _plain(x, kernel, reach, dilation, stride, x.shape[-1] if depthwise else 1)


def _plain(x: Array, kernel: Array, padded: int, dilation: int = 1, stride: int = 1, groups: int = 1) -> Array:
    """The convolution, with so many zeros on every side."""
    return lax.conv_general_dilated(
        x[None],
        kernel,
        (stride, stride),
        [(padded, padded)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )[0]


def _products(x: Array, kernel: Array, padded: int, dilation: int, stride: int) -> Array:
    """The same as matrix products, one for every row of the filter."""
    size = kernel.shape[0]
    x = jnp.pad(x, ((padded, padded), (padded, padded), (0, 0)))
    height, width = (length - dilation * (size - 1) for length in x.shape[:2])
    starts = range(0, dilation * size, dilation)
    beside = jnp.concatenate([x[:, start : start + width : stride] for start in starts], axis=-1)
    rows = [beside[start : start + height : stride] for start in starts]
    found: list[Array] = [row @ filters.reshape(-1, kernel.shape[3]) for row, filters in zip(rows, kernel, strict=True)]
    return sum(found[1:], found[0])


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _reversible(x: Array, kernel: Array, padded: int) -> Array:
    return _plain(x, kernel, padded)


def _forward(x: Array, kernel: Array, padded: int) -> tuple[Array, tuple[Array, Array]]:
    return _plain(x, kernel, padded), (x, kernel)


def _backward(padded: int, residuals: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, kernel = residuals
    (of_x,) = jax.vjp(lambda image: _plain(image, kernel, padded), x)[1](gradient)

    def by_xla(x: Array, gradient: Array) -> Array:
        (of_kernel,) = jax.vjp(lambda weights: _plain(x, weights, padded), kernel)[1](gradient)
        return of_kernel  # type: ignore[no-any-return]

    size, pixels = kernel.shape[0], x.shape[0] * x.shape[1]
    if size > 1 and (pixels < _MANY_PIXELS or pixels * kernel.size < _MANY_PRODUCTS):
        return of_x, by_xla(x, gradient)
    by_rows = partial(_by_rows, size=size, padded=padded)
    return of_x, lax.platform_dependent(x, gradient, cpu=by_rows, default=by_xla)


_reversible.defvjp(_forward, _backward)


def _by_rows(x: Array, gradient: Array, *, size: int, padded: int) -> Array:
    """sum_hw x[h + i - padded, w + j - padded, c] gradient[h, w, d], (size, size, C, D).

    Columns are channels: for every shift j it is a convolution along the rows of x with the gradient as its window. The
    shift is put on whichever of them has far fewer channels, and on the gradient where neither has.
    """
    channels, width = x.shape[2], x.shape[1]
    if _FAR * gradient.shape[2] <= channels:
        mirrored = _by_rows(gradient, x, size=size, padded=size - 1 - padded)
        return jnp.transpose(mirrored[::-1, ::-1], (0, 1, 3, 2))
    if size == 1:
        return jnp.einsum("hwc,hwd->cd", x, gradient)[None, None]
    columns = jnp.transpose(x, (2, 0, 1))  # (C, H, W)
    if _FAR * channels <= gradient.shape[2]:
        columns = jnp.pad(columns, ((0, 0), (0, 0), (padded, padded)))
        shifted = [columns[:, :, j : j + gradient.shape[1]] for j in range(size)]
        found = _along_rows(jnp.concatenate(shifted), gradient, padded).reshape(size, channels, size, -1)
    else:
        beside = size - 1 - padded
        gradient = jnp.pad(gradient, ((0, 0), (beside, beside), (0, 0)))
        shifted = [gradient[:, size - 1 - j : size - 1 - j + width] for j in range(size)]
        found = jnp.stack([_along_rows(columns, window, padded) for window in shifted])
    return jnp.transpose(found, (2, 0, 1, 3))


def _along_rows(image: Array, window: Array, padded: int) -> Array:
    """The convolution along H of (C, H, W) with (H', W, D), all of W summed over: (C, positions, D)."""
    return lax.conv_general_dilated(image, window, (1,), [(padded, padded)], dimension_numbers=("NHC", "HIO", "NHC"))
