"""The threads that take frames through the network: shared by all sources that run at once, each in its turn."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from yolokkn.runtime.lane import Done, Lane
from yolokkn.types import Detections


class Workers:
    """Threads that take frames of lanes, of the one that was served the longest ago first.

    Args:
        process: Takes an image, and a gate to hold while the network runs, to its detections; called from several threads.
        num_requests: Network runs at once.
        num_workers: Threads.
    """

    def __init__(self, process: Callable[..., Detections], num_requests: int, num_workers: int) -> None:
        self.lock = threading.RLock()  # a signal's handler may stop lanes in the very thread that holds it
        self._process = process
        self._gate = threading.Semaphore(num_requests)
        self._num_workers = num_workers
        self._work = threading.Condition(self.lock)
        self._lanes: list[Lane] = []  # in the order of their turns
        self._stopping = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to work."""
        self._threads = [
            threading.Thread(target=self._run, name=f"yolokkn-work-{i}", daemon=True) for i in range(self._num_workers)
        ]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Look for work; called with the lock held."""
        self._work.notify()

    def attach(self, lane: Lane) -> None:
        """Serve a lane, too."""
        with self.lock:
            self._lanes.append(lane)
            self._work.notify_all()

    def detach(self, lane: Lane) -> None:
        """Serve a lane no more."""
        with self.lock:
            if lane in self._lanes:
                self._lanes.remove(lane)

    def stop(self) -> None:
        """Let every thread end after the frame that it has; from any thread."""
        with self.lock:
            self._stopping = True
            self._work.notify_all()

    def join(self) -> None:
        """Stop, and wait for the end of every thread but the caller's own."""
        self.stop()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            lane, index, done = taken
            try:
                if done.is_seen:
                    done.result = self._process(done.frame.image, self._gate)
            except BaseException as raised:  # noqa: BLE001 - raised again in the consumer's thread, in its place
                done.error = raised
            with self.lock:
                lane.finish(index, done)

    def _take(self) -> tuple[Lane, int, Done] | None:
        """Wait for a frame of the lane whose turn it is; None where it is time to stop."""
        with self.lock:
            while not self._stopping:
                for place, lane in enumerate(self._lanes):
                    if lane.has_work():
                        index, done = lane.take()
                        self._lanes.append(self._lanes.pop(place))
                        if lane.has_work():
                            self._work.notify()
                        return lane, index, done
                self._work.wait()
        return None


def processor(model: Any) -> Callable[..., Detections]:
    """Return what takes an image through a model in the calling thread's own workspace."""

    def process(image: Any, gate: Any) -> Detections:
        return model.workspace().process(image, gate)

    return process
