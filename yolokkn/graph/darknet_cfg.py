"""Parser of darknet .cfg files: sections with typed options, every error with file and line."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import NoReturn

from yolokkn.errors import ModelError

MAX_CFG_BYTES = 1 << 20
MAX_SECTIONS = 2000

_HEADER = re.compile(r"\[([A-Za-z0-9_\-]{1,40})\]")
_COMMENT = re.compile(r"(^|\s)[#;].*")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True)
class Section:
    """One section of a cfg file.

    Attributes:
        kind: The word between the brackets, lower case.
        file: Name of the file, for messages.
        line: Line of the header, from 1.
        options: Value and line of each key.
    """

    kind: str
    file: str
    line: int
    options: dict[str, tuple[str, int]] = field(default_factory=dict)

    def fail(self, rule: str, key: str | None = None) -> NoReturn:
        """Raise the ModelError of a broken rule, with the place in the file."""
        line = self.options[key][1] if key in self.options else self.line
        raise ModelError(f"darknet_to_onnx: {self.file}:{line}: [{self.kind}] {rule}")

    def text(self, key: str, default: str) -> str:
        """Return an option as it stands."""
        return self.options.get(key, (default, 0))[0]

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """Return an integer option from low to high."""
        if key not in self.options:
            return default
        return self._one_integer(key, self.text(key, ""), low, high)

    def integers(self, key: str, default: Sequence[int] | None, low: int, high: int) -> list[int]:
        """Return an option that lists integers from low to high; without a default it must be there."""
        if key not in self.options:
            if default is None:
                self.fail(f"{key} must be given, got none")
            return list(default)
        return [self._one_integer(key, part, low, high) for part in self._parts(key)]

    def real(self, key: str, default: float, low: float, high: float) -> float:
        """Return a real option from low to high."""
        return self._one_real(key, self.text(key, ""), low, high) if key in self.options else default

    def reals(self, key: str, low: float, high: float) -> list[float]:
        """Return an option that lists real numbers from low to high; it must be there."""
        if key not in self.options:
            self.fail(f"{key} must be given, got none")
        return [self._one_real(key, part, low, high) for part in self._parts(key)]

    def _parts(self, key: str) -> list[str]:
        parts = [part.strip() for part in self.text(key, "").split(",")]
        return parts[:-1] if len(parts) > 1 and not parts[-1] else parts  # a comma at the end is customary

    def _one_integer(self, key: str, text: str, low: int, high: int) -> int:
        if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
            self.fail(f"{key} must be an integer from {low} to {high}, got {text[:40]!r}", key)
        return int(text)

    def _one_real(self, key: str, text: str, low: float, high: float) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not isfinite(value) or not low <= value <= high:
            self.fail(f"{key} must be a number from {low:g} to {high:g}, got {text[:40]!r}", key)
        return value


def read_cfg(path: str | os.PathLike[str]) -> list[Section]:
    """Read the sections of a darknet .cfg file; the first one is [net].

    Lines that begin with # or ; are comments, as is what follows a # or ; after a space.

    Raises:
        ModelError: There is no such file, it is too large or no text, or a line is neither a section nor key=value.
    """
    return parse_cfg(read_text(path, MAX_CFG_BYTES, "cfg_path", "a darknet .cfg file"), Path(path).name)


def parse_cfg(text: str, file: str) -> list[Section]:
    """Read the sections of the text of a .cfg file; see `read_cfg`.

    Args:
        text: The file's content.
        file: Its name, for messages.

    Raises:
        ModelError: A line is neither a section nor key=value, or the sections are not those of a network.
    """
    sections: list[Section] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = _COMMENT.sub("", raw).strip()
        if not line:
            continue
        header = _HEADER.fullmatch(line)
        if header:
            sections.append(Section(header[1].lower(), file, number))
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not key or not sections:
            rule = "a line must be [section] or key=value" if sections else "the first line must be [net]"
            raise ModelError(f"darknet_to_onnx: {file}:{number}: {rule}, got {line[:60]!r}")
        options = sections[-1].options
        if key in options and options[key][0] != value:
            sections[-1].fail(f"{key} must be given once, got it again in line {number}", key)
        options[key] = (value, number)
    if not sections or sections[0].kind not in ("net", "network"):
        raise ModelError(f"darknet_to_onnx: {file}:1: the first section must be [net], got {_first(sections)}")
    if len(sections) > MAX_SECTIONS:
        raise ModelError(f"darknet_to_onnx: {file} must have at most {MAX_SECTIONS} sections, got {len(sections)}")
    return sections


def read_text(path: str | os.PathLike[str], max_bytes: int, argument: str, what: str) -> str:
    """Read a small text file, refusing what is none.

    Raises:
        ModelError: It is missing, no regular file, larger than max_bytes, or not UTF-8 text.
    """
    file = Path(path)
    try:
        if not file.is_file():
            raise ModelError(f"darknet_to_onnx: {argument} must name {what}, got no such file: {os.fspath(path)!r}")
        with file.open("rb") as stream:
            data = stream.read(max_bytes + 1)
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ModelError(f"darknet_to_onnx: {file} must be {what} in UTF-8, got other bytes: {error.reason}") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"darknet_to_onnx: {argument} {os.fspath(path)!r} cannot be read: {error}") from error
    if len(data) > max_bytes:
        raise ModelError(f"darknet_to_onnx: {file} must have at most {max_bytes} bytes, got more")
    if "\0" in text:
        raise ModelError(f"darknet_to_onnx: {file} must be {what}, got NUL bytes")
    return text


def _first(sections: list[Section]) -> str:
    return f"[{sections[0].kind}]" if sections else "none"
