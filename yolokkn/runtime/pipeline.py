"""The frame loop: decoding, the network with what surrounds it, tracking and sinks overlap; order is kept.

One thread reads the source; workers take frames through preprocess, network and postprocess, each with buffers of its own;
the consumer's thread tracks and writes, in the source's order. Everything between them is bounded.
"""

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
from yolokkn.runtime.following import Follower, FrameResult, FrameTracker
from yolokkn.runtime.model import Model
from yolokkn.runtime.timing import LatencyLedger
from yolokkn.types import Detections, Frame

POLICIES = ("every", "latest")
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
        policy: "every" frame is processed (files), or the "latest" one (live): what is late is dropped and counted.
        num_requests: Network runs at once.
        num_workers: Threads around the network; more than `num_requests` lets pre- and postprocessing overlap with it.
        capacity: Frames between the reader and the workers.
    """

    policy: str = "every"
    num_requests: int = 1
    num_workers: int = 2
    capacity: int = 4

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"PipelineConfig: policy must be one of {', '.join(POLICIES)}, got {self.policy!r}")
        for name in ("num_requests", "num_workers", "capacity"):
            if getattr(self, name) < 1:
                raise ValueError(f"PipelineConfig: {name} must be 1 or more, got {getattr(self, name)}")

    @classmethod
    def for_source(cls, is_live: bool, threads: int | None = None) -> PipelineConfig:
        """Choose by the kind of source.

        A file wants throughput: as many single-threaded network runs at once as there are threads, up to four.
        A live source wants low latency: one run on all threads, and the newest frame.
        """
        threads = threads or available_cores()
        if is_live:
            return cls(policy="latest", num_requests=1, num_workers=2, capacity=1)
        num_requests = min(threads, 4)
        return cls(num_requests=num_requests, num_workers=num_requests + (num_requests == 1))


@dataclass
class _Done(FrameResult):
    error: BaseException | None = None


class Pipeline:
    """Takes a source through a model, and perhaps a tracker and sinks. Iterate over it once; close it, or use `with`.

    Args:
        source: Where frames come from; the pipeline closes it.
        process: Takes an image to its detections; called from several threads at once.
        tracker: Gives identities, in the source's order.
        camera: Measures the camera's motion, which the tracker is told.
        cadence: Which frames the network sees; the tracker carries the others. None: all.
        sinks: Take each frame and result, in the source's order. The caller closes them.
        config: How it runs.
        ledger: Where times go.

    Raises:
        ValueError: There is a cadence and no tracker.

    Example:
        >>> with Pipeline(source, process) as pipeline:  # doctest: +SKIP
        ...     for frame, result in pipeline: ...
    """

    def __init__(
        self,
        source: FrameSource,
        process: Callable[..., Detections],
        *,
        tracker: FrameTracker | None = None,
        camera: CameraMotionEstimator | None = None,
        cadence: Cadence | None = None,
        sinks: Sequence[ResultSink] = (),
        config: PipelineConfig | None = None,
        ledger: LatencyLedger | None = None,
    ) -> None:
        if cadence is not None and tracker is None:
            raise ValueError("Pipeline: cadence must come with a tracker, which carries the frames between detections")
        self.config = config or PipelineConfig.for_source(source.is_live)
        self.ledger = ledger or LatencyLedger()
        self._source = source
        self._process = process
        self._cadence = cadence
        self._follower: Follower | None = None
        if tracker is not None:
            self._follower = Follower(
                tracker,
                camera=camera,
                has_times=source.has_timestamps,
                carries=cadence is not None,
                interpolate=self.config.policy == "every" and not source.is_live,
            )
        self._sinks = tuple(sinks)
        self._changed = threading.Condition()
        self._pending: deque[tuple[Frame, float, Any]] = (
            deque()
        )  # with milliseconds of decoding, and the cadence's glance
        self._finished: dict[int, _Done] = {}
        self._num_taken = 0  # frames that workers took, in order
        self._num_given = 0  # frames that the consumer took, in order
        self._source_ended = False
        self._source_error: BaseException | None = None
        self._stopping = False
        self._gate = threading.Semaphore(self.config.num_requests)
        self._threads: list[threading.Thread] = []
        self._ready: deque[FrameResult] = deque()  # their tracks are known

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[Frame, Detections]]:
        """Yield each frame with its Detections, or Tracks where there is a tracker, in the source's order.

        Raises:
            RuntimeError: The pipeline was started before.
            Exception: What a stage raised, after the results before it.
        """
        if self._threads or self._stopping:
            raise RuntimeError("Pipeline: can be iterated once; make a new one for another run")
        self._start()
        started = time.perf_counter()
        try:
            for done in self._followed():
                result = self._finish(done)
                self.ledger.wall_s = time.perf_counter() - started
                yield done.frame, result
        finally:
            self.close()
            self.ledger.wall_s = time.perf_counter() - started

    def stop(self) -> None:
        """Let the iteration end; may be called from another thread or a signal handler."""
        if (interrupt := getattr(self._source, "interrupt", None)) is not None:  # a caller's own source may have none
            interrupt()
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def close(self) -> None:
        """Stop every thread, close the source, and count the frames under way as dropped. Safe to call again."""
        self.stop()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        self._source.close()
        with self._changed:
            num_left = len(self._pending) + self._num_taken - self._num_given
            self._pending.clear()
            self._num_given = self._num_taken
        num_left += len(self._ready) + (0 if self._follower is None else len(self._follower.flush()))
        self._ready.clear()
        if num_left:
            self.ledger.add_dropped("stopped", num_left)

    def _start(self) -> None:
        targets = [self._read] + [self._work] * self.config.num_workers
        self._threads = [
            threading.Thread(target=target, name=f"yolokkn-{target.__name__.strip('_')}-{i}", daemon=True)
            for i, target in enumerate(targets)
        ]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        error: BaseException | None = None
        try:
            frames = iter(self._source)
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

    def _offer(self, frame: Frame, decode_ms: float) -> None:
        glance = None if self._cadence is None else self._cadence.glance(frame.image)
        with self._changed:
            if self.config.policy == "every":
                self._changed.wait_for(lambda: self._stopping or len(self._pending) < self.config.capacity)
            elif len(self._pending) >= self.config.capacity:
                self._pending.popleft()
                self.ledger.add_dropped("late")
            self._pending.append((frame, decode_ms, glance))
            self._changed.notify_all()

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            index, done = taken
            try:
                if done.is_seen:
                    done.result = self._process(done.frame.image, self._gate)
            except BaseException as raised:  # noqa: BLE001 - raised again in the consumer's thread, in its place
                done.error = raised
            with self._changed:
                self._finished[index] = done
                self._changed.notify_all()

    def _take(self) -> tuple[int, _Done] | None:
        """Wait for a frame, and for room behind it: no more than twice the workers' may be under way or finished."""
        cadence = self._cadence

        def ready() -> bool:
            room = 2 * self.config.num_workers * (1 if cadence is None else cadence.every)
            may_take = self._num_taken - self._num_given < room
            return self._stopping or (may_take and bool(self._pending)) or (self._source_ended and not self._pending)

        with self._changed:
            self._changed.wait_for(ready)
            if self._stopping or not self._pending:
                return None
            frame, decode_ms, glance = self._pending.popleft()
            index = self._num_taken
            self._num_taken += 1
            self._changed.notify_all()
            is_seen = cadence is None or cadence.wants(glance)
            return index, _Done(frame, is_seen, timing_ms={"decode": decode_ms})

    def _next(self) -> _Done | None:
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
            self._changed.notify_all()
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

    def _finish(self, done: FrameResult) -> Detections:
        """Write a frame's result and count its times."""
        if done.result is None:
            raise RuntimeError("Pipeline: a finished frame must have a result")
        result = replace(done.result, timing_ms=MappingProxyType(dict(done.timing_ms)))
        if self._sinks:
            started = time.perf_counter()
            for sink in self._sinks:
                sink.write(done.frame, result)
            done.timing_ms["sink"] = (time.perf_counter() - started) * 1e3
            result = replace(result, timing_ms=MappingProxyType(done.timing_ms))
        self.ledger.add_frame(
            done.timing_ms, (time.monotonic() - done.frame.captured_s) * 1e3, is_carried=not done.is_seen
        )
        return result


def run_pipeline(
    source: FrameSource,
    model: Model,
    *,
    tracker: FrameTracker | None = None,
    camera: CameraMotionEstimator | None = None,
    cadence: Cadence | None = None,
    sinks: Sequence[ResultSink] = (),
    config: PipelineConfig | None = None,
    ledger: LatencyLedger | None = None,
) -> Pipeline:
    """Build the pipeline of a source and a model, with one workspace a worker.

    Args:
        source: Where frames come from.
        model: A loaded model; what runs is that of `model.for_requests(config.num_requests)`.
        tracker: Gives identities.
        camera: Measures the camera's motion, which the tracker is told.
        cadence: Which frames the network sees.
        sinks: Take each frame and result.
        config: How it runs; chosen by the kind of source where None.
        ledger: Where times go.
    """
    config = config or PipelineConfig.for_source(source.is_live)
    model = model.for_requests(config.num_requests)

    def process(image: Any, gate: Any) -> Detections:
        return model.workspace().process(image, gate)

    return Pipeline(
        source, process, tracker=tracker, camera=camera, cadence=cadence, sinks=sinks, config=config, ledger=ledger
    )
