from .deepinv import deepinv_denoiser
from .scico import ScicoOperator, from_scico, to_scico

__all__ = ["ScicoOperator", "deepinv_denoiser", "from_scico", "to_scico"]
