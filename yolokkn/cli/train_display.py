"""The bar of a training on a terminal."""

from __future__ import annotations

import sys
from typing import Any

from yolokkn.training.display import Display, PlainLines, Silence


class RichBar(Silence):
    """A bar with the terms, the learning rate, images a second and the share of time spent waiting for data."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
        )  # fmt: skip
        self._bar: Any = Progress(*columns, console=self._console, transient=True)
        self._task: Any = None

    def line(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, highlight=False, markup=False)

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """Show a bar."""
        self._bar.start()
        self._task = self._bar.add_task(title, total=total, completed=done, text="")

    def advance(self, text: str = "") -> None:
        """Move it."""
        self._bar.update(self._task, advance=1, text=text)

    def end(self) -> None:
        """Take it away."""
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
        self._bar.stop()


def make_display(is_main: bool, quiet: bool) -> Display:
    """Choose a bar on a terminal, lines elsewhere, silence in all processes but the main one."""
    if not is_main or quiet:
        return Silence()
    return RichBar() if sys.stderr.isatty() else PlainLines()
