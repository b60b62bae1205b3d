"""Configurations: frozen dataclasses built from mappings as files and command lines give them, checked key by key."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

from yolokkn.errors import ConfigurationError, did_you_mean
from yolokkn.safe_yaml import MAX_YAML_BYTES, Located, dump_yaml, parse_yaml, read_yaml

__all__ = ["MAX_YAML_BYTES", "Located", "about", "build", "dump_yaml", "parse_yaml", "read_yaml", "to_mapping"]

_Made = TypeVar("_Made")


def about(text: str, default: Any = dataclasses.MISSING, **more: Any) -> Any:
    """Return a dataclass's field with a line of help.

    Args:
        text: What the field means, as a command's help shows it.
        default: Its value where none is given.
        **more: Kept beside it in the field's metadata: limits, for instance.
    """
    return dataclasses.field(default=default, metadata={"help": text, **more})


def build(dataclass_type: type[_Made], mapping: Mapping[str, Any], where: str = "configuration") -> _Made:
    """Make a dataclass from a mapping, every key and kind checked against its fields.

    Fields may be bool, int, float, str, Path, Literal, Optional and other unions, tuple, list, dict with keys of str or
    int, Any, and dataclasses of these. An integer is taken for a float, a list for a tuple, and nothing else for anything
    else; numbers must be finite.

    Args:
        dataclass_type: The class.
        mapping: Names of fields and values, nested; as `read_yaml` gives them (errors then name the line too).
        where: What is read, for errors about values without a line.

    Raises:
        ConfigurationError: A key is unknown (the nearest legal one is named) or missing, or a value is of the wrong kind
            or refused by the class itself; with file, line and the path of keys.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Schedule:
        ...     epochs: int = 10
        ...     decay: Literal["cosine", "linear"] = "cosine"
        >>> build(Schedule, {"epochs": 3})
        Schedule(epochs=3, decay='cosine')
        >>> build(Schedule, {"epoch": 3}, "train.yaml")
        Traceback (most recent call last):
        yolokkn.errors.ConfigurationError: train.yaml: unknown key 'epoch'; did you mean epochs?; there are epochs, decay
    """
    if not dataclasses.is_dataclass(dataclass_type) or not isinstance(dataclass_type, type):
        raise TypeError(f"build: dataclass_type must be a dataclass, got {dataclass_type!r}")
    if not isinstance(mapping, Mapping):
        raise ConfigurationError(f"{where}: must hold keys with values, got {_shown(mapping)}")
    return cast(_Made, _dataclass(dataclass_type, mapping, where, ""))


def to_mapping(value: Any) -> Any:
    """Turn a dataclass into plain values, nested; `build` makes an equal one of them.

    Tuples become lists and paths text; the result can be written as JSON, or by `dump_yaml`.

    Raises:
        TypeError: A field holds what cannot be written.

    Example:
        >>> from dataclasses import make_dataclass
        >>> to_mapping(make_dataclass("Size", [("hw", tuple)])((384, 640)))
        {'hw': [384, 640]}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_mapping(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
    if isinstance(value, Mapping):
        return {key: to_mapping(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_mapping(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"to_mapping: value must be made of plain kinds, got {type(value).__name__}")


@lru_cache(maxsize=256)
def _hints(dataclass_type: type) -> dict[str, Any]:
    return typing.get_type_hints(dataclass_type)


def _dataclass(kind: type, mapping: Mapping[Any, Any], where: str, path: str) -> Any:
    fields = {f.name: f for f in dataclasses.fields(kind) if f.init}
    prefix = f"{path}." if path else ""
    values: dict[str, Any] = {}
    for key, value in mapping.items():
        at = _where(mapping, key, where)
        if key not in fields:
            hint = did_you_mean(str(key), fields) if isinstance(key, str) else ""
            raise ConfigurationError(
                f"{at}: unknown key {prefix + str(key)[:80]!r}{hint}; there are {', '.join(fields) or 'none'}"
            )
        values[key] = _value(_hints(kind)[key], value, at, prefix + key)
    for name, field in fields.items():
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and name not in values:
            raise ConfigurationError(f"{_where(mapping, None, where)}: the key {prefix + name!r} must be given")
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:  # the class's own rules, in its own words
        raise ConfigurationError(f"{_where(mapping, None, where)}: {f'{path}: ' if path else ''}{error}") from error


def _where(mapping: Mapping[Any, Any], key: Any, where: str) -> str:
    return mapping.where(key) if isinstance(mapping, Located) else where


def _value(kind: Any, value: Any, where: str, path: str) -> Any:
    """Check one value against the kind of its field; returns it as the field holds it."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return _union(arguments, value, where, path)
    if origin is Literal:
        return _literal(arguments, value, where, path)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise _wrong(path, where, "keys with values", value)
        return _dataclass(cast(type, kind), value, where, path)
    if (origin or kind) in (tuple, list, Sequence):
        return _sequence(origin or kind, arguments, value, where, path)
    if (origin or kind) in (dict, Mapping):
        return _mapping(arguments, value, where, path)
    return _scalar(kind, value, where, path)


def _scalar(kind: Any, value: Any, where: str, path: str) -> Any:
    if kind is type(None):
        fits = value is None
    elif kind in (bool, str):
        fits = isinstance(value, kind)
    elif kind is int:
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif kind is float:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        if fits and not math.isfinite(value):
            raise _wrong(path, where, "a finite number", value)
        return float(value) if fits else _refuse(path, where, kind, value)
    elif kind is Path:
        return Path(value) if isinstance(value, (str, Path)) and str(value) else _refuse(path, where, kind, value)
    else:
        raise TypeError(f"build: the field {path} must be of a kind that configurations hold, got {kind!r}")
    return value if fits else _refuse(path, where, kind, value)


def _union(kinds: tuple[Any, ...], value: Any, where: str, path: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    kinds = tuple(k for k in kinds if k is not type(None))
    if len(kinds) == 1:
        return _value(kinds[0], value, where, path)
    exact = [k for k in kinds if k is type(value)]  # 1 is an int of "float | int"
    for kind in (*exact, *kinds):
        try:
            return _value(kind, value, where, path)
        except ConfigurationError:
            continue
    raise _wrong(path, where, " or ".join(_name(k) for k in kinds), value)


def _literal(choices: tuple[Any, ...], value: Any, where: str, path: str) -> Any:
    for choice in choices:
        if type(value) is type(choice) and value == choice:
            return choice
    texts = [c for c in choices if isinstance(c, str)]
    hint = did_you_mean(value, texts) if isinstance(value, str) else ""
    raise _wrong(path, where, "one of " + ", ".join(str(c) for c in choices), value, hint)


def _sequence(origin: Any, kinds: tuple[Any, ...], value: Any, where: str, path: str) -> Any:
    if not isinstance(value, (list, tuple)):
        raise _wrong(path, where, "a list", value)
    if origin is tuple and kinds and kinds[-1] is not Ellipsis:
        if len(value) != len(kinds):
            raise _wrong(path, where, f"a list of {len(kinds)}", value)
        return tuple(_value(k, v, where, f"{path}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    kind = kinds[0] if kinds else Any
    items = [_value(kind, item, where, f"{path}[{i}]") for i, item in enumerate(value)]
    return items if origin is list else tuple(items)


def _mapping(kinds: tuple[Any, ...], value: Any, where: str, path: str) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(path, where, "keys with values", value)
    key_kind, item_kind = kinds or (Any, Any)
    found = {}
    for key, item in value.items():
        at = _where(value, key, where)
        found[_value(key_kind, key, at, f"{path}: the key {str(key)[:80]!r}")] = _value(
            item_kind, item, at, f"{path}.{key}"
        )
    return found


def _refuse(path: str, where: str, kind: Any, value: Any) -> Any:
    raise _wrong(path, where, _name(kind), value)


def _wrong(path: str, where: str, wanted: str, value: Any, hint: str = "") -> ConfigurationError:
    return ConfigurationError(f"{where}: {path} must be {wanted}, got {_shown(value)}{hint}")


def _name(kind: Any) -> str:
    names = {bool: "true or false", int: "an integer", float: "a number", str: "text", Path: "a path"}
    if get_origin(kind) in (tuple, list, Sequence):
        return "a list"
    if dataclasses.is_dataclass(kind) or get_origin(kind) in (dict, Mapping):
        return "keys with values"
    return names.get(kind, str(kind))


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return f"keys with values ({', '.join(str(k)[:20] for k in list(value)[:4])})"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
