"""The experiments by name, in the order of the report."""

from __future__ import annotations

import difflib
import importlib
from typing import cast

from .experiment import Experiment

MODULES = {
    "vectors": "vectors",
    "weights": "weights",
    "table": "table",
    "width": "width",
    "features": "features",
    "kernel-width": "kernel_width",
    "dynamics": "dynamics",
    "kernel-change": "kernel_change",
    "exact": "exact",
    "settings": "settings",
    "adam": "adam",
    "optimizers": "optimizers",
}


def experiment(name: str) -> Experiment:
    """An experiment's module.

    Raises:
      ValueError: an unknown name, with the nearest known one.
    """
    if name not in MODULES:
        match = difflib.get_close_matches(name, MODULES, n=1)
        hint = f", did you mean {match[0]!r}?" if match else ""
        raise ValueError(f"unknown experiment {name!r}{hint}; known: all, {', '.join(MODULES)}")
    return cast(Experiment, importlib.import_module(f"{__package__}.{MODULES[name]}"))
