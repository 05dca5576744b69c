"""What other packages can use as their own: a denoiser for deepinv, operators for scico and from it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
