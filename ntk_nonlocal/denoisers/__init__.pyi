from .classical import require_bm3d
from .denoising import METHODS, denoise
from .nlm import NonLocalFilter, nonlocal_means
from .result import Denoised, draw_side_by_side, told_level

__all__ = [
    "METHODS",
    "Denoised",
    "NonLocalFilter",
    "denoise",
    "draw_side_by_side",
    "nonlocal_means",
    "require_bm3d",
    "told_level",
]
