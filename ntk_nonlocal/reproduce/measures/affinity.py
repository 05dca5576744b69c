"""Printed formulas as exact kernels: the arc-cosine one, and the affinity of non-local means of a sinusoidal layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ntk_nonlocal.architecture import Conv, Rbf, Serial, vanilla_cnn
from ntk_nonlocal.images import psnr
from ntk_nonlocal.kernels import nngp_kernel

from ..pictures import Picture
from ..workspace import Arrays, Workspace


@dataclass(frozen=True)
class Affinity:
    """Patches of a noisy picture, and h relative to sigma; pixels as parts of the picture's height and width."""

    picture: Picture
    pixels: tuple[tuple[float, float], ...]
    patch_size: int = 7
    h: float = 1.0


def affinity(settings: Affinity, workspace: Workspace) -> Arrays:
    """Kernels of one hidden layer against formulas of zero-padded patches, |.|^2 the mean over a patch.

    The sinusoidal layer's against exp(-|y_i - y_j|^2 / h^2), and the vanilla CNN's with the last layer trained against
    |y_i| |y_j| / pi (sin phi + (pi - phi) cos phi), phi the angle between the patches.

    Returns:
      "error", the largest difference of rows; "arc_cosine_error", the same relative to the
      largest entry; "psnr" of the row-normalised filter W y, with "noisy" that of y.
    """
    noisy, clean = workspace.pictures.noisy(settings.picture), workspace.pictures.clean(settings.picture)
    size, patch = settings.picture.size, settings.patch_size
    h = settings.h * settings.picture.sigma
    # Weights of variance 2 over the fan-in: exp(-gamma (S_ii + S_jj - 2 S_ij)), 2 of the mean square over a patch each.
    network = Serial(Conv(patch), Rbf(1 / (2 * h**2)), Conv(1, weight_std=1.0))
    kernel = nngp_kernel(network, noisy)
    pixels = np.array([int(row * size) * size + int(column * size) for row, column in settings.pixels])
    reach = patch // 2
    padded = np.pad(noisy.astype(np.float64), ((reach, reach), (reach, reach), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (patch, patch), axis=(0, 1)).reshape(size * size, -1)
    square = np.square(windows[pixels, None] - windows[None]).mean(axis=2)
    error = np.abs(np.exp(-square / h**2) - np.asarray(kernel.rows(pixels), np.float64)).max()
    products, norms = windows[pixels] @ windows.T / windows.shape[1], np.sqrt(np.square(windows).mean(axis=1))
    sizes = norms[pixels, None] * norms[None]
    angle = np.arccos(np.clip(products / sizes, -1, 1))
    arc_cosine = sizes / np.pi * (np.sin(angle) + (np.pi - angle) * np.cos(angle))
    vanilla = np.asarray(nngp_kernel(vanilla_cnn(patch), noisy).rows(pixels), np.float64)
    columns = np.concatenate([noisy.reshape(size * size, -1), np.ones((size * size, 1), np.float32)], axis=1)
    product = np.asarray(kernel @ columns)
    filtered = (product[:, :-1] / product[:, -1:]).reshape(noisy.shape)
    return {
        "error": np.asarray(error),
        "arc_cosine_error": np.asarray(np.abs(vanilla - arc_cosine).max() / arc_cosine.max()),
        "psnr": np.asarray(psnr(filtered, clean)),
        "noisy": np.asarray(psnr(noisy, clean)),
    }
