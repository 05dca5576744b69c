from .kinds import DenseOperator, ScaledOperator
from .linear import (
    LinearOperator,
    MultipleOperator,
    ProductOperator,
    SumOperator,
    TransposedOperator,
    check_operator,
    static_field,
)

__all__ = [
    "DenseOperator",
    "LinearOperator",
    "MultipleOperator",
    "ProductOperator",
    "ScaledOperator",
    "SumOperator",
    "TransposedOperator",
    "check_operator",
    "static_field",
]
