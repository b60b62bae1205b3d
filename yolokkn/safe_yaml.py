"""YAML read from strangers and written for ourselves: plain values only, bounded in size, depth and expansion.

The text is parsed by PyYAML into events, and the values are put together here: no tag can name a Python object, and an
alias costs what it expands to. Plain words mean what YAML 1.2's core schema says, which is what people expect: `1e-3` is
a number, `no`, `on` and `12:30` are text.
"""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolokkn.errors import ConfigurationError, MissingDependencyError

MAX_YAML_BYTES = 1 << 20
MAX_NODES = 50_000
MAX_DEPTH = 32
_MAX_DIGITS = 30
_TAG = "tag:yaml.org,2002:"
_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_BASED_INT = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class Located(dict[Any, Any]):
    """A mapping that remembers where it was written: a dict like any other, for errors that name file and line.

    Attributes:
        name: What the text is called.
        lines: The line of each key, from 1.
    """

    def __init__(self, name: str = "") -> None:
        super().__init__()
        self.name = name
        self.lines: dict[Any, int] = {}

    def where(self, key: Any) -> str:
        """Return "file:line" of a key."""
        return f"{self.name}:{self.lines[key]}" if key in self.lines else self.name


def read_yaml(path: str | Path, *, max_bytes: int = MAX_YAML_BYTES) -> Located:
    """Read a YAML file whose top is a mapping.

    Args:
        path: The file, in UTF-8.
        max_bytes: A larger file is refused before it is read.

    Returns:
        A dict (with the lines of its keys) of None, bool, int, float, str, list and dict; keys are str or int.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigurationError: It is too large, not UTF-8, not YAML, or holds what `parse_yaml` refuses.
        MissingDependencyError: PyYAML is not installed.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():
        raise ConfigurationError(f"{path}: must be a file")
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ConfigurationError(f"{path}: must have at most {max_bytes} bytes to be read as YAML, has more")
    value = parse_yaml(content, str(path))
    if not isinstance(value, Located):
        raise ConfigurationError(f"{path}: must hold keys with values (key: value), got {_kind(value)}")
    return value


def parse_yaml(text: str | bytes, name: str = "<text>") -> Any:
    """Turn YAML text into plain values.

    Refused: more than one document, keys given twice, keys other than text and integers, tags of anything but plain
    values (`!!python/...`, `!!binary`, dates ...), merge keys (`<<`), integers beyond 64 bits, more than `MAX_DEPTH`
    levels, and more than `MAX_NODES` values, where an alias counts as all that it stands for.

    Args:
        text: The text; bytes must be UTF-8.
        name: What errors call it.

    Raises:
        ConfigurationError: It is not YAML, or holds what is refused; the message begins with name:line.
        MissingDependencyError: PyYAML is not installed.

    Example:
        >>> parse_yaml("lr: 1e-3\\nnames: [yes, no]")
        {'lr': 0.001, 'names': ['yes', 'no']}
    """
    yaml = _yaml()
    if isinstance(text, bytes):
        text = _decoded(text, name)
    try:
        return _Reader(yaml, name).read(yaml.parse(text, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # PyYAML lets chr() and int() of wrong escapes through
        raise ConfigurationError(f"{name}{_place(error, text)}: {_reason(error)}") from None


def dump_yaml(value: Any) -> str:
    """Write plain values as YAML that `parse_yaml`, and readers of YAML 1.1, give back as they were.

    Args:
        value: None, bool, int, float, str, list, tuple (written as a list), dict.

    Raises:
        TypeError: It holds something else.

    Example:
        >>> print(dump_yaml({"lr": 1e-05, "name": "1e-05"}), end="")
        lr: 1.0e-05
        name: '1e-05'
    """
    yaml = _yaml()

    class Dumper(yaml.SafeDumper):  # type: ignore[name-defined]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    for tag, pattern in (("float", _FLOAT), ("int", _BASED_INT), ("int", _INT)):
        whole = re.compile(f"(?:{pattern.pattern})$")
        Dumper.add_implicit_resolver(_TAG + tag, whole, list("-+.0123456789"))
    Dumper.add_representer(str, _represent_text)
    Dumper.add_representer(tuple, yaml.SafeDumper.represent_list)
    try:
        return str(yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120))
    except yaml.YAMLError as error:
        raise TypeError(f"dump_yaml: value must be of plain kinds, got {error}") from None


def _represent_text(dumper: Any, text: str) -> Any:
    """Quote what would be taken for the end of a line."""
    quoted = any(letter in text for letter in "\x85\u2028\u2029")
    return dumper.represent_scalar(_TAG + "str", text, style='"' if quoted else None)


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
        raise ConfigurationError(f"{name}:{line}: must be UTF-8 text, got the byte {byte:#04x}") from None


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingDependencyError(
            "read_yaml: the package pyyaml must be installed; run: pip install pyyaml"
        ) from error
    return yaml


def _place(error: Any, text: str) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        return f":{mark.line + 1}"
    position = getattr(error, "position", None)
    return f":{text.count(chr(10), 0, position) + 1}" if isinstance(position, int) else ""


def _reason(error: Any) -> str:
    parts = [getattr(error, "context", None), getattr(error, "problem", None) or getattr(error, "reason", None)]
    return "not YAML: " + (", ".join(str(p) for p in parts if p) or type(error).__name__)


def _kind(value: Any) -> str:
    names = {type(None): "nothing", list: "a list", Located: "keys with values", str: "text", bool: "true or false"}
    return names.get(type(value), "a number")


@dataclass(frozen=True)
class _Anchor:
    value: Any
    size: int
    height: int


class _Reader:
    """Puts values together from the events of one text; counts what they amount to."""

    def __init__(self, yaml: Any, name: str) -> None:
        self._yaml, self._name = yaml, name
        self._num_nodes = 0
        self._anchors: dict[str, _Anchor | None] = {}  # None: still open

    def read(self, events: Any) -> Any:
        yaml, value, documents = self._yaml, None, 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._error(event, "must hold one document, got another after ---")
            elif isinstance(event, yaml.NodeEvent):
                value, _ = self._node(event, events, 1)
        return value

    def _error(self, event: Any, text: str) -> ConfigurationError:
        return ConfigurationError(f"{self._name}:{event.start_mark.line + 1}: {text}")

    def _count(self, event: Any, nodes: int) -> None:
        self._num_nodes += nodes
        if self._num_nodes > MAX_NODES:
            raise self._error(event, f"must hold at most {MAX_NODES} values, with every alias expanded")

    def _node(self, event: Any, events: Any, depth: int) -> tuple[Any, int]:
        """Return one value and its height in levels."""
        yaml = self._yaml
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        self._check_depth(event, depth)
        before = self._num_nodes
        self._count(event, 1)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            value, height = self._scalar(event), 1
        elif isinstance(event, yaml.SequenceStartEvent):
            self._check_tag(event, "seq")
            value, height = self._sequence(events, depth)
        else:
            self._check_tag(event, "map")
            value, height = self._mapping(events, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchor(value, self._num_nodes - before, height)
        return value, height

    def _check_depth(self, event: Any, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self._error(event, f"must be nested at most {MAX_DEPTH} levels deep")

    def _check_tag(self, event: Any, kind: str) -> None:
        if event.tag not in (None, "!", _TAG + kind):
            raise self._error(event, f"must hold plain values only, got the tag {event.tag[:80]!r}")

    def _alias(self, event: Any, depth: int) -> tuple[Any, int]:
        if event.anchor not in self._anchors:
            raise self._error(event, f"*{event.anchor[:80]} stands for nothing: no &{event.anchor[:80]} before it")
        anchor = self._anchors[event.anchor]
        if anchor is None:
            raise self._error(event, f"*{event.anchor[:80]} must not stand inside what it stands for")
        self._check_depth(event, depth + anchor.height - 1)
        self._count(event, anchor.size)
        return deepcopy(anchor.value), anchor.height

    def _sequence(self, events: Any, depth: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        tallest = 0
        for event in events:
            if isinstance(event, self._yaml.SequenceEndEvent):
                break
            item, height = self._node(event, events, depth + 1)
            items.append(item)
            tallest = max(tallest, height)
        return items, tallest + 1

    def _mapping(self, events: Any, depth: int) -> tuple[Located, int]:
        found = Located(self._name)
        tallest = 0
        for event in events:
            if isinstance(event, self._yaml.MappingEndEvent):
                break
            key, _ = self._node(event, events, depth + 1)
            if not isinstance(key, (str, int)) or isinstance(key, bool):
                raise self._error(event, f"a key must be text or an integer, got {_kind(key)}; write it in quotes")
            if key == "<<" and getattr(event, "style", '"') is None:
                raise self._error(event, "merge keys (<<) are not read; write the keys out")
            if key in found:
                raise self._error(event, f"the key {str(key)[:80]!r} is given twice, first in line {found.lines[key]}")
            found.lines[key] = event.start_mark.line + 1
            found[key], height = self._node(next(events), events, depth + 1)
            tallest = max(tallest, height)
        return found, tallest + 1

    def _scalar(self, event: Any) -> Any:
        text, tag = event.value, event.tag
        if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
            raise self._error(event, "text must not hold NUL or half a character")
        if tag == "!" or (tag is None and event.style is not None):
            return text
        if tag is not None:
            if tag.removeprefix(_TAG) not in ("str", "int", "float", "bool", "null"):
                raise self._error(event, f"must hold plain values only, got the tag {tag[:80]!r}")
            if tag == _TAG + "str":
                return text
        value = self._plain(event, text)
        kinds = {"int": int, "float": float, "bool": bool, "null": type(None)}
        if tag is not None and type(value) is not kinds[tag.removeprefix(_TAG)]:
            raise self._error(event, f"{text[:80]!r} is not what its tag {tag.removeprefix(_TAG)!r} says")
        return value

    def _plain(self, event: Any, text: str) -> Any:
        if _NULL.fullmatch(text):
            return None
        if _BOOL.fullmatch(text):
            return text.lower() == "true"
        if _INT.fullmatch(text) or _BASED_INT.fullmatch(text):
            value = int(text, 10 if _INT.fullmatch(text) else 0) if len(text) <= _MAX_DIGITS else 1 << 64
            if not -(1 << 63) <= value < 1 << 63:
                raise self._error(event, f"an integer must fit into 64 bits, got {text[:40]}")
            return value
        if _FLOAT.fullmatch(text):
            number = float(text)
            if number in (float("inf"), float("-inf")):
                raise self._error(event, f"{text[:40]} is too large for a number; write .inf for infinity")
            return number
        if _SPECIAL.fullmatch(text):
            return float(text.replace(".", "", 1))
        return text
