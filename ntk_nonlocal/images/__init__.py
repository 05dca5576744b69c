"""Images: what is accepted as one, measures of quality, noise, and photographs in files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
