"""What is published: the eight claims, and the numbers of the authors' CVPR 2021 poster.

J. Tachella, J. Tang and M. Davies, "The Neural Tangent Link Between CNN Denoisers and Non-Local Filters", CVPR 2021
(arXiv 2006.02379). House, 256x256, colour; sigma, learning rates, steps and the Nystrom fraction are not printed.
"""

from __future__ import annotations

CLAIMS: dict[int, str] = {
    1: "Gradient descent on a wide CNN follows the twicing iteration with a fixed filter, its neural tangent kernel, "
    "available in closed form.",
    2: "With one hidden layer the filter compares patches by their angle: an arc-cosine kernel.",
    3: "Non-local means is such a filter too, with a Gaussian affinity of patches, normalised by rows.",
    4: "Fed with the noisy image and trained by plain gradient descent, the network is a non-local filter and can be "
    "replaced by the closed form with a Nystrom approximation.",
    5: "Fed with iid noise the fixed filter is a simple low-pass one and cannot explain good denoising; Adam moves "
    "the weights much more, the tangent kernel adapts, and denoising is good.",
    6: "The hidden weights move by O(c^-1/2) under gradient descent with a step size ~ 1/c, and O(1) under Adam (l2).",
    7: "The filter's effective degrees of freedom are far fewer than the network's parameters.",
    8: "Adam's autoencoder is best on House but does worse on noise-like textures such as Baboon.",
}

# PSNR in dB by (network input, method, network). The U-Net's columns are hidden under others on the poster and are
# matched to their labels by position.
POSTER_PSNR: dict[tuple[str, str, str], float] = {
    ("image", "gd", "autoencoder"): 24.7,
    ("image", "gd", "unet"): 27.3,
    ("image", "gd", "vanilla_cnn"): 28.0,
    ("image", "nystrom", "vanilla_cnn"): 28.9,
    ("image", "adam", "autoencoder"): 31.1,
    ("image", "adam", "unet"): 28.6,
    ("image", "adam", "vanilla_cnn"): 28.3,
    ("noise", "gd", "autoencoder"): 16.4,
    ("noise", "gd", "unet"): 18.6,
    ("noise", "gd", "vanilla_cnn"): 21.6,
    ("noise", "nystrom", "vanilla_cnn"): 15.3,
    ("noise", "adam", "autoencoder"): 31.0,
    ("noise", "adam", "unet"): 28.4,
    ("noise", "adam", "vanilla_cnn"): 21.6,
}

# Change of the hidden weights over training, autoencoder, iid-noise input: (optimiser, norm) -> width -> value, read
# off the poster's plots by eye.
POSTER_CHANGE: dict[tuple[str, str], dict[int, float]] = {
    ("adam", "l2"): {8: 5.8, 16: 5.3, 32: 4.4, 64: 4.2, 128: 3.8, 256: 3.6, 512: 3.5},
    ("gd", "l2"): {8: 0.91, 16: 0.72, 32: 0.61, 64: 0.50, 128: 0.35, 256: 0.21, 512: 0.13},
    ("adam", "linf"): {8: 1.2, 16: 0.7, 32: 0.36, 64: 0.2, 128: 0.11, 256: 0.057, 512: 0.032},
    ("gd", "linf"): {8: 0.097, 16: 0.053, 32: 0.03, 64: 0.016, 128: 0.0066, 256: 0.0022, 512: 0.0008},
}

# Guide slopes printed beside them, exponents of the width.
POSTER_SLOPES: dict[tuple[str, str], float] = {
    ("adam", "l2"): 0.0,
    ("gd", "l2"): -0.5,
    ("adam", "linf"): -1.0,
    ("gd", "linf"): -1.5,
}
