"""How two arrays, or two sets of detections of one picture, differ: numbers, and whether they are noise."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import numpy as np

from yolokkn import ops
from yolokkn.runtime.tolerances import Tolerance
from yolokkn.types import Detections, Masks

_MATCH_IOU = 0.5
_SPARE_TURNS = 2  # couples in another order, where noise may turn any
_FEW = 3  # of fewer detections a share says nothing
SPARE_MASK_PIXELS = 4  # of each mask, whatever its size


@dataclass(frozen=True)
class ArrayDifference:
    """How a found array differs from the reference's, value by value.

    Attributes:
        num_values: How many values there are.
        num_beyond: How many lie beyond the tolerance; NaN against a number always does.
        largest: Largest absolute difference; infinite where one is NaN or infinite and the other is not.
        where: Index of the value that passes its tolerance furthest; of the largest difference where none passes it.
        reference: The reference's value there.
        found: The found value there.
    """

    num_values: int
    num_beyond: int
    largest: float
    where: tuple[int, ...]
    reference: float
    found: float

    @property
    def share(self) -> float:
        """Share of the values beyond the tolerance."""
        return self.num_beyond / self.num_values if self.num_values else 0.0

    def numbers(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"where": list(self.where)}


def compare_arrays(reference: np.ndarray, found: np.ndarray, absolute: float, relative: float = 0.0) -> ArrayDifference:
    """Compare two arrays of one shape.

    Args:
        reference: What is right.
        found: What came.
        absolute: Largest absolute difference that agrees ...
        relative: ... plus this share of the reference's value.

    Raises:
        ValueError: The shapes differ.

    Example:
        >>> found = compare_arrays(np.array([1.0, 2.0]), np.array([1.0, 2.5]), absolute=0.1)
        >>> found.num_beyond, found.largest, found.where
        (1, 0.5, (1,))
    """
    if reference.shape != found.shape:
        raise ValueError(f"compare_arrays: found must have the shape {reference.shape}, got {found.shape}")
    a, b = np.asarray(found, np.float64), np.asarray(reference, np.float64)
    if not a.size:
        return ArrayDifference(0, 0, 0.0, (), 0.0, 0.0)
    with np.errstate(all="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        difference = np.where(same, 0.0, np.abs(a - b))
        difference = np.where(np.isfinite(difference), difference, np.inf)
        excess = difference - np.where(np.isfinite(b), absolute + relative * np.abs(b), absolute)
    beyond = (excess > 0) & ~same
    place = np.argmax(excess if beyond.any() else difference)
    where = tuple(int(i) for i in np.unravel_index(place, a.shape))
    return ArrayDifference(a.size, int(beyond.sum()), float(difference.max()), where, float(b[where]), float(a[where]))


@dataclass(frozen=True)
class DetectionsDifference:
    """How found detections differ from the reference's.

    Attributes:
        num_reference: Detections of the reference.
        num_found: Detections found.
        num_matched: Pairs with an IoU of 0.5 or more.
        num_missing: Of the reference's, without a partner, and not at a threshold.
        num_extra: Of the found ones, without a partner, and not at a threshold.
        num_at_threshold: Without a partner because noise decides which side of a threshold they are on.
        num_class_changes: Pairs of another class.
        num_order_changes: Couples of pairs that changed places, though their scores differ by more than the tolerance.
        box_px: Largest difference of a corner or (visible) keypoint, picture pixels.
        score: Largest difference of a score.
        mask_share: Largest share of a mask's pixels that differ.
        num_beyond: Pairs of one class whose box, score, mask or keypoints differ beyond the tolerance.
        num_allowed: How many missing, extra, changed and differing ones the tolerance lets pass.
        num_order_allowed: How many changes of order it lets pass.
        where: Row of the reference whose box differs most, -1 without pairs.
    """

    num_reference: int
    num_found: int
    num_matched: int
    num_missing: int
    num_extra: int
    num_at_threshold: int
    num_class_changes: int
    num_order_changes: int
    box_px: float
    score: float
    mask_share: float
    num_beyond: int
    num_allowed: int
    num_order_allowed: int
    where: int

    @property
    def is_noise(self) -> bool:
        """Whether all this is within the tolerance that it was measured with."""
        lost = self.num_missing + self.num_extra + self.num_class_changes + self.num_beyond
        return lost <= self.num_allowed and self.num_order_changes <= self.num_order_allowed

    def numbers(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def compare_detections(
    reference: Detections,
    found: Detections,
    tolerance: Tolerance,
    *,
    gain: float = 1.0,
    score_threshold: float = 0.0,
    iou_threshold: float = 1.0,
    max_detections: int = 300,
) -> DetectionsDifference:
    """Match two sets of detections of one picture, best overlaps first, and measure the pairs.

    Args:
        reference: What is right.
        found: What came.
        tolerance: What is noise.
        gain: Pixels of the model's input per pixel of the picture: turns the tolerance into the picture's pixels.
        score_threshold: The one that both were made with: a score so near to it may fall on either side.
        iou_threshold: The suppression's, likewise.
        max_detections: Likewise: behind the last of so many, noise decides.
    """
    pairs = _match(reference, found)
    rows, columns = (np.array([p[i] for p in pairs], np.int64) for i in (0, 1))
    ours, theirs = found[columns], reference[rows]
    boxes, scores = _box_distances(theirs, ours), np.abs(ours.scores.astype(np.float64) - theirs.scores)
    masks, areas = mask_differences(theirs, ours)
    sides = (theirs.boxes[:, 2:] - theirs.boxes[:, :2]).max(1, initial=0)
    beyond = (boxes > tolerance.boxes_px / gain + tolerance.boxes_share * sides) | (scores > tolerance.scores)
    beyond |= masks > tolerance.masks_share * areas + SPARE_MASK_PIXELS
    missing = _unexplained(reference, found, rows, tolerance, score_threshold, iou_threshold, max_detections)
    extra = _unexplained(found, reference, columns, tolerance, score_threshold, iou_threshold, max_detections)
    unpaired = len(reference) + len(found) - 2 * len(pairs)
    is_other = ours.class_ids != theirs.class_ids
    have_order = theirs.scores[:, None] - theirs.scores[None] > tolerance.scores
    num_turned = int((have_order & (columns[:, None] > columns[None])).sum())
    return DetectionsDifference(
        num_reference=len(reference),
        num_found=len(found),
        num_matched=len(pairs),
        num_missing=missing,
        num_extra=extra,
        num_at_threshold=unpaired - missing - extra,
        num_class_changes=int(is_other.sum()),
        num_order_changes=num_turned,
        box_px=float(boxes.max(initial=0)),
        score=float(scores.max(initial=0)),
        mask_share=float((masks / np.maximum(areas, 1)).max(initial=0)),
        num_beyond=int((beyond & ~is_other).sum()),
        num_allowed=_allowed(tolerance.unmatched, len(reference)),
        num_order_allowed=ceil(tolerance.turned * int(have_order.sum())) + (_SPARE_TURNS if tolerance.turned else 0),
        where=int(rows[boxes.argmax()]) if len(pairs) else -1,
    )


_NEAR_THRESHOLD = 0.02


def _allowed(share: float, count: int) -> int:
    return ceil(share * count) if count >= _FEW else int(share * count)


def _match(reference: Detections, found: Detections) -> list[tuple[int, int]]:
    """Pair rows greedily: same class before another, then the larger IoU."""
    iou = ops.pairwise_iou(reference.boxes, found.boxes)
    same = reference.class_ids[:, None] == found.class_ids[None]
    rows, columns = np.nonzero(iou >= _MATCH_IOU)
    order = np.lexsort((-iou[rows, columns], ~same[rows, columns]))
    pairs: list[tuple[int, int]] = []
    free_rows, free_columns = set(range(len(reference))), set(range(len(found)))
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row in free_rows and column in free_columns:
            free_rows.remove(row)
            free_columns.remove(column)
            pairs.append((row, column))
    return sorted(pairs)


def _box_distances(reference: Detections, found: Detections) -> np.ndarray:
    """Return (N,): the largest difference of a corner or of a visible keypoint of each pair, pixels."""
    distances = np.abs(found.boxes.astype(np.float64) - reference.boxes).max(1, initial=0)
    if reference.keypoints is not None and found.keypoints is not None and found.keypoints.shape[1]:
        apart = np.abs(found.keypoints[..., :2].astype(np.float64) - reference.keypoints[..., :2]).max(2)
        distances = np.maximum(distances, np.where(reference.keypoints[..., 2] >= 0.5, apart, 0).max(1))
    return distances


def mask_differences(reference: Detections, found: Detections) -> tuple[np.ndarray, np.ndarray]:
    """Return (N,) int64 each: how many pixels of each pair's masks differ, and how many the reference's has."""
    if reference.masks is None or found.masks is None:
        return np.zeros(len(reference), np.int64), np.zeros(len(reference), np.int64)
    counts = [_apart(reference.masks, found.masks, i) for i in range(len(reference))]
    return np.array(counts, np.int64), reference.masks.areas()


def _apart(reference: Masks, found: Masks, index: int) -> int:
    crops = np.stack([reference.crops[index], found.crops[index]]).astype(np.int64)
    (x, y), (right, bottom) = crops[:, :2].min(0), crops[:, 2:].max(0)
    painted: np.ndarray = np.zeros((2, bottom - y, right - x), np.uint8)
    for canvas, masks, (x1, y1, x2, y2) in zip(painted, (reference, found), crops, strict=True):
        canvas[y1 - y : y2 - y, x1 - x : x2 - x] = masks.crop(index)
    return int(np.count_nonzero(painted[0] != painted[1]))


def _unexplained(
    these: Detections, others: Detections, paired: np.ndarray, tolerance: Tolerance, score_threshold: float,
    iou_threshold: float, max_detections: int,
) -> int:  # fmt: skip
    """Count the rows without a partner that no threshold explains."""
    alone = np.setdiff1d(np.arange(len(these)), paired)
    if not len(alone):
        return 0
    lowest = score_threshold + tolerance.scores
    if len(others) >= max_detections:
        lowest = max(lowest, float(others.scores.min()) + tolerance.scores)
    iou = ops.pairwise_iou(these.boxes[alone], others.boxes)
    slack = tolerance.boxes_share + 1e-3
    suppressed = (iou > iou_threshold - slack) & (these.class_ids[alone, None] == others.class_ids[None])
    beaten = suppressed.any(1)
    near = these.scores[alone] <= min(lowest, score_threshold + _NEAR_THRESHOLD)
    low = (these.scores[alone] <= lowest) & ~near & ~beaten
    unexplained = int((~(low | near | beaten)).sum())
    return unexplained + max(int(low.sum()) - ceil(len(these) / 2), 0)  # a wide tolerance does not explain them all
