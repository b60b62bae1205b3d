"""Which frames the network sees, where the tracker carries the others."""

from __future__ import annotations

import statistics
from collections import deque
from typing import Any, Protocol

import numpy as np

MOST_FRAMES = 8
_REMEMBERED = 15  # detections whose median counts
_COLD = 3  # first detections, which open what the others use
_TIGHT, _LOOSE = 0.9, 0.75  # shares of the budget that may be used; below which fewer frames may be carried
_UP, _DOWN = 3, 12  # detections in a row that ask for it
_TRUSTED, _DOUBTED = 0.65, 0.5  # IoU of expected and found boxes


class Cadence(Protocol):
    """Decides frame by frame, in the source's order. Not thread-safe: the pipeline asks and tells under its lock."""

    @property
    def every(self) -> int:
        """Of so many frames one is detected in, at present."""

    def glance(self, image: np.ndarray) -> Any:
        """Return what `wants` is to know of a frame, (H, W, 3) uint8; asked in the source's thread, beside everything else."""

    def wants(self, glance: Any = None) -> bool:
        """Tell whether the network shall see the next frame, of which `glance` is known."""

    def saw(self, network_ms: float, agreement: float | None) -> None:
        """Take note of a frame that the network saw.

        Args:
            network_ms: Time that it kept the network and what surrounds it, over how many of them run at once.
            agreement: Mean IoU of the boxes that were expected and those found; None where there were none.
        """


class EveryNth:
    """Every Nth frame, the first one first.

    Args:
        every: 1 to MOST_FRAMES.

    Raises:
        ValueError: It is not.

    Example:
        >>> cadence = EveryNth(3)
        >>> [cadence.wants() for _ in range(7)]
        [True, False, False, True, False, False, True]
    """

    def __init__(self, every: int) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or not 1 <= every <= MOST_FRAMES:
            raise ValueError(f"EveryNth: every must be a whole number within 1 and {MOST_FRAMES}, got {every!r}")
        self.every = every
        self._since = 0

    def glance(self, image: np.ndarray) -> None:
        """Nothing is looked at."""

    def wants(self, glance: Any = None) -> bool:
        """Tell whether the network shall see the next frame."""
        is_due = self._since == 0
        self._since = (self._since + 1) % self.every
        return is_due

    def saw(self, network_ms: float, agreement: float | None) -> None:
        """Nothing changes."""


class WithinBudget:
    """As many frames as the budget allows: of so few as it can, the network sees one.

    A frame is taken to cost the network's time over the number of frames that share it: everything else runs beside it, and
    slows it down where there are too few cores. More frames share it soon after the budget is overrun, fewer when a good part
    of it has been left for a while. Where the tracker expects boxes badly (mean IoU below 0.5), one fewer share it, whatever
    the budget says, until it expects them well.

    Args:
        budget_ms: Time of a frame, above 0.
        most: The most frames that share one detection, 1 to MOST_FRAMES.

    Raises:
        ValueError: A value is out of its range.
    """

    def __init__(self, budget_ms: float, most: int = MOST_FRAMES) -> None:
        if not 0 < budget_ms < float("inf"):
            raise ValueError(f"WithinBudget: budget_ms must be above 0 milliseconds, got {budget_ms!r}")
        if not 1 <= most <= MOST_FRAMES:
            raise ValueError(f"WithinBudget: most must be within 1 and {MOST_FRAMES}, got {most!r}")
        self.every = 1
        self.budget_ms, self.most = float(budget_ms), most
        self._since = 0
        self._limit = most
        self._network: deque[float] = deque(maxlen=_REMEMBERED)
        self._num_cold = _COLD
        self._agreement: deque[float] = deque(maxlen=_REMEMBERED)
        self._above = self._below = 0  # detections in a row that asked for more, or fewer

    def glance(self, image: np.ndarray) -> None:
        """Nothing is looked at."""

    def wants(self, glance: Any = None) -> bool:
        """Tell whether the network shall see the next frame."""
        is_due = self._since == 0
        self._since = 0 if self._since + 1 >= self.every else self._since + 1
        return is_due

    def saw(self, network_ms: float, agreement: float | None) -> None:
        """Take note of a frame that the network saw; see `Cadence`."""
        if self._num_cold > 0:
            self._num_cold -= 1
            return
        self._network.append(network_ms)
        if agreement is not None:
            self._agreement.append(agreement)
        self._guard()
        needed, eased = self._needed(_TIGHT), self._needed(_LOOSE)
        self._above = self._above + 1 if needed > self.every else 0
        self._below = self._below + 1 if eased < self.every else 0
        if self._above >= _UP:
            self._change(needed)
        elif self._below >= _DOWN:
            self._change(eased)

    def _needed(self, share: float) -> int:
        """Return the fewest frames whose cost is within a share of the budget, as far as the limit allows."""
        network = statistics.median(self._network)
        fits = (n for n in range(1, self._limit) if network / n <= share * self.budget_ms)
        return next(fits, self._limit)

    def _guard(self) -> None:
        if len(self._agreement) < _REMEMBERED:
            return
        mean = statistics.fmean(self._agreement)
        if mean < _DOUBTED and self.every > 1:
            self._limit = self.every - 1
            self._change(self._limit)
        elif mean > _TRUSTED and self._limit < self.most:
            self._limit += 1
            self._agreement.clear()

    def _change(self, every: int) -> None:
        self.every = every
        self._above = self._below = 0
        self._agreement.clear()
