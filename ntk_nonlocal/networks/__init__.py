"""Finite networks: Flax modules, their empirical kernels, optimizers and training on one image."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
