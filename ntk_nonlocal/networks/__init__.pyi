from .checkpoint import CheckpointError, digest
from .describe import Description, describe
from .empirical import EmpiricalKernel, empirical_kernel
from .finite import FlaxNetwork, Parameterization, Params, Place, flax_rule, parameters_at, to_flax
from .from_flax import from_flax
from .inputs import noise_input
from .linearized import LinearizedNetwork, linearize
from .optimizers import OPTIMIZERS, NamedOptimizer, OptimizerFactory, parse_optimizer, relative_names
from .preconditioners import preconditioner
from .result import DivergenceError, History, TrainingResult
from .training import train
from .weights import WeightChange, weight_change

__all__ = [
    "OPTIMIZERS",
    "CheckpointError",
    "Description",
    "DivergenceError",
    "EmpiricalKernel",
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
    "describe",
    "digest",
    "empirical_kernel",
    "flax_rule",
    "from_flax",
    "linearize",
    "noise_input",
    "parameters_at",
    "parse_optimizer",
    "preconditioner",
    "relative_names",
    "to_flax",
    "train",
    "weight_change",
]
