"""The exact kernel, one lag at a time: registered rules per layer, and the operators built from them."""

from .duals import Dual, PairOf, dual
from .kernel import LagKernel
from .slices import lag_rule
from .window import WindowKernel

__all__ = ["Dual", "LagKernel", "PairOf", "WindowKernel", "dual", "lag_rule"]
