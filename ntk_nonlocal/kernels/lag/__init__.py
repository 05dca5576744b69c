"""The exact kernel, one lag at a time: registered rules per layer, and the operators built from them."""

from .budget import memory_plans
from .corrections import find_corrections
from .duals import Dual, PairOf, dual
from .kernel import LagKernel
from .slices import branch_slices, chain_slices, combine, lag_rule
from .window import WindowedLagKernel

__all__ = [
    "Dual",
    "LagKernel",
    "PairOf",
    "WindowedLagKernel",
    "branch_slices",
    "chain_slices",
    "combine",
    "dual",
    "find_corrections",
    "lag_rule",
    "memory_plans",
]
