from .affinity import PatchAffinity, patch_affinity
from .exact import nngp_kernel, tangent_kernel
from .lag import (
    Dual,
    LagKernel,
    PairOf,
    WindowedLagKernel,
    branch_slices,
    chain_slices,
    combine,
    dual,
    lag_rule,
    memory_plans,
)
from .layers import LayerWeights, check_layer_weights, standard_layer_weights
from .layerwise import layer_kernels
from .oracle import exact_kernel, stax_rule, to_stax
from .windowed import WindowedKernel

__all__ = [
    "Dual",
    "LagKernel",
    "LayerWeights",
    "PairOf",
    "PatchAffinity",
    "WindowedKernel",
    "WindowedLagKernel",
    "branch_slices",
    "chain_slices",
    "check_layer_weights",
    "combine",
    "dual",
    "exact_kernel",
    "lag_rule",
    "layer_kernels",
    "memory_plans",
    "nngp_kernel",
    "patch_affinity",
    "standard_layer_weights",
    "stax_rule",
    "tangent_kernel",
    "to_stax",
]
