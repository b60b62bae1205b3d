"""Specification of BoT-SORT."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from yolokkn.tracking.reference.box_models import SizeModel
from yolokkn.tracking.reference.bytetrack import ByteTrack
from yolokkn.tracking.reference.camera import Camera
from yolokkn.tracking.reference.kalman import Filter
from yolokkn.tracking.reference.tracks import FilterMotion, Seen, Track
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


@dataclass
class AppearanceState:
    """A filter, and what the track looks like."""

    filter: Filter
    appearance: list[float]  # of length 1, or empty


class AppearanceMotion:
    """BoT-SORT's filter and the running mean of the appearance."""

    motion = FilterMotion(SizeModel())

    def start(self, seen: Seen) -> AppearanceState:
        """Return the state of a new track."""
        return AppearanceState(self.motion.start(seen), direction(seen.embedding))

    def predict(self, state: AppearanceState, dt: float, lost: bool) -> None:
        """Move the filter."""
        self.motion.predict(state.filter, dt, lost)

    def move(self, state: AppearanceState, camera: Camera) -> None:
        """Move the filter as the camera moved."""
        self.motion.move(state.filter, camera)

    def box(self, state: AppearanceState) -> np.ndarray:
        """Return the filter's box."""
        return self.motion.box(state.filter)

    def correct(self, state: AppearanceState, seen: Seen) -> None:
        """Correct the filter, and bring the appearance up to date."""
        self.motion.correct(state.filter, seen)
        fresh = direction(seen.embedding)
        if not fresh:
            return
        if len(state.appearance) == len(fresh):
            mixed = zip(state.appearance, fresh, strict=True)
            fresh = normalise([KEEP * old + (1.0 - KEEP) * new for old, new in mixed])
        state.appearance = fresh


class BotSort(ByteTrack):
    """BoT-SORT (Aharon et al., BoT-SORT: robust associations multi-pedestrian tracking, 2022)."""

    motion = AppearanceMotion()

    def match_high(self, tracks: list[Track], rows: list[int], max_cost: float) -> None:
        """Match by overlap, or by appearance where a pair is near and alike."""
        s: BotSortSettings = self.settings
        if self.embeddings is None or self.embeddings.shape[1] == 0:
            return self.match_boxes(tracks, rows, max_cost, s.fuse_score)
        directions = {row: direction(self.embeddings[row]) for row in rows}

        def cost(track: Track, row: int, iou: float) -> float:
            apart = 1.0 - (iou * self.share(row) if s.fuse_score else iou)
            own, other = track.motion.appearance, directions[row]
            if not own or len(own) != len(other) or 1.0 - iou > s.proximity_thresh:
                return apart
            unlike = (1.0 - dot(own, other)) * 0.5
            return apart if unlike > s.appearance_thresh else min(apart, unlike)

        self.match(tracks, rows, max_cost, cost)
        return None
