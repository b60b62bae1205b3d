"""From matches to figures: precision over recall, COCO's means of it, and the table that people read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from yolokkn.evaluation.coco_groups import find_offsets

RECALLS = np.linspace(0.0, 1.0, 101)
"""The recalls at which precision is read."""


@dataclass(frozen=True)
class CocoMetrics:
    """What an evaluation found. A figure without ground truth to measure it is -1.

    Attributes:
        iou_type: "bbox", "segm" or "keypoints".
        figures: Name to value in [0, 1], in COCO's order: AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100,
            ARs, ARm, ARl; for keypoints AP, AP50, AP75, APm, APl, AR, AR50, AR75, ARm, ARl.
        per_class_ap: Category name to its AP, in the order of the category ids.
        num_images: Pictures that were evaluated.
        num_truths: Objects in them, crowds included.
        num_results: Detections in them, before the limit per picture.
        judged: What the figures over all areas are made of.
    """

    iou_type: str
    figures: Mapping[str, float]
    per_class_ap: Mapping[str, float]
    num_images: int
    num_truths: int
    num_results: int
    judged: Judged | None = field(default=None, repr=False, compare=False)

    def __getitem__(self, name: str) -> float:
        """Return a figure by its name."""
        if name not in self.figures:
            raise KeyError(f"CocoMetrics: name must be one of {', '.join(self.figures)}, got {name!r}")
        return self.figures[name]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain dictionaries and numbers, fit for JSON."""
        return {
            "iou_type": self.iou_type,
            "figures": dict(self.figures),
            "per_class_ap": dict(self.per_class_ap),
            "num_images": self.num_images,
            "num_truths": self.num_truths,
            "num_results": self.num_results,
        }

    def table(self, per_class: bool = False) -> str:
        """Return the figures as lines of text; a figure that could not be measured is shown as a dash.

        Args:
            per_class: Add the AP of each class that has ground truth.
        """
        lines = [f"{self.iou_type}: {self.num_images} images, {self.num_truths} objects, {self.num_results} results"]
        rows = list(self.figures.items())
        if per_class:
            rows += [(f"AP {name}", value) for name, value in self.per_class_ap.items() if value >= 0]
        width = max(len(name) for name, _ in rows)
        lines += [f"  {name:<{width}}  {'-' if value < 0 else format(value, '.4f')}" for name, value in rows]
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Judged:
    """Detections over all areas as they were judged, by category and falling score.

    Attributes:
        is_hit: (D, T, 1) bool: found an object that counts, at each IoU threshold.
        is_miss: (D, T, 1) bool: found none, and counts.
        categories: (D,) int64 category index, ascending.
        images: (D,) int64 picture index.
        truths: (C, I) int64 objects that count, of each category in each picture.
    """

    is_hit: np.ndarray
    is_miss: np.ndarray
    categories: np.ndarray
    images: np.ndarray
    truths: np.ndarray


@dataclass(frozen=True, eq=False)
class Curves:
    """Precision and recall of every threshold, area range and category; -1 where a category has no ground truth.

    Attributes:
        precision: (T, A, C, 101) float64, at the largest limit of detections.
        recall: (M, T, A, C) float64, for each limit of detections.
    """

    precision: np.ndarray
    recall: np.ndarray

    def ap(self, threshold_index: int | None = None, area_index: int = 0) -> float:
        """Return the mean precision over the thresholds (or at one), recalls and categories."""
        chosen = slice(None) if threshold_index is None else threshold_index
        return _mean(self.precision[chosen, area_index])

    def ar(self, limit_index: int = -1, threshold_index: int | None = None, area_index: int = 0) -> float:
        """Return the mean recall over the thresholds (or at one) and categories."""
        chosen = slice(None) if threshold_index is None else threshold_index
        return _mean(self.recall[limit_index, chosen, area_index])


def _mean(values: np.ndarray) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else -1.0


def compute_curves(
    is_hit: np.ndarray,
    is_miss: np.ndarray,
    categories: np.ndarray,
    ranks: np.ndarray,
    limits: tuple[int, ...],
    num_counting: np.ndarray,
) -> Curves:
    """Compute precision at 101 recalls, and the final recalls.

    Precision at a recall is the largest at this or any higher recall. It is largest right at a hit, so that only the
    hits need to be looked at: hit number n of f false ones has precision n / (f + n).

    Args:
        is_hit: (D, T, A) bool: the detection found an object that counts; in descending score within a category.
        is_miss: (D, T, A) bool: it found none and counts.
        categories: (D,) int64 category index, ascending.
        ranks: (D,) int64 place among the detections of the same picture and category, from 0.
        limits: Numbers of detections per picture and category, ascending.
        num_counting: (A, C) int64 objects that count.
    """
    num_areas, num_categories = num_counting.shape
    num_found, num_thresholds = is_hit.shape[:2]
    lanes = num_thresholds * num_areas
    hit = np.ascontiguousarray(is_hit.reshape(num_found, lanes).T)
    lane, row = np.nonzero(hit)
    false_before = np.cumsum(is_miss.reshape(num_found, lanes), axis=0, dtype=np.int64)
    false_before = np.concatenate([np.zeros((1, lanes), np.int64), false_before])
    category_start = find_offsets(categories, num_categories)
    category = categories[row]
    curve = lane * num_categories + category
    start = find_offsets(curve, lanes * num_categories)
    number = np.arange(len(row)) - start[curve] + 1
    num_false = false_before[row + 1, lane] - false_before[category_start[category], lane]
    precision = number / (num_false + number + np.spacing(1))
    envelope = _falling_envelope(precision, curve)

    hits = np.diff(start).reshape(num_thresholds, num_areas, num_categories)
    wanted = np.maximum(_hits_for_recalls(num_counting), 1)  # (A, C, 101)
    at = start[:-1].reshape(hits.shape)[..., None] + wanted - 1
    reached = wanted <= hits[..., None]
    table = np.where(reached, np.append(envelope, 0.0)[np.where(reached, at, -1)], 0.0)
    known = num_counting > 0
    recall = np.full((len(limits), *hits.shape), -1.0)
    for i, limit in enumerate(limits):
        counted = np.bincount(curve[ranks[row] < limit], minlength=hits.size).reshape(hits.shape)
        np.divide(counted, num_counting, out=recall[i], where=np.broadcast_to(known, hits.shape))
    return Curves(np.where(known[..., None], table, -1.0), recall)


def _falling_envelope(values: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Raise each value to the largest at or after it in its curve; curves are ascending numbers, one per value."""
    size = len(values)
    order = np.argsort(values, kind="stable")
    place: np.ndarray = np.empty(size, np.int64)
    place[order] = np.arange(size)
    later_curves_below = (curve.max(initial=0) - curve) * size + place  # so that the maximum starts anew in each
    best = np.maximum.accumulate(later_curves_below[::-1])[::-1] % max(size, 1)
    return values[order[best]]


def _hits_for_recalls(num_counting: np.ndarray) -> np.ndarray:
    """Return the least n with n / num_counting >= recall, in floats, for each recall: (..., 101) int64."""
    total = np.maximum(num_counting, 1)[..., None]
    least = np.ceil(RECALLS * total).astype(np.int64)
    least -= (least - 1) / total >= RECALLS
    least += least / total < RECALLS
    return least
