from .catalogue import MODULES
from .compare import CompareSettings, Comparison
from .compare_figures import DRAWINGS, draw_comparison
from .criteria import CRITERIA, DROPPED
from .experiment import Verdict, load, measure, save
from .parts import Store
from .pictures import Pictures
from .poster import poster_table, simple_filters, tried_table, whole_picture_line
from .report import write_report
from .scorecard import largest, markdown, scorecard
from .workers import helpers, most_workers, print_progress

__all__ = [
    "CRITERIA",
    "DRAWINGS",
    "DROPPED",
    "MODULES",
    "CompareSettings",
    "Comparison",
    "Pictures",
    "Store",
    "Verdict",
    "draw_comparison",
    "helpers",
    "largest",
    "load",
    "markdown",
    "measure",
    "most_workers",
    "poster_table",
    "print_progress",
    "save",
    "scorecard",
    "simple_filters",
    "tried_table",
    "whole_picture_line",
    "write_report",
]
