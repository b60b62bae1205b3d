"""Slow, obvious twins of the C++ trackers: the specification. They give the same ids, bit for bit the same states."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from yolokkn.tracking.reference_assignment import assign
from yolokkn.tracking.reference_kalman import AreaMotion, Filter, HeightMotion, Motion
from yolokkn.tracking.settings import ByteTrackSettings, ClassPolicy, SortSettings

__all__ = ["ByteTrack", "Clock", "Sort", "assign"]

TENTATIVE, TRACKED, LOST = 0, 1, 2
MIN_STEP, MAX_STEP, WHOLE_TOLERANCE, MAX_GAP, AGE_TOLERANCE = 0.1, 30.0, 0.05, 1e6, 0.01
COST_GRID = 1.5 * 2.0**12  # adding and subtracting it rounds to a multiple of 2**-40
SECOND_COST, TENTATIVE_COST, DUPLICATE_COST = 0.5, 0.7, 0.15


class Clock:
    """Turns timestamps into steps of nominal frames: one step to predict over, one to age by.

    A step within 0.05 of a whole number of nominal frames counts as that number (containers round timestamps to
    milliseconds). A step that cannot be trusted (not finite, backwards, repeated, below 0.1 or above 30 nominal frames)
    is predicted as one nominal frame; a long one still ages the tracks by its length, up to a million frames.
    """

    def __init__(self, frame_rate: float) -> None:
        self.frame_rate = frame_rate
        self.last_s: float | None = None
        self.now = 0.0  # nominal frames since the start

    def advance(self, timestamp_s: float | None) -> float:
        """Move on to the time of the next update and return the step to predict over."""
        step = age = 1.0
        if timestamp_s is None or not math.isfinite(timestamp_s):
            if self.last_s is not None:
                self.last_s = self.last_s + 1.0 / self.frame_rate
        else:
            if self.last_s is not None:
                elapsed = (timestamp_s - self.last_s) * self.frame_rate
                if elapsed >= MIN_STEP:
                    age = min(elapsed, MAX_GAP)
                    whole = math.floor(age + 0.5)
                    if whole >= 1 and abs(age - whole) <= WHOLE_TOLERANCE:
                        age = float(whole)
                    step = age if age <= MAX_STEP else 1.0
            self.last_s = timestamp_s
        self.now += age
        return step


@dataclass(eq=False)
class Track:
    """One object that a tracker follows."""

    filter: Filter
    box: np.ndarray  # (4,) float64 xyxy: the state's box
    class_id: int
    score: float
    state: int
    born: float  # nominal frames
    last_seen: float
    hits: int = 1  # in a row
    track_id: int = -1


def pairwise_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute the IoU of every pair in float64; 0 where two boxes do not overlap."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    size = high - low
    overlap = (size > 0).all(-1)
    inter = np.where(overlap, size[..., 0] * size[..., 1], 0.0)
    areas = [(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1][None] - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=overlap)


class _Tracker:
    """What the trackers share."""

    motion: Motion
    max_age: float

    def __init__(self, settings: object, frame_rate: float, class_policy: ClassPolicy) -> None:
        self.settings, self.frame_rate, self.class_policy = settings, frame_rate, class_policy
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.clock = Clock(self.frame_rate)
        self.tracks: list[Track] = []
        self.updates = 0
        self.last_id = 0

    def update(
        self, boxes: np.ndarray, scores: np.ndarray, class_ids: np.ndarray, timestamp_s: float | None = None
    ) -> np.ndarray:
        """See `yolokkn.tracking.Tracker.update`."""
        self.boxes: np.ndarray = boxes.astype(np.float64)
        self.scores: np.ndarray = scores.astype(np.float64)
        self.class_ids = class_ids
        self.track_of: list[Track | None] = [None] * len(boxes)
        self.updates += 1
        with np.errstate(invalid="ignore"):
            finite = np.isfinite(self.boxes).all(1) & np.isfinite(self.scores)
            sized = (self.boxes[:, 2] > self.boxes[:, 0]) & (self.boxes[:, 3] > self.boxes[:, 1])
        seen = {id(t) for t in self.tracks if self._seen(t)}
        step = self.clock.advance(timestamp_s)
        self.tracks = [t for t in self.tracks if id(t) in seen or not self._expired(t)]
        for t in self.tracks:
            self.motion.predict(t.filter, step, t.state == LOST)
            t.box = self.motion.box(t.filter)
        self._associate_all([i for i in range(len(boxes)) if finite[i] and sized[i]])
        alive = set(map(id, self.tracks))
        ids = [t.track_id if t is not None and id(t) in alive else -1 for t in self.track_of]
        return np.array(ids, np.int64).reshape(-1)

    def _associate_all(self, rows: list[int]) -> None:
        raise NotImplementedError

    def _match(self, tracks: list[Track], rows: list[int], max_cost: float, fuse: bool) -> None:
        """Match tracks with detections and correct the matched ones; only overlapping boxes can match."""
        if not tracks or not rows:
            return
        iou = pairwise_iou(np.array([t.box for t in tracks]), self.boxes[rows])
        factor = np.clip(self.scores[rows], 0.0, 1.0) if fuse else np.ones(len(rows))
        costs = ((1.0 - iou * factor) + COST_GRID) - COST_GRID
        costs[iou <= 0] = np.inf
        if self.class_policy == "strict":
            classes = np.array([t.class_id for t in tracks])
            costs[classes[:, None] != self.class_ids[rows][None]] = np.inf
        for t_index, r_index in assign(costs, (max_cost + COST_GRID) - COST_GRID):
            self._correct(tracks[t_index], rows[r_index])

    def _correct(self, track: Track, row: int) -> None:
        self.motion.correct(track.filter, self.motion.measure(*self.boxes[row]))
        track.box = self.motion.box(track.filter)
        track.class_id, track.score = int(self.class_ids[row]), float(self.scores[row])
        track.last_seen = self.clock.now
        track.hits += 1
        self.track_of[row] = track
        if track.state == LOST:
            track.state = TRACKED

    def _start(self, row: int) -> Track:
        f = self.motion.start(self.motion.measure(*self.boxes[row]))
        now = self.clock.now
        track = Track(f, self.motion.box(f), int(self.class_ids[row]), float(self.scores[row]), TENTATIVE, now, now)
        self.tracks.append(track)
        self.track_of[row] = track
        return track

    def _confirm(self, track: Track) -> None:
        self.last_id += 1
        track.track_id, track.state = self.last_id, TRACKED

    def _seen(self, track: Track) -> bool:
        return track.last_seen == self.clock.now

    def _expired(self, track: Track) -> bool:
        return self.clock.now - track.last_seen > self.max_age + AGE_TOLERANCE

    def _free(self, rows: list[int]) -> list[int]:
        return [r for r in rows if self.track_of[r] is None]


class Sort(_Tracker):
    """Specification of SORT (Bewley et al., Simple online and realtime tracking, 2016)."""

    motion = AreaMotion()
    settings: SortSettings

    def __init__(self, settings: SortSettings, frame_rate: float, class_policy: ClassPolicy) -> None:
        self.max_age = settings.max_age
        super().__init__(settings, frame_rate, class_policy)

    def _associate_all(self, rows: list[int]) -> None:
        s = self.settings
        rows = [r for r in rows if self.scores[r] >= s.score_threshold]
        self._match(self.tracks, rows, 1.0 - s.iou_threshold, fuse=False)
        for r in self._free(rows):
            self._start(r)
        for t in self.tracks:
            if not self._seen(t):
                t.hits = 0
                t.state = LOST if t.state == TRACKED else t.state
            elif t.state == TENTATIVE and (t.hits >= s.min_hits or self.updates <= s.min_hits):
                self._confirm(t)
        self.tracks = [t for t in self.tracks if not self._expired(t)]


class ByteTrack(_Tracker):
    """Specification of ByteTrack (Zhang et al., ByteTrack: multi-object tracking by associating every box, 2022)."""

    motion = HeightMotion()
    settings: ByteTrackSettings

    def __init__(self, settings: ByteTrackSettings, frame_rate: float, class_policy: ClassPolicy) -> None:
        self.max_age = settings.track_buffer
        super().__init__(settings, frame_rate, class_policy)

    def _associate_all(self, rows: list[int]) -> None:
        s = self.settings
        high = [r for r in rows if self.scores[r] >= s.track_high_thresh]
        low = [r for r in rows if s.track_low_thresh <= self.scores[r] < s.track_high_thresh]
        tentative = [t for t in self.tracks if t.state == TENTATIVE]
        self._match([t for t in self.tracks if t.state != TENTATIVE], high, s.match_thresh, s.fuse_score)
        missed = [t for t in self.tracks if t.state == TRACKED and not self._seen(t)]
        self._match(missed, low, SECOND_COST, fuse=False)
        self._match(tentative, self._free(high), TENTATIVE_COST, s.fuse_score)
        for t in missed:
            t.state = TRACKED if self._seen(t) else LOST
        for t in tentative:
            if self._seen(t):
                self._confirm(t)
        for r in self._free(high):
            if self.scores[r] >= s.new_track_thresh:
                track = self._start(r)
                if self.updates == 1:
                    self._confirm(track)
        self.tracks = [t for t in self.tracks if self._seen(t) or (t.state == LOST and not self._expired(t))]
        self._drop_duplicates()

    def _drop_duplicates(self) -> None:
        """Where a seen and a lost track cover each other, the one with the shorter life ends, the seen one at a tie."""
        seen = [t for t in self.tracks if t.state != LOST]
        lost = [t for t in self.tracks if t.state == LOST]
        if not seen or not lost:
            return
        iou = pairwise_iou(np.array([t.box for t in seen]), np.array([t.box for t in lost]))
        dropped: set[int] = set()
        for i, j in zip(*np.nonzero(1.0 - iou < DUPLICATE_COST), strict=True):
            p, q = seen[i], lost[j]
            if self.class_policy == "strict" and p.class_id != q.class_id:
                continue
            dropped.add(id(q if p.last_seen - p.born > q.last_seen - q.born else p))
        self.tracks = [t for t in self.tracks if id(t) not in dropped]
