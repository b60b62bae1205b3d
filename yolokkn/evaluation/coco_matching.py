"""Which detection finds which object: COCO's greedy assignment, for all pictures and thresholds at once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from yolokkn.evaluation.coco_groups import find_groups, find_offsets, number_within


@dataclass(frozen=True, eq=False)
class Pairs:
    """Detections and objects of the same picture and category, and how much they agree.

    Attributes:
        found: (P,) int64 row of the detection.
        truth: (P,) int64 row of the object.
        similarity: (P,) float64.
    """

    found: np.ndarray
    truth: np.ndarray
    similarity: np.ndarray

    def at_least(self, least: float) -> Pairs:
        """Keep the pairs that agree so much or more."""
        kept = self.similarity >= least
        return Pairs(self.found[kept], self.truth[kept], self.similarity[kept])


def pair_up(found_keys: np.ndarray, truth_keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """List every detection with every object of the same key.

    Args:
        found_keys: (D,) int64, ascending: picture and category of each detection.
        truth_keys: (G,) int64, the same of each object.

    Returns:
        found, truth: (P,) int64 rows; truth ascending, found ascending within.
    """
    first, last = find_groups(found_keys, truth_keys)
    count = last - first
    truth: np.ndarray = np.repeat(np.arange(len(truth_keys)), count)
    found = first[truth] + np.arange(len(truth)) - np.repeat(np.cumsum(count) - count, count)
    return found, truth


def match(
    pairs: Pairs, found_keys: np.ndarray, thresholds: np.ndarray, is_crowd: np.ndarray, is_ignored: np.ndarray
) -> np.ndarray:
    """Assign objects to detections, best score first within a picture and category.

    A detection takes the object that it agrees with most, among those not taken that reach the threshold; objects that
    count go before ignored ones, the later object wins a tie, and a crowd may be taken again and again.

    All pictures go side by side: step r handles the r-th detection with a candidate of every picture and category.

    Args:
        pairs: The candidates; pairs below every threshold may be left out.
        found_keys: (D,) int64, ascending; detections of one key in descending score.
        thresholds: (T,) float64.
        is_crowd: (G,) bool.
        is_ignored: (G, A) bool, for each area range.

    Returns:
        (D, T, A) int64: the object's row, or -1. Cost: P * T * A elements.
    """
    num_truths, num_areas = is_ignored.shape
    lanes = (len(thresholds), num_areas)
    matched = np.full((len(found_keys), *lanes), -1, np.int64)
    taken = np.zeros((num_truths, *lanes), bool)
    least = np.minimum(thresholds, 1 - 1e-10)
    step_of_pair = _steps(pairs.found, found_keys)
    order = np.lexsort((pairs.truth, pairs.similarity, pairs.found, step_of_pair))
    found, truth, similarity = pairs.found[order], pairs.truth[order], pairs.similarity[order]
    for begin, end in pairwise(find_offsets(step_of_pair[order], int(step_of_pair.max(initial=-1)) + 1).tolist()):
        f, g = found[begin:end], truth[begin:end]
        free = ~taken[g] | is_crowd[g, None, None]
        free &= (similarity[begin:end, None] >= least)[:, :, None]
        # Later in this order is better: similarity ascending, then the object's row; what counts goes before ignored.
        count = end - begin
        preference = np.arange(count)[:, None] + count * ~is_ignored[g]
        preference = np.where(free, preference[:, None, :], -1)
        starts = np.flatnonzero(np.diff(f, prepend=-1))
        best = np.maximum.reduceat(preference, starts, axis=0)
        row, t, a = np.nonzero(best >= 0)
        winner = g[best[row, t, a] % count]
        matched[f[starts[row]], t, a] = winner
        taken[winner, t, a] = True
    return matched


def _steps(found: np.ndarray, found_keys: np.ndarray) -> np.ndarray:
    """Return for each pair how many detections with candidates go before its own in the same picture and category."""
    rows, of_pair = np.unique(found, return_inverse=True)
    return number_within(found_keys[rows])[of_pair]
