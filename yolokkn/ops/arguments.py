"""Turns the binding's list of signatures into one line that names the argument."""

from __future__ import annotations

import functools
import inspect
import numbers
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_KINDS = {
    "int": (numbers.Integral, "a whole number of 64 bits"),
    "int | None": (numbers.Integral, "a whole number of 64 bits or None"),
    "float": (numbers.Real, "a number"),
    "bool": (bool, "a bool"),
    "str": (str, "text"),
}


def explain_kinds(door: Callable[P, R]) -> Callable[P, R]:
    """Decorate a door: where the binding finds no signature that fits, raise a TypeError of one line instead.

    Costs nothing but the call as long as the arguments fit. Annotations must be strings (`from __future__ import
    annotations`), of which those in `_KINDS` are looked at.
    """

    @functools.wraps(door)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return door(*args, **kwargs)
        except TypeError as error:
            if "incompatible function arguments" not in str(error):
                raise
            raise TypeError(_explanation(door, args, kwargs)) from None

    return wrapper


def _explanation(door: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]) -> str:
    signature = inspect.signature(door)
    wrong = "an argument must be of the documented kind"
    for name, value in signature.bind(*args, **kwargs).arguments.items():
        annotation = str(signature.parameters[name].annotation)
        kind, rule = _KINDS.get(annotation, (object, ""))
        if value is None and annotation.endswith("None"):
            continue
        too_large = isinstance(value, numbers.Integral) and not -(2**63) <= int(value) < 2**63
        if not isinstance(value, kind) or (too_large and kind is numbers.Integral):
            return f"{door.__name__}: {name} must be {rule}, got {type(value).__name__}"
        if annotation.startswith("Sequence") and (isinstance(value, str) or not hasattr(value, "__len__")):
            wrong = f"{name} must be a sequence, got {type(value).__name__}"
    return f"{door.__name__}: {wrong}"
