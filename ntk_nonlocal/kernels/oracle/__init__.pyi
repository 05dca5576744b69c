from .stax import Place, Triple, exact_kernel, stax_rule, to_stax

__all__ = ["Place", "Triple", "exact_kernel", "stax_rule", "to_stax"]
