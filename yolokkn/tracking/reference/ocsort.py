"""Specification of OC-SORT."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

import numpy as np

from yolokkn.tracking.reference.box_models import AreaModel
from yolokkn.tracking.reference.camera import Camera, box_at, place_of
from yolokkn.tracking.reference.kalman import Filter
from yolokkn.tracking.reference.tracks import FilterMotion, Seen, TableTracker, Track
from yolokkn.tracking.settings import ClassPolicy, OcSortSettings

TIME_TOLERANCE, MOST_STEPS, MOST_OBSERVATIONS = 0.01, 100, 5


def with_area(place: np.ndarray) -> np.ndarray:
    """Return centre, area and aspect of a centre, width and height."""
    x, y, w, h = place
    return np.array([x, y, w * h, w / h])


@dataclass
class ObservedState:
    """A filter, that filter after its last correction, and what was last observed."""

    filter: Filter
    anchor: Filter
    seen: list[tuple[np.ndarray, float]] = field(default_factory=list)  # places and times, oldest first
    steps: int = 0  # predictions since the last correction

    def observe(self, seen: Seen) -> None:
        """Add an observation."""
        self.seen = [*self.seen, (place_of(seen.box), seen.time)][-MOST_OBSERVATIONS:]


class ObservationMotion:
    """SORT's filter, led again along the straight way where a track was missed."""

    motion = FilterMotion(AreaModel())

    def start(self, seen: Seen) -> ObservedState:
        """Return the state of a new track."""
        first = self.motion.start(seen)
        state = ObservedState(first, copy.deepcopy(first))
        state.observe(seen)
        return state

    def predict(self, state: ObservedState, dt: float, lost: bool) -> None:
        """Move the filter."""
        self.motion.predict(state.filter, dt, lost)
        state.steps += 1

    def move(self, state: ObservedState, camera: Camera) -> None:
        """Move the filters and the observations as the camera moved."""
        self.motion.move(state.filter, camera)
        self.motion.move(state.anchor, camera)
        state.seen = [(camera.moved(place), time) for place, time in state.seen]

    def correct(self, state: ObservedState, seen: Seen) -> None:
        """Correct the filter; one that was missed first goes the straight way from where it was last seen."""
        if state.steps > 1:
            last, time = state.seen[-1]
            count = min(state.steps, MOST_STEPS)
            dt = (seen.time - time) / count
            begin, end = last, place_of(seen.box)
            state.filter = copy.deepcopy(state.anchor)
            for k in range(1, count):
                AreaModel.predict(state.filter, dt, False)
                AreaModel.correct(state.filter, with_area(begin + (end - begin) * (k / count)))
            AreaModel.predict(state.filter, dt, False)
        self.motion.correct(state.filter, seen)
        state.anchor = copy.deepcopy(state.filter)
        state.steps = 0
        state.observe(seen)

    def box(self, state: ObservedState) -> np.ndarray:
        """Return the filter's box."""
        return self.motion.box(state.filter)


class OcSort(TableTracker):
    """OC-SORT (Cao et al., Observation-centric SORT: rethinking SORT for robust multi-object tracking, 2023)."""

    motion = ObservationMotion()

    def __init__(self, settings: OcSortSettings, frame_rate: float, class_policy: ClassPolicy) -> None:
        super().__init__(settings, frame_rate, class_policy, settings.max_age)

    def associate(self, rows: list[int]) -> None:
        """By overlap and direction first, then what is left by where it was last seen."""
        s: OcSortSettings = self.settings
        rows = [r for r in rows if self.scores[r] >= s.score_threshold]

        def cost(track: Track, row: int, iou: float) -> float:
            if iou < s.iou_threshold:
                return math.inf
            return 1.0 - iou - s.inertia * self.agreement(track, row) * self.share(row)

        self.match(self.tracks, rows, 1.0 - s.iou_threshold + s.inertia * 0.5, cost)
        left = [t for t in self.tracks if t.row < 0]
        for t in left:
            t.box = box_at(t.motion.seen[-1][0])
        self.match_boxes(left, self.free(rows), 1.0 - s.iou_threshold, fuse_score=False)
        for t in left:
            if t.row < 0:
                t.box = self.motion.box(t.motion)
        for r in self.free(rows):
            self.start(r)
        self.confirm_by_hits(s.min_hits)
        self.tracks = [t for t in self.tracks if not self.expired(t)]

    def agreement(self, track: Track, row: int) -> float:
        """Return -0.5 for a detection against the track's way up to 0.5 for one along it; 0 where it has none."""
        seen = track.motion.seen
        way, base = self._before(seen, seen[-1][1]), self._before(seen, self.clock.now)
        end, found = seen[-1][0], place_of(self.boxes[row])
        vx, vy = float(end[0] - way[0]), float(end[1] - way[1])
        wx, wy = float(found[0] - base[0]), float(found[1] - base[1])
        lengths = math.sqrt(vx * vx + vy * vy) * math.sqrt(wx * wx + wy * wy)
        if not lengths > 0:
            return 0.0
        return 0.5 - math.acos(min(max((vx * wx + vy * wy) / lengths, -1.0), 1.0)) / math.pi

    def _before(self, seen: list[tuple[np.ndarray, float]], time: float) -> np.ndarray:
        """Return the earliest observation of the last delta_t nominal frames before a time, or the last one."""
        recent = [place for place, at in seen[:-1] if at >= time - self.settings.delta_t - TIME_TOLERANCE]
        return recent[0] if recent else seen[-1][0]
