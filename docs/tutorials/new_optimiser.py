"""A new optimiser, and what it does to the kernel

Gradient descent leaves the kernel of a wide network where it was, and the theory holds. Adam does not. What about your
optimiser? This script trains the same network with several of optax and one of its own, and measures how far each has
turned the tangent kernel.
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

# The optimisers of optax have names, with their settings behind a colon; `nnl.OPTIMIZERS` lists them, and the command
# line takes the same words (`ntk-nonlocal compare --optimizer ...`). Any object of optax can be handed in as well. A
# new one is a function of its settings, put under a name of its own: here the sign of an average of gradients.


def signed_momentum(learning_rate=3e-4, decay=0.9):
    return optax.chain(optax.trace(decay), optax.scale_by_sign(), optax.scale_by_learning_rate(learning_rate))


nnl.OPTIMIZERS["signed_momentum"] = signed_momentum

# Momentum of 0.9 multiplies the step by ten in the long run; its step size is relative to the kernel, like that of
# gradient descent.

optimisers = {
    "momentum": "momentum:step_size=0.5,momentum=0.9",
    "Adam": optax.adam(1e-3),
    "muon": "muon",
    "signed momentum": "signed_momentum:decay=0.8",
}
for name in sys.argv[3:] or list(optimisers):
    trained, after = trained_by(optimisers[name])
    measure(name, trained.output, after)

# Momentum is as linear as gradient descent: for a wide network its limit is a filter of the same fixed kernel
# (`trajectory(...).momentum`), and what it turns here is a matter of the finite width. Adam rescales every weight's
# gradient by its own size, and Muon makes every layer's gradient, as a matrix, orthogonal, which no fixed kernel
# describes. Wider networks, and more draws of the weights, tell the two apart more clearly: the experiments
# `kernel-change` and `dynamics` of `ntk-nonlocal reproduce` do that.

with plotting.style():
    figure = plotting.new_figure(10.5, 4.2)
    grid = figure.subplots(2, len(results))
    for (top, bottom), (name, found) in zip(grid.T, results.items(), strict=True):
        plotting.show_image(top, found["output"], name, f"{found['psnr']:.2f} dB")
        plotting.show_weights(bottom, clean, found["weights"], (row, column), "", f"alignment {found['alignment']:.2f}")
    plotting.label_row(grid[0][0], "output")
    plotting.label_row(grid[1][0], "kernel row")
    plotting.save_figure(figure, "optimisers.png")
