from .explorer import DEFAULT_KERNELS, Explorer, explore
from .filters import KERNELS, build
from .page import read_page
from .stored import StoredFilter

__all__ = ["DEFAULT_KERNELS", "KERNELS", "Explorer", "StoredFilter", "build", "explore", "read_page"]
