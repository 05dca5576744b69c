"""Exact kernels of infinitely wide networks, and the windowed kernel of patches."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
