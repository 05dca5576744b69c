"""The optimizers by name, and their spelling: ``"lion:learning_rate=3e-4,b1=0.95"``.

A new optimizer is one line of :data:`OPTIMIZERS`: everything that trains a network, the command line included, can name
it from then on. Whatever has no name here can be handed to ``train`` as an optax object.

Left out are the privacy-preserving ``dpsgd``, which needs one gradient per example where one image has one, and what
wraps other optimizers (``lookahead``, ``MultiSteps``, ``sam``, ``mechanize``, ...), which is handed in as an object.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ntk_nonlocal.checks import nearest, positive

if TYPE_CHECKING:  # optax brings JAX, which a list of names does not need
    import optax

_RATES = ("learning_rate", "step_size")
# Settings that are objects, which a text cannot spell (beside masks and functions).
_OBJECTS = ("key", "base_optimizer")


@dataclass(frozen=True, eq=False)
class OptimizerFactory:
    """A line of :data:`OPTIMIZERS`; called with settings it gives the optimizer as an optax object.

    Attributes:
      function: its name in optax ("adam", "contrib.muon"), or a function of its settings that returns an optax
        ``GradientTransformation``.
      learning_rate: the learning rate unless another is given; None where it finds its own.
      step_size: of gradient descent, with momentum or without: the learning rate relative to 1 / lambda_max of the
        network's initial tangent kernel, unless another is given. None for all others.
      stable: the step size below which it is stable on a quadratic loss, from its settings.
      proportional: its updates are proportional to its learning rate, so that another rate compiles nothing anew.
      defaults: settings that are not the function's own defaults.
    """

    function: str | Callable[..., optax.GradientTransformation]
    learning_rate: float | None = None
    step_size: float | None = None
    stable: Callable[..., float] = lambda **settings: 2.0
    proportional: bool = True
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, **settings: Any) -> optax.GradientTransformation:
        """The optimizer with these settings.

        Raises:
          TypeError: a setting that it does not have, or no learning rate where there is none by default.
        """
        if self.learning_rate is not None and "learning_rate" not in self._parameters:
            raise TypeError(f"{self._label} has a default learning rate, but no argument learning_rate; give it one")
        rate = {} if self.learning_rate is None else {"learning_rate": self.learning_rate}
        given = rate | dict(self.defaults) | settings
        for key in given:
            if key not in self._parameters:
                known = ", ".join(self._parameters)
                raise TypeError(f"{self._label} has no {key!r}{nearest(key, self._parameters)}; settings: {known}")
        for key, default in self._parameters.items():
            if default is inspect.Parameter.empty and key not in given:
                raise TypeError(f"{self._label} needs {key}, such as {key}=1e-3")
        return self._resolved(**given)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that a text can spell, beside the rates, and their values unless given."""
        found = self._parameters | dict(self.defaults)
        return {key: default for key, default in found.items() if key not in _RATES and _is_spelt(key, default)}

    @property
    def rates(self) -> tuple[str, ...]:
        """Which of "learning_rate" and "step_size" it takes."""
        own = ("learning_rate",) if "learning_rate" in self._parameters else ()
        return own if self.step_size is None else (*own, "step_size")

    @property
    def _label(self) -> str:
        return self.function if isinstance(self.function, str) else self.function.__name__

    @property
    def _parameters(self) -> dict[str, Any]:
        return {name: one.default for name, one in inspect.signature(self._resolved).parameters.items()}

    @property
    def _resolved(self) -> Callable[..., optax.GradientTransformation]:
        if not isinstance(self.function, str):
            return self.function
        module, _, name = f"optax.{self.function}".rpartition(".")
        found: Callable[..., optax.GradientTransformation] = getattr(importlib.import_module(module), name)
        return found


@dataclass(frozen=True)
class NamedOptimizer:
    """An optimizer of :data:`OPTIMIZERS` with the settings that were given; :func:`parse_optimizer` makes it.

    Attributes:
      name: in :data:`OPTIMIZERS`.
      learning_rate: step size per unit of gradient, None unless given.
      step_size: relative to 1 / lambda_max, None unless given.
      settings: all others that were given, as pairs.

    Raises:
      ValueError: an unknown name, or a rate that is not above zero, that the optimizer does not take, or that is one
        too many.
    """

    name: str
    learning_rate: float | None = None
    step_size: float | None = None
    settings: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if self.name not in OPTIMIZERS:
            known = ", ".join(OPTIMIZERS)
            raise ValueError(f"unknown optimizer {self.name!r}{nearest(self.name, OPTIMIZERS)}; known: {known}")
        for rate in _RATES:
            if getattr(self, rate) is not None:
                self._check_rate(rate)
                positive(rate, getattr(self, rate))
        if self.learning_rate is not None and self.step_size is not None:
            raise ValueError(f"{self.name} takes a step_size or a learning_rate, got both; leave one out")

    def __str__(self) -> str:
        rates = [(rate, value) for rate in _RATES if (value := getattr(self, rate)) is not None]
        items = [f"{key}={value}".replace(" ", "") for key, value in (*rates, *self.settings)]
        return f"{self.name}:{','.join(items)}" if items else self.name

    @property
    def factory(self) -> OptimizerFactory:
        """Its line of the registry."""
        return _factory(self.name)

    @property
    def is_relative(self) -> bool:
        """Whether it is gradient descent, with momentum or without, whose rate is relative to 1 / lambda_max."""
        return self.factory.step_size is not None

    @property
    def default_step_size(self) -> float:
        """The step size of a relative one unless another is given."""
        return self.factory.step_size or 1.0

    @property
    def is_proportional(self) -> bool:
        """Whether its updates are proportional to its learning rate."""
        return self.factory.proportional and "learning_rate" in self.factory.rates

    @property
    def stable(self) -> float:
        """The step size below which it is stable on a quadratic loss, where it is relative."""
        return self.factory.stable(**self.all_settings)

    @property
    def all_settings(self) -> dict[str, Any]:
        """The settings that were given, and the defaults of all others; without the rates."""
        return self.factory.settings | dict(self.settings)

    def with_rates(self, learning_rate: float | None = None, step_size: float | None = None) -> NamedOptimizer:
        """The same with these rates, and with its default learning rate where none was given and it is not relative.

        Raises:
          ValueError: a rate that is not above zero, that it does not take, or that is given twice.
        """
        rates = {"learning_rate": learning_rate, "step_size": step_size}
        given = {rate: value for rate, value in rates.items() if value is not None}
        for rate in given:
            if getattr(self, rate) is not None:
                raise ValueError(f"{rate} is given twice, in optimizer {str(self)!r} and beside it; leave one out")
        if self.learning_rate is None and not self.is_relative and self.factory.learning_rate is not None:
            given = {"learning_rate": self.factory.learning_rate} | given
        return replace(self, **given)  # type: ignore[arg-type]

    def build(self, learning_rate: float | None) -> optax.GradientTransformation:
        """The optax object: one and the same for equal settings and rates, so that it is compiled once."""
        return _built(self.name, self.factory.function, self.settings, learning_rate)

    def _check_rate(self, rate: str) -> None:
        if rate in self.factory.rates:
            return
        if rate == "step_size":
            raise ValueError(
                f"step_size, relative to 1 / lambda_max, belongs to gradient descent ({', '.join(relative_names())}), "
                f"got optimizer {self.name!r}; give learning_rate"
            )
        known = ", ".join(self.factory.settings)
        raise ValueError(f"{self.name} has no learning_rate; leave it out (settings: {known})")


def relative_names() -> list[str]:
    """The names of gradient descent, with momentum or without, whose ``step_size`` is relative to 1 / lambda_max."""
    return [name for name in OPTIMIZERS if _factory(name).step_size is not None]


def parse_optimizer(text: str) -> NamedOptimizer:
    """An optimizer from NAME or NAME:key=value,..., as on the command line.

    Values are numbers, true, false, none, words, and several numbers in brackets: ``"prodigy:betas=(0.9,0.99)"``.

    Raises:
      TypeError: not text.
      ValueError: an unknown name or key (with the nearest known one) or a value that does not fit.
    """
    if not isinstance(text, str):
        raise TypeError(f"an optimizer is spelt as text such as 'adam:learning_rate=1e-3', got {text!r}")
    name, _, tail = text.strip().partition(":")
    named = NamedOptimizer(name.strip().replace("-", "_"))
    known = dict.fromkeys(named.factory.rates, 1.0) | named.factory.settings
    found: dict[str, Any] = {}
    for item in filter(None, (part.strip() for part in re.split(r",(?![^(]*\))", tail))):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not value:
            raise ValueError(f"optimizer {text!r}: expected key=value, got {item!r}; keys: {', '.join(known)}")
        if key in _RATES:
            named._check_rate(key)
        if key not in known:
            raise ValueError(f"{named.name} has no {key!r}{nearest(key, known)}; keys: {', '.join(known)}")
        if key in found:
            raise ValueError(f"optimizer {text!r}: {key} is given twice")
        found[key] = _spelt(f"{named.name}: {key}", value, known[key])
    rates = {rate: found.pop(rate) for rate in _RATES if rate in found}
    return replace(named, **rates, settings=tuple(sorted(found.items())))


def _spelt(name: str, text: str, default: Any) -> Any:
    """The value that a text spells, of the kind of the default.

    Raises:
      ValueError: it is of another kind.
    """
    words = {"true": "True", "false": "False", "none": "None"}
    try:
        value = ast.literal_eval(words.get(text.lower(), text))
    except (ValueError, SyntaxError):
        value = text
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and _is_decimal(text)
    is_word = isinstance(value, str) and not value.startswith("(")
    if isinstance(default, bool):
        kind, fits = "true or false", isinstance(value, bool)
    elif isinstance(default, int):
        kind, fits = "an integer", is_number and value == int(value)
    elif isinstance(default, float):
        kind, fits = "a number", is_number
    elif isinstance(default, str):
        kind, fits = "a word", is_word
    elif isinstance(default, tuple):
        kind, fits = f"of the kind of {default}", isinstance(value, tuple) or is_number or is_word
    else:
        kind, fits = "a number, true, false, none or a word", is_number or is_word or value in (True, False, None)
    if not fits:
        raise ValueError(f"{name} must be {kind}, got {text!r}")
    number = is_number and isinstance(default, int | float) and not isinstance(default, bool)
    return type(default)(value) if number else value


def _is_decimal(text: str) -> bool:
    """Whether a text spells a finite number in decimal digits, as everywhere on the command line (not 0x10)."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _is_spelt(key: str, default: Any) -> bool:
    """Whether a text can spell a setting with this default."""
    parts = default if isinstance(default, tuple) else (default,)
    return not (key in _OBJECTS or key.endswith("mask") or any(map(callable, parts)))


def _factory(name: str) -> OptimizerFactory:
    """The line of that name; a plain function that someone put there is one too."""
    found = OPTIMIZERS[name]
    return found if isinstance(found, OptimizerFactory) else OptimizerFactory(found, proportional=False)


@lru_cache(maxsize=64)
def _built(
    name: str,
    function: str | Callable[..., optax.GradientTransformation],
    settings: tuple[tuple[str, Any], ...],
    learning_rate: float | None,
) -> optax.GradientTransformation:
    rate = {} if learning_rate is None else {"learning_rate": learning_rate}
    return _factory(name)(**rate, **dict(settings))


# --- what the lines below refer to -----------------------------------------------------------------------------------


def _descent(momentum: float | None = None, nesterov: bool = False, **_: Any) -> float:
    """Where the roots of z^2 - (1 + b)(1 - s) z + b (1 - s) (Nesterov) or z^2 - (1 + b - s) z + b leave the circle."""
    b = momentum or 0.0
    return 2 * (1 + b) / (1 + 2 * b) if nesterov else 2 * (1 + b)


def _optimistic(alpha: float = 1.0, beta: float = 1.0, **_: Any) -> float:
    """Where z^2 - (1 - s (alpha + beta)) z - s beta has the root -1."""
    return 2 / (alpha + 2 * beta)


def _acprop(
    learning_rate: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-16, eps_root: float = 1e-6
) -> optax.GradientTransformation:
    """optax's, whose first step is by the bare gradient of a sum over pixels, far too large, without that step."""
    import jax.numpy as jnp
    from optax.contrib import acprop

    return acprop(lambda count: jnp.where(count == 0, 0.0, learning_rate), b1, b2, eps, eps_root)


def _muon_matrices(params: Any) -> Any:
    """Every convolution's kernel (k, k, C, D) as a matrix (k k C, D); biases are left to Adam."""
    import jax
    from optax.contrib import MuonDimensionNumbers

    return jax.tree.map(lambda leaf: _matrix(leaf, MuonDimensionNumbers), params)


def _galore_matrices(params: Any) -> Any:
    """The same for GaLore."""
    import jax
    from optax.contrib import GaLoreDimensionNumbers

    return jax.tree.map(lambda leaf: _matrix(leaf, GaLoreDimensionNumbers), params)


def _matrix(leaf: Any, axes: Callable[..., Any]) -> Any:
    last = leaf.ndim - 1
    return axes(reduction_axis=tuple(range(last)), output_axis=(last,)) if last > 0 else None


_one = OptimizerFactory
OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    # gradient descent: relative to 1 / lambda_max
    "gd": _one("sgd", step_size=1.0, stable=_descent),
    "momentum": _one("sgd", step_size=0.3, stable=_descent, defaults={"momentum": 0.9}),
    "nesterov": _one("sgd", step_size=0.3, stable=_descent, defaults={"momentum": 0.9, "nesterov": True}),
    "sgd": _one("sgd", step_size=1.0, stable=_descent),
    "noisy_sgd": _one("noisy_sgd", step_size=1.0, defaults={"seed": 0}),
    "optimistic_gradient_descent": _one("optimistic_gradient_descent", step_size=0.3, stable=_optimistic),
    "schedule_free_sgd": _one("contrib.schedule_free_sgd", step_size=1.0, proportional=False),
    # every weight by its own gradients
    "adam": _one("adam", 1e-3),
    "adamw": _one("adamw", 1e-3),
    "adamax": _one("adamax", 1e-3),
    "adamaxw": _one("adamaxw", 1e-3),
    "nadam": _one("nadam", 1e-3),
    "nadamw": _one("nadamw", 1e-3),
    "radam": _one("radam", 3e-5),
    "amsgrad": _one("amsgrad", 1e-3),
    "adabelief": _one("adabelief", 1e-3),
    "yogi": _one("yogi", 1e-3),
    "adan": _one("adan", 1e-3),
    "optimistic_adam": _one("optimistic_adam", 1e-3),
    "optimistic_adam_v2": _one("optimistic_adam_v2", 1e-3),
    "rmsprop": _one("rmsprop", 3e-4),
    "adagrad": _one("adagrad", 3e-3),
    "adadelta": _one("adadelta", 0.1),
    "adafactor": _one("adafactor", 3e-3),
    "sm3": _one("sm3", 1e-2),
    "rprop": _one("rprop", 1e-3, proportional=False),
    "sign": _one("sign_sgd", 1e-4),
    "sign_sgd": _one("sign_sgd", 1e-4),
    "signum": _one("signum", 3e-4),
    "lion": _one("lion", 3e-4),
    "acprop": _one(_acprop, 1e-4),
    "ademamix": _one("contrib.ademamix", 1e-3),
    "simplified_ademamix": _one("contrib.simplified_ademamix", 3e-5),
    "adopt": _one("contrib.adopt", 1e-3),
    "madgrad": _one("contrib.madgrad", 1e-4, proportional=False),
    "sophia": _one("contrib.sophia", 3e-4),
    # every layer by its own norm, or as a matrix
    "lars": _one("lars", 1e-1),
    "lamb": _one("lamb", 3e-3),
    "novograd": _one("novograd", 1e-3),
    "fromage": _one("fromage", 1e-3, proportional=False),
    "muon": _one("contrib.muon", 5e-3, proportional=False, defaults={"muon_weight_dimension_numbers": _muon_matrices}),
    "galore": _one("contrib.galore", 1e-3, defaults={"weight_dimension_numbers": _galore_matrices}),
    # those that find their own rate
    "schedule_free": _one("contrib.schedule_free_adamw", 2.5e-3, proportional=False),
    "schedule_free_adamw": _one("contrib.schedule_free_adamw", 2.5e-3, proportional=False),
    "prodigy": _one("contrib.prodigy", 1.0, proportional=False),
    "dadapt_adamw": _one("contrib.dadapt_adamw", 1.0, proportional=False),
    "dog": _one("contrib.dog", 1.0, proportional=False),
    "dowg": _one("contrib.dowg", 1.0, proportional=False),
    "momo": _one("contrib.momo", 1.0, proportional=False),
    "momo_adam": _one("contrib.momo_adam", 1e-2, proportional=False),
    "cocob": _one("contrib.cocob", 1.0, proportional=False),
    "polyak_sgd": _one("polyak_sgd", proportional=False),
    "lbfgs": _one("lbfgs", proportional=False),
}
