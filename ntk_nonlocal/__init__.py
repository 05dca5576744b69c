"""Exact infinite-width kernels of convolutional denoisers, and the non-local filters they are.

The public names stand in ``__init__.pyi``; each is imported when it is first used, so that ``import ntk_nonlocal as
nnl`` is light.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
