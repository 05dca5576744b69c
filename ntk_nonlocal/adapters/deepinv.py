"""``denoise`` as a denoiser of deepinv (https://deepinv.github.io), for its plug-and-play algorithms and benchmarks."""

from __future__ import annotations

from typing import Any

import numpy as np

from ntk_nonlocal.checks import choice
from ntk_nonlocal.denoisers import METHODS, denoise


def deepinv_denoiser(method: str = "ntk", **options: Any) -> Any:
    """A ``deepinv.models.Denoiser``: forward(x, sigma), torch tensors (B, C, H, W) in and out.

    The pictures of a batch are denoised one by one, on the CPU or wherever JAX computes, and come back in the type and
    on the device of ``x``. sigma is a number, or a tensor with one number for all or one for each picture; None
    estimates it. Gradients do not pass through.

    Args:
      method: of ``denoise``.
      options: further arguments of ``denoise``, such as fast=True.

    Raises:
      ImportError: deepinv is not installed.
      ValueError: an unknown method.
    """
    choice("method", method, METHODS)
    try:
        import torch
        from deepinv.models import Denoiser
    except ImportError as error:
        raise ImportError(
            "deepinv is not installed; pip install deepinv, or this package with its extra: ntk-nonlocal[deepinv]"
        ) from error

    class ClosedFormDenoiser(Denoiser):  # type: ignore[misc]
        """``ntk_nonlocal.denoise`` for deepinv."""

        def forward(self, x: Any, sigma: Any = None, **_: Any) -> Any:
            if x.ndim != 4:
                raise ValueError(f"x must have shape (B, C, H, W), got {tuple(x.shape)}")
            levels = [None] * len(x) if sigma is None else _levels(sigma, len(x))
            pictures = np.moveaxis(x.detach().cpu().numpy(), 1, -1)
            results = [
                denoise(picture, level, method, **options).image  # type: ignore[arg-type]
                for picture, level in zip(pictures, levels, strict=True)
            ]
            back = np.ascontiguousarray(np.moveaxis(np.stack(results), -1, 1))
            return torch.from_numpy(back).to(device=x.device, dtype=x.dtype)

    return ClosedFormDenoiser()


def _levels(sigma: Any, count: int) -> list[float]:
    """One noise level for each picture of a batch."""
    values = np.asarray(sigma.detach().cpu() if hasattr(sigma, "detach") else sigma, np.float64).reshape(-1)
    if len(values) not in (1, count):
        raise ValueError(f"sigma must be one number, or one for each of the {count} pictures, got {len(values)}")
    return [float(value) for value in np.broadcast_to(values, count)]
