from .containers import Branches, Chain, Concat, Serial, Sum
from .layer import ArchitectureError, Layer, Nonlinearity, Path, Signal
from .layers import PAD_MODES, Conv, Downsample, Erf, LeakyRelu, Normalize, Rbf, Relu, Upsample
from .named import NAMED, autoencoder, cnn, dip, parse_architecture, unet, vanilla_cnn
from .pointwise import Pointwise
from .validation import PlacedConv, as_serial, check_network, convolutions, divisor, output_signal
from .walk import Placed, walk

__all__ = [
    "NAMED",
    "PAD_MODES",
    "ArchitectureError",
    "Branches",
    "Chain",
    "Concat",
    "Conv",
    "Downsample",
    "Erf",
    "Layer",
    "LeakyRelu",
    "Nonlinearity",
    "Normalize",
    "Path",
    "Placed",
    "PlacedConv",
    "Pointwise",
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
    "dip",
    "divisor",
    "output_signal",
    "parse_architecture",
    "unet",
    "vanilla_cnn",
    "walk",
]
