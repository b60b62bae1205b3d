"""PASCAL VOC's evaluation of boxes: average precision at IoU 0.5, by VOC 2007's eleven points and by the area (2010 on).

Source: Everingham et al., The PASCAL Visual Object Classes (VOC) Challenge, IJCV 2010, section 4.2, and the development kits'
description. What the kits leave to floating point is exact here: precision is read at the recalls 0, 0.1 ... 1 by comparing
whole numbers, and detections of equal score keep their order.

Pixels: VOC's files name the first and the last pixel of a box, counted from 1, and its kits measure (x2 - x1 + 1). The
readers of this project turn that into places between pixels, (xmin - 1, ymin - 1, xmax, ymax), where the same width is
x2 - x1: the figures are the kits' for the same boxes. `inclusive=True` is for boxes whose numbers still name pixels, as some
programs leave them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolokkn.evaluation.boxes import FoundBoxes, LabelledBoxes, pair_boxes


@dataclass(frozen=True)
class VocMetrics:
    """What an evaluation found; a class without ground truth has None, and does not count in the means.

    Attributes:
        iou_threshold: A box is found by one that overlaps it so much or more.
        class_names: In the order of the class ids.
        ap_area: Area under precision (made falling) over recall, by class.
        ap_11_point: Mean precision at eleven recalls, by class.
        num_truths: Objects by class, difficult ones left out.
        num_found: Detections by class.
    """

    iou_threshold: float
    class_names: tuple[str, ...]
    ap_area: tuple[float | None, ...]
    ap_11_point: tuple[float | None, ...]
    num_truths: tuple[int, ...]
    num_found: tuple[int, ...]

    @property
    def map_area(self) -> float:
        """Mean of `ap_area`; -1 where no class has ground truth."""
        return _mean(self.ap_area)

    @property
    def map_11_point(self) -> float:
        """Mean of `ap_11_point`; -1 where no class has ground truth."""
        return _mean(self.ap_11_point)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, fit for JSON."""
        per_class = {
            name: {"ap_area": area, "ap_11_point": points, "num_truths": truths, "num_found": found}
            for name, area, points, truths, found in zip(
                self.class_names, self.ap_area, self.ap_11_point, self.num_truths, self.num_found, strict=True
            )
        }
        return {
            "iou_threshold": self.iou_threshold,
            "map_area": self.map_area,
            "map_11_point": self.map_11_point,
            "per_class": per_class,
        }

    def table(self) -> str:
        """Return the figures as lines of text."""
        percent = f"{self.iou_threshold * 100:g}"
        width = max([len(name) for name in self.class_names] + [9])
        lines = [f"{'class':<{width}}  {'AP' + percent:>7}  {'VOC07':>7}  {'objects':>8}  {'found':>8}"]
        for row in zip(self.class_names, self.ap_area, self.ap_11_point, self.num_truths, self.num_found, strict=True):
            name, area, points, truths, found = row
            lines.append(f"{name:<{width}}  {_text(area)}  {_text(points)}  {truths:>8}  {found:>8}")
        total = f"{sum(self.num_truths):>8}  {sum(self.num_found):>8}"
        lines.append(f"{'mean':<{width}}  {_text(self.map_area)}  {_text(self.map_11_point)}  {total}")
        return "\n".join(lines)


def evaluate_voc(
    truth: LabelledBoxes,
    found: FoundBoxes,
    class_names: Sequence[str],
    *,
    iou_threshold: float = 0.5,
    inclusive: bool = False,
) -> VocMetrics:
    """Measure detections against ground truth as VOC does.

    A detection belongs to the object of its class that it overlaps most. If that is by the threshold or more, the best-scored
    detection of the object is right, later ones are wrong, and those of a difficult object count as neither.

    Args:
        truth: What is there.
        found: What a model found, in any order.
        class_names: Names by class id.
        iou_threshold: The least overlap, more than 0.
        inclusive: Coordinates name pixels; see the module's text.

    Raises:
        ValueError: A class id has no name, or the threshold is not within 0 and 1.

    Example:
        >>> truth = LabelledBoxes([0, 0], [[0, 0, 10, 10], [20, 0, 30, 10]], [0, 0], [False, False])
        >>> found = FoundBoxes([0, 0], [[0, 0, 10, 9], [50, 50, 60, 60]], [0, 0], [0.9, 0.8])
        >>> metrics = evaluate_voc(truth, found, ["cell"])
        >>> metrics.map_area, round(metrics.map_11_point, 4)
        (0.5, 0.5455)
    """
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"evaluate_voc: iou_threshold must be above 0 and at most 1, got {iou_threshold}")
    num_classes = len(class_names)
    for ids, what in ((truth.class_ids, "truth"), (found.class_ids, "found")):
        if ids.min(initial=0) < 0 or ids.max(initial=-1) >= num_classes:
            raise ValueError(f"evaluate_voc: class ids of {what} must be within 0 and {num_classes - 1}")
    verdict = judge(truth, found, iou_threshold=iou_threshold, inclusive=inclusive)
    counting = np.bincount(truth.class_ids[~truth.difficult], minlength=num_classes)
    order = np.argsort(-found.scores, kind="stable")
    area: list[float | None] = []
    points: list[float | None] = []
    for class_id in range(num_classes):
        right = verdict[order[found.class_ids[order] == class_id]]
        right = right[right >= 0] == 1
        area.append(average_precision_area(right, int(counting[class_id])))
        points.append(average_precision_11_point(right, int(counting[class_id])))
    return VocMetrics(
        iou_threshold,
        tuple(class_names),
        tuple(area),
        tuple(points),
        tuple(counting.tolist()),
        tuple(np.bincount(found.class_ids, minlength=num_classes).tolist()),
    )


def judge(
    truth: LabelledBoxes, found: FoundBoxes, *, iou_threshold: float = 0.5, inclusive: bool = False
) -> np.ndarray:
    """Say of each detection whether it is right (1), wrong (0) or does not count (-1): (N,) int64."""
    f, t, iou = pair_boxes(found, truth, same_class=True, inclusive=inclusive)
    best: np.ndarray = np.full(len(found), -1, np.int64)
    first = np.lexsort((t, -iou, f))  # of equal overlaps the earlier object
    rows, at = np.unique(f[first], return_index=True)
    chosen = first[at]
    enough = iou[chosen] >= iou_threshold
    best[rows[enough]] = t[chosen[enough]]
    verdict: np.ndarray = np.zeros(len(found), np.int64)
    order = np.argsort(-found.scores, kind="stable")
    hits = order[best[order] >= 0]
    _, earliest = np.unique(best[hits], return_index=True)
    verdict[hits[earliest]] = 1
    verdict[hits[truth.difficult[best[hits]]]] = -1
    return verdict


def average_precision_area(right: np.ndarray, num_truths: int) -> float | None:
    """Return the area under the falling envelope of precision over recall.

    Args:
        right: (N,) bool, best score first.
        num_truths: Objects to find.

    Returns:
        0 to 1, or None without objects.
    """
    if num_truths == 0:
        return None
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[right].sum() / num_truths)  # recall grows by 1 / num_truths at each hit


def average_precision_11_point(right: np.ndarray, num_truths: int) -> float | None:
    """Return the mean over the recalls 0, 0.1 ... 1 of the best precision at that recall or beyond; see above."""
    if num_truths == 0:
        return None
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    reached = [precision[10 * hits >= i * num_truths] for i in range(11)]
    return float(sum(p.max(initial=0.0) for p in reached) / 11)


def _mean(values: Sequence[float | None]) -> float:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else -1.0


def _text(value: float | None) -> str:
    return f"{'-':>7}" if value is None or value < 0 else f"{value:>7.4f}"
