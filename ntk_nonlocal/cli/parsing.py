"""What the commands' options have in common: parsers of values, one-line errors, and checks of the output folder."""

from __future__ import annotations

import argparse
import math
import re
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from ntk_nonlocal.architecture import Serial, parse_architecture
from ntk_nonlocal.checks import nearest
from ntk_nonlocal.networks import NamedOptimizer, parse_optimizer

from .completion import subcommands

Value = TypeVar("Value")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, with the nearest known word for an unknown one."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            hints = [self._hint(word.partition("=")[0]) for word in unknown if word.startswith("-")]
            self.error(f"unrecognized arguments: {' '.join(unknown)}{''.join(hints)}")
        return found

    def _hint(self, option: str) -> str:
        """What may have been meant by an option that is not known where it stands."""
        options = {name: list(command._option_string_actions) for name, command in subcommands(self).items()}
        owners = [name for name, known in options.items() if option in known]
        if owners:
            return f"; {option} belongs to {' and '.join(owners)} and stands after that word"
        return nearest(option, [*self._option_string_actions, *(word for known in options.values() for word in known)])

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(
                action, f"unknown: {value!r}{nearest(str(value), known)}; known: {', '.join(known)}"
            )

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {one_line(message)} (see {self.prog} --help)\n")


def one_line(message: object) -> str:
    """A message without line breaks."""
    return " ".join(str(message).split())


def spoken(message: object) -> str:
    """A message of the package on one line, with its arguments as the options of the command."""
    text = one_line(message).replace("noise=PoissonGaussian(...)", "--noise poisson-gaussian:gain=..,offset=..,read=..")
    return re.sub(r"(?<![\w.])(mask|fill|noise|sigma)=(?:'([\w-]+)')?(?=[\s,;.)]|$)", _option, text)


def _option(found: re.Match[str]) -> str:
    return f"--{found[1]} {found[2]}" if found[2] else f"--{found[1]}"


def _checked(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """``parse`` with its ValueError's message kept, which argparse would hide."""

    def checked(text: str) -> Value:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(one_line(error)) from None

    return checked


def whole_number(least: int, most: int = 10**6) -> Callable[[str], int]:
    """A parser of integers in ``least``..``most``."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise ValueError(f"must be an integer in {least}..{most}, got {text!r}")
        return value

    return _checked(parse)


def positive_number(most: float = math.inf) -> Callable[[str], float]:
    """A parser of finite numbers above 0 and up to ``most``."""

    def parse(text: str) -> float:
        value = _number(text)
        if not (0 < value <= most and math.isfinite(value)):
            limit = f" and at most {most:g}" if math.isfinite(most) else ""
            raise ValueError(f"must be a number above 0{limit}, got {text!r}")
        return value

    return _checked(parse)


def _path(text: str) -> Path:
    if not text:
        raise ValueError("must be a path, got nothing; is a variable of the shell empty?")
    return Path(text)


def _number(text: str) -> float:
    """What the text says, not a number where it says none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _sigma(text: str) -> float:
    value = _number(text)
    if not 0 < value <= 255:
        raise ValueError(f"must be a noise level in 8-bit units, above 0 and at most 255, got {text!r}; try 25")
    return value / 255


def _sigma_or_auto(text: str) -> float | None:
    if text.strip().lower() == "auto":
        return None
    value = _number(text)
    if not 0 <= value <= 255:
        raise ValueError(f"must be auto or a noise level in 8-bit units, from 0 to 255, got {text!r}; try auto or 25")
    return abs(value) / 255  # without the sign of -0


def _size(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) not in (1, 2) or not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(f"must be a size in pixels such as 64 or 48x64 (height x width), got {text!r}")
    return int(parts[0]), int(parts[-1])


def _position(text: str) -> tuple[int, int]:
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isascii() and part.strip().isdigit() for part in parts):
        raise ValueError(f"must be ROW,COLUMN in pixels, got {text!r}")
    return int(parts[0]), int(parts[1])


def _architecture(text: str) -> Serial:
    return parse_architecture(text)


def _optimizer(text: str) -> NamedOptimizer:
    return parse_optimizer(text)


path = _checked(_path)
sigma = _checked(_sigma)  # 8-bit units in, [0, 1] out
sigma_or_auto = _checked(_sigma_or_auto)
size = _checked(_size)
position = _checked(_position)
architecture = _checked(_architecture)
optimizer = _checked(_optimizer)


def check_no_input(outputs: Iterable[Path], inputs: Iterable[Path | None], option: str) -> None:
    """Raises ValueError where an output would be written over an input, or over a file that an input links to."""
    read = {path.resolve() for path in inputs if path is not None}
    for output in outputs:
        if output.resolve() not in read:
            continue
        raise ValueError(f"{output} is an input and would be overwritten; choose another {option}")


def output_folder(path: Path) -> Path:
    """``path`` as a folder that exists and can be written.

    Raises:
      ValueError: it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        trial = path / f".trial-{secrets.token_hex(6)}"
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError as error:
        raise ValueError(f"cannot write into {path}: {error.strerror or error}; choose another --out") from None
    return path
