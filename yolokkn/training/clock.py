"""The time of an epoch."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class EpochClock:
    """The time of an epoch: all of it, and that spent waiting for data."""

    started: float = field(default_factory=time.perf_counter)
    waited_s: float = 0.0
    num_images: int = 0

    def figures(self) -> dict[str, float]:
        """Return pictures a second, the share of the time spent waiting, and the seconds."""
        elapsed = max(time.perf_counter() - self.started, 1e-9)
        return {"images_per_s": self.num_images / elapsed, "wait_share": self.waited_s / elapsed, "seconds": elapsed}
