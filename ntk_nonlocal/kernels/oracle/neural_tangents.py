"""Access to neural-tangents 0.6.5 on a current JAX.

The root package of neural-tangents imports its ``experimental`` part (TensorFlow, tf2jax) and its ``empirical`` part
(names that have left ``jax.core``), so that ``import neural_tangents`` fails, although the modules with the
infinite-width kernels work unchanged. Those modules refer to each other by relative imports only. Here the installed
files are therefore imported a second time as submodules of a private package, which has the folder of neural-tangents
as its path and none of the code of its root. Nothing else is touched: JAX stays as it is, and a program that
imports neural-tangents under its own name sees what it would have seen without this module, before and after.

The price: the classes here are not those of an application's own ``import neural_tangents``. Layers and kernels of the
two must not be mixed; combine those of :func:`ntk_nonlocal.kernels.oracle.stax.to_stax` with layers from :func:`stax`.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = ["batch", "predict", "stax"]

_PRIVATE_PACKAGE = f"{__name__}._library"
_INSTALL = "pip install --no-deps neural-tangents==0.6.5 frozendict"
_lock = threading.Lock()


def stax() -> ModuleType:
    """The module ``neural_tangents.stax``: layers with their infinite-width kernels. Imported at the first call.

    Raises:
      ImportError: neural-tangents or its dependency frozendict is not installed; says how to install them.
    """
    return _submodule("stax")


def predict() -> ModuleType:
    """The module ``neural_tangents.predict``: closed-form training with a given kernel. Raises as :func:`stax`."""
    return _submodule("predict")


def batch() -> Callable[..., Any]:
    """The function ``neural_tangents.batch``: a kernel function evaluated in blocks. Raises as :func:`stax`."""
    function: Callable[..., Any] = _submodule("_src.batching").batch
    return function


def _submodule(name: str) -> ModuleType:
    with _lock:
        if _PRIVATE_PACKAGE not in sys.modules:
            package = ModuleType(_PRIVATE_PACKAGE, "The installed files of neural-tangents without its root module.")
            package.__path__ = _installed_path()
            sys.modules[_PRIVATE_PACKAGE] = package
    try:
        return importlib.import_module(f"{_PRIVATE_PACKAGE}.{name}")
    except ModuleNotFoundError as error:
        raise ImportError(f"neural-tangents needs {error.name}, which is not installed: {_INSTALL}") from error


def _installed_path() -> list[str]:
    # importlib.util.find_spec would answer from sys.modules, where an application may have put something of its own.
    for finder in sys.meta_path:
        spec = finder.find_spec("neural_tangents", None)
        if spec is not None and spec.submodule_search_locations:
            return list(spec.submodule_search_locations)
    raise ImportError(
        f"neural-tangents is not installed: {_INSTALL} (it declares TensorFlow and tf2jax, which are not needed here)"
    )
