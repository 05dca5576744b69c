"""Result files: JSON and npz, written whole or not at all.

A file is written under a temporary name in its own folder, flushed to the disk and renamed, so that whatever interrupts
a run leaves the old file, the new one, or none, and two runs into one folder never mix within a file.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import re
import secrets
import stat
import subprocess
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_DISTRIBUTIONS = ("ntk-nonlocal", "jax", "jaxlib", "flax", "optax", "numpy", "scikit-image", "pillow")


_unfinished: set[Path] = set()


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of ``path`` when the block ends, and leaves no trace when the block raises.

    A file that was there hands its permissions on; of a link the link is replaced.

    Raises:
      OSError: the folder does not exist or cannot be written, the disk is full, ...
    """
    target = Path(path)
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    _unfinished.add(temporary)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists() and not target.is_symlink():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    finally:
        _unfinished.discard(temporary)


def discard_unfinished() -> None:
    """Removes the files that are being written, for a process that ends at once."""
    for path in list(_unfinished):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], data: Any) -> None:
    """Writes ``data`` as JSON, lists of numbers on one line.

    Tuples become lists, numpy and JAX numbers and arrays become numbers and lists, paths become strings, and NaN and
    infinities become null, so that every JSON reader can read it.

    Raises:
      TypeError: a value that has no JSON form; names where it stands.
      OSError: the file cannot be written.
    """
    text = json.dumps(plain(data), indent=1, ensure_ascii=False, allow_nan=False)
    # Strings hold no line breaks, so that this finds lists alone.
    text = re.sub(r'\[\n([^"\[\]{}]*)\]', lambda found: f"[{' '.join(found[1].split())}]", text)
    with atomic_file(path) as file:
        file.write(text.encode() + b"\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """What :func:`write_json` has written.

    Raises:
      ValueError: there is no such file, or it is damaged; names the path.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise ValueError(f"{path} is not whole JSON ({error}); remove it and run again") from None


def write_arrays(path: str | os.PathLike[str], /, **arrays: ArrayLike) -> None:
    """Writes named arrays as a compressed npz file.

    Raises:
      TypeError: an array of Python objects.
      OSError: the file cannot be written.
    """
    plain_arrays = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in plain_arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"{name} must be an array of numbers or strings, got Python objects")
    with atomic_file(path) as file:
        np.savez_compressed(file, **plain_arrays)  # type: ignore[arg-type]


def read_arrays(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """What :func:`write_arrays` has written.

    Raises:
      ValueError: there is no such file, or it is damaged; names the path.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a whole npz file ({error}); remove it and run again") from None


def environment() -> dict[str, Any]:
    """What a result was computed with: versions and commit (of a checkout), devices, processor and kind of machine; no
    names of hosts, users or paths."""
    import jax

    versions = {}
    for name in _DISTRIBUTIONS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    devices = jax.devices()
    return {
        "versions": versions,
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "commit": _commit(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "backend": devices[0].platform,
        "device": devices[0].device_kind,
        "devices": len(devices),
        "x64": jax.dtypes.canonicalize_dtype("float64") == np.float64,
    }


@cache
def _processor() -> str | None:
    """What the processor calls itself."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or None


@cache
def _commit() -> str | None:
    """The commit of the checkout that this code lies in, with a plus where it was changed; None outside of one."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    asked = (
        ["rev-parse", "--short=12", "HEAD"],
        ["status", "--porcelain", "--untracked-files=no", "--", "ntk_nonlocal"],
    )
    try:
        commit, changed = (
            subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, timeout=10, check=True).stdout
            for words in asked
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.strip() + ("+" if changed.strip() else "")


def plain(value: Any, where: str = "data") -> Any:
    """``value`` with nothing but what JSON has: see :func:`write_json`."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        number = float(value)
        return number if math.isfinite(number) else None
    if isinstance(value, dict):
        return {_key(key, where): plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "__array__"):
        return plain(np.asarray(value).tolist(), where)
    raise TypeError(f"{where} must be numbers, strings, lists, dicts or arrays, got {type(value).__name__}")


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str | int | float | np.integer | np.floating) or isinstance(key, bool):
        raise TypeError(f"the keys of {where} must be strings or numbers, got {key!r}")
    return str(key)
