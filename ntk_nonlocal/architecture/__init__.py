"""The description of an architecture: layers, their validation, and the named ones."""

from .layers import (
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
    Signal,
    Sum,
    Upsample,
)
from .named import NAMED, autoencoder, cnn, parse_architecture, unet, vanilla_cnn
from .validation import PlacedConv, as_serial, check_network, convolutions, output_signal

__all__ = [
    "NAMED",
    "ArchitectureError",
    "Concat",
    "Conv",
    "Downsample",
    "Erf",
    "Layer",
    "LeakyRelu",
    "Nonlinearity",
    "PlacedConv",
    "Rbf",
    "Relu",
    "Serial",
    "Signal",
    "Sum",
    "Upsample",
    "as_serial",
    "autoencoder",
    "check_network",
    "cnn",
    "convolutions",
    "output_signal",
    "parse_architecture",
    "unet",
    "vanilla_cnn",
]
