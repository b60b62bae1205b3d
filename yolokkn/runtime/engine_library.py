"""Which library of the TensorRT family is installed. TensorRT and TensorRT-RTX offer one API; the rest of the code sees one."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from yolokkn.errors import MissingDependencyError, did_you_mean

LIBRARIES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}
_INSTALL = {
    "tensorrt": "pip install tensorrt (NVIDIA's own index holds its wheels)",
    "tensorrt_rtx": "pip install 'yolokkn[engine]'",
}


@dataclass(frozen=True)
class Library:
    """An installed library that builds and runs engines.

    Attributes:
        name: "tensorrt" or "tensorrt_rtx", as it is imported.
        version: Its version.
        trt: The module.
        logger: Where its messages are collected; one for the process, as the library wants it.
    """

    name: str
    version: str
    trt: Any
    logger: Any

    @property
    def title(self) -> str:
        """Name for people."""
        return LIBRARIES[self.name]

    @property
    def major(self) -> int:
        """First number of the version."""
        return int(self.version.split(".")[0])

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Compute capabilities that it builds for without a GPU, such as "SM86"; none where it cannot."""
        kinds = getattr(self.trt, "ComputeCapability", None)
        return tuple(sorted((n for n in kinds.__members__ if n.startswith("SM")), key=_number)) if kinds else ()

    @contextmanager
    def messages(self) -> Iterator[list[str]]:
        """Collect the errors that come meanwhile; another thread's may be among them."""
        found: list[str] = []
        with self.logger.guard:
            self.logger.listeners.append(found)
        try:
            yield found
        finally:
            with self.logger.guard:
                self.logger.listeners[:] = [one for one in self.logger.listeners if one is not found]


def _number(capability: str) -> int:
    return int(capability[2:])


def find_library(name: str | None = None, say: Callable[[str], None] = lambda text: None) -> Library:
    """Import the library that was asked for, or the one that is installed: TensorRT before TensorRT-RTX.

    Args:
        name: "tensorrt" or "tensorrt_rtx"; None takes what is there, and TensorRT-RTX where both are but TensorRT does not
            load, or does not start for want of a driver.
        say: Told why the second one is taken.

    Raises:
        ValueError: There is no such library.
        MissingDependencyError: It is not installed, or does not load.
    """
    if name is None:
        return _find_any(say)
    if name not in LIBRARIES:
        raise ValueError(f"library: must be one of {', '.join(LIBRARIES)}, got {name!r}{did_you_mean(name, LIBRARIES)}")
    if not _is_installed(name):
        raise MissingDependencyError(f"library {name!r}: {LIBRARIES[name]} must be installed; run: {_INSTALL[name]}")
    return _import(name)


def _find_any(say: Callable[[str], None]) -> Library:
    present = [name for name in LIBRARIES if _is_installed(name)]
    if not present:
        raise MissingDependencyError(
            "engines: TensorRT or TensorRT-RTX must be installed; run: "
            + ", or ".join(_INSTALL[n] for n in reversed(LIBRARIES))
        )
    first, *others = present
    problem = why_not(first) if others else None
    if problem is None or why_not(others[0]) is not None:
        return _import(first)  # whose error, if there is one, is the one to tell
    second = _import(others[0])
    say(f"{LIBRARIES[first]} {problem}; {second.title} {second.version} is taken instead")
    return second


@cache
def why_not(name: str) -> str | None:
    """Return why a library that is installed cannot be used here, in words; None where it can."""
    try:
        library = _import(name)
    except MissingDependencyError as error:
        return str(error).partition(": ")[2]
    with library.messages() as messages:
        try:
            library.trt.Runtime(library.logger)
        except TypeError:  # what the bindings make of a library that gives none
            return f"does not start: {reason_of(messages)}"
    return None


def _is_installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


@cache
def _import(name: str) -> Library:
    try:
        trt = importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingDependencyError(f"library {name!r}: does not load: {str(error).strip()[:300]}") from error
    logger = _make_logger(trt)
    trt.init_libnvinfer_plugins(logger, "")  # EfficientNMS and others, where the library has them
    return Library(name, str(trt.__version__), trt, logger)


def _make_logger(trt: Any) -> Any:
    class Logger(trt.ILogger):
        """Gives errors to those who listen; prints nothing."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            # what is freed by a garbage collection inside `log` may log itself, in the same thread
            self.guard = threading.RLock()
            self.listeners: list[list[str]] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                with self.guard:
                    for listener in self.listeners:
                        listener.append(message)

    return Logger()


def reason_of(messages: list[str]) -> str:
    """Return the first of the collected errors as one line for people."""
    lines = [" ".join(message.split()) for message in messages if "catchCudaError" not in message] or messages
    return lines[0][:400] if lines else "the library gives no reason"
