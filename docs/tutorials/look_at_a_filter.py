"""Look at a filter

A filter makes every pixel of the output a weighted sum of the pixels of the noisy image. This script draws the weights
of one pixel: those of a network with one hidden layer, of one with three, and of non-local means.
"""

import sys

import numpy as np

import ntk_nonlocal as nnl
from ntk_nonlocal import plotting

size = int(sys.argv[1]) if len(sys.argv) > 1 else 48  # pixels on a side
clean = nnl.crop(nnl.example_image(256), size, center=(60, 112)).astype("float32")
sigma = 25 / 255
noisy = nnl.add_noise(clean, sigma=sigma)
row, column = round(0.44 * size), round(0.66 * size)
pixel = row * size + column  # pixels are numbered row by row

# **Non-local means** compares the patches around two pixels: the weight is exp(-distance^2 / h^2), and the weights of a
# pixel sum to one.

averaged = nnl.nonlocal_means(noisy, patch_size=7, h=sigma)
weights = {"non-local means": np.asarray(averaged.weights(pixel))}

# **A network's kernel** compares patches as well, by their length and their angle. `rows` gives
# the rows of some pixels; it does not need the rest of the matrix, but an image as small as this one can hold it.

kernels = {
    "one hidden layer": nnl.tangent_kernel(nnl.vanilla_cnn(kernel_size=7), noisy, memory_plan="matrix"),
    "three layers": nnl.tangent_kernel(nnl.cnn(depth=3), noisy, memory_plan="matrix"),
}

# What gradient descent makes of the kernel after t steps is the filter F_t = 1 - (1 - eta K)^t. Its row is what it
# makes of an image that is one at this pixel and zero elsewhere, for F_t is symmetric.

unit = np.zeros((size, size, 1), np.float32)
unit[row, column] = 1
for name, kernel in kernels.items():
    weights[f"{name}, kernel"] = np.asarray(kernel.rows([pixel])[0]).reshape(size, size)
    weights[f"{name}, 100 steps"] = np.asarray(nnl.gradient_descent(kernel, unit, [100]))[0, :, :, 0]

# Do they agree which pixels count? The rank correlation compares the order of the weights alone; the pixel itself is
# left out.


def ranks(values):
    return np.argsort(np.argsort(np.delete(values.ravel(), pixel))).astype(float)


reference = ranks(weights["non-local means"])
correlations = {name: float(np.corrcoef(reference, ranks(values))[0, 1]) for name, values in weights.items()}
for name, correlation in correlations.items():
    print(f"{name}: rank correlation with non-local means {correlation:.2f}")

# Red weighs positively, blue negatively; the square marks the pixel. Non-local means has no negative weights, and
# neither has a ReLU network's kernel. Its filters have: they sharpen.

with plotting.style():
    figure = plotting.new_figure(9, 2.4)
    for axes, (name, values) in zip(figure.subplots(1, len(weights)), weights.items(), strict=True):
        plotting.show_weights(axes, clean, values, (row, column), name.replace(", ", ",\n"))
    plotting.save_figure(figure, "weights", ("png",))
