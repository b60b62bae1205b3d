"""What a run says while it goes: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol


class Display(Protocol):
    """Where a run's words go."""

    def line(self, text: str) -> None:
        """Say a line that stays."""
        ...

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """Begin something that takes `total` steps."""
        ...

    def advance(self, text: str = "") -> None:
        """Take a step of it."""
        ...

    def end(self) -> None:
        """End it."""
        ...


class Silence:
    """Says nothing: for all processes but the main one."""

    def line(self, text: str) -> None:
        """Say nothing."""

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """Say nothing."""

    def advance(self, text: str = "") -> None:
        """Say nothing."""

    def end(self) -> None:
        """Say nothing."""


class PlainLines(Silence):
    """Lines on standard error; long epochs say how far they are every half minute."""

    def __init__(self, every_s: float = 30.0) -> None:
        self._every_s, self._title = every_s, ""
        self._total = self._done = 0
        self._said = 0.0

    def line(self, text: str) -> None:
        """Say a line."""
        print(text, file=sys.stderr, flush=True)

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """Begin to count."""
        self._title, self._total, self._done, self._said = title, total, done, time.monotonic()

    def advance(self, text: str = "") -> None:
        """Count, and speak when it has been quiet for long."""
        self._done += 1
        if time.monotonic() - self._said >= self._every_s:
            self._said = time.monotonic()
            self.line(f"{self._title} {self._done}/{self._total} {text}".rstrip())


def format_terms(terms: Mapping[str, float]) -> str:
    """Return the terms as short text, the total first."""
    ordered = sorted(terms.items(), key=lambda item: item[0] != "total")
    return "  ".join(f"{name} {value:.4g}" for name, value in ordered)


def format_epoch(row: Mapping[str, Any], total: int | None) -> str:
    """Return the line of an epoch out of its row in the log."""
    of = f"/{total}" if total else ""
    parts = [
        f"epoch {row['epoch']}{of}",
        format_terms(row["terms"]),
        f"lr {row['lr']:.2e}",
        f"{row['images_per_s']:.1f} images/s",
        f"{100 * row['wait_share']:.0f}% waiting for data",
    ]
    if row.get("figures"):
        chosen = {k: v for k, v in row["figures"].items() if k.endswith(("AP", "AP50"))}
        parts.append("  ".join(f"{name} {value:.4f}" for name, value in chosen.items()))
    return " | ".join(parts)
