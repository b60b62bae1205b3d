"""Specification of the trackers' clock."""

from __future__ import annotations

import math

MIN_STEP, MAX_STEP, WHOLE_TOLERANCE, MAX_GAP, AGE_TOLERANCE = 0.1, 30.0, 0.05, 1e6, 0.01


class Clock:
    """Turns timestamps into steps of nominal frames: one step to predict over, one to age by.

    A step within 0.05 of a whole number of nominal frames counts as that number (containers round timestamps to
    milliseconds). A step that cannot be trusted (not finite, backwards, repeated, below 0.1 or above 30 nominal frames)
    is predicted as one nominal frame; a long one still ages the tracks by its length, up to a million frames.
    """

    def __init__(self, frame_rate: float) -> None:
        self.frame_rate = frame_rate
        self.last_s: float | None = None
        self.now = 0.0  # nominal frames since the start
        self.last_step = 1.0  # how far the last update moved it

    def advance(self, timestamp_s: float | None) -> float:
        """Move on to the time of the next update and return the step to predict over."""
        step = age = 1.0
        if timestamp_s is None or not math.isfinite(timestamp_s):
            if self.last_s is not None:
                self.last_s = self.last_s + 1.0 / self.frame_rate
        else:
            if self.last_s is not None:
                elapsed = (timestamp_s - self.last_s) * self.frame_rate
                if elapsed >= MIN_STEP:
                    age = min(elapsed, MAX_GAP)
                    whole = math.floor(age + 0.5)
                    if whole >= 1 and abs(age - whole) <= WHOLE_TOLERANCE:
                        age = float(whole)
                    step = age if age <= MAX_STEP else 1.0
            self.last_s = timestamp_s
        self.now += age
        self.last_step = age
        return step
