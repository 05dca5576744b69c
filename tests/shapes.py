"""The shapes and types in the annotations of public functions, checked whenever the tests call them.

Annotations such as ``Float[Array, "S H W C"]`` are those of jaxtyping, and beartype compares: one letter is one length
in all arguments and the result of a call, and what stands in braces is computed from the arguments. A call is checked
when it has come back: what users give wrongly meets the sentence of the package, never one of beartype's; and whatever
the package accepts has to fit its own annotations.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jaxtyping
import numpy as np
from beartype.door import is_bearable

import ntk_nonlocal

ROOT = Path(ntk_nonlocal.__file__).parent
NAMES = {name: getattr(jaxtyping, name) for name in ("Float", "Float32", "Float64", "Int", "Bool", "Real", "Shaped")}
IN_ANNOTATIONS = re.compile(rf"\b({'|'.join(NAMES)})\[")
# What stands for an array in an annotation; whether it is one of numpy or of JAX is checked for results.
ARRAYS = {
    "ArrayLike": jax.Array | np.ndarray,
    "Array": jax.Array,
    **dict.fromkeys(("NDArray[Any]", "np.ndarray[Any, Any]", "FloatArray", "Small"), np.ndarray),
}


def shapes_of(function: Callable[..., Any]) -> dict[str, str]:
    """Those annotations of a function that say shapes, as they are written."""
    annotations = getattr(function, "__annotations__", {})
    return {name: text for name, text in annotations.items() if isinstance(text, str) and IN_ANNOTATIONS.search(text)}


@functools.cache
def meaning(annotation: str, function: Callable[..., Any]) -> Any:
    """An annotation of the function, without braces, as a type."""
    for number, array in enumerate(ARRAYS):
        annotation = re.sub(rf"(?<=\[){re.escape(array)}(?=, ['\"])", f"array_{number}", annotation)
    arrays = {f"array_{number}": type_ for number, type_ in enumerate(ARRAYS.values())}
    return eval(annotation, function.__globals__ | NAMES | arrays)


@functools.cache
def checked(function: Any) -> Any:
    """The function, which then looks at its arguments and its result; a class with such methods."""
    if inspect.isclass(function):
        for name, method in vars(function).items():
            if inspect.isfunction(method) and shapes_of(method):
                setattr(function, name, checked(method))
        return function
    shapes = shapes_of(function) if callable(function) and not hasattr(function, "is_checked") else {}
    if not shapes:
        return function
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        values = bound.arguments
        with jaxtyping.jaxtyped("context"):
            for name, annotation in shapes.items():
                value = result if name == "return" else values[name]
                # lists become arrays within, and jaxtyping knows no long doubles
                if name != "return" and getattr(value, "dtype", np.longdouble) == np.longdouble:
                    continue
                text = re.sub(r"\{(.*?)\}", lambda found: str(eval(found[1], {"min": min}, values)), annotation)
                if not is_bearable(value, meaning(text, function)):
                    shape = getattr(value, "shape", "")
                    raise AssertionError(f"{function.__qualname__}: {name} is no {annotation}: {type(value)} {shape}")
        return result

    call.is_checked = True  # type: ignore[attr-defined]
    return call


def check_all() -> None:
    """What is taken from the façades is checked from now on, and the classes that stand beside it."""
    for stub in sorted(ROOT.rglob("__init__.pyi")):
        package = importlib.import_module(".".join(stub.parent.relative_to(ROOT.parent).parts))
        package.__getattr__ = functools.partial(_taken, package, package.__getattr__)


def _taken(package: ModuleType, original: Callable[[str], Any], name: str) -> Any:
    found = original(name)
    if inspect.isfunction(found) or inspect.isclass(found):
        for beside in vars(inspect.getmodule(found)).values():
            if inspect.isclass(beside) and beside.__module__ == found.__module__:
                checked(beside)
        found = vars(package)[name] = checked(found)
    return found
