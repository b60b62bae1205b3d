"""A source's frames on their way: read by a thread of its own, worked on in any order, given back in theirs."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Protocol

from yolokkn.runtime.backends.base import available_cores
from yolokkn.runtime.cadence import Cadence
from yolokkn.runtime.camera_motion import CameraMotionEstimator
from yolokkn.runtime.following import Follower, FrameResult, FrameTracker, MakeRecorder
from yolokkn.runtime.timing import LatencyLedger
from yolokkn.types import Detections, Frame

POLICIES = ("every", "latest", "budget")
DEFAULT_BUDGET_MS = 200.0
_LATE_MS = 20.0  # a frame of this age is not worth it where there is a newer one
_NETWORK_STAGES = ("preprocess", "inference", "postprocess")


class FrameSource(Protocol):
    """What the pipeline needs of a source. One that may wait long has `interrupt()`, which ends that from another thread."""

    is_live: bool
    has_timestamps: bool

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order."""

    def close(self) -> None:
        """Release the file, camera or connection."""


class ResultSink(Protocol):
    """What the pipeline needs of a sink."""

    def write(self, frame: Frame, result: Detections) -> None:
        """Take one frame and its result, changing neither."""


@dataclass(frozen=True)
class PipelineConfig:
    """How a pipeline runs.

    Attributes:
        policy: "every" frame is processed (files); the "latest" one (live): what is late is dropped and counted; or "budget":
            every frame that is not older than `budget_ms` when its turn comes.
        num_requests: Network runs at once.
        num_workers: Threads around the network; more than `num_requests` lets pre- and postprocessing overlap with it.
        capacity: Frames between the reader and the workers.
        budget_ms: For the policy "budget": milliseconds since the capture.
    """

    policy: str = "every"
    num_requests: int = 1
    num_workers: int = 2
    capacity: int = 4
    budget_ms: float = DEFAULT_BUDGET_MS

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"PipelineConfig: policy must be one of {', '.join(POLICIES)}, got {self.policy!r}")
        for name in ("num_requests", "num_workers", "capacity"):
            if getattr(self, name) < 1:
                raise ValueError(f"PipelineConfig: {name} must be 1 or more, got {getattr(self, name)}")
        if not self.budget_ms > 0:
            raise ValueError(f"PipelineConfig: budget_ms must be above 0, got {self.budget_ms}")

    @classmethod
    def for_source(cls, is_live: bool, threads: int | None = None) -> PipelineConfig:
        """Choose by the kind of source.

        A file wants throughput: as many single-threaded network runs at once as there are threads, up to four.
        A live source wants low latency: one run on all threads, and the newest frame.
        """
        threads = threads or available_cores()
        if is_live:
            return cls(policy="latest", num_requests=1, num_workers=2, capacity=4)
        num_requests = min(threads, 4)
        return cls(num_requests=num_requests, num_workers=num_requests + (num_requests == 1))

    def with_policy(self, text: str | None) -> PipelineConfig:
        """Return the same with another policy: "every", "latest", or "budget=MS".

        Raises:
            ValueError: There is no such policy.
        """
        if text is None:
            return self
        name, equals, value = text.partition("=")
        if not equals or name != "budget":
            return self if text == self.policy else replace(self, policy=text, capacity=self._room(text))
        try:
            return replace(self, policy=name, budget_ms=float(value.removesuffix("ms")), capacity=self._room(name))
        except ValueError:
            raise ValueError(f"PipelineConfig: policy must be budget=MILLISECONDS above 0, got {text!r}") from None

    def _room(self, policy: str) -> int:
        return max(self.capacity, 16) if policy == "budget" else self.capacity


@dataclass
class Done(FrameResult):
    """A frame that a worker has finished, or what went wrong with it."""

    error: BaseException | None = None


class Lane:
    """The frames of one source.

    A thread reads; workers `take` frames and `finish` them, under one lock for all lanes that they serve; whoever iterates
    over `results` gets them in the source's order, with their tracks.

    Args:
        source: Where frames come from; closed by `close`.
        config: Which frames are dropped, and how many may be under way.
        lock: That of the workers.
        wake: Called with the lock held when there may be work.
        tracker: Gives identities, in the source's order.
        camera: Measures the camera's motion, which the tracker is told.
        cadence: Which frames the network sees; the tracker carries the others. None: all.
        sinks: Take each frame and result, in the source's order. The caller closes them.
        ledger: Where times go.
        new_ids: A stream that was opened again gets new ids; else its tracks go on if they are still known.
        recorder: Called with each finished frame; made with how its frames are followed.
        on_sink_error: Told of a sink that fails, which gets nothing more then; None: the failure ends the run.

    Raises:
        ValueError: There is a cadence and no tracker.
    """

    def __init__(
        self,
        source: FrameSource,
        config: PipelineConfig,
        lock: threading.RLock,
        wake: Callable[[], None],
        *,
        tracker: FrameTracker | None = None,
        camera: CameraMotionEstimator | None = None,
        cadence: Cadence | None = None,
        sinks: Sequence[ResultSink] = (),
        ledger: LatencyLedger | None = None,
        new_ids: bool = False,
        recorder: MakeRecorder | None = None,
        on_sink_error: Callable[[ResultSink, Exception], None] | None = None,
    ) -> None:
        if cadence is not None and tracker is None:
            raise ValueError("Pipeline: cadence must come with a tracker, which carries the frames between detections")
        self.source, self.config = source, config
        self.ledger = ledger or LatencyLedger()
        self._cadence = cadence
        follows = {
            "has_times": source.has_timestamps,
            "carries": cadence is not None,
            "interpolate": config.policy == "every" and not source.is_live,
            "new_ids": new_ids,
        }
        self._follower = None if tracker is None else Follower(tracker, camera=camera, **follows)
        self._record = None if recorder is None else recorder(follows)
        self._sinks = list(sinks)
        self._on_sink_error = on_sink_error
        self._changed, self._wake = threading.Condition(lock), wake
        self._pending: deque[tuple[Frame, float, Any]] = (
            deque()
        )  # with milliseconds of decoding, and the cadence's glance
        self._finished: dict[int, Done] = {}
        self._num_taken = 0  # frames that workers took, in order
        self._num_given = 0  # frames that the consumer took, in order
        self._source_ended = False
        self._source_error: BaseException | None = None
        self._stopping = False
        self._reader: threading.Thread | None = None
        self._ready: deque[FrameResult] = deque()  # their tracks are known

    @property
    def was_started(self) -> bool:
        """It reads, has read, or was stopped before."""
        return self._reader is not None or self._stopping

    def start(self) -> None:
        """Begin to read."""
        self._reader = threading.Thread(target=self._read, name="yolokkn-read", daemon=True)
        self._reader.start()

    def results(self) -> Iterator[tuple[Frame, Detections]]:
        """Yield each frame with its Detections, or Tracks where there is a tracker, in the source's order.

        Raises:
            Exception: What a stage raised, after the results before it.
        """
        started = time.perf_counter()
        try:
            for done in self._followed():
                result = self._written(done)
                self.ledger.wall_s = time.perf_counter() - started
                yield done.frame, result
        finally:
            self.ledger.wall_s = time.perf_counter() - started

    def stop(self) -> None:
        """Let `results` end; from any thread."""
        if (interrupt := getattr(self.source, "interrupt", None)) is not None:  # a caller's own source may have none
            interrupt()
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            self._wake()

    def close(self) -> None:
        """Stop reading, close the source, and count the frames under way as dropped. Safe to call again."""
        self.stop()
        if self._reader is not None and self._reader is not threading.current_thread():
            self._reader.join()
        self.source.close()
        with self._changed:
            num_left = len(self._pending) + self._num_taken - self._num_given
            self._pending.clear()
            self._num_given = self._num_taken
        num_left += len(self._ready) + (0 if self._follower is None else len(self._follower.flush()))
        self._ready.clear()
        if num_left:
            self.ledger.add_dropped("stopped", num_left)

    # What the workers call, with the lock held.

    def has_work(self) -> bool:
        """Tell whether a frame may be taken: no more than twice the workers' may be under way or finished."""
        if self._stopping:
            return False
        self._drop_aged()
        room = 2 * self.config.num_workers * (1 if self._cadence is None else self._cadence.every)
        return bool(self._pending) and self._num_taken - self._num_given < room

    def take(self) -> tuple[int, Done]:
        """Take the next frame to work on, with its number for `finish`."""
        frame, decode_ms, glance = self._pending.popleft()
        index = self._num_taken
        self._num_taken += 1
        self._changed.notify_all()
        is_seen = self._cadence is None or self._cadence.wants(glance)
        stage = "receive" if self.source.is_live else "decode"  # of a live source mostly waiting for the next frame
        return index, Done(frame, is_seen, timing_ms={stage: decode_ms})

    def finish(self, index: int, done: Done) -> None:
        """Give a frame back."""
        self._finished[index] = done
        self._changed.notify_all()

    def _drop_aged(self) -> None:
        """Drop frames that are over their budget, or that a newer one makes late; what came in a burst just now is not late."""
        config = self.config
        if config.policy == "every":
            return
        age_ms, fewest, cause = (
            (config.budget_ms, 0, "over budget") if config.policy == "budget" else (_LATE_MS, 1, "late")
        )
        oldest_s = time.monotonic() - age_ms / 1e3
        while len(self._pending) > fewest and self._pending[0][0].captured_s < oldest_s:
            self._pending.popleft()
            self.ledger.add_dropped(cause)
            self._changed.notify_all()

    def _read(self) -> None:
        error: BaseException | None = None
        try:
            frames = iter(self.source)
            while not self._stopping:
                started = time.perf_counter()
                frame = next(frames, None)
                if frame is None:
                    break
                self._offer(frame, (time.perf_counter() - started) * 1e3)
        except BaseException as raised:  # noqa: BLE001 - whatever the source raised ends the run, in the consumer's thread
            error = raised
        with self._changed:
            self._source_error = error
            self._source_ended = True
            self._changed.notify_all()
            self._wake()

    def _offer(self, frame: Frame, decode_ms: float) -> None:
        glance = None if self._cadence is None else self._cadence.glance(frame.image)
        with self._changed:
            if self.config.policy == "every":
                self._changed.wait_for(lambda: self._stopping or len(self._pending) < self.config.capacity)
            elif len(self._pending) >= self.config.capacity:
                self._pending.popleft()
                self.ledger.add_dropped("late")
            self._pending.append((frame, decode_ms, glance))
            self._wake()

    def _next(self) -> Done | None:
        def ready() -> bool:
            nothing_left = self._source_ended and not self._pending and self._num_given == self._num_taken
            return self._stopping or self._num_given in self._finished or nothing_left

        with self._changed:
            self._changed.wait_for(ready)
            done = None if self._stopping else self._finished.pop(self._num_given, None)
            if done is None:
                if self._source_error is not None and not self._stopping:
                    raise self._source_error
                return None
            self._num_given += 1
            self._wake()
        if done.error is not None:
            raise done.error
        return done

    def _followed(self) -> Iterator[FrameResult]:
        """Yield the frames in order, once their results, and their tracks where there is a tracker, are known."""
        ready, follower = self._ready, self._follower
        error: Exception | None = None
        while True:
            try:
                done = None if error is not None else self._next()
            except Exception as raised:  # noqa: BLE001 - what came before it comes out before it
                done, error = None, raised
            if done is not None:
                self._add_waiting(done)
                ready.extend([done] if follower is None else follower.push(done))
                self._tell_cadence(done)
            elif follower is not None:
                ready.extend(follower.flush())
            while ready:
                yield ready.popleft()
            if done is None:
                break
        if error is not None:
            raise error

    def _add_waiting(self, done: FrameResult) -> None:
        """Join the times of the stages; what is left of the frame's age it spent in queues, or waiting for the network."""
        stages: dict[str, float] = {} if done.result is None else dict(done.result.timing_ms)
        age_ms = (time.monotonic() - done.frame.captured_s) * 1e3
        done.timing_ms |= {"wait": max(age_ms - sum(stages.values()), 0.0), **stages}

    def _tell_cadence(self, done: FrameResult) -> None:
        if self._cadence is None or not done.is_seen:
            return
        network_ms = sum(done.timing_ms.get(stage, 0.0) for stage in _NETWORK_STAGES) / self.config.num_requests
        with self._changed:
            self._cadence.saw(network_ms, done.agreement)

    def _written(self, done: FrameResult) -> Detections:
        """Write a frame's result and count its times."""
        if done.result is None:
            raise RuntimeError("Pipeline: a finished frame must have a result")
        if self._record is not None:
            self._record(done)
        result = replace(done.result, timing_ms=MappingProxyType(dict(done.timing_ms)), raw=None)
        if self._sinks:
            started = time.perf_counter()
            for sink in tuple(self._sinks):
                self._write(sink, done.frame, result)
            done.timing_ms["sink"] = (time.perf_counter() - started) * 1e3
            result = replace(result, timing_ms=MappingProxyType(done.timing_ms))
        self.ledger.add_frame(
            done.timing_ms, (time.monotonic() - done.frame.captured_s) * 1e3, is_carried=not done.is_seen
        )
        return result

    def _write(self, sink: ResultSink, frame: Frame, result: Detections) -> None:
        try:
            sink.write(frame, result)
        except Exception as error:
            if self._on_sink_error is None:
                raise
            self._sinks.remove(sink)
            self._on_sink_error(sink, error)
