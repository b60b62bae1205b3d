"""The cases of the suite `trackers`: one update of each by the number of objects, held against its slow twin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yolokkn import tracking
from yolokkn.benchmark.case import Case, Run, against
from yolokkn.benchmark.crowds import Crowd, crowd, to_and_fro
from yolokkn.tracking import reference

SUITE = "trackers"
NUM_OBJECTS, QUICK_NUM_OBJECTS = (10, 30, 100, 300, 1000), (10, 100)
_NUM_FRAMES = 90
_CHECKED_BOXES = 1200  # the twin's time grows with the square of them


def tracker_cases(num_objects: Sequence[int] = NUM_OBJECTS, names: Sequence[str] = tracking.TRACKERS) -> list[Case]:
    """Return the cases: every tracker with its defaults, on walking crowds of each size.

    A run goes through the frames forwards and backwards, again and again, with one tracker: its state is that of a long video.
    """
    found = []
    for count in num_objects:
        frames = to_and_fro(list(crowd(count, _NUM_FRAMES)))
        found += [_case(name, count, frames) for name in names]
    return found


def slow_twin(name: str, frame_rate: float) -> Any:
    """Return the specification of a tracker with its defaults."""
    kind: Any = reference.TRACKERS[name]
    return kind(tracking.SETTINGS[name](), frame_rate, "strict")


def _case(name: str, count: int, frames: list[Crowd]) -> Case:
    def make() -> Run:
        tracker = tracking.create(name)
        return lambda frame: tracker.update(frame.boxes, frame.scores, frame.class_ids)

    def twin() -> Run:
        tracker = slow_twin(name, 30.0)
        return lambda frame: tracker.update(frame.boxes, frame.scores, frame.class_ids)

    checked = frames[: min(max(_CHECKED_BOXES // count, 3), 20)]
    facts = {"stage": "track", "tracker": name, "objects": count}
    return Case(f"{name}, {count} objects", SUITE, make, frames, against(twin, checked), facts=facts)
