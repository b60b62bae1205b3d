"""Specification of C-BIoU."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from yolokkn.tracking.reference.camera import Camera, box_at, place_of
from yolokkn.tracking.reference.tracks import LOST, TENTATIVE, TRACKED, Seen, TableTracker
from yolokkn.tracking.settings import CBiouSettings, ClassPolicy

MOST_OBSERVATIONS = 11


@dataclass
class MeanState:
    """Where a track is expected, how fast it goes, and what was last observed."""

    place: np.ndarray
    velocity: np.ndarray
    seen: list[tuple[np.ndarray, float]] = field(default_factory=list)  # places and times, oldest first

    def update_velocity(self) -> None:
        """Take the mean velocity of the observations."""
        (first, begin), (last, end) = self.seen[0], self.seen[-1]
        if end - begin > 0:
            self.velocity = (last - first) / (end - begin)


class MeanMotion:
    """The mean velocity of the last observations, and no filter."""

    def start(self, seen: Seen) -> MeanState:
        """Return the state of a new track."""
        place = place_of(seen.box)
        return MeanState(place, np.zeros(4), [(place, seen.time)])

    def predict(self, state: MeanState, dt: float, lost: bool) -> None:
        """Move on; a side that would vanish stays."""
        to = state.place + state.velocity * dt
        keep = np.array([False, False, not to[2] > 0, not to[3] > 0])
        state.place = np.where(keep, state.place, to)

    def correct(self, state: MeanState, seen: Seen) -> None:
        """Take the detection's place."""
        state.place = place_of(seen.box)
        state.seen = [*state.seen, (state.place, seen.time)][-MOST_OBSERVATIONS:]
        state.update_velocity()

    def move(self, state: MeanState, camera: Camera) -> None:
        """Move everything as the camera moved."""
        state.seen = [(camera.moved(place), time) for place, time in state.seen]
        state.place = camera.moved(state.place)
        state.update_velocity()

    def box(self, state: MeanState) -> np.ndarray:
        """Return the expected box."""
        return box_at(state.place)


class CBiou(TableTracker):
    """C-BIoU (Yang et al., Hard to track objects with irregular motions and similar appearances?, 2023)."""

    motion = MeanMotion()

    def __init__(self, settings: CBiouSettings, frame_rate: float, class_policy: ClassPolicy) -> None:
        super().__init__(settings, frame_rate, class_policy, settings.track_buffer)

    def associate(self, rows: list[int]) -> None:
        """Match boxes grown a little, then what is left by boxes grown more."""
        s: CBiouSettings = self.settings
        rows = [r for r in rows if self.scores[r] >= s.track_high_thresh]
        for buffer in (s.buffer_small, s.buffer_large):
            left = [t for t in self.tracks if t.row < 0]
            grow = (buffer, buffer)
            self.match(left, self.free(rows), s.match_thresh, lambda t, row, iou: 1.0 - iou, lambda t, g=grow: g)
        for t in self.tracks:
            if t.row >= 0 and t.state == TENTATIVE:
                self.confirm(t)
            if t.row < 0 and t.state == TRACKED:
                t.state = LOST
        self.start_free(rows, s.new_track_thresh)
        self.drop_unseen()
