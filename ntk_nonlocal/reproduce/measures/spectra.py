"""The leading eigenvectors of a kernel: left singular vectors of the infinitely wide network's Jacobian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ntk_nonlocal.linalg import eigenpairs, energy_shares

from ..pictures import Picture
from ..workspace import Arrays, Workspace
from .closed_form import FloatArray, Limit

DRAWN = 6  # vectors that are kept to look at


@dataclass(frozen=True)
class Spectra:
    """So many ``vectors`` of a network fed the noisy picture, the clean one and iid noise."""

    picture: Picture
    architecture: str
    vectors: int


INPUTS: tuple[Literal["image", "clean", "noise"], ...] = ("image", "clean", "noise")


def spectra(settings: Spectra, workspace: Workspace) -> Arrays:
    """Leading eigenvalues and eigenvectors from all three inputs, and how alike their spans are.

    Returns:
      in the order of ``INPUTS`` "values" (3, k); "vectors" (3, H, W, 6), the first of them, of unit norm; "share"
      (3, k), the share of the clean picture's energy beside its mean in the first 1..k; "roughness" (3, k), the mean
      squared difference between neighbours over the mean square; "overlap" (3,), the mean squared cosine of the
      principal angles between their span and that from the clean picture; of bundled pictures "input" (3, H, W, 3),
      three channels of what the network is fed; noise with mean 1/2 and deviation 1/6.
    """
    pictures, size = workspace.pictures, settings.picture.size
    clean = pictures.clean(settings.picture)
    found: dict[str, list[FloatArray]] = {name: [] for name in ("values", "vectors", "share", "roughness", "input")}
    bases = []
    for source in INPUTS:
        limit = Limit(settings.picture, settings.architecture, source)
        fed = limit.network_input(pictures)[:, :, :3]
        pairs = eigenpairs(limit.kernel(pictures), settings.vectors, tolerance=1e-4)
        flat = np.asarray(pairs.vectors, np.float64)
        flat = flat * np.sign(flat.sum(axis=0))
        vectors = flat.reshape(size, size, -1)
        bases.append(np.linalg.qr(flat)[0])
        differences = [np.square(np.diff(vectors, axis=axis)).sum((0, 1)) for axis in (0, 1)]
        found["values"].append(np.asarray(pairs.values, np.float64))
        found["vectors"].append(vectors[:, :, :DRAWN])
        found["share"].append(energy_shares(clean, bases[-1].reshape(vectors.shape), remove_mean=True))
        found["roughness"].append((differences[0] + differences[1]) / 2)
        found["input"].append(0.5 + fed / (6 * fed.std()) if source == "noise" else fed)
    arrays = {name: np.stack(values) for name, values in found.items()}
    kept = {name: arrays[name] for name in ("values", "share", "roughness")}
    kept["vectors"] = arrays["vectors"].astype(np.float16)
    clean_basis = bases[INPUTS.index("clean")]
    kept["overlap"] = np.array([np.square(clean_basis.T @ basis).sum() / settings.vectors for basis in bases])
    return kept | ({"input": arrays["input"].astype(np.float16)} if pictures.shareable else {})
