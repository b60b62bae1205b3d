"""Curves and counts of a detector, as arrays for plots: precision over recall, F1 over confidence, the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolokkn.evaluation.boxes import FoundBoxes, LabelledBoxes, pair_boxes
from yolokkn.evaluation.voc import average_precision_area, judge

NUM_POINTS = 1001


@dataclass(frozen=True, eq=False)
class DetectionCurves:
    """Curves of each class at one IoU; NaN in the rows of classes without ground truth.

    Attributes:
        class_names: C names.
        recalls: (P,) 0 to 1, at which precision is read.
        precision_at_recall: (C, P) best precision at that recall or beyond, 0 where it is not reached.
        average_precision: (C,) area under it, as VOC computes it (exact, not from the P points).
        confidences: (P,) 0 to 1.
        precision: (C, P) of the detections with such a score or more; 1 where there are none.
        recall: (C, P) of them.
        f1: (C, P) of them.
    """

    class_names: tuple[str, ...]
    recalls: np.ndarray
    precision_at_recall: np.ndarray
    average_precision: np.ndarray
    confidences: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray

    @property
    def has_truth(self) -> np.ndarray:
        """(C,) bool: the class has ground truth."""
        return ~np.isnan(self.average_precision)

    @property
    def mean_f1(self) -> np.ndarray:
        """(P,) mean over the classes with ground truth."""
        rows = self.f1[self.has_truth]
        return rows.mean(0) if len(rows) else np.zeros_like(self.confidences)

    @property
    def best_confidence(self) -> float:
        """The confidence of the largest mean F1."""
        return float(self.confidences[int(self.mean_f1.argmax())])

    def to_dict(self) -> dict[str, Any]:
        """Return the summary of each class as plain values."""
        at = int(self.mean_f1.argmax())
        known = zip(self.class_names, self.has_truth.tolist(), strict=True)
        return {
            "best_confidence": self.best_confidence,
            "per_class": {
                name: {
                    "average_precision": float(self.average_precision[i]),
                    "precision": float(self.precision[i, at]),
                    "recall": float(self.recall[i, at]),
                    "f1": float(self.f1[i, at]),
                }
                for i, (name, has_truth) in enumerate(known)
                if has_truth
            },
        }


def detection_curves(
    truth: LabelledBoxes, found: FoundBoxes, class_names: Sequence[str], *, iou_threshold: float = 0.5
) -> DetectionCurves:
    """Compute the curves of every class; who is right is decided as VOC does.

    Args:
        truth: What is there.
        found: What a model found, with a threshold as low as the curves shall reach.
        class_names: Names by class id.
        iou_threshold: The least overlap.
    """
    num_classes = len(class_names)
    verdict = judge(truth, found, iou_threshold=iou_threshold)
    counting = np.bincount(truth.class_ids[~truth.difficult], minlength=num_classes)
    order = np.argsort(-found.scores, kind="stable")
    grid = np.linspace(0.0, 1.0, NUM_POINTS)
    shape = (num_classes, NUM_POINTS)
    at_recall, precision, recall, f1 = (np.full(shape, np.nan) for _ in range(4))
    areas: np.ndarray = np.full(num_classes, np.nan)
    for c in np.flatnonzero(counting).tolist():
        rows = order[(found.class_ids[order] == c) & (verdict[order] >= 0)]
        right = verdict[rows] == 1
        areas[c] = average_precision_area(right, int(counting[c]))
        hits = np.concatenate([[0], np.cumsum(right)])
        precise = np.concatenate([[1.0], hits[1:] / np.arange(1, len(hits))])
        envelope: np.ndarray = np.append(np.maximum.accumulate(precise[:0:-1])[::-1], 0.0)
        needed = np.searchsorted(
            hits[1:] * (NUM_POINTS - 1), np.arange(NUM_POINTS) * counting[c]
        )  # first with such a recall
        at_recall[c] = envelope[needed]
        kept = np.searchsorted(-found.scores[rows], -grid, side="right")  # how many have such a score or more
        precision[c], recall[c] = precise[kept], hits[kept] / counting[c]
        total = precision[c] + recall[c]
        f1[c] = np.divide(2 * precision[c] * recall[c], total, out=np.zeros(NUM_POINTS), where=total > 0)
    return DetectionCurves(tuple(class_names), grid, at_recall, areas, grid, precision, recall, f1)


def confusion_matrix(
    truth: LabelledBoxes,
    found: FoundBoxes,
    num_classes: int,
    *,
    score_threshold: float = 0.25,
    iou_threshold: float = 0.5,
) -> np.ndarray:
    """Count what was taken for what.

    Pairs that overlap enough are made greedily, largest overlap first (the right class goes before a wrong one of the
    same overlap), whatever their classes; what stays alone is paired with the background. A detection that a difficult object
    would take, and the object, are left out.

    Args:
        truth: What is there.
        found: What a model found.
        num_classes: C.
        score_threshold: Only detections of such a score or more.
        iou_threshold: The least overlap.

    Returns:
        (C + 1, C + 1) int64: rows what is there, columns what was found; the last of each is the background.

    Example:
        >>> truth = LabelledBoxes([0, 0], [[0, 0, 10, 10], [20, 0, 30, 10]], [0, 1], [False, False])
        >>> found = FoundBoxes([0, 0], [[0, 0, 10, 10], [50, 0, 60, 10]], [1, 0], [0.9, 0.8])
        >>> confusion_matrix(truth, found, 2).tolist()
        [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
    """
    found = found[found.scores >= score_threshold]
    f, t, iou = pair_boxes(found, truth, same_class=False)
    enough = iou >= iou_threshold
    f, t, iou = f[enough], t[enough], iou[enough]
    same = found.class_ids[f] == truth.class_ids[t]
    taken_by: np.ndarray = np.full(len(found), -1, np.int64)
    is_taken = truth.difficult.copy()
    for i in np.lexsort((t, f, ~same, -iou, truth.difficult[t])).tolist():
        if taken_by[f[i]] < 0 and (not is_taken[t[i]] or truth.difficult[t[i]]):
            taken_by[f[i]] = t[i]
            is_taken[t[i]] = True
    matrix: np.ndarray = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    paired = taken_by >= 0
    counts: np.ndarray = np.ones(len(found), bool)
    counts[paired] = ~truth.difficult[taken_by[paired]]
    rows = np.where(paired, truth.class_ids[taken_by] if len(truth) else num_classes, num_classes)
    np.add.at(matrix, (rows[counts], found.class_ids[counts]), 1)
    np.add.at(matrix, (truth.class_ids[~is_taken], num_classes), 1)
    return matrix
