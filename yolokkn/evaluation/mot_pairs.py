"""All overlapping pairs of boxes of the same frame, for whole sequences at once."""

from __future__ import annotations

import numpy as np

_PAIRS_AT_ONCE = 1 << 20
_EPSILON = float(np.finfo(np.float64).eps)


def overlapping_pairs(
    frames: np.ndarray, boxes: np.ndarray, other_frames: np.ndarray, other_boxes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs of a box and another of the same frame whose IoU is above 0.

    Args:
        frames: (N,) int64, ascending.
        boxes: (N, 4) float64 xyxy.
        other_frames: (M,) int64, ascending.
        other_boxes: (M, 4) float64 xyxy.

    Returns:
        (P,) int64 rows, ascending, (P,) int64 other rows and (P,) float64 IoUs. Memory follows the pairs that overlap.
    """
    first = np.asarray(np.searchsorted(other_frames, frames, "left"))
    counts: np.ndarray = np.searchsorted(other_frames, frames, "right") - first
    ends: np.ndarray = np.cumsum(counts)
    mine, theirs = np.ascontiguousarray(boxes.T), np.ascontiguousarray(other_boxes.T)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    start = 0
    while start < len(frames):
        before = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, before + _PAIRS_AT_ONCE, "right")), start + 1)
        here = counts[start:stop]
        rows: np.ndarray = np.repeat(np.arange(start, stop), here)
        others = np.arange(len(rows)) + np.repeat(first[start:stop] - (ends[start:stop] - here - before), here)
        found.append(_overlapping(rows, others, mine, theirs))
        start = stop
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    all_rows, all_others, ious = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return all_rows, all_others, ious


def reaches(ious: np.ndarray, threshold: float) -> np.ndarray:
    """Return a mask of the IoUs that are at least a threshold; one that rounding put just below it is."""
    enough: np.ndarray = ious >= threshold - _EPSILON
    return enough


def _overlapping(
    rows: np.ndarray, others: np.ndarray, mine: np.ndarray, theirs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs that overlap, of boxes as (4, N) columns."""
    width = np.minimum(mine[2][rows], theirs[2][others]) - np.maximum(mine[0][rows], theirs[0][others])
    near = np.flatnonzero(width > 0)
    rows, others, width = rows[near], others[near], width[near]
    height = np.minimum(mine[3][rows], theirs[3][others]) - np.maximum(mine[1][rows], theirs[1][others])
    near = np.flatnonzero(height > 0)
    rows, others = rows[near], others[near]
    shared = width[near] * height[near]
    areas, other_areas = ((b[2] - b[0]) * (b[3] - b[1]) for b in (mine, theirs))
    return rows, others, shared / (areas[rows] + other_areas[others] - shared)
