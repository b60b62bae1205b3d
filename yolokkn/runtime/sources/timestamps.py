"""Presentation times as streams give them, made monotone and finite."""

from __future__ import annotations

from fractions import Fraction

from yolokkn.runtime.sources.base import DEFAULT_FRAME_RATE


def usable_rate(rate: Fraction | float | None) -> float | None:
    """Return a frame rate that can be one, 0 < rate <= 1000, or None.

    Example:
        >>> usable_rate(Fraction(30000, 1001)), usable_rate(None), usable_rate(90000), usable_rate(0)
        (29.97002997002997, None, None, None)
    """
    return float(rate) if rate is not None and 0 < rate <= 1000 else None


class Timestamps:
    """Turn stream times into seconds that start at 0 and strictly rise.

    A time that is missing or does not rise is replaced by the one before plus one frame at the frame rate.

    Args:
        frame_rate: Frames per second; None means 30.
    """

    def __init__(self, frame_rate: float | None) -> None:
        self._step_s = 1.0 / (frame_rate or DEFAULT_FRAME_RATE)
        self._start_s: float | None = None
        self._last_s = -self._step_s

    def next(self, time_s: float | None) -> float:
        """Return the time of the next frame in seconds.

        Example:
            >>> times = Timestamps(10.0)
            >>> [round(times.next(t), 3) for t in (7.0, 7.1, None, 7.05, 7.4)]
            [0.0, 0.1, 0.2, 0.3, 0.4]
        """
        if time_s is not None and self._start_s is None:
            self._start_s = time_s - max(self._last_s + self._step_s, 0.0)
        relative = None if time_s is None or self._start_s is None else time_s - self._start_s
        if relative is None or not relative > self._last_s:
            relative = self._last_s + self._step_s
        self._last_s = relative
        return relative
