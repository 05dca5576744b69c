from .kinds import DenseOperator, ScaledOperator
from .linear import LinearOperator, check_operator, static_field

__all__ = ["DenseOperator", "LinearOperator", "ScaledOperator", "check_operator", "static_field"]
