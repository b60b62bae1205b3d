"""Specification of what the trackers share: tracks, their motions, and matching them with detections."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from yolokkn.tracking.reference.assignment import assign
from yolokkn.tracking.reference.box_models import Model
from yolokkn.tracking.reference.camera import Camera, grown
from yolokkn.tracking.reference.clock import AGE_TOLERANCE, Clock
from yolokkn.tracking.reference.mask_shapes import mask_shapes
from yolokkn.tracking.settings import ClassPolicy
from yolokkn.types import Masks

TENTATIVE, TRACKED, LOST = 0, 1, 2
COST_GRID = 1.5 * 2.0**12  # adding and subtracting it rounds to a multiple of 2**-40
MOST_CLASSES = 4


@dataclass(frozen=True)
class Seen:
    """A detection that belongs to a track."""

    box: np.ndarray  # (4,) float64
    score: float
    time: float  # nominal frames
    embedding: np.ndarray | None = None  # (D,) float32
    shape: np.ndarray | None = None  # (16, 16) bool


class Motion(Protocol):
    """A state that a detection starts, time and the camera move on, and detections correct."""

    def start(self, seen: Seen) -> Any:
        """Return the state of a new track."""

    def predict(self, state: Any, dt: float, lost: bool) -> None:
        """Move a state over dt nominal frames."""

    def correct(self, state: Any, seen: Seen) -> None:
        """Correct a state by a detection."""

    def move(self, state: Any, camera: Camera) -> None:
        """Move a state as the camera moved."""

    def box(self, state: Any) -> np.ndarray:
        """Return its box: (4,) float64 xyxy."""


@dataclass(frozen=True)
class FilterMotion:
    """A Kalman filter of one of the box models."""

    model: Model

    def start(self, seen: Seen) -> Any:
        """Return the filter of a new track."""
        return self.model.start(self.model.measure(*seen.box))

    def predict(self, state: Any, dt: float, lost: bool) -> None:
        """Move a filter."""
        self.model.predict(state, dt, lost)

    def correct(self, state: Any, seen: Seen) -> None:
        """Correct a filter."""
        self.model.correct(state, self.model.measure(*seen.box))

    def move(self, state: Any, camera: Camera) -> None:
        """Move a filter as the camera moved."""
        self.model.move(state, camera)

    def box(self, state: Any) -> np.ndarray:
        """Return its box."""
        return self.model.box(state)


@dataclass
class FilterWith:
    """A filter, and something else that detections tell about a track."""

    filter: Any
    trait: Any


@dataclass(frozen=True)
class FilterMotionWith:
    """A Kalman filter and something else: `see` gives it after a detection, of what it was (None at first)."""

    motion: FilterMotion
    see: Callable[[Any, Seen], Any]

    def start(self, seen: Seen) -> FilterWith:
        """Return the state of a new track."""
        return FilterWith(self.motion.start(seen), self.see(None, seen))

    def predict(self, state: FilterWith, dt: float, lost: bool) -> None:
        """Move the filter."""
        self.motion.predict(state.filter, dt, lost)

    def move(self, state: FilterWith, camera: Camera) -> None:
        """Move the filter as the camera moved."""
        self.motion.move(state.filter, camera)

    def box(self, state: FilterWith) -> np.ndarray:
        """Return the filter's box."""
        return self.motion.box(state.filter)

    def correct(self, state: FilterWith, seen: Seen) -> None:
        """Correct the filter, and bring the rest up to date."""
        self.motion.correct(state.filter, seen)
        state.trait = self.see(state.trait, seen)


class ClassVotes:
    """Which classes a track was seen as, and how surely; the least sure is forgotten where they are many."""

    def __init__(self) -> None:
        self.weights: dict[int, float] = {}

    def add(self, class_id: int, score: float) -> int:
        """Add a vote and return the class with the most: the earlier one where two have the same."""
        if class_id not in self.weights and len(self.weights) == MOST_CLASSES:
            least = min(self.weights, key=lambda known: self.weights[known])
            self.weights = {class_id if k == least else k: 0.0 if k == least else w for k, w in self.weights.items()}
        self.weights[class_id] = self.weights.get(class_id, 0.0) + max(score, 0.0)
        return max(self.weights, key=lambda known: self.weights[known])


@dataclass(eq=False)
class Track:
    """One object that a tracker follows."""

    motion: Any  # the motion's state
    box: np.ndarray  # (4,) float64 xyxy: the state's box
    class_id: int
    score: float
    state: int
    born: float  # nominal frames
    last_seen: float
    row: int  # detection of this frame, -1 where it was not seen
    hits: int = 1  # in a row
    track_id: int = -1
    votes: ClassVotes = field(default_factory=ClassVotes)


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


def on_cost_grid(cost: Any) -> Any:
    """Round to a multiple of 2**-40, so that sums of costs are exact: ties do not hang on rounding."""
    return (cost + COST_GRID) - COST_GRID


Cost = Callable[[Track, int, float], float]


class TableTracker:
    """A tracker whose state is its tracks."""

    motion: Motion

    def __init__(self, settings: Any, frame_rate: float, class_policy: ClassPolicy, max_age: float) -> None:
        self.settings, self.frame_rate, self.class_policy = settings, frame_rate, class_policy
        self.max_age = max_age
        self.last_id = 0
        self.reset()

    def reset(self, *, keep_ids: bool = False) -> None:
        """Forget everything; with `keep_ids` all but which ids were given."""
        self.clock = Clock(self.frame_rate)
        self.tracks: list[Track] = []
        self.updates = 0
        self.last_id = self.last_id if keep_ids else 0

    def update(
        self,
        boxes: np.ndarray,
        scores: np.ndarray,
        class_ids: np.ndarray,
        timestamp_s: float | None = None,
        *,
        camera: np.ndarray | None = None,
        embeddings: np.ndarray | None = None,
        masks: Masks | None = None,
    ) -> np.ndarray:
        """See `yolokkn.tracking.Tracker.update`."""
        self.boxes: np.ndarray = boxes.astype(np.float64)
        self.scores: np.ndarray = scores.astype(np.float64)
        self.class_ids, self.embeddings = class_ids.copy(), embeddings
        self.shapes = None if masks is None else mask_shapes(masks, boxes)
        self.taken = [False] * len(boxes)
        self.updates += 1
        with np.errstate(invalid="ignore"):
            finite = np.isfinite(self.boxes).all(1) & np.isfinite(self.scores)
            sized = (self.boxes[:, 2] > self.boxes[:, 0]) & (self.boxes[:, 3] > self.boxes[:, 1])
        step = self.clock.advance(timestamp_s)
        moved = None if camera is None else Camera(camera)
        self.tracks = [t for t in self.tracks if t.row >= 0 or not self.expired(t)]
        for t in self.tracks:
            self.motion.predict(t.motion, step, t.state == LOST)
            if moved is not None and moved.is_sound:
                self.motion.move(t.motion, moved)
            t.box, t.row = self.motion.box(t.motion), -1
        self.associate([i for i in range(len(boxes)) if finite[i] and sized[i]])
        ids: np.ndarray = np.full(len(boxes), -1, np.int64)
        for t in self.tracks:
            if t.row >= 0:
                ids[t.row], self.class_ids[t.row] = t.track_id, t.class_id
        return ids

    def predict(self, timestamp_s: float | None = None) -> list[Track]:
        """Return copies of the tracks, where an update at this time would expect them, and not those it would forget."""
        clock = copy.copy(self.clock)
        step = clock.advance(timestamp_s)
        oldest = clock.now - self.max_age - AGE_TOLERANCE
        expected = [copy.deepcopy(t) for t in self.tracks if t.row >= 0 or t.last_seen >= oldest]
        for t in expected:
            self.motion.predict(t.motion, step, t.state == LOST)
            t.box = self.motion.box(t.motion)
        return expected

    def associate(self, rows: list[int]) -> None:
        """Match the tracks with the rows that make sense, start tracks and end them."""
        raise NotImplementedError

    def match(self, tracks: list[Track], rows: list[int], max_cost: float, cost: Cost, growth: Any = None) -> None:
        """Match such that the costs of the pairs plus `max_cost` for each track left alone are least; correct the matched.

        Only boxes that overlap, grown by growth(track) on both sides of the pair, and only classes that may meet make a
        pair; one that costs more than `max_cost` is none.
        """
        if not tracks or not rows:
            return
        max_cost = on_cost_grid(max_cost)
        costs: np.ndarray = np.full((len(tracks), len(rows)), np.inf)
        for i, t in enumerate(tracks):
            x, y = growth(t) if growth else (0.0, 0.0)
            own, others = t.box[None], self.boxes[rows]
            if x > 0 or y > 0:
                own, others = grown(own, x, y), grown(others, x, y)
            iou = pairwise_iou(own, others)[0]
            for j, row in enumerate(rows):
                if iou[j] > 0 and self.may_meet(t, row):
                    costs[i, j] = on_cost_grid(cost(t, row, float(iou[j])))
        for i, j in assign(costs, max_cost):
            self.correct(tracks[i], rows[j])

    def may_meet(self, track: Track, row: int) -> bool:
        """Return whether a track may be a detection's by its class."""
        return self.class_policy != "strict" or track.class_id == self.class_ids[row]

    def match_boxes(self, tracks: list[Track], rows: list[int], max_cost: float, fuse_score: bool) -> None:
        """Match predicted boxes: 1 - IoU, or 1 - IoU * score."""
        self.match(tracks, rows, max_cost, lambda t, row, iou: 1.0 - (iou * self.share(row) if fuse_score else iou))

    def share(self, row: int) -> float:
        """Return a detection's score within 0 and 1."""
        return min(max(float(self.scores[row]), 0.0), 1.0)

    def seen(self, row: int) -> Seen:
        """Return a detection as the motions take it."""
        embedding = None if self.embeddings is None else self.embeddings[row]
        shape = None if self.shapes is None else self.shapes[row]
        return Seen(self.boxes[row], float(self.scores[row]), self.clock.now, embedding, shape)

    def correct(self, track: Track, row: int) -> None:
        """Give a detection to a track."""
        self.motion.correct(track.motion, self.seen(row))
        track.box = self.motion.box(track.motion)
        track.class_id, track.score = int(self.class_ids[row]), float(self.scores[row])
        if self.class_policy == "vote":
            track.class_id = track.votes.add(track.class_id, track.score)
        track.last_seen, track.row = self.clock.now, row
        track.hits += 1
        self.taken[row] = True
        if track.state == LOST:
            track.state = TRACKED

    def start(self, row: int) -> Track:
        """Start a tentative track."""
        state, now, class_id = self.motion.start(self.seen(row)), self.clock.now, int(self.class_ids[row])
        track = Track(state, self.motion.box(state), class_id, float(self.scores[row]), TENTATIVE, now, now, row)
        if self.class_policy == "vote":
            track.votes.add(class_id, track.score)
        self.tracks.append(track)
        self.taken[row] = True
        return track

    def confirm(self, track: Track) -> None:
        """Give a track its identity."""
        self.last_id += 1
        track.track_id, track.state = self.last_id, TRACKED

    def confirm_by_hits(self, min_hits: int) -> None:
        """End an update as SORT does."""
        for t in self.tracks:
            if t.row < 0:
                t.hits = 0
                t.state = LOST if t.state == TRACKED else t.state
            elif t.state == TENTATIVE and (t.hits >= min_hits or self.updates <= min_hits):
                self.confirm(t)

    def expired(self, track: Track) -> bool:
        """Return whether a track was not seen for too long."""
        return self.clock.now - track.last_seen > self.max_age + AGE_TOLERANCE

    def missed(self, track: Track) -> float:
        """Return how long a track has been missed before this frame, in nominal frames."""
        return max(self.clock.now - track.last_seen - self.clock.last_step, 0.0)

    def free(self, rows: list[int]) -> list[int]:
        """Return the rows that belong to no track yet."""
        return [r for r in rows if not self.taken[r]]

    def start_free(self, rows: list[int], least_score: float, sure_score: float = math.inf) -> None:
        """Start a track for each row that is left, of this score or more; confirmed in the first update, or if it is sure."""
        for r in self.free(rows):
            if self.scores[r] >= least_score:
                track = self.start(r)
                if self.updates == 1 or self.scores[r] >= sure_score:
                    self.confirm(track)

    def drop_unseen(self) -> None:
        """End tracks that were not seen now: the tentative at once, the lost when they are too old."""
        self.tracks = [t for t in self.tracks if t.row >= 0 or (t.state == LOST and not self.expired(t))]

    def drop_duplicates(self, most_cost: float) -> None:
        """Where a seen and a lost track cover each other, the one with the shorter life ends, the seen one at a tie."""
        seen = [t for t in self.tracks if t.state != LOST]
        lost = [t for t in self.tracks if t.state == LOST]
        if not seen or not lost:
            return
        iou = pairwise_iou(np.array([t.box for t in seen]), np.array([t.box for t in lost]))
        dropped: set[int] = set()
        for i, j in zip(*np.nonzero((iou > 0) & (1.0 - iou < most_cost)), strict=True):
            p, q = seen[i], lost[j]
            if self.class_policy == "strict" and p.class_id != q.class_id:
                continue
            dropped.add(id(q if p.last_seen - p.born > q.last_seen - q.born else p))
        self.tracks = [t for t in self.tracks if id(t) not in dropped]
