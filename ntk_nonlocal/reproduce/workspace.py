"""What a measurement is given beside its settings. Nothing of it may influence the result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from .pictures import Pictures

Arrays: TypeAlias = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Workspace:
    """The pictures, a folder of the part's own, and how many steps lie between two checkpoints of a training."""

    pictures: Pictures
    folder: Path
    checkpoint_every: int | None = None
