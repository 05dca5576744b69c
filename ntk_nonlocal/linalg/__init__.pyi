from .comparison import alignment, energy_shares, leading_eigenvectors, relative_distance
from .eigen import Eigenpairs, degrees_of_freedom, eigenpairs, largest_eigenvalue
from .functions import (
    KrylovSpectrum,
    SpectralFilter,
    check_image,
    check_step_size,
    check_steps,
    check_tolerance,
    descent_filter,
    flow_filter,
    momentum_filter,
)
from .krylov import BlockKrylov, Estimate, Progress, Small, grow, probe_generator, random_columns, symmetric_form
from .low_rank import ApproximationError, LowRankOperator, approximation_error, nystrom

__all__ = [
    "ApproximationError",
    "BlockKrylov",
    "Eigenpairs",
    "Estimate",
    "KrylovSpectrum",
    "LowRankOperator",
    "Progress",
    "Small",
    "SpectralFilter",
    "alignment",
    "approximation_error",
    "check_image",
    "check_step_size",
    "check_steps",
    "check_tolerance",
    "degrees_of_freedom",
    "descent_filter",
    "eigenpairs",
    "energy_shares",
    "flow_filter",
    "grow",
    "largest_eigenvalue",
    "leading_eigenvectors",
    "momentum_filter",
    "nystrom",
    "probe_generator",
    "random_columns",
    "relative_distance",
    "symmetric_form",
]
