"""Identity metrics: how long each object bears the one name that suits it best.

Source: Ristani et al., Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking, 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yolokkn.evaluation.mot_matches import SequenceMatches
from yolokkn.tracking import assign_pairs


@dataclass(frozen=True)
class Identity:
    """Boxes that bear the right name, lack it, and bear a wrong one, when identities are paired once and for all."""

    true_positives: int
    false_negatives: int
    false_positives: int

    def figures(self) -> dict[str, float]:
        """Return IDF1, IDP, IDR and the counts."""
        tp, fn, fp = self.true_positives, self.false_negatives, self.false_positives
        return {
            "IDF1": tp / max(1.0, tp + 0.5 * fp + 0.5 * fn), "IDP": tp / max(1.0, tp + fp), "IDR": tp / max(1.0, tp + fn),
            "IDTP": tp, "IDFN": fn, "IDFP": fp,
        }  # fmt: skip


def measure_identity(matches: SequenceMatches, iou_threshold: float = 0.5) -> Identity:
    """Pair identities such that most boxes agree, by IoU of the threshold or more."""
    near = np.flatnonzero(matches.ious >= iou_threshold)
    truths, results, places = matches.identity_pairs(near)
    together = np.bincount(places, minlength=len(truths))
    chosen = assign_pairs(truths, results, -together.astype(np.float64), 0.0)
    tp = int(together[chosen].sum())
    return Identity(tp, len(matches.truth_ids) - tp, len(matches.result_ids) - tp)


def join_identity(parts: Sequence[Identity]) -> Identity:
    """Return the figures of several sequences together."""
    return Identity(
        sum(p.true_positives for p in parts),
        sum(p.false_negatives for p in parts),
        sum(p.false_positives for p in parts),
    )
