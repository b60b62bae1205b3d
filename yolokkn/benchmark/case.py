"""What is measured: a case says how to make the work, on which inputs, and how to see that its outputs are right."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np

Run = Callable[[Any], Any]
Check = Callable[[Run], str]


@dataclass(frozen=True, eq=False)
class Case:
    """One measured thing.

    Attributes:
        name: Unique within its suite; what a comparison finds it by.
        suite: "kernels", "pipeline", "trackers", "backends", "startup" or a name of your own.
        make: Returns the function of one input that is timed, with fresh state. It is called once to be checked, and once
            more to be measured.
        inputs: Taken in turn, from the first to the last and again.
        check: Takes a run made by `make`; returns "" where its outputs are right, else what differs in a few words. None for
            what has no output, such as an import.
        threads: How many threads it works on.
        self_timed: The run returns a `Timed` with the milliseconds that it took by its own clock: another process, or many
            frames at once.
        facts: Plain values for reports: stage, objects, peer ...
    """

    name: str
    suite: str
    make: Callable[[], Run]
    inputs: Sequence[Any]
    check: Check | None
    threads: int = 1
    self_timed: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name or not self.suite:
            raise ValueError(f"Case: name and suite must not be empty, got {self.name!r} and {self.suite!r}")
        if not len(self.inputs):
            raise ValueError(f"Case: inputs of {self.name!r} must hold one at least, got none")
        if self.threads < 1:
            raise ValueError(f"Case: threads must be 1 or more, got {self.threads}")


@dataclass(frozen=True)
class Timed:
    """What a self-timed run gives.

    Attributes:
        samples_ms: One a call or frame.
        output: What a check looks at.
        stages_ms: By stage, where the time went; one value a sample.
        disturbed: Whether the system took a core away during each; empty where that is not known.
    """

    samples_ms: Sequence[float]
    output: Any = None
    stages_ms: Mapping[str, Sequence[float]] = field(default_factory=dict)
    disturbed: Sequence[bool] = ()


def cores_lost() -> int:
    """Return how often the system took a core away from a thread of this process that wanted to go on."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


class Unsuitable(Exception):
    """What was to be measured cannot do the work, or is not installed; the message says why."""


def against(
    reference: Callable[[], Run],
    inputs: Iterable[Any],
    compare: Callable[[Any, Any], str] | None = None,
) -> Check:
    """Return a check that holds every output against a slow, obvious twin's.

    Args:
        reference: Makes the twin, with fresh state.
        inputs: What both are run on, in this order.
        compare: Takes an output and the twin's; returns what differs, "" for nothing. By default all values must be equal.

    Example:
        >>> check = against(lambda: lambda n: n * 2, [1, 2, 3])
        >>> check(lambda n: n + n), check(lambda n: n * n)
        ('', 'input 0: 1 against 2')
    """
    judge = compare or differing

    def check(run: Run) -> str:
        twin = reference()
        for index, value in enumerate(inputs):
            found = judge(run(value), twin(value))
            if found:
                return f"input {index}: {found}"
        return ""

    return check


def differing(found: Any, wanted: Any) -> str:
    """Say how two results differ; "" where all values, shapes and dtypes are equal, NaN like NaN.

    Args:
        found: What came: arrays, plain values, or sequences, mappings and dataclasses of them.
        wanted: What is right.

    Example:
        >>> differing(np.array([1, 2]), np.array([1, 3])), differing((1, "a"), (1, "a"))
        ('1 of 2 values differ', '')
    """
    if isinstance(wanted, np.ndarray):
        return _differing_arrays(found, wanted)
    if is_dataclass(wanted) and not isinstance(wanted, type):
        if type(found) is not type(wanted):
            return f"{type(found).__name__} against {type(wanted).__name__}"
        names = [f.name for f in fields(wanted)]
        return _first((n, differing(getattr(found, n), getattr(wanted, n))) for n in names)
    if isinstance(wanted, Mapping):
        if not isinstance(found, Mapping) or list(found) != list(wanted):
            return f"{_shown(found)} against {_shown(wanted)}"
        return _first((str(k), differing(found[k], wanted[k])) for k in wanted)
    if isinstance(wanted, (list, tuple)):
        if not isinstance(found, (list, tuple)) or len(found) != len(wanted):
            return f"{_shown(found)} against {_shown(wanted)}"
        return _first((f"[{i}]", differing(f, w)) for i, (f, w) in enumerate(zip(found, wanted, strict=True)))
    return "" if bool(found == wanted) else f"{_shown(found)} against {_shown(wanted)}"


def _differing_arrays(found: Any, wanted: np.ndarray) -> str:
    if not isinstance(found, np.ndarray) or found.shape != wanted.shape or found.dtype != wanted.dtype:
        return f"{_shown(found)} against {_shown(wanted)}"
    same = found == wanted
    if wanted.dtype.kind == "f":
        same |= np.isnan(found) & np.isnan(wanted)
    beyond = int(same.size - np.count_nonzero(same))
    return f"{beyond} of {same.size} values differ" if beyond else ""


def _first(found: Iterable[tuple[str, str]]) -> str:
    return next((f"{name}: {text}" for name, text in found if text), "")


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, (list, tuple, Mapping)):
        return f"{type(value).__name__} of {len(value)}"
    return repr(value)[:60]
