"""SIGINT and SIGTERM as a wish: the step is finished and the run saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Signals:
    """What was asked.

    Attributes:
        number: Of the first signal that came; 0 for none.
    """

    number: int = 0


@contextmanager
def catch_signals() -> Iterator[Signals]:
    """Note the first SIGINT or SIGTERM, so that the step is finished and saved; the second acts at once."""
    asked = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: Any) -> None:
        asked.number = number
        for one, handler in before.items():
            signal.signal(one, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
