"""One network for several callers: what comes within a short time runs as one batch."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from yolokkn.errors import ModelError
from yolokkn.runtime.backends.base import Backend

Key = tuple[tuple[str, tuple[int, ...], str], ...]


@dataclass(eq=False)
class _Call:
    feeds: Mapping[str, np.ndarray]
    outputs: dict[str, np.ndarray] | None = None
    error: Exception | None = None
    runs_alone: bool = False

    @property
    def is_decided(self) -> bool:
        """Its thread need not wait any more."""
        return self.outputs is not None or self.error is not None or self.runs_alone


@dataclass(eq=False)
class _Group:
    """Calls of one input size; the leader, one of their threads, runs them all."""

    deadline: float
    calls: list[_Call] = field(default_factory=list)
    leader: _Call | None = None
    is_closed: bool = False


class BatchingBackend(Backend):
    """A backend whose `run`, called by several threads with a picture each, joins them to batches.

    A batch runs as soon as every caller has come, or `max_wait_s` after its first; while one runs, the next gathers. Pictures of
    different input sizes run in different batches. Where a batch fails, each of its callers runs alone, so that only those whose
    own picture fails are told. No thread is started: the first caller of a batch runs it.

    This is for networks that a single picture does not fill, as on a large GPU (unmeasured). A small network on a CPU is faster
    with a run for each caller: measured at 1.8 times the speed for four callers of `person-vehicle` on two busy cores.

    Frames go through the CPU's kernels before and behind the network, also where the network is on a GPU.

    Args:
        inner: The network; its batch is free, or fixed and above 1: what is left of it is then filled with zeros.
        num_callers: Threads that call; their number may change by `expect`.
        max_wait_s: Longest time that a picture waits for others, in seconds.
        max_batch: Pictures in one run at most; the fixed batch at most.

    Attributes:
        num_runs: How many runs there were, by their number of pictures.

    Raises:
        ValueError: The network takes one picture at a time, or a number is out of range.
    """

    name = "batching"

    def __init__(
        self, inner: Backend, num_callers: int, *, max_wait_s: float = 0.005, max_batch: int | None = None
    ) -> None:
        fixed = {spec.shape[0] for spec in inner.inputs if spec.shape}
        if len(fixed) != 1 or 1 in fixed:
            raise ValueError(
                f"BatchingBackend: inner must have a free batch, or one above 1, in every input, got "
                f"{', '.join(map(str, inner.inputs))}; export the model with batch=None"
            )
        if max_wait_s < 0:
            raise ValueError(f"BatchingBackend: max_wait_s must be 0 or more, got {max_wait_s}")
        if max_batch is not None and max_batch < 1:
            raise ValueError(f"BatchingBackend: max_batch must be 1 or more, got {max_batch}")
        self._inner, self._max_wait_s = inner, max_wait_s
        self._fixed = fixed.pop()
        self._max_batch = min(n for n in (max_batch, self._fixed, 1024) if n is not None)
        self.inputs = tuple(replace(spec, shape=(None, *spec.shape[1:])) for spec in inner.inputs)
        self.outputs = tuple(replace(spec, shape=(None, *spec.shape[1:])) for spec in inner.outputs)
        self.metadata, self.op_types, self.threads = inner.metadata, inner.op_types, inner.threads
        self.choice = inner.choice
        self.num_runs: Counter[int] = Counter()
        self._changed = threading.Condition()
        self._gathering: dict[Key, _Group] = {}
        self._is_busy = False
        self.expect(num_callers)

    def expect(self, num_callers: int) -> None:
        """Wait for so many callers from now on, such as after a source has ended.

        Raises:
            ValueError: There are none.
        """
        if num_callers < 1:
            raise ValueError(f"BatchingBackend: num_callers must be 1 or more, got {num_callers}")
        with self._changed:
            self._num_callers = num_callers
            self._changed.notify_all()

    def for_requests(self, num_requests: int) -> Backend:
        """Return this one: what calls it from several pipelines is to meet here."""
        return self

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run one picture together with those of the other callers.

        Args:
            feeds: Every input by name, of a batch of 1.

        Raises:
            ValueError: The feeds are of more than one picture.
        """
        for name, value in feeds.items():
            if value.ndim < 1 or value.shape[0] != 1:
                raise ValueError(f"run: feeds must be of one picture each, got {name} {value.shape}")
        call = _Call(feeds)
        group = self._join(call)
        if self._leads(group, call):
            self._lead(group)
        if call.error is not None:
            raise call.error
        if call.outputs is not None:
            return call.outputs
        return self._run([call])[0]  # the batch failed

    def _join(self, call: _Call) -> _Group:
        key = tuple((name, value.shape, value.dtype.str) for name, value in sorted(call.feeds.items()))
        with self._changed:
            group = self._gathering.get(key)
            if group is None or len(group.calls) >= self._max_batch:
                group = self._gathering[key] = _Group(time.monotonic() + self._max_wait_s)
            group.calls.append(call)
            self._changed.notify_all()
        return group

    def _leads(self, group: _Group, call: _Call) -> bool:
        """Wait until the call is done (False), or until it has to run its group (True), which takes no more calls then."""
        with self._changed:
            try:
                while not call.is_decided:
                    if group.leader is None:
                        group.leader = call
                    if group.leader is not call or group.is_closed:
                        self._changed.wait()
                    elif self._is_due(group):
                        self._close(group)
                        return True
                    else:
                        self._changed.wait(None if self._is_busy else max(group.deadline - time.monotonic(), 0.0))
            except BaseException:  # an interrupt: the others go on without this one
                self._leave(group, call)
                raise
        return False

    def _is_due(self, group: _Group) -> bool:
        is_full = len(group.calls) >= min(self._num_callers, self._max_batch)
        return not self._is_busy and (is_full or time.monotonic() >= group.deadline)

    def _close(self, group: _Group) -> None:
        group.is_closed = self._is_busy = True
        for key in [key for key, one in self._gathering.items() if one is group]:
            del self._gathering[key]

    def _leave(self, group: _Group, call: _Call) -> None:
        if group.is_closed:
            return
        group.calls.remove(call)
        if group.leader is call:
            group.leader = None
        if not group.calls:
            self._gathering = {key: one for key, one in self._gathering.items() if one is not group}
        self._changed.notify_all()

    def _lead(self, group: _Group) -> None:
        calls, results = group.calls, []
        try:
            results = self._run(calls)
        except Exception as error:  # noqa: BLE001 - with others, each runs alone then and has the error that is its own
            if len(calls) == 1:
                calls[0].error = error
        finally:
            with self._changed:
                self._is_busy = False
                for i, call in enumerate(calls):
                    call.outputs = results[i] if results else None
                    call.runs_alone = not results
                self._changed.notify_all()

    def _run(self, calls: list[_Call]) -> list[dict[str, np.ndarray]]:
        count = len(calls)
        room = self._fixed or count
        feeds = {}
        for name, first in calls[0].feeds.items():
            feeds[name] = first if room == 1 else np.zeros((room, *first.shape[1:]), first.dtype)
            if room > 1:
                np.concatenate([call.feeds[name] for call in calls], out=feeds[name][:count])
        outputs = self._inner.run(feeds)
        for name, value in outputs.items():
            if value.ndim < 1 or value.shape[0] != room:
                raise ModelError(
                    f"BatchingBackend: output {name} must have a row a picture, got {value.shape} for {room}"
                )
        with self._changed:
            self.num_runs[count] += 1
        return [{name: value[i : i + 1] for name, value in outputs.items()} for i in range(count)]
