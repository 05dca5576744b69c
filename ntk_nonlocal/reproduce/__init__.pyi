from .catalogue import MODULES
from .compare import CompareSettings, Comparison
from .compare_figures import draw_comparison
from .experiment import Verdict, load, measure, save
from .parts import Store
from .pictures import Pictures
from .report import write_report
from .workers import helpers, most_workers, print_progress

__all__ = [
    "MODULES",
    "CompareSettings",
    "Comparison",
    "Pictures",
    "Store",
    "Verdict",
    "draw_comparison",
    "helpers",
    "load",
    "measure",
    "most_workers",
    "print_progress",
    "save",
    "write_report",
]
