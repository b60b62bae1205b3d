"""Command lines: `--key value` and `key=value` alike, unknown keys named with the nearest legal one."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from yolokkn.errors import ConfigurationError, YolokknError, did_you_mean, printable

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INCOMPLETE, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

_YES, _NO = ("true", "yes", "1", "on"), ("false", "no", "0", "off")

EXIT_CODES = """exit codes:
  0  done
  1  a file, model, stream or disk failed; standard error says which
  2  the command line or a configuration is wrong
  3  done, but the source was damaged or shorter than it says
  130  stopped by Ctrl-C, outputs closed (143: by SIGTERM)"""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and name the nearest option.

    Attributes:
        intermixed: Arguments without a name may stand before, between and behind the options.
    """

    intermixed = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Print the message and leave with the status for wrong usage."""
        print(f"{self.prog}: error: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(EXIT_USAGE)

    def change(self, name: str, *, default: Any, help: str) -> None:
        """Give an option that several verbs share another default, and say so in its help."""
        action = self._options()[name]
        action.default, action.help = default, help

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse a command line in which options may be written either way."""
        read = self.parse_known_intermixed_args if self.intermixed else self.parse_known_args
        namespace, unknown = read(self._spelled_out(argv))
        if unknown:
            self.error(self._unknown(unknown[0]))
        return namespace

    def _options(self) -> dict[str, argparse.Action]:
        return {
            option.lstrip("-"): action
            for action in self._actions
            for option in action.option_strings
            if option.startswith("--")
        }

    def _spelled_out(self, argv: Sequence[str]) -> list[str]:
        options = self._options()
        out: list[str] = []
        for token in argv:
            written = re.fullmatch(r"([A-Za-z][\w-]*)=(.*)", token, re.DOTALL)
            key = written[1].replace("_", "-") if written else ""
            if written and key in options and not self._takes_pairs(out, options):
                out.append(f"--{key}={written[2]}")
            elif written and not self._is_value(out, options):
                self.error(self._unknown(written[1]))
            elif token.startswith("--"):
                name, equals, value = token.partition("=")
                out.append(name.replace("_", "-") + equals + value)
            elif out and self._is_flag(out[-1], options) and token.lower() not in _YES + _NO:
                out[-1] += "=true"  # a flag alone does not take the word behind it
                out.append(token)
            else:
                out.append(token)
        self._refuse_repeats(out, options)
        return out

    @staticmethod
    def _takes_pairs(out: list[str], options: dict[str, argparse.Action]) -> bool:
        """Tell whether the next token is the value of an option whose values are NAME=VALUE themselves."""
        action = options.get(out[-1][2:]) if out and out[-1].startswith("--") else None
        return action is not None and "=" in str(action.metavar)

    @staticmethod
    def _is_flag(token: str, options: dict[str, argparse.Action]) -> bool:
        action = options.get(token[2:]) if token.startswith("--") else None
        return action is not None and action.type is flag

    def _refuse_repeats(self, out: list[str], options: dict[str, argparse.Action]) -> None:
        """Refuse an option given twice where the last one would win in silence."""
        names = [token[2:].partition("=")[0] for token in out if token.startswith("--")]
        for name in set(names):
            if names.count(name) > 1 and name in options and not isinstance(options[name], argparse._AppendAction):
                self.error(f"--{name} is given {names.count(name)} times")

    def _is_value(self, out: list[str], options: dict[str, argparse.Action]) -> bool:
        """Tell whether the next token is the value of the option before it."""
        if not out or not out[-1].startswith("--") or "=" in out[-1]:
            return False
        action = options.get(out[-1][2:])
        return action is not None and action.nargs != 0

    def _unknown(self, token: str) -> str:
        key = token.lstrip("-").partition("=")[0].replace("_", "-")
        hint = did_you_mean(key, self._options(), form="--{}")
        if "/" in token or "." in token:
            return f"unexpected argument {token!r}: one source only; quote a pattern, as 'photos/*.jpg'"
        return f"unknown option {token!r}{hint}"


def flag(text: str) -> bool:
    """Read yes or no as people write them."""
    lowered = text.lower()
    if lowered in _YES:
        return True
    if lowered in _NO:
        return False
    raise argparse.ArgumentTypeError(f"must be true or false, got {text!r}")


def rate(text: str) -> float:
    """Read frames a second, more than 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1e6:
        raise argparse.ArgumentTypeError(f"must be frames a second, more than 0, got {text!r}")
    return value


def share(text: str) -> float:
    """Read a number within 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number within 0 and 1, got {text!r}")
    return value


def positive(text: str) -> int:
    """Read a whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of 1 or more, got {text!r}")
    return int(text)


def size(text: str) -> int | tuple[int, int]:
    """Read an input size: 640, 384x640 or 384,640 (height, width)."""
    parts = re.split(r"[x, ]+", text.strip("[]() "))
    if not 1 <= len(parts) <= 2 or not all(p.isdecimal() and int(p) > 0 for p in parts):
        raise argparse.ArgumentTypeError(f"must be a size as 640 or 384x640 (height x width), got {text!r}")
    values = [int(p) for p in parts]
    return values[0] if len(values) == 1 else (values[0], values[1])


def milliseconds(text: str) -> float:
    """Read a time: 33ms, 33, 0.5s or 200us; milliseconds where there is no unit.

    Example:
        >>> milliseconds("33ms"), milliseconds("0.5s"), milliseconds("200us")
        (33.0, 500.0, 0.2)
    """
    read = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|us)?", text.strip())
    value = float(read[1]) * {"s": 1e3, "us": 1e-3}.get(read[2], 1.0) if read else 0.0
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be a time above 0, as 33ms, 0.5s or 200us, got {text!r}")
    return value


def words(text: str) -> list[str]:
    """Read a list as 0,2,5 or person,car; brackets and blanks may stand around."""
    found = [word.strip() for word in text.strip("[]() ").split(",") if word.strip()]
    if not found:
        raise argparse.ArgumentTypeError(f"must be a list such as 0,2,5 or person,car, got {text!r}")
    return found


def run_verb(prog: str, action: Any, *args: Any) -> int:
    """Run a verb; turn what users cause into one clear line and an exit code."""
    try:
        return int(action(*args))
    except KeyboardInterrupt:
        print(f"{prog}: stopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return EXIT_FAILED
    except YolokknError as error:
        print(f"{prog}: error: {_without_function(error)}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ConfigurationError) else EXIT_FAILED
    except OSError as error:
        text = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        print(f"{prog}: error: {text}", file=sys.stderr)
        return EXIT_FAILED
    except (ValueError, TypeError) as error:  # an argument that no function takes came from the command line
        print(f"{prog}: error: {_without_function(error)}", file=sys.stderr)
        return EXIT_USAGE


def _without_function(error: Exception) -> str:
    """Return a message without the function or class that it begins with, which users of the command never called."""
    return printable(re.sub(r"^(?:[a-z]+(?:_[a-z0-9]+)+|[A-Z]\w+|create): ", "", str(error)))
