"""A new optimiser, and what it does to the kernel

Gradient descent leaves the kernel of a wide network where it was, and the theory holds. Adam does not. What about your
optimiser? Anything from optax can be handed to `train`; this script trains the same network with several and measures
how far each has turned the tangent kernel.
"""

import sys

import jax
import numpy as np
import optax

import ntk_nonlocal as nnl
from ntk_nonlocal import plotting
from ntk_nonlocal.linalg import alignment

size = int(sys.argv[1]) if len(sys.argv) > 1 else 32  # pixels on a side
steps = 200
clean = nnl.crop(nnl.example_image(256), size, center=(60, 112)).astype("float32")
noisy = nnl.add_noise(clean, sigma=25 / 255)

# The network is fed random numbers, as in the deep image prior, in the parameterization that practitioners use.

description = sys.argv[2] if len(sys.argv) > 2 else "autoencoder:levels=2"
network = nnl.to_flax(nnl.parse_architecture(description), width=64, out_channels=3, parameterization="standard")
fed = nnl.noise_input((size, size), channels=32, scale=0.5)
params = network.init(jax.random.key(0), fed)
before = nnl.empirical_kernel(network, params, fed)

# Two things are measured: the PSNR at the end, and the alignment of the kernel after training with the one before, one
# where it has not turned at all (the mean over the pixels is taken off first, for it hides everything else). To see
# what has become of the kernel, the row of one pixel is kept: whom that pixel would listen to from now on.

row, column = round(0.44 * size), round(0.66 * size)
results = {}


def measure(name, output, kernel):
    weights = np.asarray(kernel.rows([row * size + column])[0]).reshape(size, size)
    turned = alignment(before, kernel, centered=True, probes=16)
    results[name] = {"output": output, "psnr": nnl.psnr(output, clean), "alignment": turned.value}
    results[name]["weights"] = weights - weights.mean()
    print(f"{name}: {results[name]['psnr']:.2f} dB, alignment {turned}")


def trained_by(optimizer, **options):
    found = nnl.train(network, fed, noisy, optimizer=optimizer, params=params, steps=steps, **options)
    return found, nnl.empirical_kernel(network, found.params, fed)


measure("before training", network.apply(params, fed), before)

# For plain gradient descent `train` finds a stable step size itself: half of one over the largest eigenvalue of the
# network's own kernel.

descent, after = trained_by("gd", step_size=0.5)
measure("gradient descent", descent.output, after)

# An optimiser of optax brings its own learning rate. Momentum of 0.9 multiplies the step by ten in the long run.

optimisers = {
    "momentum": optax.sgd(descent.learning_rate, momentum=0.9),
    "Adam": optax.adam(1e-3),
    "sign of the gradient": optax.sign_sgd(3e-4),
}
for name in sys.argv[3:] or list(optimisers):
    trained, after = trained_by(optimisers[name])
    measure(name, trained.output, after)

# Momentum is as linear as gradient descent: for a wide network its limit is a filter of the same fixed kernel
# (`trajectory(...).momentum`), and what it turns here is a matter of the finite width. Adam rescales every weight's
# gradient by its own size, which no fixed kernel describes. Wider networks, and more draws of the weights, tell the two
# apart more clearly: the experiments `kernel-change` and `dynamics` of `ntk-nonlocal reproduce` do that.

with plotting.style():
    figure = plotting.new_figure(9, 4.2)
    grid = figure.subplots(2, len(results))
    for (top, bottom), (name, found) in zip(grid.T, results.items(), strict=True):
        plotting.show_image(top, found["output"], name, f"{found['psnr']:.2f} dB")
        plotting.show_weights(bottom, clean, found["weights"], (row, column), "", f"alignment {found['alignment']:.2f}")
    plotting.label_row(grid[0][0], "output")
    plotting.label_row(grid[1][0], "kernel row")
    plotting.save_figure(figure, "optimisers.png")
