"""Compare a finite network with its limit

Gradient descent on an infinitely wide network is a linear filter that can be written down. How wide is wide? This
script trains networks of growing width on one noisy image and measures how far their outputs, and their kernels, are
from the theory.
"""

import sys

import jax
import numpy as np

import ntk_nonlocal as nnl
from ntk_nonlocal import plotting
from ntk_nonlocal.linalg import relative_distance

size = int(sys.argv[1]) if len(sys.argv) > 1 else 24  # pixels on a side
widths = [int(word) for word in sys.argv[2:]] or [16, 64, 256]
steps = [1, 3, 10, 30, 100]

clean = nnl.crop(nnl.example_image(256), size, center=(52, 115)).astype("float32")
noisy = nnl.add_noise(clean, sigma=25 / 255)

# **The theory.** The kernel over all pairs of pixels is exact. It is an operator that is multiplied and not held; for
# an image as small as this one, `memory_plan="matrix"` holds it. The network is fed the noisy image itself.

architecture = nnl.cnn(depth=2)
kernel = nnl.tangent_kernel(architecture, noisy, memory_plan="matrix")
largest = float(nnl.eigenpairs(kernel, 1).values[0])
print(kernel)
print(f"largest eigenvalue {largest:.4g}: gradient descent is stable below a step size of {2 / largest:.3g}")

# **The networks.** Before training a network puts out something random, z(0), and the theory starts from the same
# place. The loss is 1/2 |z - y|^2, and the step size is one half of 1 / lambda_max of the limit, for every width.

rate = 0.5 / largest
outputs, distances, kernel_distances = {}, {}, []
for width in widths:
    network = nnl.to_flax(architecture, width=width, out_channels=3)
    params = network.init(jax.random.key(0), noisy)
    start = network.apply(params, noisy)
    theory = nnl.gradient_descent(kernel, noisy, steps, step_size=0.5, start=start)
    trained = nnl.train(
        network, noisy, noisy, params=params, learning_rate=rate, steps=steps[-1], keep_outputs=steps, clean=clean
    )
    distances[width] = [
        float(np.linalg.norm(trained.outputs[step] - z) / np.linalg.norm(z))
        for step, z in zip(steps, np.asarray(theory), strict=True)
    ]
    empirical = nnl.empirical_kernel(network, params, noisy)
    kernel_distances.append(relative_distance(empirical, kernel, probes=8).value)
    outputs[width] = trained.output
    print(
        f"width {width}: kernel {kernel_distances[-1]:.3f} from the exact one, "
        f"output after {steps[-1]} steps {distances[width][-1]:.3f} from the theory"
    )

# The kernel's distance falls like one over the square root of the width, that of the trained outputs more slowly while
# the kernel moves. One draw of the weights per width scatters; the experiments `kernel-width` and `dynamics` of
# `ntk-nonlocal reproduce` average many draws and fit the exponents.

with plotting.style():
    figure = plotting.new_figure(7.5, 3.0)
    left, right = figure.subplots(1, 2)
    for width in widths:
        left.loglog(steps, distances[width], marker="o", label=f"{width} channels")
    left.set_xlabel("steps of gradient descent")
    left.set_ylabel("distance of the output")
    left.legend()
    right.loglog(widths, kernel_distances, marker="o", color=plotting.BLUE, label="one network each")
    guide = [kernel_distances[-1] * (width / widths[-1]) ** -0.5 for width in widths]
    right.loglog(widths, guide, color=plotting.BLACK, linestyle=":", label="channels$^{-1/2}$")
    right.set_xlabel("channels")
    right.set_xticks(widths, [str(width) for width in widths])
    right.minorticks_off()
    right.set_ylabel("distance of the kernel")
    right.legend()
    plotting.save_figure(figure, "distances.png")

# And the pictures: what the widest network puts out, beside the theory.

with plotting.style():
    figure = plotting.new_figure(7.5, 2.4)
    shown = {
        "noisy": noisy,
        "theory": np.asarray(theory)[-1],
        f"{widths[-1]} channels": outputs[widths[-1]],
        "clean": clean,
    }
    for axes, (title, image) in zip(figure.subplots(1, 4), shown.items(), strict=True):
        plotting.show_image(axes, image, title, f"{min(nnl.psnr(image, clean), 99):.2f} dB" if title != "clean" else "")
    plotting.save_figure(figure, "outputs.png")
