"""Exact infinite-width kernels of convolutional denoisers, and the non-local filters they are.

The public names, each imported when it is first used: ``import ntk_nonlocal as nnl`` is light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .architecture import (
        ArchitectureError,
        Concat,
        Conv,
        Downsample,
        Erf,
        Layer,
        LeakyRelu,
        Nonlinearity,
        Rbf,
        Relu,
        Serial,
        Sum,
        Upsample,
        autoencoder,
        cnn,
        parse_architecture,
        unet,
        vanilla_cnn,
    )
    from .filters.denoise import denoise
    from .filters.nonlocal_means import nonlocal_means, twicing
    from .filters.nystrom import nystrom
    from .filters.spectrum import degrees_of_freedom, eigenpairs
    from .filters.trajectory import gradient_descent, trajectory
    from .images import add_noise, crop, example_image, psnr, ssim
    from .interpret.empirical import empirical_kernel
    from .interpret.flax import to_flax
    from .interpret.kernel import tangent_kernel
    from .interpret.layer_weights import standard_layer_weights
    from .interpret.stax import to_stax
    from .noise import estimate_sigma
    from .operators import DenseKernel, KernelOperator, ScaledKernel
    from .photos import read_photo, write_photo
    from .training import DivergenceError, noise_input, train

_HOMES = {
    "architecture": (
        "ArchitectureError Concat Conv Downsample Erf Layer LeakyRelu Nonlinearity Rbf Relu Serial Sum Upsample "
        "autoencoder cnn parse_architecture unet vanilla_cnn"
    ),
    "filters.denoise": "denoise",
    "filters.nonlocal_means": "nonlocal_means twicing",
    "filters.nystrom": "nystrom",
    "filters.spectrum": "degrees_of_freedom eigenpairs",
    "filters.trajectory": "gradient_descent trajectory",
    "images": "add_noise crop example_image psnr ssim",
    "interpret.empirical": "empirical_kernel",
    "interpret.flax": "to_flax",
    "interpret.kernel": "tangent_kernel",
    "interpret.layer_weights": "standard_layer_weights",
    "interpret.stax": "to_stax",
    "noise": "estimate_sigma",
    "operators": "DenseKernel KernelOperator ScaledKernel",
    "photos": "read_photo write_photo",
    "training": "DivergenceError noise_input train",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [  # noqa: RUF022  (in the order of use)
    "Conv",
    "Relu",
    "LeakyRelu",
    "Erf",
    "Rbf",
    "Downsample",
    "Upsample",
    "Serial",
    "Concat",
    "Sum",
    "Layer",
    "Nonlinearity",
    "ArchitectureError",
    "vanilla_cnn",
    "cnn",
    "autoencoder",
    "unet",
    "parse_architecture",
    "to_stax",
    "to_flax",
    "tangent_kernel",
    "empirical_kernel",
    "standard_layer_weights",
    "KernelOperator",
    "DenseKernel",
    "ScaledKernel",
    "gradient_descent",
    "trajectory",
    "nonlocal_means",
    "twicing",
    "eigenpairs",
    "nystrom",
    "degrees_of_freedom",
    "train",
    "noise_input",
    "DivergenceError",
    "denoise",
    "psnr",
    "ssim",
    "estimate_sigma",
    "add_noise",
    "crop",
    "example_image",
    "read_photo",
    "write_photo",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata  # takes ten times as long to import as all of this

        try:
            value: Any = metadata.version("ntk-nonlocal")
        except metadata.PackageNotFoundError:  # run from a checkout that is not installed
            value = "unknown"
    elif name in _HOME_OF:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
