"""Look at a filter

A filter makes every pixel of the output a weighted sum of the pixels of the noisy image. This script writes a page on
which you point at a pixel and see those weights, step by step, and then looks at one pixel by itself.
"""

import sys

import numpy as np

import ntk_nonlocal as nnl
from ntk_nonlocal import plotting

size = int(sys.argv[1]) if len(sys.argv) > 1 else 32  # pixels on a side
clean = nnl.crop(nnl.example_image(256), size, center=(60, 112)).astype("float32")
noisy = nnl.add_noise(clean, sigma=25 / 255)
row, column = round(0.44 * size), round(0.66 * size)

# **The page.** `explore` computes the exact kernels and keeps what fits into one HTML file: leading eigenvectors, and
# what the rest does on average at every pixel. Open `page.html` in a browser; in a notebook the last value of a cell
# shows itself. [The one of the bundled picture](../explorer.html) has the same panels.

names = ["nlm", "vanilla-ntk-image", "vanilla-ntk-noise"]
explorer = nnl.explore(noisy, "page.html", clean=clean, sigma=25 / 255, kernels=names)
print(explorer)

# **Non-local means** averages pixels whose surroundings look alike. **A network's filter** after t steps of gradient
# descent is F_t = 1 - (1 - K / lambda)^t of its kernel K. Fed the noisy picture, it compares patches as well; fed
# random numbers, it knows nothing of the picture. The page's numbers are at hand in Python too: the weights of a pixel,
# and how far they can be off because not everything is kept.

step = {name: explorer.filters[name].best_step for name in names}
weights = {}
for name, stored in explorer.filters.items():
    weights[name] = stored.weights(row, column, step[name]).reshape(size, size)
    print(f"{name}: step {step[name]}, rank {stored.rank}, error at most {stored.error(row, column, step[name]):.1%}")

# The step is where Stein's estimate of the error is least, which needs no clean picture: the diamonds on the page.
# Do the filters agree which pixels count? The rank correlation compares the order of the weights alone; the pixel
# itself is left out.


def ranks(values):
    return np.argsort(np.argsort(np.delete(values.ravel(), row * size + column))).astype(float)


correlations = {name: float(np.corrcoef(ranks(weights["nlm"]), ranks(weights[name]))[0, 1]) for name in names[1:]}
for name, correlation in correlations.items():
    print(f"{name}: rank correlation with non-local means {correlation:.2f}")

# Red weighs positively, blue negatively; the square marks the pixel.

with plotting.style():
    figure = plotting.new_figure(7, 2.6)
    for axes, (name, values) in zip(figure.subplots(1, len(weights)), weights.items(), strict=True):
        plotting.show_weights(axes, clean, values, (row, column), name)
    plotting.save_figure(figure, "weights.png")
