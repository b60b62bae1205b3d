"""A stream that is opened again whenever it breaks off, falls silent, freezes or floods; it never gives up."""

from __future__ import annotations

import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from yolokkn.errors import SourceError
from yolokkn.runtime.sources.backoff import Backoff
from yolokkn.runtime.sources.base import DEFAULT_FRAME_RATE, Source
from yolokkn.runtime.sources.listening import wait_before_retry
from yolokkn.types import Frame

FROZEN_S = 10.0  # of one and the same picture; doubled each time that a new connection did not help
MOST_FROZEN_S = 600.0
FLOOD_S, FLOOD_FACTOR = 10.0, 5.0  # so long more than so many times the frames that the stream claims; doubled likewise
_SAMPLED = 16  # every so many pixels, for telling one picture from the next


@dataclass(frozen=True)
class SourceHealth:
    """How a stream is doing.

    Attributes:
        state: "live", "reconnecting" or "ended".
        num_connections: How often it was opened.
        causes: Why it was opened again, and how often: "broke off", "frozen", "flooding".
        reason: What was wrong last; empty where nothing was.
        age_s: Since the last frame, seconds; None before the first one.
    """

    state: str
    num_connections: int
    causes: dict[str, int]
    reason: str
    age_s: float | None


class ReconnectingSource(Source):
    """A stream over as many connections as it takes.

    Frames are numbered on, and their times go on by the time that the outage took. Between two attempts it waits as a `Backoff`
    says, which begins anew once there was a frame; where nothing listens at the address, it goes back as soon as something does.

    Args:
        open_part: Opens a connection: a source of its own, with deadlines of its own.
        url: The address, for seeing whether something listens there; may hold credentials, which are never shown.
        say: Told in a line when the stream breaks off and when it is back.
        backoff: Waits between attempts.
        clock: Seconds, rising.

    Raises:
        SourceError: The first connection fails: what was asked for may be misspelt.
    """

    kind = "stream"
    is_live = True

    def __init__(
        self,
        open_part: Callable[[], Source],
        url: str,
        *,
        say: Callable[[str], None] | None = None,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_part, self._url, self._say = open_part, url, say
        self._backoff, self._clock = backoff or Backoff(), clock
        self._stop = threading.Event()
        part = open_part()
        super().__init__(part.name)
        self._part: Source | None = part
        self.frame_rate, self.hw = part.frame_rate, part.hw
        self._state, self._reason = "live", ""
        self._num_connections = 1
        self._causes: Counter[str] = Counter()
        self._last_frame_s: float | None = None
        self._started_s: float | None = None
        self._last_timestamp_s = -1.0 / (self.frame_rate or DEFAULT_FRAME_RATE)
        self._frozen, self._flood = _Frozen(clock), _Flood(clock)

    @property
    def health(self) -> SourceHealth:
        """How it is doing; may be asked from any thread."""
        last = self._last_frame_s
        age = None if last is None else self._clock() - last
        return SourceHealth(self._state, self._num_connections, dict(self._causes), self._reason, age)

    def tell(self, say: Callable[[str], None] | None) -> None:
        """Take another listener for the lines that say what happens; None: nobody listens."""
        self._say = say

    def interrupt(self) -> None:
        """Let a wait for the next attempt end, and the iteration with it; from any thread."""
        self._stop.set()

    def close(self) -> None:
        """Release the connection; ends a wait that another thread has under way."""
        self.interrupt()
        super().close()

    def _release(self) -> None:
        self._state = "ended"
        if self._part is not None:
            self._part.close()
            self._part = None

    def _frames(self) -> Iterator[Frame]:
        index = skipped = 0
        while self._part is not None:
            part, offset_s, cause, reason = self._part, None, "", ""
            try:
                for frame in part:
                    offset_s = self._offset_of(frame) if offset_s is None else offset_s
                    self.num_skipped = skipped + part.num_skipped
                    self._last_frame_s = self._clock()
                    self._backoff.reset()
                    time_s = self._risen(frame.timestamp_s + offset_s)
                    yield replace(frame, index=index, timestamp_s=time_s, connection=self._num_connections - 1)
                    index += 1
                    if self._frozen.since(frame.image):
                        cause, reason = "frozen", f"the same picture for {self._frozen.lasted_s:g} s"
                        break
                    if self._flood.since(self.frame_rate):
                        cause = "flooding"
                        reason = f"more than {self._flood.limit:g} frames/s for {self._flood.lasted_s:g} s"
                        break
                    if self._stop.is_set():
                        return
                reason = reason or (part.warnings[-1].split("; ")[-1] if part.warnings else "it ended")
            except SourceError as error:
                reason = str(error).rpartition(": ")[2]
            skipped += part.num_skipped
            self._part = self._reconnected(part, cause or "broke off", reason)

    def _offset_of(self, first: Frame) -> float:
        """Return what a connection's times lie off the source's, by when its first frame was there."""
        if self._started_s is None:
            self._started_s = first.captured_s
        return first.captured_s - self._started_s - first.timestamp_s

    def _risen(self, timestamp_s: float) -> float:
        """Return a time that is later than the frame before."""
        step_s = 1.0 / (self.frame_rate or DEFAULT_FRAME_RATE)
        if not timestamp_s > self._last_timestamp_s:
            timestamp_s = self._last_timestamp_s + min(step_s, 1e-3)
        self._last_timestamp_s = timestamp_s
        return timestamp_s

    def _reconnected(self, broken: Source, cause: str, reason: str) -> Source | None:
        """Open the next connection, however long that takes; None where it was stopped meanwhile."""
        self._state, self._reason = "reconnecting", reason
        self._causes[cause] += 1
        self._tell_of(f"{reason}; connecting again")
        broken.close()
        began_s = self._clock()
        while not wait_before_retry(self._url, self._backoff.next(), self._stop, self._clock):
            try:
                part = self._open_part()
            except SourceError as error:
                self._reason = str(error).rpartition(": ")[2]
                continue
            if self._stop.is_set():
                part.close()
                break
            self._state, self._num_connections = "live", self._num_connections + 1
            self._frozen.began()
            self._flood.began()
            self._tell_of(f"is back after {self._clock() - began_s:.1f} s")
            return part
        return None

    def _tell_of(self, text: str) -> None:
        if self._say is not None and not self._stop.is_set():
            self._say(f"{self.name}: {text}")


class _Frozen:
    """Tells when a picture has not changed at all for too long, which no camera's noise allows."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.patience_s = self.lasted_s = FROZEN_S
        self._last: int | None = None
        self._since_s = 0.0

    def began(self) -> None:
        """Take note of a new connection."""
        self._since_s = self._clock()

    def since(self, image: np.ndarray) -> bool:
        """Take the next picture; returns whether the patience is at its end, which then doubles."""
        now = self._clock()
        seen = zlib.adler32(np.ascontiguousarray(image[::_SAMPLED, ::_SAMPLED]))
        if seen != self._last:
            if self._last is not None:
                self.patience_s = FROZEN_S
            self._last, self._since_s = seen, now
            return False
        if now - self._since_s < self.patience_s:
            return False
        self.lasted_s, self.patience_s = self.patience_s, min(2 * self.patience_s, MOST_FROZEN_S)
        self._since_s = now
        return True


class _Flood:
    """Tells when far more frames come for a while than the stream claims to have."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.patience_s = self.lasted_s = FLOOD_S
        self.limit = 0.0  # frames a second
        self.began()

    def began(self) -> None:
        """Take note of a new connection."""
        self._since_s, self._count = self._clock(), 0

    def since(self, frame_rate: float | None) -> bool:
        """Count a frame; returns whether the patience is at its end, which then doubles."""
        self._count += 1
        passed_s = self._clock() - self._since_s
        if passed_s < self.patience_s:
            return False
        self.limit = FLOOD_FACTOR * max(frame_rate or 0.0, DEFAULT_FRAME_RATE)
        floods = self._count > self.limit * passed_s
        self.lasted_s = self.patience_s
        self.patience_s = min(2 * self.patience_s, MOST_FROZEN_S) if floods else FLOOD_S
        self.began()
        return floods
