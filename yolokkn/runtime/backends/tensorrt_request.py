"""What one run at a time uses: ways through an engine, those for the shapes that come often captured."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

import numpy as np

from yolokkn.runtime.backends.tensorrt_lane import Lane

_MAX_LANES = 4  # shapes for which a request keeps a context, buffers and a captured graph
_OFTEN = 16  # runs of another shape until it takes the place of one that has not come since
_MAX_SEEN = 64  # shapes whose last runs are remembered

Key = tuple[tuple[int, ...], ...]


class Request:
    """The contexts of an engine for one run at a time. Not thread-safe.

    A shape that comes for the second time gets a lane of its own, whose run is captured; up to four do. Every other shape
    runs in one spare context, whose shape is changed then: however many shapes come, no context is made anew.

    Args:
        make_lane: Makes a lane for `shapes`.
        keep_kernels: Called after each run: whether a shape was new to its context.
        is_fixed: The engine takes one shape only, which is captured at once.
    """

    def __init__(self, make_lane: Callable[..., Lane], keep_kernels: Callable[[bool], None], is_fixed: bool) -> None:
        self._make_lane, self._keep_kernels, self._is_fixed = make_lane, keep_kernels, is_fixed
        self.lanes: dict[Key, Lane] = {}  # in the order of their last run
        self._last: dict[Key, int] = {}  # the number of that run
        self._spare: Lane | None = None
        self._seen: dict[Key, deque[int]] = {}  # numbers of the last runs of other shapes
        self._count = 0

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the engine once. A lane that fails is not used again."""
        key = tuple(feeds[name].shape for name in sorted(feeds))
        self._count += 1
        lane = self.lanes.pop(key, None)
        if lane is not None:
            del self._last[key]
            outputs = lane.run(feeds)
            self.lanes[key], self._last[key] = lane, self._count
            self._keep_kernels(False)
            return outputs
        lane, is_new = self._take_spare({name: array.shape for name, array in feeds.items()})
        outputs = lane.run(feeds)  # what is done once is done here, and may not be captured
        if self._is_frequent(key):
            self._give_lane(key, lane)
        else:
            self._spare = lane
        self._keep_kernels(is_new)
        return outputs

    def _take_spare(self, shapes: dict[str, tuple[int, ...]]) -> tuple[Lane, bool]:
        lane, self._spare = self._spare, None
        if lane is None:
            return self._make_lane(shapes=shapes), True
        return lane, lane.take_shapes(shapes)

    def _is_frequent(self, key: Key) -> bool:
        runs = self._seen.pop(key, None) or deque(maxlen=_OFTEN)
        self._seen[key] = runs
        runs.append(self._count)
        if len(self._seen) > _MAX_SEEN:
            del self._seen[next(iter(self._seen))]
        if len(self.lanes) < _MAX_LANES:
            return self._is_fixed or len(runs) > 1
        return len(runs) == _OFTEN and runs[0] > self._last[next(iter(self.lanes))]

    def _give_lane(self, key: Key, lane: Lane) -> None:
        if len(self.lanes) >= _MAX_LANES:
            oldest = next(iter(self.lanes))
            self._spare = self.lanes.pop(oldest)
            del self._last[oldest]
        lane.capture()
        self.lanes[key], self._last[key] = lane, self._count
        del self._seen[key]
