"""The command line: ``ntk-nonlocal compare | denoise | describe | explore | reproduce``.

Every command is a module with ``add_parser(subparsers)`` and ``run(args) -> int``, imported when it is asked for. Bad
input is one line on stderr and exit code 2; an interrupt is exit code 130, SIGTERM 143. Results go to stdout,
everything else to stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import io
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from .completion import SHELLS, PrintCompletion
from .parsing import Parser, one_line, spoken

_ENDS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")  # the last but one: a terminal is closed
_COMMANDS = {
    "compare": "trained networks beside their infinite-width limit, on one image",
    "denoise": "remove the noise from photographs",
    "explore": "filters of a picture, as a page to look at",
    "describe": "the layers of an architecture, and what its kernel costs",
    "reproduce": "the paper's experiments, with verdicts, figures and a report",
}
_DESCRIPTION = """\
Exact infinite-width kernels of convolutional denoisers, and the non-local filters they are
(Tachella, Tang and Davies, "The Neural Tangent Link Between CNN Denoisers and Non-Local Filters", CVPR 2021)."""
_EPILOG = """\
ntk-nonlocal COMMAND --help explains a command, with examples.

Compiled programs are kept between runs in $XDG_CACHE_HOME/ntk-nonlocal/jax (usually ~/.cache/ntk-nonlocal/jax), or
where JAX_COMPILATION_CACHE_DIR says; --no-compile-cache switches that off. The folder may be deleted at any time.

--print-completion bash (or zsh, tcsh) prints a script for your shell that completes commands, options and files:

  bash   ntk-nonlocal --print-completion bash > ~/.local/share/bash-completion/completions/ntk-nonlocal
  zsh    ntk-nonlocal --print-completion zsh > _ntk-nonlocal, in a folder of $fpath

Colours appear on terminals only, and not where NO_COLOR is set."""
_EXIT_CODES = "exit codes: 0 done, 2 bad input or an unwritable output, 130 interrupted, 143 terminated"

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line with ``argv`` (that of the process without) and returns the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser, module = _parser(argv)
    try:
        args = parser.parse_args(argv)
    except SystemExit as end:  # argparse has said why
        return end.code if isinstance(end.code, int) else 2
    prog = f"{parser.prog} {args.command}"
    try:
        with _printable(), _messages(args), _compile_cache(args.compile_cache):
            code: int = module.run(args)
            return code
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError, ArithmeticError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _is_memory(error):
            raise
        if args.verbose > 1:
            traceback.print_exc()
        print(f"{prog}: error: {_explain(error)}", file=sys.stderr)
        return 2


def run() -> NoReturn:
    """The program: :func:`main`, and the end of the process with its exit code, also by signals that end it."""
    for number in (getattr(signal, name) for name in _ENDS if hasattr(signal, name)):
        if signal.getsignal(number) != signal.SIG_IGN:  # as a shell starts its background jobs
            signal.signal(number, _end)
    sys.exit(main())


def _end(number: int, _: Any) -> None:
    """Ends the process at once, without half-written files.

    An exception will not do: raised inside a callback of JAX it is lost, and a compilation that it interrupts goes on
    in threads that crash while Python shuts down.
    """
    results = sys.modules.get("ntk_nonlocal.results")  # where nothing was written yet it need not be there
    if results is not None:
        results.discard_unfinished()
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[2K\x1b[?25h")  # the line of the progress bar, and the cursor that it hides
        command = next((word for word in sys.argv[1:] if word in _COMMANDS), "")
        what = "interrupted" if number == signal.SIGINT else "terminated"
        print(f"{' '.join(filter(None, ('ntk-nonlocal', command)))}: {what}", file=sys.stderr, flush=True)
        sys.stdout.flush()
    os._exit(128 + number)


def _parser(argv: Sequence[str]) -> tuple[argparse.ArgumentParser, Any]:
    """The parser, and the module of the command that ``argv`` names; no other one is imported."""
    parser = Parser(
        prog="ntk-nonlocal",
        description=_DESCRIPTION,
        epilog=f"{_EPILOG}\n\n{_EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    parser.add_argument(
        "--print-completion", choices=SHELLS, metavar="SHELL", action=PrintCompletion,
        help=f"print a completion script for {', '.join(SHELLS)} and exit",
    )  # fmt: skip
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    named = next((argument for argument in argv if not argument.startswith("-")), None)
    every = any(argument.startswith("--print-completion") for argument in argv)
    module = None
    for name, text in _COMMANDS.items():
        if importlib.util.find_spec(f"{__name__}.{name}") is None:
            continue
        if every or name == named:
            module = importlib.import_module(f"{__name__}.{name}")
            module.add_parser(subparsers)
            _add_common_options(subparsers.choices[name])
        else:
            subparsers.add_parser(name, help=text)
    return parser, module


def _add_common_options(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"{parser.epilog}\n\n{_EXIT_CODES}"
    group = parser.add_argument_group("messages and cache")
    loudness = group.add_mutually_exclusive_group()
    loudness.add_argument(
        "-v", "--verbose", action="count", default=0,
        help="say what is decided on the way; -vv: everything, and where errors arise",
    )  # fmt: skip
    loudness.add_argument("-q", "--quiet", action="store_true", help="print errors only (and the document of --json)")
    group.add_argument(
        "--no-compile-cache",
        dest="compile_cache",
        action="store_false",
        help="do not keep compiled programs between runs",
    )


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, default=argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        import ntk_nonlocal

        print(f"{parser.prog} {ntk_nonlocal.__version__}")
        parser.exit()


def _is_memory(error: BaseException) -> bool:
    """Whether memory ran out, in Python or on the device."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def _explain(error: BaseException) -> str:
    if _is_memory(error):
        return "not enough memory; use a smaller image or crop"
    if isinstance(error, OSError) and error.strerror:
        return one_line(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    return spoken(error) or type(error).__name__


@contextlib.contextmanager
def _printable() -> Iterator[None]:
    """Names of files that the terminal's encoding does not have are printed with escapes, and cost nothing else."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    before = [stream.errors for stream in streams]
    try:
        for stream in streams:
            if stream.errors in (None, "strict", "surrogateescape"):
                stream.reconfigure(errors="backslashreplace")
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            stream.reconfigure(errors=errors)


@contextlib.contextmanager
def _messages(args: argparse.Namespace) -> Iterator[None]:
    """Log lines and warnings of the package on stderr, one line each, as loud as asked for; tifffile's with -v."""
    package = logging.getLogger("ntk_nonlocal")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    level = package.level
    package.addHandler(handler)
    levels = (logging.ERROR if args.quiet else logging.WARNING, logging.INFO, logging.DEBUG)
    package.setLevel(levels[min(args.verbose, 2)])
    decoders = logging.getLogger("tifffile")  # tells of every tag that it cannot use
    decoders_level = decoders.level
    decoders.addHandler(handler)
    decoders.setLevel(logging.WARNING if args.verbose else logging.CRITICAL + 1)

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if args.verbose > 1 or (issubclass(category, UserWarning | RuntimeWarning) and not args.quiet):
            print(f"warning: {spoken(message)}", file=sys.stderr)

    try:
        with warnings.catch_warnings():
            warnings.showwarning = show
            yield
    finally:
        decoders.removeHandler(handler)
        decoders.setLevel(decoders_level)
        package.removeHandler(handler)
        package.setLevel(level)


@contextlib.contextmanager
def _compile_cache(wanted: bool) -> Iterator[None]:
    """JAX's persistent compilation cache in the user's cache folder, unless JAX has one already."""
    if not wanted or os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        yield
        return
    import jax

    try:
        base = os.environ.get("XDG_CACHE_HOME")
        folder = (Path(base) if base else Path.home() / ".cache") / "ntk-nonlocal" / "jax"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        logger.info("no compilation cache: %s", error)
        yield
        return
    settings = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    try:
        for name, value in settings.items():
            jax.config.update(name, value)
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
