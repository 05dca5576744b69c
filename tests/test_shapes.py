"""The checks of shapes that ``shapes.py`` adds to every test are there, and come after the package's own."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest

import ntk_nonlocal as nnl

shapes = pytest.importorskip("shapes")


def twice(x: Float[ArrayLike, "H W"], channels: int = 2) -> Float[NDArray[Any], "H W {channels}"]:  # noqa: F821
    if np.ndim(x) != 2:
        raise ValueError("x must have two axes")
    return np.stack([x] * (channels if x[0, 0] > 0 else 3), axis=2)


def test_results_of_another_shape_are_caught() -> None:
    call = shapes.checked(twice)
    assert call(np.ones((2, 3))).shape == (2, 3, 2)
    assert call([[1.0]] * np.ones((1, 1)), channels=4).shape == (1, 1, 4)
    with pytest.raises(AssertionError, match=r"twice: return is no Float.*\(2, 3, 3\)"):
        call(np.zeros((2, 3)))
    with pytest.raises(AssertionError, match="twice: x is no Float"):
        call(np.ones((2, 3), int))


def test_what_is_given_wrongly_meets_the_sentence_of_the_function() -> None:
    with pytest.raises(ValueError, match="two axes"):
        shapes.checked(twice)(np.ones(3))
    with pytest.raises(ValueError, match="y must have the kernel's shape"):
        nnl.gradient_descent(nnl.DenseOperator(np.eye(4, dtype=np.float32), (2, 2)), np.ones((2, 2)))


def test_public_functions_say_the_shapes_of_their_results_and_are_checked() -> None:
    """All of the top-level names that give arrays, and what operators and networks give."""
    functions = [getattr(nnl, name) for name in nnl.__all__]
    functions += [nnl.LinearOperator.rows, nnl.LinearOperator.diagonal, nnl.LinearOperator.as_matrix]
    functions += [type(nnl.to_flax(nnl.cnn(1))).apply]
    found = {}
    for function in filter(inspect.isfunction, functions):
        text = str(function.__annotations__.get("return", ""))
        if re.search(r"Array\b|ndarray|Small", text):
            found[function.__name__] = "return" in shapes.shapes_of(function) and function.is_checked
    assert len(found) >= 10
    assert all(found.values()), found
