"""How long to wait before a source is opened again."""

from __future__ import annotations

import random


class Backoff:
    """Waits that double from one failure to the next, spread at random so that many clients do not come back together.

    Args:
        first_s: The first wait.
        most_s: The longest one.
        jitter: Share by which a wait may be shorter, 0 to 1.
        seed: Of the randomness; None: another one each time.

    Raises:
        ValueError: A value is out of its range.

    Example:
        >>> backoff = Backoff(jitter=0.0)
        >>> [backoff.next() for _ in range(8)]
        [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
        >>> backoff.reset()
        >>> backoff.next()
        0.5
    """

    def __init__(
        self, first_s: float = 0.5, most_s: float = 30.0, jitter: float = 0.2, seed: int | None = None
    ) -> None:
        if not 0 < first_s <= most_s < float("inf"):
            raise ValueError(f"Backoff: 0 < first_s <= most_s must hold, got {first_s} and {most_s}")
        if not 0 <= jitter <= 1:
            raise ValueError(f"Backoff: jitter must be within 0 and 1, got {jitter}")
        self._first_s, self._most_s, self._jitter = first_s, most_s, jitter
        self._random = random.Random(seed)
        self._failures = 0

    def next(self) -> float:
        """Return the seconds to wait after one more failure."""
        wait_s = self._most_s
        if self._failures < 64:  # beyond, two to that power is no float to multiply by
            wait_s = min(self._first_s * 2.0**self._failures, self._most_s)
        self._failures += 1
        return wait_s * (1 - self._jitter * self._random.random())

    def reset(self) -> None:
        """Begin again with the first wait."""
        self._failures = 0
