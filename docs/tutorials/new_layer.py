"""A new layer

A layer is a frozen dataclass that describes, and one registered rule for each of its meanings: the finite network, the
exact kernel, and, for cross-checks only, the same limit by neural-tangents. This page adds a nonlinearity, and a layer
that is none.
"""

import sys
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

import ntk_nonlocal as nnl
from ntk_nonlocal import plotting
from ntk_nonlocal.kernels import Dual, dual, lag_rule, stax_rule
from ntk_nonlocal.kernels.oracle import neural_tangents
from ntk_nonlocal.linalg import relative_distance
from ntk_nonlocal.networks import flax_rule

size = int(sys.argv[1]) if len(sys.argv) > 1 else 16  # pixels on a side

# **A nonlinearity.** `Bump` is exp(-x^2 / 2), a response to inputs near zero. Deriving from `Nonlinearity` says that it
# acts pointwise, so that validation asks for a `Conv` in front of it.


@dataclass(frozen=True, repr=False)
class Bump(nnl.Nonlinearity):
    """exp(-x^2 / 2)."""


# Its meaning as a finite network is a function of an array (H, W, channels).


@flax_rule.register
def _(layer: Bump, place):
    return lambda x: jnp.exp(-0.5 * x**2)


# Its meaning in the limit is a pair of expectations over Gaussian u, v with variances q_i, q_j and covariance S:
#
#     E[phi(u) phi(v)]    = det^(-1/2),      det = (1 + q_i) (1 + q_j) - S^2
#     E[phi'(u) phi'(v)]  = S det^(-3/2)
#
# The engine carries D = (q_i + q_j) / 2 - S instead of S, which keeps small angles exact in single precision; written
# with D, the determinant loses nothing either. `pair` brings a table of variances to both ends of the pairs.


@dual.register
def _(layer: Bump, difference, variance, pair, nonnegative):
    left, right = pair(variance)
    mean = 0.5 * (left + right)
    det = 1 + 2 * mean - 0.25 * (left - right) ** 2 + difference * (2 * mean - difference)
    covariance = det**-0.5
    new_variance = (1 + 2 * variance) ** -0.5
    new_left, new_right = pair(new_variance)
    new_difference = jnp.where(difference > 0, jnp.maximum(0.5 * (new_left + new_right) - covariance, 0), 0)
    return Dual(new_difference, (mean - difference) * covariance**3, new_variance, True)


# neural-tangents knows this function too. The rule is optional; with it the kernel can be cross-checked.


@stax_rule.register
def _(layer: Bump, place):
    return neural_tangents.stax().Gaussian(1, -0.5)


# **A layer that is no nonlinearity.** `Gain` multiplies its input by a number. It says itself what becomes of the
# signal that validation follows: nothing. In the exact kernel it multiplies every covariance by the square.


@dataclass(frozen=True, repr=False)
class Gain(nnl.Layer):
    """Multiplies by ``scale``."""

    scale: float

    def propagate(self, signal, position):
        return signal


@flax_rule.register
def _(layer: Gain, place):
    return lambda x: layer.scale * x


@lag_rule.register
def _(layer: Gain, slices, position, plan, extent):
    square = layer.scale**2
    return replace(slices.map(lambda values: square * values), variance=square * slices.variance)


# **Together.** From here on both are layers like any other.

architecture = nnl.Serial(nnl.Conv(3), Gain(2.0), Bump(), nnl.Conv(3), nnl.Relu(), nnl.Conv(1, weight_std=1.0))
clean = nnl.crop(nnl.example_image(256), size, center=(60, 112)).astype("float32")
noisy = nnl.add_noise(clean, sigma=25 / 255)
kernel = nnl.tangent_kernel(architecture, noisy, memory_plan="matrix")
print(architecture)
print(kernel)

# A rule is right when networks of growing width approach what it says, and when it agrees with another derivation.

widths = [int(word) for word in sys.argv[2:]] or [64, 256, 1024]
distances = []
for width in widths:
    network = nnl.to_flax(architecture, width=width, out_channels=1)
    params = network.init(jax.random.key(0), noisy)
    distances.append(relative_distance(nnl.empirical_kernel(network, params, noisy), kernel, probes=8).value)
    print(f"{width} channels: the empirical kernel is {distances[-1]:.3f} away")

bump = nnl.Serial(nnl.Conv(3), Bump(), nnl.Conv(1))
ours = nnl.tangent_kernel(bump, noisy, memory_plan="matrix").as_matrix()
try:
    theirs = nnl.tangent_kernel(bump, noisy, backend="neural-tangents").as_matrix()
    agreement = float(np.abs(ours - theirs).max() / np.max(theirs))
    print(f"largest difference from neural-tangents: {agreement:.1e} of the largest entry")
except ImportError as error:
    agreement = None
    print("no cross-check:", error)

# What does such a network average? The weights of one pixel, beside those of a network with a ReLU.

relu = nnl.vanilla_cnn(kernel_size=3)
row = column = size // 2
pixel = row * size + column
with plotting.style():
    figure = plotting.new_figure(5, 2.6)
    shown = {"bump": ours, "ReLU": nnl.tangent_kernel(relu, noisy, memory_plan="matrix").as_matrix()}
    for axes, (title, matrix) in zip(figure.subplots(1, 2), shown.items(), strict=True):
        weights = np.asarray(matrix[pixel] - matrix[pixel].mean()).reshape(size, size)
        plotting.show_weights(axes, clean, weights, (row, column), title, "kernel row, its mean taken off")
    plotting.save_figure(figure, "rows.png")
