"""Progress of long work: a bar on a terminal, nothing in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress(total: int | None, quiet: bool) -> Iterator[Any]:
    """Show a progress bar on a terminal; yields the function that counts one frame."""
    if quiet or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]:6.1f} frames/s"), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total, rate=0.0)
        started, count = time.monotonic(), 0

        def advance() -> None:
            nonlocal count
            count += 1
            bar.update(task, completed=count, rate=count / max(time.monotonic() - started, 1e-6))

        yield advance


@contextmanager
def phases(quiet: bool) -> Iterator[tuple[Any, Any]]:
    """Show the phases of a long build on a terminal; yields what takes (phase, done, total), and what says a line."""
    if quiet or not sys.stderr.isatty():
        yield None, (lambda text: None) if quiet else (lambda text: print(text, file=sys.stderr))
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def show(phase: str, done: int, total: int) -> None:
            bar.update(task, description=phase[:40], completed=done, total=total or None)

        yield show, lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True)
