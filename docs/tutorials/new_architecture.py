"""A new architecture

An architecture is a description, made of layers. From it follow the finite network and the exact kernel of its limit;
nothing else has to be written. The one of this page looks at the image at two resolutions and adds up what it sees.
"""

import sys

import jax
import numpy as np

import ntk_nonlocal as nnl
from ntk_nonlocal import plotting
from ntk_nonlocal.linalg import relative_distance

size = int(sys.argv[1]) if len(sys.argv) > 1 else 32  # pixels on a side

# Layers stand in a `Serial`, branches in a `Sum` (residual connections) or a `Concat` (skip connections by channels).
# Every branch of a `Sum` ends in a `Conv` (one may be `Serial()`, which passes its input on): their outputs are then
# independent, and Gaussian when the network is wide.


def two_scales(kernel_size: int = 3, factor: int = 2) -> nnl.Serial:
    """A fine branch beside one of lower resolution."""
    fine = nnl.Serial(nnl.Relu(), nnl.Conv(kernel_size))
    coarse = nnl.Serial(
        nnl.Relu(), nnl.Downsample(factor), nnl.Conv(kernel_size), nnl.Relu(), nnl.Upsample(factor), nnl.Conv(1)
    )
    return nnl.Serial(nnl.Conv(kernel_size), nnl.Sum(fine, coarse), nnl.Relu(), nnl.Conv(1, weight_std=1.0))


architecture = two_scales()
print(architecture)

# It is checked when it is built: what has no Gaussian limit is refused, and the message says where it is and what to
# do.

try:
    nnl.Serial(nnl.Conv(3), nnl.Relu(), nnl.Relu())
except nnl.ArchitectureError as error:
    print("refused:", error)

# And again when it meets an image: this one has to be divisible by two.

clean = nnl.crop(nnl.example_image(256), size, center=(60, 112)).astype("float32")
noisy = nnl.add_noise(clean, sigma=25 / 255)
try:
    nnl.tangent_kernel(architecture, noisy[:-1])
except nnl.ArchitectureError as error:
    print("refused:", error)

# Its kernel is exact. A network of finite width has one that is near to it; this is how to convince yourself that a
# description means the same on both sides.

kernel = nnl.tangent_kernel(architecture, noisy, memory_plan="matrix")
network = nnl.to_flax(architecture, width=256, out_channels=1)
params = network.init(jax.random.key(0), noisy)
distance = relative_distance(nnl.empirical_kernel(network, params, noisy), kernel, probes=8)
print(f"kernel of a network with 256 channels: {distance} away")

# What is it good for? Here is the best that gradient descent's limit makes of the noisy image, beside the paper's
# architectures. The step that is best is known only here, where the clean image is.

steps = np.unique(np.geomspace(1, 10_000, 30).astype(int))
kernels = {"two scales": kernel}
for name in sys.argv[2:] or ["vanilla_cnn:kernel_size=7", "cnn:depth=3", "unet:levels=1"]:
    kernels[name] = nnl.tangent_kernel(nnl.parse_architecture(name), noisy)
best = {}
for name, op in kernels.items():
    estimates = np.asarray(nnl.gradient_descent(op, noisy, steps))
    values = [nnl.psnr(estimate, clean) for estimate in estimates]
    best[name] = estimates[int(np.argmax(values))], max(values)
    print(f"{name}: {max(values):.2f} dB after {steps[int(np.argmax(values))]} steps")

with plotting.style():
    figure = plotting.new_figure(8.5, 2.3)
    axes = figure.subplots(1, 1 + len(best))
    plotting.show_image(axes[0], noisy, "noisy", f"{nnl.psnr(noisy, clean):.2f} dB")
    for axis, (name, (estimate, value)) in zip(axes[1:], best.items(), strict=True):
        plotting.show_image(axis, estimate, name, f"{value:.2f} dB")
    plotting.save_figure(figure, "estimates.png")
