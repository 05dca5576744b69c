"""The page that shows filters: one HTML file in which a filter's weights follow the pointer."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
