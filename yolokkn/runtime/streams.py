"""Many sources at once through one model: each with its own reader, tracker, sinks, ledger and health; none waits for another."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from yolokkn.runtime.backends.base import available_cores
from yolokkn.runtime.lane import PipelineConfig
from yolokkn.runtime.model import Model
from yolokkn.runtime.sources import Source
from yolokkn.runtime.stream import Equip, Stream, StreamParts, StreamResult, StreamStatus
from yolokkn.runtime.uri import file_name_for, without_credentials
from yolokkn.runtime.workers import Workers, processor
from yolokkn.types import Detections, Frame


class Streams:
    """Sources that run at once through one model, until all have ended or they are stopped.

    Frames of all of them go to the same workers, in turn: the stream that was served the longest ago comes first, and a live
    one gives its newest frame. What fails, breaks off or lags in one stream does not hold up another. Streams may be added
    and removed while others run.

    Args:
        model: A loaded model.
        equip: Makes a stream's own tracker and sinks (entered into the stack) once its source is open.
        config: Requests, workers; and the policy of all where `policy` is given.
        policy: "every", "latest", "budget=MS"; None: what the kind of source wants.
        reconnect: As in `open_source`; live streams that are not there yet are waited for.
        new_ids: A stream that was opened again gets new ids.
        batch: Pictures that may run as one, of several streams; 1: each on its own.
        batch_wait_ms: How long a picture waits for others at most.
        on_result: Called with each result, in the stream's own thread; None: iterate over the streams.
        say: Told in lines what happens to a stream.

    Example:
        >>> with Streams(model) as streams:  # doctest: +SKIP
        ...     streams.add("rtsp://camera/door")
        ...     for one in streams: ...
    """

    def __init__(
        self,
        model: Model,
        equip: Equip | None = None,
        *,
        config: PipelineConfig | None = None,
        policy: str | None = None,
        reconnect: bool | None = None,
        new_ids: bool = False,
        batch: int = 1,
        batch_wait_ms: float = 5.0,
        on_result: Callable[[StreamResult], None] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.config = config or PipelineConfig.for_source(False, model.backend.threads)
        self.config.with_policy(policy)
        if batch > 1:
            self.config = replace(self.config, num_requests=batch, num_workers=batch)
            shared = model.batched(batch, max_wait_s=batch_wait_ms / 1e3, max_batch=batch)
        else:
            shared = model.for_requests(self.config.num_requests)
        self.reconnect, self.new_ids = reconnect, new_ids
        self._policy = policy
        self._equip = equip
        self._on_result, self._say = on_result, say
        self._results: queue.Queue[StreamResult] = queue.Queue(2 * self.config.num_workers)
        self.workers = Workers(processor(shared), self.config.num_requests, self.config.num_workers)
        self.workers.start()
        self._changed = threading.Condition(threading.RLock())
        self._streams: dict[str, Stream] = {}
        self._stopping = False

    def add(self, spec: Any, name: str | None = None) -> Stream:
        """Start a stream.

        Args:
            spec: What `open_source` takes.
            name: Its name: letters, digits, `_`, `-` and `.`; None: made of the source's.

        Raises:
            ValueError: There is such a name already, or it cannot be a name; or the streams were stopped.
        """
        with self._changed:
            if self._stopping:
                raise ValueError("Streams.add: the streams must not be stopped")
            name = name or free_name(spec, self._streams)
            if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}", name, re.ASCII):
                raise ValueError(
                    f"Streams.add: name must be letters, digits, _, - and ., at most 64, got {name[:80]!r}"
                )
            if name in self._streams:
                raise ValueError(f"Streams.add: name must be new, got {name!r} again")
            stream = self._streams[name] = Stream(name, spec, self)
            stream.start()
        return stream

    def remove(self, name: str) -> StreamStatus:
        """Stop a stream and wait for its end; returns how it was doing.

        Raises:
            KeyError: There is no such stream.
        """
        with self._changed:
            stream = self._streams[name]
        stream.stop()
        stream.join()
        with self._changed:
            self._streams.pop(name, None)
            self._changed.notify_all()
        return stream.status()

    @property
    def streams(self) -> dict[str, Stream]:
        """The streams by name, those that have ended among them."""
        with self._changed:
            return dict(self._streams)

    def status(self) -> list[StreamStatus]:
        """Return how each stream is doing; from any thread."""
        return [stream.status() for stream in self.streams.values()]

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until every stream has ended or they were stopped; returns whether that is so."""
        with self._changed:
            return self._changed.wait_for(self._are_over, timeout_s)

    def __iter__(self) -> Iterator[StreamResult]:
        """Yield results as they come, each stream's in order, until all streams have ended."""
        if self._on_result is not None:
            raise RuntimeError("Streams: results go to on_result; make them without it to iterate")
        while True:
            was_over = self.wait(0)
            try:
                yield self._results.get(timeout=0.05)
            except queue.Empty:
                if was_over:
                    return

    def stop(self) -> None:
        """Let every stream end; from any thread or a signal's handler."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            streams = list(self._streams.values())
        for stream in streams:
            stream.stop()

    def close(self) -> None:
        """Stop every stream and thread, and wait for their ends. Safe to call again."""
        self.stop()
        for stream in self.streams.values():
            stream.join()
        self.workers.join()

    def __enter__(self) -> Streams:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _are_over(self) -> bool:
        return self._stopping or all(stream.is_over for stream in self._streams.values())

    # What streams call.

    def equip(self, stack: ExitStack, name: str, source: Source) -> StreamParts:
        """Make a stream's own parts."""
        return StreamParts() if self._equip is None else self._equip(stack, name, source)

    def config_for(self, is_live: bool) -> PipelineConfig:
        """Return how frames of a source are taken."""
        config = replace(self.config, policy="latest", capacity=4) if is_live else self.config
        return config.with_policy(self._policy)

    def say(self, line: str) -> None:
        """Tell what happens, unless it is the end that was asked for."""
        if self._say is not None and not self._stopping:
            self._say(line)

    def took(self, stream: Stream, frame: Frame, result: Detections) -> None:
        """Hand on a result."""
        one = StreamResult(stream.name, frame, result)
        if self._on_result is not None:
            self._on_result(one)
            return
        while not stream.is_stopping:
            try:
                self._results.put(one, timeout=0.1)
                return
            except queue.Full:
                continue

    def has_ended(self) -> None:
        """Take note that a stream's thread is at its end."""
        with self._changed:
            self._changed.notify_all()


def free_name(spec: Any, taken: Any) -> str:
    """Return a name for a stream, made of its source's.

    Example:
        >>> free_name("rtsp://user:secret@10.0.0.7:554/front", {}), free_name("clips/a b.mp4", {"a_b": 1})
        ('front', 'a_b-2')
    """
    text = without_credentials(spec) if isinstance(spec, str) else str(spec)
    stem = f"camera{text}" if text.isdigit() else file_name_for(text, "stream")
    stem = re.sub(r"[^\w.-]", "_", stem, flags=re.ASCII).lstrip("_.-")[:56] or "stream"
    number, name = 2, stem
    while name in taken:
        name, number = f"{stem}-{number}", number + 1
    return name


def streams_config(num_streams: int, threads: int | None = None) -> PipelineConfig:
    """Return requests and workers for so many streams: as many runs at once as there are threads, as for files."""
    threads = threads or available_cores()
    num_requests = max(min(threads, 4, num_streams), 1)
    return PipelineConfig(num_requests=num_requests, num_workers=num_requests + (num_requests < max(threads, 2)))
