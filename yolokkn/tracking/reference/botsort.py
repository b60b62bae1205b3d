"""Specification of BoT-SORT."""

from __future__ import annotations

import math

import numpy as np

from yolokkn.tracking.reference.box_models import SizeModel
from yolokkn.tracking.reference.bytetrack import ByteTrack
from yolokkn.tracking.reference.tracks import FilterMotion, FilterMotionWith, Seen, Track
from yolokkn.tracking.settings import BotSortSettings

KEEP = 0.9  # share of the old appearance


def dot(a: list[float], b: list[float]) -> float:
    """Multiply two vectors, summing from the first element on."""
    total = 0.0
    for x, y in zip(a, b, strict=True):
        total += x * y
    return total


def normalise(vector: list[float]) -> list[float]:
    """Return a vector of length 1; empty where it has no direction."""
    squared = dot(vector, vector)
    length = math.sqrt(squared) if squared >= 0 else math.nan
    return [x / length for x in vector] if length > 0 and math.isfinite(length) else []


def direction(embedding: np.ndarray | None) -> list[float]:
    """Return an appearance vector's direction; empty where there is none."""
    return [] if embedding is None else normalise(embedding.astype(np.float64).tolist())


def see(appearance: list[float] | None, seen: Seen) -> list[float]:
    """Return what a track looks like: the running mean of its detections' directions; of length 1, or empty."""
    fresh = direction(seen.embedding)
    if not fresh or appearance is None:
        return fresh or appearance or []
    if len(appearance) == len(fresh):
        fresh = normalise([KEEP * old + (1.0 - KEEP) * new for old, new in zip(appearance, fresh, strict=True)])
    return fresh


class BotSort(ByteTrack):
    """BoT-SORT (Aharon et al., BoT-SORT: robust associations multi-pedestrian tracking, 2022)."""

    motion = FilterMotionWith(FilterMotion(SizeModel()), see)

    def match_high(self, tracks: list[Track], rows: list[int], max_cost: float) -> None:
        """Match by overlap, or by appearance where a pair is near and alike."""
        s: BotSortSettings = self.settings
        if self.embeddings is None or self.embeddings.shape[1] == 0:
            return self.match_boxes(tracks, rows, max_cost, s.fuse_score)
        directions = {row: direction(self.embeddings[row]) for row in rows}

        def cost(track: Track, row: int, iou: float) -> float:
            apart = 1.0 - (iou * self.share(row) if s.fuse_score else iou)
            own, other = track.motion.trait, directions[row]
            if not own or len(own) != len(other) or 1.0 - iou > s.proximity_thresh:
                return apart
            unlike = (1.0 - dot(own, other)) * 0.5
            return apart if unlike > s.appearance_thresh else min(apart, unlike)

        self.match(tracks, rows, max_cost, cost)
        return None
