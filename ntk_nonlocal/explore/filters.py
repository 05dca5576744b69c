"""The filters that the page can show, by name.

Every one is a kernel K over the pixels whose filter after t steps is F_t = I - (I - K / lambda_max)^t (Tachella, Tang &
Davies 2021); for non-local means W = D^-1 K, whose largest eigenvalue is 1, the same formula is twicing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from ntk_nonlocal.architecture import Layer, autoencoder, output_signal, unet, vanilla_cnn
from ntk_nonlocal.checks import nearest, told
from ntk_nonlocal.denoisers import nonlocal_means
from ntk_nonlocal.kernels import nngp_kernel, tangent_kernel
from ntk_nonlocal.networks import empirical_kernel, noise_input, to_flax, train
from ntk_nonlocal.operators import LinearOperator

Image = NDArray[Any]

LEVELS = 2
WIDTH = 16
ADAM_STEPS = 300
_ARCHITECTURES: dict[str, Layer] = {
    "vanilla": vanilla_cnn(kernel_size=11),
    "autoencoder": autoencoder(levels=LEVELS),
    "unet": unet(levels=LEVELS),
}
_KINDS = {"vanilla": ("nngp", "ntk"), "autoencoder": ("ntk",), "unet": ("ntk",)}
_BODY = {
    "vanilla": "a network with one hidden layer of 11x11 filters",
    "autoencoder": "an autoencoder that halves the picture twice",
    "unet": "a U-Net that halves the picture twice",
}
_FED = {"image": "fed the noisy picture", "noise": "fed random numbers"}
_TRAINED = {"nngp": "last layer trained", "ntk": "all layers trained"}

KERNELS: dict[str, str] = {
    f"{body}-{kind}-{fed}": f"Infinitely wide: {_BODY[body]}, {_FED[fed]}, {_TRAINED[kind]}."
    for body in _ARCHITECTURES
    for kind in _KINDS[body]
    for fed in _FED
} | {
    "nlm": "Non-local means: averages pixels whose surroundings (7x7) look alike. No network.",
    "empirical-initial": f"A real autoencoder of {WIDTH} channels, fed random numbers, before any training.",
    "empirical-adam": f"That autoencoder after {ADAM_STEPS} steps of another training, Adam, on the noisy picture, "
    "then held fixed: the slider's steps are of its filter.",
}
"""Name -> what it is, in one sentence."""


def check_kernels(kernels: object, image_shape: tuple[int, int]) -> tuple[str, ...]:
    """The names as a tuple.

    Raises:
      ValueError: an unknown or repeated name, none at all, or an architecture that does not fit the picture.
    """
    names = tuple(kernels.split(",")) if isinstance(kernels, str) else kernels
    if not isinstance(names, Sequence) or isinstance(names, bytes) or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"kernels must be names such as 'vanilla-noise,nlm', got {told(kernels)}; known: {', '.join(KERNELS)}"
        )
    names = tuple(names)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"kernels must be different names, at least one, got {told(kernels)}")
    for name in names:
        if name not in KERNELS:
            raise ValueError(f"unknown kernel {name!r}{nearest(name, KERNELS)}; known: {', '.join(KERNELS)}")
        output_signal(_architecture(name), image_shape)
    return names


def depends_on_noise(name: str) -> bool:
    """Whether the kernel is made from the noisy picture."""
    return not name.endswith("-noise") and name != "empirical-initial"


def build(name: str, noisy: Image, sigma: float, seed: int = 0) -> LinearOperator:
    """The kernel of that name as an operator; deterministic for a seed.

    Args:
      name: a key of ``KERNELS``.
      noisy: the noisy picture, float array (H, W, C).
      sigma: noise standard deviation on the [0, 1] scale; the decay of non-local means.
      seed: of random network inputs, weights and trainings.
    """
    image = np.asarray(noisy, np.float32)
    if name == "nlm":
        return nonlocal_means(image, patch_size=7, h=sigma)
    fed = image if name.endswith("-image") else noise_input(image.shape[:2], seed=seed)
    if not name.startswith("empirical"):
        kernel = nngp_kernel if "-nngp-" in name else tangent_kernel
        return kernel(_architecture(name), fed)
    network = to_flax(_architecture(name), width=WIDTH, out_channels=image.shape[2], parameterization="standard")
    params = network.init(jax.random.key(seed), fed)
    if name == "empirical-adam":
        params = train(network, fed, image, optimizer="adam", steps=ADAM_STEPS, params=params).params
    return empirical_kernel(network, params, fed)


def _architecture(name: str) -> Layer:
    return _ARCHITECTURES[
        "autoencoder" if name.startswith("empirical") else name.split("-")[0].replace("nlm", "vanilla")
    ]
