"""Specification of ByteTrack."""

from __future__ import annotations

from yolokkn.tracking.reference.box_models import HeightModel
from yolokkn.tracking.reference.tracks import LOST, TENTATIVE, TRACKED, FilterMotion, Motion, TableTracker, Track
from yolokkn.tracking.settings import ByteTrackSettings, ClassPolicy

SECOND_COST, TENTATIVE_COST = 0.5, 0.7
DUPLICATE_COST = 0.1  # the paper's 0.15 ends neighbours in crowds


class ByteTrack(TableTracker):
    """ByteTrack (Zhang et al., ByteTrack: multi-object tracking by associating every box, 2022)."""

    motion: Motion = FilterMotion(HeightModel())

    def __init__(self, settings: ByteTrackSettings, frame_rate: float, class_policy: ClassPolicy) -> None:
        super().__init__(settings, frame_rate, class_policy, settings.track_buffer)

    def match_high(self, tracks: list[Track], rows: list[int], max_cost: float) -> None:
        """Match tracks with detections of high score."""
        self.match_boxes(tracks, rows, max_cost, self.settings.fuse_score)

    def associate(self, rows: list[int]) -> None:
        """High scores first, then low ones for the tracks that were just seen, then the tentative tracks."""
        s: ByteTrackSettings = self.settings
        high = [r for r in rows if self.scores[r] >= s.track_high_thresh]
        low = [r for r in rows if s.track_low_thresh <= self.scores[r] < s.track_high_thresh]
        tentative = [t for t in self.tracks if t.state == TENTATIVE]
        self.match_high([t for t in self.tracks if t.state != TENTATIVE], high, s.match_thresh)
        missed = [t for t in self.tracks if t.state == TRACKED and t.row < 0]
        self.match_boxes(missed, low, SECOND_COST, fuse_score=False)
        for t in missed:
            t.state = TRACKED if t.row >= 0 else LOST
        self.match_high(tentative, self.free(high), TENTATIVE_COST)
        for t in tentative:
            if t.row >= 0:
                self.confirm(t)
        self.start_free(high, s.new_track_thresh)
        self.drop_unseen()
        self.drop_duplicates(DUPLICATE_COST)
