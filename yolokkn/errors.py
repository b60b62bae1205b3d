"""The package's own exceptions. Arguments that break a rule raise TypeError or ValueError instead."""

from __future__ import annotations


class YolokknError(RuntimeError):
    """Base of every error that is about a model, a file or a stream rather than about an argument."""


class ModelError(YolokknError):
    """A model file cannot be read, or does not fit what it claims to be."""


class LayoutError(ModelError):
    """What a model's outputs mean is unknown or ambiguous."""


class DataError(YolokknError):
    """A file of annotations or results cannot be read, or does not hold what it must."""


class SourceError(YolokknError):
    """A source of frames cannot be opened or read."""


class SinkError(YolokknError):
    """A result cannot be written."""


class MissingDependencyError(YolokknError):
    """An optional package is needed; the message says which one to install."""


class SourceWarning(UserWarning):
    """A source gave fewer frames than it promised: truncated, damaged or skipped ones."""
