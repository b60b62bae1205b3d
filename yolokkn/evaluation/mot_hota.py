"""HOTA: detection, association and localisation at nineteen thresholds.

Source: Luiten et al., HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking, IJCV 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yolokkn.evaluation.mot_matches import SequenceMatches
from yolokkn.evaluation.mot_pairs import reaches
from yolokkn.tracking import assign_pairs

ALPHAS: np.ndarray = np.arange(0.05, 0.99, 0.05)


@dataclass(frozen=True, eq=False)
class Hota:
    """HOTA's parts, each (19,) float64, one for each threshold of `ALPHAS`.

    Attributes:
        true_positives: Matched boxes.
        false_negatives: Boxes of the ground truth without a match.
        false_positives: Boxes of the results without one.
        ass_a: Mean over the matches of how far the two identities agree.
        ass_re: The same by recall.
        ass_pr: The same by precision.
        loc_a: Mean IoU of the matches.
    """

    true_positives: np.ndarray
    false_negatives: np.ndarray
    false_positives: np.ndarray
    ass_a: np.ndarray
    ass_re: np.ndarray
    ass_pr: np.ndarray
    loc_a: np.ndarray

    @property
    def det_re(self) -> np.ndarray:
        """Recall of detection."""
        return self._over(self.true_positives + self.false_negatives)

    @property
    def det_pr(self) -> np.ndarray:
        """Precision of detection."""
        return self._over(self.true_positives + self.false_positives)

    @property
    def det_a(self) -> np.ndarray:
        """Jaccard index of detection."""
        return self._over(self.true_positives + self.false_negatives + self.false_positives)

    @property
    def hota(self) -> np.ndarray:
        """Geometric mean of detection and association."""
        return np.sqrt(self.det_a * self.ass_a)

    def figures(self) -> dict[str, float]:
        """Return the means over the thresholds, and those at the lowest one."""
        parts = {
            "HOTA": self.hota, "DetA": self.det_a, "AssA": self.ass_a, "DetRe": self.det_re, "DetPr": self.det_pr,
            "AssRe": self.ass_re, "AssPr": self.ass_pr, "LocA": self.loc_a, "OWTA": np.sqrt(self.det_re * self.ass_a),
        }  # fmt: skip
        lowest = {"HOTA(0)": self.hota[0], "LocA(0)": self.loc_a[0], "HOTALocA(0)": self.hota[0] * self.loc_a[0]}
        return {name: float(np.mean(value)) for name, value in (parts | lowest).items()}

    def _over(self, total: np.ndarray) -> np.ndarray:
        share: np.ndarray = self.true_positives / np.maximum(1.0, total)
        return share


def measure_hota(matches: SequenceMatches) -> Hota:
    """Compare a sequence's results with its ground truth.

    The boxes of a frame are matched such that the sum of IoU times the agreement of the two identities over the whole
    sequence is largest (section 5.2 there); a match counts at a threshold that its IoU reaches.
    """
    truths, results, places = matches.identity_pairs()
    rows, columns, ious = matches.rows, matches.columns, matches.ious
    of_row, of_column = (
        np.bincount(rows, ious, len(matches.truth_ids)),
        np.bincount(columns, ious, len(matches.result_ids)),
    )
    potential = np.bincount(places, ious / (of_row[rows] + of_column[columns] - ious), len(truths))
    num_truth, num_result = matches.truth_counts[truths], matches.result_counts[results]
    agreement = potential / (num_truth + num_result - potential)
    chosen = assign_pairs(rows, columns, -(agreement[places] * ious), 0.0)
    places, ious = places[chosen], ious[chosen]

    tp, loc = np.zeros(len(ALPHAS)), np.zeros(len(ALPHAS))
    ass: np.ndarray = np.zeros((3, len(ALPHAS)))
    for i, alpha in enumerate(ALPHAS):
        counts = reaches(ious, alpha)
        tp[i], loc[i] = np.count_nonzero(counts), ious[counts].sum()
        together = np.bincount(places[counts], minlength=len(truths)).astype(np.float64)
        for part, total in zip(ass, (num_truth + num_result - together, num_truth, num_result), strict=True):
            part[i] = np.sum(together * together / np.maximum(1.0, total)) / max(1.0, tp[i])
    return Hota(
        tp, len(matches.truth_ids) - tp, len(matches.result_ids) - tp, ass[0], ass[1], ass[2], _mean_iou(loc, tp)
    )


def join_hota(parts: Sequence[Hota]) -> Hota:
    """Return the figures of several sequences together."""
    tp = _sum([p.true_positives for p in parts])
    ass = [
        _sum([getattr(p, name) * p.true_positives for p in parts]) / np.maximum(1.0, tp)
        for name in ("ass_a", "ass_re", "ass_pr")
    ]
    loc = _sum([p.loc_a * p.true_positives for p in parts])
    fn, fp = _sum([p.false_negatives for p in parts]), _sum([p.false_positives for p in parts])
    return Hota(tp, fn, fp, ass[0], ass[1], ass[2], _mean_iou(loc, tp))


def _sum(values: Sequence[np.ndarray]) -> np.ndarray:
    total: np.ndarray = np.sum(values, 0)
    return total


def _mean_iou(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """1 where nothing was matched, as TrackEval has it."""
    mean: np.ndarray = np.maximum(1e-10, total) / np.maximum(1e-10, count)
    return mean
