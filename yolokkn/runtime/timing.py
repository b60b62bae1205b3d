"""The latency ledger: where each millisecond went, in memory that does not grow."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_BUCKETS_PER_DOUBLING = 32
_LOWEST_MS = 1e-4
_NUM_BUCKETS = 34 * _BUCKETS_PER_DOUBLING  # up to 1.7e6 ms


class LatencyHistogram:
    """Counts durations in buckets 2.2 % wide: quantiles within about 1 %, exact count, sum and maximum.

    Example:
        >>> h = LatencyHistogram()
        >>> for ms in range(1, 101):
        ...     h.add(float(ms))
        >>> round(h.quantile(0.5)), h.max_ms
        (50, 100.0)
    """

    def __init__(self) -> None:
        self._counts = [0] * _NUM_BUCKETS
        self.count = 0
        self.sum_ms = 0.0
        self.max_ms = 0.0

    def add(self, ms: float) -> None:
        """Count one duration in milliseconds; below zero counts as zero."""
        ms = max(ms, 0.0)
        bucket = 0 if ms <= _LOWEST_MS else int(math.log2(ms / _LOWEST_MS) * _BUCKETS_PER_DOUBLING)
        self._counts[min(bucket, _NUM_BUCKETS - 1)] += 1
        self.count += 1
        self.sum_ms += ms
        self.max_ms = max(self.max_ms, ms)

    def quantile(self, q: float) -> float:
        """Return the duration below which a share q of the durations lies; 0 when nothing was counted."""
        rank = math.ceil(q * self.count)
        seen = 0
        for bucket, n in enumerate(self._counts):
            seen += n
            if n and seen >= rank:
                return min(_LOWEST_MS * 2 ** ((bucket + 0.5) / _BUCKETS_PER_DOUBLING), self.max_ms)
        return 0.0


@dataclass(frozen=True)
class StageSummary:
    """One line of the ledger, in milliseconds; `share` is the part of all stages' time, 0 to 1."""

    stage: str
    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    mean_ms: float
    share: float


class LatencyLedger:
    """Per-stage durations of a run, the frames' age at the end, and what was dropped and why. Thread-safe.

    Example:
        >>> ledger = LatencyLedger()
        >>> ledger.add_frame({"decode": 1.0, "inference": 3.0}, age_ms=5.0)
        >>> [(s.stage, round(s.share, 2)) for s in ledger.stages()]
        [('decode', 0.25), ('inference', 0.75)]
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages: dict[str, LatencyHistogram] = {}
        self._age = LatencyHistogram()
        self._dropped: dict[str, int] = {}
        self.num_frames = 0
        self.num_carried = 0  # of those, the ones that no network saw
        self.wall_s = 0.0

    def add_frame(self, timing_ms: Mapping[str, float], age_ms: float, is_carried: bool = False) -> None:
        """Count a finished frame: milliseconds per stage, and from capture to the end; carried: no network saw it."""
        with self._lock:
            for stage, ms in timing_ms.items():
                self._stages.setdefault(stage, LatencyHistogram()).add(ms)
            self._age.add(age_ms)
            self.num_frames += 1
            self.num_carried += is_carried

    def add_dropped(self, cause: str, count: int = 1) -> None:
        """Count frames that were not processed."""
        with self._lock:
            self._dropped[cause] = self._dropped.get(cause, 0) + count

    @property
    def dropped(self) -> dict[str, int]:
        """Frames that were not processed, by cause."""
        with self._lock:
            return dict(self._dropped)

    def stages(self) -> Iterator[StageSummary]:
        """Yield a summary of each stage in the order of a frame's way."""
        with self._lock:
            total = sum(h.sum_ms for h in self._stages.values()) or 1.0
            rows = [_summary(name, h, h.sum_ms / total) for name, h in self._stages.items()]
        yield from rows

    def age(self) -> StageSummary:
        """Return the summary of the frames' age: from capture to the end of the last stage."""
        with self._lock:
            return _summary("age", self._age, 1.0)

    @property
    def frames_per_second(self) -> float:
        """Finished frames over the run's wall time."""
        return self.num_frames / self.wall_s if self.wall_s > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {
            "num_frames": self.num_frames,
            "num_carried": self.num_carried,
            "wall_s": round(self.wall_s, 4),
            "frames_per_second": round(self.frames_per_second, 3),
            "dropped": self.dropped,
            "age_ms": _plain(self.age()),
            "stages": {row.stage: _plain(row) for row in self.stages()},
        }

    def table(self) -> str:
        """Return the ledger as a text table."""
        head = f"{'stage':<12} {'p50':>8} {'p95':>8} {'p99':>8} {'max':>8}  {'share':>6}   (ms)"
        lines = [head]
        for row in self.stages():
            lines.append(_line(row) + f"  {row.share:6.1%}")
        lines.append(_line(self.age()) + "          from capture to the end")
        dropped = ", ".join(f"{n} {cause}" for cause, n in self.dropped.items()) or "none"
        lines.append(
            f"{self.num_frames} frames in {self.wall_s:.2f} s: {self.frames_per_second:.1f} frames/s; dropped: {dropped}"
            + (f"; {self.num_carried} carried by the tracker" if self.num_carried else "")
        )
        return "\n".join(lines)


def _summary(name: str, h: LatencyHistogram, share: float) -> StageSummary:
    mean = h.sum_ms / h.count if h.count else 0.0
    return StageSummary(name, h.count, h.quantile(0.5), h.quantile(0.95), h.quantile(0.99), h.max_ms, mean, share)


def _plain(row: StageSummary) -> dict[str, float]:
    return {
        "count": row.count,
        "p50": round(row.p50_ms, 4),
        "p95": round(row.p95_ms, 4),
        "p99": round(row.p99_ms, 4),
        "max": round(row.max_ms, 4),
        "mean": round(row.mean_ms, 4),
        "share": round(row.share, 4),
    }


def _line(row: StageSummary) -> str:
    return f"{row.stage:<12} {row.p50_ms:8.2f} {row.p95_ms:8.2f} {row.p99_ms:8.2f} {row.max_ms:8.2f}"
