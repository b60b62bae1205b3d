"""How much of one model's findings another one shares: asked of models in fewer bits, which never give the same numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolokkn import ops
from yolokkn.types import Detections

LOOSE_IOU, TIGHT_IOU = 0.5, 0.75
LOWER = 0.5  # partners are looked for down to this share of the threshold
_FLOOR = 1e-4  # scores of cells below it are all alike
_FLAT = 1e-6
_STRONG = 0.1  # scores of cells above it count


@dataclass(frozen=True)
class Agreement:
    """What two models, or two runs of one, have in common over one picture or more.

    Partners are of one class and overlap with an IoU of 0.5 or more. The scores that are shared are the sum over partners of the
    lower score; all scores are those of partners' higher ones and of everything without a partner.

    Attributes:
        num_reference: Detections of the reference with scores above the threshold.
        num_found: Likewise, of the other one.
        num_kept: Of the reference's, those with a partner above the threshold.
        num_kept_tightly: Those whose partner overlaps with an IoU of 0.75 or more.
        shared: The scores that both give.
        total: The scores that either gives.
        num_turned: Pairs of detections that stand in the other order, though the reference's scores differ by more than noise.
        num_ordered: All pairs whose scores differ so.
        shifts: What each partner's score is above the reference's.
    """

    num_reference: int = 0
    num_found: int = 0
    num_kept: int = 0
    num_kept_tightly: int = 0
    shared: float = 0.0
    total: float = 0.0
    num_turned: int = 0
    num_ordered: int = 0
    shifts: tuple[float, ...] = ()

    @property
    def share(self) -> float:
        """Share of the scores that both give; 1 where nothing is found."""
        return self.shared / self.total if self.total else 1.0

    def is_enough(self, unshared: float, spare: float) -> bool:
        """Tell whether at most this share of the scores is given by one side alone, and `spare` more: a weak detection or two."""
        return self.shared >= (1 - unshared) * self.total - spare

    def numbers(self) -> dict[str, Any]:
        """Return plain values; of the shifts the median and the 95th percentile of their size."""
        shifts = np.array(self.shifts or (0.0,))
        return {
            "num_reference": self.num_reference,
            "num_found": self.num_found,
            "num_kept": self.num_kept,
            "num_kept_tightly": self.num_kept_tightly,
            "scores_shared": self.share,
            "score_total": self.total,
            "num_turned": self.num_turned,
            "num_ordered": self.num_ordered,
            "shift_median": float(np.median(shifts)),
            "shift_95": float(np.percentile(np.abs(shifts), 95)),
        }


def sum_agreements(all_of: Iterable[Agreement]) -> Agreement:
    """Return the agreement over all pictures together."""
    parts = list(all_of)
    names = [name for name in Agreement.__dataclass_fields__ if name != "shifts"]
    sums = {name: sum(getattr(part, name) for part in parts) for name in names}
    return Agreement(**sums, shifts=tuple(shift for part in parts for shift in part.shifts))


def agree(reference: Detections, found: Detections, threshold: float, gap: float) -> Agreement:
    """Compare two models' detections of one picture.

    Args:
        reference: Of the model that is right, with scores down to `LOWER` of the threshold: partners of those above it.
        found: Of the other model, likewise.
        threshold: What lies above it counts.
        gap: Scores of the reference that differ by more than this have an order.

    Example:
        >>> box = np.float32([[0, 0, 10, 10]])
        >>> one, other = (Detections(box, np.float32([score]), np.int32([0])) for score in (0.8, 0.6))
        >>> round(agree(one, other, 0.25, 0.1).share, 6)
        0.75
    """
    rows, columns, ious = _partners(reference, found)
    ours, theirs = found.scores[columns].astype(np.float64), reference.scores[rows].astype(np.float64)
    counts = np.maximum(ours, theirs) > threshold
    above, is_partner = theirs > threshold, (ours > threshold) & (theirs > threshold)
    alone = [
        side.scores[np.setdiff1d(np.flatnonzero(side.scores > threshold), places[counts])].astype(np.float64).sum()
        for side, places in ((reference, rows), (found, columns))
    ]
    has_order = (theirs[:, None] - theirs[None] > gap) & above[:, None] & above[None]
    return Agreement(
        num_reference=int((reference.scores > threshold).sum()),
        num_found=int((found.scores > threshold).sum()),
        num_kept=int(is_partner.sum()),
        num_kept_tightly=int((is_partner & (ious >= TIGHT_IOU)).sum()),
        shared=float(np.minimum(ours, theirs)[counts].sum()),
        total=float(np.maximum(ours, theirs)[counts].sum() + sum(alone)),
        num_turned=int((has_order & (columns[:, None] > columns[None])).sum()),
        num_ordered=int(has_order.sum()),
        shifts=tuple((ours - theirs)[above].tolist()),
    )


def _partners(reference: Detections, found: Detections) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (P,) rows, columns and IoUs of partners, the best overlaps first."""
    iou = ops.pairwise_iou(reference.boxes, found.boxes)
    iou = iou * (reference.class_ids[:, None] == found.class_ids[None])
    rows, columns = np.nonzero(iou >= LOOSE_IOU)
    free_rows: np.ndarray = np.ones(len(reference), bool)
    free_columns: np.ndarray = np.ones(len(found), bool)
    kept = []
    for place in np.argsort(-iou[rows, columns], kind="stable").tolist():
        row, column = rows[place], columns[place]
        if free_rows[row] and free_columns[column]:
            free_rows[row] = free_columns[column] = False
            kept.append(place)
    rows, columns = rows[kept], columns[kept]
    return rows, columns, iou[rows, columns]


@dataclass(frozen=True)
class CellAgreement:
    """How the cells of two networks lie to each other over one picture, before suppression.

    A picture has thousands of cells and a few detections: rounding hardly changes how the cells lie to each other, and a network
    that is broken has another order of them.

    Attributes:
        correlation: Of the logarithms of all cells' scores: 1 where they rise and fall together, 0 where one says nothing of
            the other; 1 where the reference's are all alike.
        shared: As `Agreement.shared`, cell by cell, over cells to which either gives a score above 0.1.
        total: Likewise.
    """

    correlation: float
    shared: float
    total: float


def agree_cells(reference: ops.Candidates, found: ops.Candidates) -> CellAgreement:
    """Compare two networks' cells.

    Args:
        reference: Every cell that the network gives, from score 0 on, with its best class.
        found: Those of the other network.
    """
    count = 1 + max(int(c.anchor_index.max(initial=-1)) for c in (reference, found))
    sides = [_spread(c, count) for c in (reference, found)]
    (boxes, scores, ids), (other_boxes, other_scores, other_ids) = sides
    least, most = np.minimum(scores, other_scores), np.maximum(scores, other_scores)
    strong = most > _STRONG
    is_same = (ids == other_ids) & (_iou_of_rows(boxes, other_boxes) >= LOOSE_IOU)
    total = most[strong & is_same].sum() + (scores + other_scores)[strong & ~is_same].sum()
    return CellAgreement(_correlation(scores, other_scores), float(least[strong & is_same].sum()), float(total))


def _spread(candidates: ops.Candidates, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (count, 4) boxes, (count,) scores and (count,) classes by cell; score 0 where there is no candidate."""
    boxes: np.ndarray = np.zeros((count, 4))
    scores: np.ndarray = np.zeros(count)
    ids: np.ndarray = np.full(count, -1)
    place = candidates.anchor_index
    boxes[place], scores[place], ids[place] = candidates.boxes, candidates.scores, candidates.class_ids
    return boxes, scores, ids


def _iou_of_rows(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    inside = sides.clip(0).prod(1)
    union = sum((c[:, 2:] - c[:, :2]).prod(1) for c in (a, b)) - inside
    return np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)


def _correlation(scores: np.ndarray, other: np.ndarray) -> float:
    a, b = np.log(np.maximum(scores, _FLOOR)), np.log(np.maximum(other, _FLOOR))
    if not len(a) or a.std() < _FLAT:
        return 1.0
    return 0.0 if b.std() < _FLAT else float(np.corrcoef(a, b)[0, 1])
