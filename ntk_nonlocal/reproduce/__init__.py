"""The paper's experiments: what each measures, what it concludes, and its figures."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
