"""Progress of a command on stderr: a bar with the remaining time on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

_SECONDS_BETWEEN_LINES = 20.0


class Progress:
    """The progress of work that is done in stages of known relative length.

    Used as ``with Progress(total_weight, quiet=...) as progress``, then ``progress.stage(text, weight)`` at the start
    of every stage and ``progress.update(fraction)`` within it.
    """

    def __init__(self, total: float, *, quiet: bool = False) -> None:
        self._total, self._done, self._weight, self._text = total, 0.0, 0.0, ""
        self._begin = self._last_line = time.monotonic()
        self._bar: Any = None
        self._task: Any = None
        self._plain = not quiet and not sys.stderr.isatty()
        if not quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
            )
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=120)
            self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def stage(self, text: str, weight: float) -> None:
        """The stage before is done; the next one begins."""
        self._done += self._weight
        self._text, self._weight = text, weight
        if self._bar is not None:
            self._bar.update(self._task, description=text, completed=self._done)
        elif self._plain:
            self._line(0.0)

    def update(self, fraction: float) -> None:
        """The share of this stage that is done, 0 to 1."""
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done + fraction * self._weight)
        elif self._plain and time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._line(fraction)

    def _line(self, fraction: float) -> None:
        self._last_line = time.monotonic()
        share = (self._done + fraction * self._weight) / self._total
        print(f"{share:4.0%} {self._last_line - self._begin:5.0f} s  {self._text}", file=sys.stderr, flush=True)
