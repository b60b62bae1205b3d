"""Ctrl-C while a foreign library is at work: remembered, and raised when it has let go."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Interrupt:
    """Whether Ctrl-C came.

    Attributes:
        came: It did; whoever can end the work early asks for it.
    """

    came: bool = False


@contextmanager
def deferred_interrupt() -> Iterator[Interrupt]:
    """Hold KeyboardInterrupt back until the end of the block, then raise it, whatever else the block raises.

    Raised in a function that a library calls back, it would end in that library, which swallows it. Where Ctrl-C means
    something else (another handler is set), or in a thread that signals do not reach, nothing changes.

    Example:
        >>> with deferred_interrupt() as interrupt:
        ...     interrupt.came
        False
    """
    found = Interrupt()
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield found
        return

    def remember(number: int, frame: Any) -> None:
        found.came = True

    signal.signal(signal.SIGINT, remember)
    try:
        yield found
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if found.came:
            raise KeyboardInterrupt
