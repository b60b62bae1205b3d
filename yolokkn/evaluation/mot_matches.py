"""A sequence as the metrics see it: who was where, and which ground truths and results overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from yolokkn.evaluation.mot_pairs import overlapping_pairs
from yolokkn.evaluation.mot_tables import MotTable


@dataclass(frozen=True, eq=False)
class SequenceMatches:
    """Overlaps of a sequence's ground truth with a tracker's results.

    Attributes:
        truth_frames: (N,) int64, ascending.
        truth_ids: (N,) int64, numbered from 0.
        result_frames: (M,) int64, ascending.
        result_ids: (M,) int64, numbered from 0.
        rows: (P,) int64 rows of the ground truth, ascending.
        columns: (P,) int64 rows of the results.
        ious: (P,) float64, above 0.
    """

    truth_frames: np.ndarray
    truth_ids: np.ndarray
    result_frames: np.ndarray
    result_ids: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    ious: np.ndarray

    @classmethod
    def of(cls, truth: MotTable, results: MotTable) -> SequenceMatches:
        """Find the overlaps of a ground truth and results, both with frames ascending."""
        rows, columns, ious = overlapping_pairs(truth.frames, truth.boxes, results.frames, results.boxes)
        truth_ids: np.ndarray = np.unique(truth.ids, return_inverse=True)[1]
        result_ids: np.ndarray = np.unique(results.ids, return_inverse=True)[1]
        return cls(truth.frames, truth_ids, results.frames, result_ids, rows, columns, ious)

    @property
    def truth_counts(self) -> np.ndarray:
        """Boxes of each identity of the ground truth."""
        return np.bincount(self.truth_ids)

    @property
    def result_counts(self) -> np.ndarray:
        """Boxes of each identity of the results."""
        return np.bincount(self.result_ids)

    def identity_pairs(self, chosen: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the pairs of identities of some overlaps.

        Returns:
            (K,) ids of the ground truth, (K,) of the results, and (P,) the place of each overlap's pair among them.
        """
        truths, results = self.truth_ids[self.rows[chosen]], self.result_ids[self.columns[chosen]]
        width = int(self.result_ids.max(initial=0)) + 1
        keys, places = np.unique(truths * width + results, return_inverse=True)
        return keys // width, keys % width, places
