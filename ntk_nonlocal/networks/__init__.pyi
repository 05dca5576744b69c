from .checkpoint import CheckpointError, digest
from .empirical import empirical_kernel
from .finite import FlaxNetwork, Parameterization, Params, Place, flax_rule, parameters_at, to_flax
from .inputs import noise_input
from .linearized import LinearizedNetwork, linearize
from .optimizers import OPTIMIZERS, NamedOptimizer, OptimizerFactory, parse_optimizer, relative_names
from .result import DivergenceError, History, TrainingResult
from .training import train
from .weights import WeightChange, weight_change

__all__ = [
    "OPTIMIZERS",
    "CheckpointError",
    "DivergenceError",
    "FlaxNetwork",
    "History",
    "LinearizedNetwork",
    "NamedOptimizer",
    "OptimizerFactory",
    "Parameterization",
    "Params",
    "Place",
    "TrainingResult",
    "WeightChange",
    "digest",
    "empirical_kernel",
    "flax_rule",
    "linearize",
    "noise_input",
    "parameters_at",
    "parse_optimizer",
    "relative_names",
    "to_flax",
    "train",
    "weight_change",
]
