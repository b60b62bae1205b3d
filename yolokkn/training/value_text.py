"""Values as a command line writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from yolokkn.configuration import parse_yaml

_WORDS = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}


def read_value(kind: Any, value: Any) -> Any:
    """Turn the text of a command line into what the field's kind is written as; what is no text, or no such, passes."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType) and len(args) == 2 and args[1] is NoneType:
        if value is None or (isinstance(value, str) and value.lower() in ("none", "null")):
            return None
        return read_value(args[0], value)
    if origin is tuple and args == (int, int):
        return _read_size(value)
    if not isinstance(value, str) or kind in (str, Path) or origin is Literal:
        return value
    if kind is bool:
        return _WORDS.get(value.lower(), value)
    if origin is tuple and (args[-1] is str or args[0] is str):
        return [part.strip() for part in value.strip("[]() ").split(",") if part.strip()]
    if origin in (dict, Mapping) or (origin or kind) is Mapping:
        return _read_pairs(value)
    if origin is tuple:
        return parse_yaml("[" + value.strip("[]() ") + "]")
    return parse_yaml(value) if value.strip() else value


def _read_size(value: Any) -> Any:
    """Read 640, "640", "384x640" or [384, 640] (height, width)."""
    if isinstance(value, str):
        parts = [part.strip() for part in value.strip("[]() ").replace("x", ",").split(",")]
        value = [int(p) for p in parts] if all(p.isdecimal() for p in parts) else value
    if isinstance(value, int) and not isinstance(value, bool):
        value = [value]
    return [*value, *value] if isinstance(value, list) and len(value) == 1 else value


def _read_pairs(value: str) -> Any:
    """Read "backbone:0.1,neck:0.5"."""
    pairs = [part.partition(":") for part in value.strip("{} ").split(",") if part.strip()]
    if not all(colon for _, colon, _ in pairs):
        return value
    return {name.strip(): parse_yaml(text.strip()) for name, _, text in pairs}
