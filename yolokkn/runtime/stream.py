"""One of many sources that run at once: its thread, its health, and what it has for itself."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from yolokkn.errors import SourceError, YolokknError
from yolokkn.runtime.cadence import Cadence
from yolokkn.runtime.camera_motion import CameraMotionEstimator
from yolokkn.runtime.following import FrameTracker, MakeRecorder
from yolokkn.runtime.lane import Lane, ResultSink
from yolokkn.runtime.sources import ReconnectingSource, Source, open_source
from yolokkn.runtime.sources.backoff import Backoff
from yolokkn.runtime.sources.listening import wait_before_retry
from yolokkn.runtime.sources.spec import may_come_later
from yolokkn.runtime.timing import LatencyLedger
from yolokkn.runtime.uri import without_credentials
from yolokkn.types import Detections, Frame

if TYPE_CHECKING:
    from yolokkn.runtime.streams import Streams

_RATE_FRAMES = 64  # over which a stream's present rate is counted
_STALE_S = 5.0  # without a frame


class StreamResult(NamedTuple):
    """A frame of one of many streams, with what was found in it."""

    stream: str
    frame: Frame
    result: Detections


@dataclass(frozen=True)
class StreamStatus:
    """How one of many streams is doing.

    Attributes:
        name: The stream's name.
        source: What is read, without credentials.
        state: "opening", "live", "stale" (no frame for 5 s), "reconnecting", "ended", "failed" or "stopped".
        reason: What was wrong last; empty where nothing was.
        frames_per_second: Of late.
        num_frames: Finished ones.
        dropped: Frames that were not processed, by cause.
        age_p99_ms: From capture to the end.
        causes: Why the source was opened again, and how often.
        num_connections: How often it was opened.
        failed_sinks: What each sink that failed said.
    """

    name: str
    source: str
    state: str
    reason: str
    frames_per_second: float
    num_frames: int
    dropped: dict[str, int]
    age_p99_ms: float
    causes: dict[str, int]
    num_connections: int
    failed_sinks: tuple[str, ...]


@dataclass(frozen=True)
class StreamParts:
    """What a stream has for itself; made when its source is open."""

    tracker: FrameTracker | None = None
    camera: CameraMotionEstimator | None = None
    cadence: Cadence | None = None
    sinks: Sequence[ResultSink] = ()
    recorder: MakeRecorder | None = None


Equip = Callable[[ExitStack, str, Source], StreamParts]


class Stream:
    """One of many streams: a thread that opens the source, tracks and writes; made by `Streams.add`.

    Attributes:
        name: Its name among the streams.
        ledger: Where its times go.
        source: The open source; None before it is open.
        is_over: Nothing more will come.
    """

    def __init__(self, name: str, spec: Any, owner: Streams) -> None:
        self.name, self._spec, self._owner = name, spec, owner
        self.shown = without_credentials(spec) if isinstance(spec, str) else str(spec)
        self.ledger = LatencyLedger()
        self.source: Source | None = None
        self.is_over = False
        self._state, self._reason = "opening", ""
        self._failed_sinks: list[str] = []
        self._times: deque[float] = deque(maxlen=_RATE_FRAMES)
        self._lane: Lane | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"yolokkn-stream-{name}", daemon=True)

    @property
    def is_stopping(self) -> bool:
        """It was told to end."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Let it end; from any thread."""
        self._stopping.set()
        if (lane := self._lane) is not None:
            lane.stop()

    def join(self) -> None:
        """Wait for its end, unless called by its own thread."""
        if self._thread is not threading.current_thread() and self._thread.ident is not None:
            self._thread.join()

    def status(self) -> StreamStatus:
        """Return how it is doing; from any thread."""
        times = list(self._times)
        now = time.monotonic()
        is_flowing = len(times) > 1 and now - times[-1] < _STALE_S and not self.is_over
        state, reason, causes, connections = self._state, self._reason, {}, int(self.source is not None)
        if isinstance(self.source, ReconnectingSource):
            health = self.source.health
            causes, connections = health.causes, health.num_connections
            state, reason = (health.state if state == "live" else state), reason or health.reason
        if state == "live" and times and now - times[-1] >= _STALE_S:
            state = "stale"
        return StreamStatus(
            name=self.name,
            source=self.shown,
            state=state,
            reason=reason,
            frames_per_second=(len(times) - 1) / max(now - times[0], 1e-9) if is_flowing else 0.0,
            num_frames=self.ledger.num_frames,
            dropped=self.ledger.dropped,
            age_p99_ms=self.ledger.age().p99_ms,
            causes=causes,
            num_connections=connections,
            failed_sinks=tuple(self._failed_sinks),
        )

    def _run(self) -> None:
        try:
            with ExitStack() as stack:
                self._serve(stack)
            self._state = "stopped" if self._stopping.is_set() else "ended"
        except BaseException as error:  # noqa: BLE001 - one stream's end is not that of the others
            self._state, self._reason = "failed", _reason_of(error)
            self._owner.say(f"{self.name}: {self._reason}")
        finally:
            self.is_over = True
            self._owner.has_ended()

    def _serve(self, stack: ExitStack) -> None:
        source = self._open()
        if source is None:
            return
        stack.callback(source.close)
        if isinstance(source, ReconnectingSource):
            source.tell(lambda line: self._owner.say(f"{self.name}: {line}"))
        self.source = source
        parts = self._owner.equip(stack, self.name, source)
        config = self._owner.config_for(source.is_live)
        lane = Lane(
            source, config, self._owner.workers.lock, self._owner.workers.wake, tracker=parts.tracker, camera=parts.camera,
            cadence=parts.cadence, sinks=parts.sinks, ledger=self.ledger, new_ids=self._owner.new_ids, recorder=parts.recorder,
            on_sink_error=self._sink_failed if source.is_live else None,
        )  # fmt: skip
        stack.callback(lane.close)
        self._owner.workers.attach(lane)
        stack.callback(self._owner.workers.detach, lane)
        self._lane = lane
        if self._stopping.is_set():
            return
        self._state = "live"
        lane.start()
        for frame, result in lane.results():
            self._times.append(time.monotonic())
            self._owner.took(self, frame, result)

    def _open(self) -> Source | None:
        """Open the source; one that may come later is waited for. None where it was stopped meanwhile."""
        backoff, is_known = Backoff(), False
        patient = may_come_later(self._spec, self._owner.reconnect)
        while not self._stopping.is_set():
            try:
                source = open_source(self._spec, decode_threads=1, reconnect=self._owner.reconnect)
            except SourceError as error:
                if not patient:
                    raise
                self._reason = _reason_of(error).rpartition(": ")[2]
                if not is_known:
                    self._owner.say(f"{self.name}: {_reason_of(error)}; trying again until it is there")
                is_known = True
                wait_before_retry(self._spec, backoff.next(), self._stopping)
                continue
            if is_known:
                self._owner.say(f"{self.name}: {self.shown}: is there now")
            self._reason = ""
            return source
        return None

    def _sink_failed(self, sink: ResultSink, error: Exception) -> None:
        self._failed_sinks.append(_reason_of(error))
        self._owner.say(f"{self.name}: {_reason_of(error)}; goes on without it")


def _reason_of(error: BaseException) -> str:
    text = re.sub(r"^[a-z_]+: ", "", str(error)) if isinstance(error, YolokknError) else str(error)
    return text if isinstance(error, (YolokknError, ValueError)) else f"{type(error).__name__}: {text}"
