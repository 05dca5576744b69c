"""Completion scripts for shells, made from the parsers by shtab.

shtab writes a static script, so that pressing TAB starts no Python, and is one small package without dependencies
(argcomplete, the alternative, runs the program at every TAB and asks for a line in the shell's start-up file).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SHELLS = ("bash", "zsh", "tcsh")
_FOLDERS = ("out", "data")


class PrintCompletion(argparse.Action):
    """Prints the script and exits."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        import shtab

        from ntk_nonlocal.architecture import NAMED
        from ntk_nonlocal.networks import OPTIMIZERS
        from ntk_nonlocal.reproduce import MODULES

        for command in subcommands(parser).values():
            for action in command._actions:
                if action.type is Path:
                    action.complete = shtab.DIRECTORY if action.dest in _FOLDERS else shtab.FILE  # type: ignore[attr-defined]
                elif action.dest == "arch":
                    action.choices = list(NAMED)
                elif action.dest == "optimizer":
                    action.choices = list(OPTIMIZERS)
                elif action.dest == "name":
                    action.choices = ["all", *MODULES]
        print(shtab.complete(parser, shell=str(values)))
        parser.exit()


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of the commands by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}
