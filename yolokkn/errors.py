"""The package's own exceptions. Arguments that break a rule raise TypeError or ValueError instead."""

from __future__ import annotations

from collections.abc import Iterable


class YolokknError(RuntimeError):
    """Base of every error that is about a model, a file or a stream rather than about an argument."""


class ModelError(YolokknError):
    """A model file cannot be read, or does not fit what it claims to be."""


class LayoutError(ModelError):
    """What a model's outputs mean is unknown or ambiguous."""


class DataError(YolokknError):
    """A file of annotations or results cannot be read, or does not hold what it must."""


class ConfigurationError(YolokknError):
    """A configuration cannot be read, or does not hold what it must; the message says where."""


class SourceError(YolokknError):
    """A source of frames cannot be opened or read."""


class SinkError(YolokknError):
    """A result cannot be written."""


class MissingDependencyError(YolokknError):
    """An optional package is needed; the message says which one to install."""


class DeviceError(YolokknError):
    """A GPU is missing, lost, out of memory, or fails; the message says which call."""


class SourceWarning(UserWarning):
    """A source gave fewer frames than it promised: truncated, damaged or skipped ones."""


def did_you_mean(word: str, legal: Iterable[str], *, form: str = "{}", cutoff: float = 0.6) -> str:
    """Return the end of an error that names the legal word nearest to a wrong one; nothing where none is near.

    Args:
        word: What came.
        legal: What may come.
        form: How the word is shown, for `str.format`.
        cutoff: Least likeness, 0 to 1, as `difflib.get_close_matches` takes it.

    Example:
        >>> did_you_mean("tracc", ["track", "predict"])
        '; did you mean track?'
    """
    import difflib

    near = difflib.get_close_matches(word, list(legal), 1, cutoff)
    return f"; did you mean {form.format(near[0])}?" if near else ""


def printable(text: str) -> str:
    r"""Return a text with its control characters written out, but for new lines: names in files come from strangers.

    Example:
        >>> printable("person\x1b[31m")
        'person\\x1b[31m'
    """
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text)
