from .iteration import twicing
from .stopping import Risk, choose_step, filter_sure, monte_carlo_sure, sure
from .trajectories import Trajectory, gradient_descent, trajectory

__all__ = [
    "Risk",
    "Trajectory",
    "choose_step",
    "filter_sure",
    "gradient_descent",
    "monte_carlo_sure",
    "sure",
    "trajectory",
    "twicing",
]
