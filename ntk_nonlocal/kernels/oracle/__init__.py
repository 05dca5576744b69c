"""The independent oracle: neural-tangents, kept at arm's length."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
