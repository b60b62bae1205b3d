"""Specification of kkn, the project's own tracker."""

from __future__ import annotations

import math

import numpy as np

from yolokkn.tracking.reference.box_models import SizeModel
from yolokkn.tracking.reference.mask_shapes import mask_iou
from yolokkn.tracking.reference.tracks import (
    LOST,
    TENTATIVE,
    TRACKED,
    FilterMotion,
    FilterMotionWith,
    Seen,
    TableTracker,
    Track,
    pairwise_iou,
)
from yolokkn.tracking.settings import ClassPolicy, KknSettings

TENTATIVE_COST = 0.7


def see(shape: np.ndarray | None, seen: Seen) -> np.ndarray | None:
    """Return the mask that a track was last seen with; None where there was none."""
    return seen.shape if seen.shape is not None and seen.shape.any() else shape


class Kkn(TableTracker):
    """ByteTrack's rounds on a filter of width and height.

    Boxes are compared within what the filter is unsure of, tracks that were missed for long give way, and what motion
    missed is recovered near where it was expected.
    """

    def __init__(self, settings: KknSettings, frame_rate: float, class_policy: ClassPolicy) -> None:
        s = settings
        noise = (s.position_noise, s.velocity_noise, s.measurement_noise, s.size_noise)
        self.motion = FilterMotionWith(FilterMotion(SizeModel(*noise)), see)
        super().__init__(settings, frame_rate, class_policy, settings.track_buffer)

    def growth(self, track: Track) -> tuple[float, float]:
        """Return how far boxes grow: by what the filter does not know of the centre, as a share of the sides."""
        s, f = self.settings, track.motion.filter
        shares = [math.sqrt(f.a[i]) / f.x[i + 2] - s.growth_floor for i in (0, 1)]
        x, y = (min(max(s.growth * share, 0.0), s.growth_limit) for share in shares)
        return x, y

    def with_mask(self, track: Track, row: int, iou: float) -> float:
        """Return the boxes' IoU, with the masks' beside it where both have masks."""
        weight, own = self.settings.mask_weight, track.motion.trait
        other = None if self.shapes is None else self.shapes[row]
        if weight <= 0 or own is None or other is None or not other.any():
            return iou
        return (1.0 - weight) * iou + weight * mask_iou(track.box, own, self.boxes[row], other)

    def associate(self, rows: list[int]) -> None:
        """High scores, then low ones, then what is left with room, then the tentative tracks."""
        s: KknSettings = self.settings
        high = [r for r in rows if self.scores[r] >= s.track_high_thresh]
        low = [r for r in rows if s.track_low_thresh <= self.scores[r] < s.track_high_thresh]
        confirmed = [t for t in self.tracks if t.state != TENTATIVE]
        tentative = [t for t in self.tracks if t.state == TENTATIVE]

        def cost(track: Track, row: int, iou: float) -> float:
            overlap = self.with_mask(track, row, iou)
            likeness = overlap * self.share(row) if s.fuse_score else overlap
            return 1.0 - likeness / (1.0 + s.age_penalty * self.missed(track))

        self.match(confirmed, high, s.match_thresh, cost, self.growth)
        missed = [t for t in confirmed if t.state == TRACKED and t.row < 0]
        self.match(missed, low, s.second_thresh, lambda t, row, iou: 1.0 - self.with_mask(t, row, iou))
        if s.recover_thresh > 0:
            left, room = [t for t in confirmed if t.row < 0], (s.recover_buffer, s.recover_buffer)
            self.match(left, self.free(high), s.recover_thresh, lambda t, row, iou: 1.0 - iou, lambda t: room)
        for t in confirmed:
            if t.state == TRACKED and t.row < 0:
                t.state = LOST
        self.match_boxes(tentative, self.free(high), TENTATIVE_COST, s.fuse_score)
        for t in tentative:
            if t.row >= 0:
                self.confirm(t)
        self.start_tracks(self.free(high))
        self.drop_unseen()
        self.drop_duplicates(1.0 - s.duplicate_overlap)

    def start_tracks(self, rows: list[int]) -> None:
        """Start tracks, none on top of what a confirmed track was just seen as."""
        s: KknSettings = self.settings
        seen = [t for t in self.tracks if t.state == TRACKED and t.row >= 0]

        def is_covered(r: int) -> bool:
            near = [t.row for t in seen if self.may_meet(t, r)]
            return bool(near) and bool((pairwise_iou(self.boxes[[r]], self.boxes[near]) > s.start_overlap).any())

        self.start_free([r for r in rows if not is_covered(r)], s.new_track_thresh, s.sure_thresh)
