"""Training of finite networks on one image: gradient descent, Adam, and any other optimiser of optax."""

from .checkpoint import CheckpointError
from .inputs import noise_input
from .loop import train
from .result import DivergenceError, History, TrainingResult
from .weights import WeightChange, weight_change

__all__ = [
    "CheckpointError",
    "DivergenceError",
    "History",
    "TrainingResult",
    "WeightChange",
    "noise_input",
    "train",
    "weight_change",
]
