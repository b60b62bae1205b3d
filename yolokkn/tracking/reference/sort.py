"""Specification of SORT."""

from __future__ import annotations

from yolokkn.tracking.reference.box_models import AreaModel
from yolokkn.tracking.reference.tracks import FilterMotion, TableTracker
from yolokkn.tracking.settings import ClassPolicy, SortSettings


class Sort(TableTracker):
    """SORT (Bewley et al., Simple online and realtime tracking, 2016)."""

    motion = FilterMotion(AreaModel())

    def __init__(self, settings: SortSettings, frame_rate: float, class_policy: ClassPolicy) -> None:
        super().__init__(settings, frame_rate, class_policy, settings.max_age)

    def associate(self, rows: list[int]) -> None:
        """Match all tracks with all detections at once."""
        s: SortSettings = self.settings
        rows = [r for r in rows if self.scores[r] >= s.score_threshold]
        self.match_boxes(self.tracks, rows, 1.0 - s.iou_threshold, fuse_score=False)
        for r in self.free(rows):
            self.start(r)
        self.confirm_by_hits(s.min_hits)
        self.tracks = [t for t in self.tracks if not self.expired(t)]
