"""The description of an architecture: layers, one walk over them, validation, and the named ones."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
