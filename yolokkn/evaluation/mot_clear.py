"""CLEAR MOT: misses, false boxes and switches of identity, frame after frame.

Source: Bernardin and Stiefelhagen, Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics, 2008; mostly
tracked, mostly lost and fragments: Li et al., Learning to Associate, 2009.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from yolokkn.evaluation.mot_matches import SequenceMatches
from yolokkn.evaluation.mot_pairs import reaches
from yolokkn.tracking import assign_pairs

_KEEP = 1000.0  # a pair of the frame before outweighs any overlap
_MOSTLY, _PARTLY = 0.8, 0.2


@dataclass(frozen=True)
class Clear:
    """The counts of CLEAR MOT; those of several sequences are their sums.

    Attributes:
        true_positives: Matched boxes.
        false_negatives: Boxes of the ground truth without a match.
        false_positives: Boxes of the results without one.
        switches: Matches of an object whose match before was with another identity.
        iou_sum: Sum of the matches' IoUs.
        mostly_tracked: Objects matched in more than 80% of their frames.
        partly_tracked: In 20% or more of them.
        mostly_lost: In fewer.
        fragments: How often the match of an object ends and begins again.
        num_frames: Frames of the sequence.
    """

    true_positives: int
    false_negatives: int
    false_positives: int
    switches: int
    iou_sum: float
    mostly_tracked: int
    partly_tracked: int
    mostly_lost: int
    fragments: int
    num_frames: int

    def figures(self) -> dict[str, float]:
        """Return the metrics and the counts."""
        tp, fn, fp, idsw = self.true_positives, self.false_negatives, self.false_positives, self.switches
        boxes, objects = max(1.0, tp + fn), max(1.0, self.mostly_tracked + self.partly_tracked + self.mostly_lost)
        return {
            "MOTA": (tp - fp - idsw) / boxes, "MOTP": self.iou_sum / max(1.0, tp), "MODA": (tp - fp) / boxes,
            "MOTAL": (tp - fp - (math.log10(idsw) if idsw else 0.0)) / boxes,
            "sMOTA": (self.iou_sum - fp - idsw) / boxes, "CLR_Re": tp / boxes, "CLR_Pr": tp / max(1.0, tp + fp),
            "CLR_F1": tp / max(1.0, tp + 0.5 * fn + 0.5 * fp), "FP_per_frame": fp / max(1.0, self.num_frames),
            "MTR": self.mostly_tracked / objects, "PTR": self.partly_tracked / objects,
            "MLR": self.mostly_lost / objects, "CLR_TP": tp, "CLR_FN": fn, "CLR_FP": fp, "IDSW": idsw,
            "MT": self.mostly_tracked, "PT": self.partly_tracked, "ML": self.mostly_lost, "Frag": self.fragments,
        }  # fmt: skip


def measure_clear(matches: SequenceMatches, num_frames: int, iou_threshold: float = 0.5) -> Clear:
    """Count the matches of a sequence; a pair of the frame before is kept while it overlaps enough.

    "The frame before" is the last one that has boxes on both sides.

    Args:
        matches: Of the sequence.
        num_frames: Its length.
        iou_threshold: Least IoU of a match.
    """
    pairs = _match_frames(matches, iou_threshold)
    rows, names = matches.rows[pairs], matches.result_ids[matches.columns[pairs]]
    truths, total = matches.truth_ids, matches.truth_counts
    order = np.lexsort((matches.truth_frames[rows], truths[rows]))
    who, frames = truths[rows][order], _active_frames(matches)[rows][order]
    again = np.diff(who) == 0
    switches = np.count_nonzero(again & (np.diff(names[order]) != 0))
    fragments = np.count_nonzero(again & (np.diff(frames) > 1))
    share = np.bincount(truths[rows], minlength=len(total)) / np.maximum(1, total)
    mostly, partly = np.count_nonzero(share > _MOSTLY), np.count_nonzero(share >= _PARTLY)
    tp = len(rows)
    return Clear(
        tp, len(truths) - tp, len(matches.result_ids) - tp, int(switches), float(matches.ious[pairs].sum()),
        int(mostly), int(partly - mostly), int(len(total) - partly), int(fragments), num_frames,
    )  # fmt: skip


def join_clear(parts: Sequence[Clear]) -> Clear:
    """Return the figures of several sequences together."""
    return Clear(*(sum(getattr(p, f.name) for p in parts) for f in fields(Clear)))


def _active_frames(matches: SequenceMatches) -> np.ndarray:
    """Number the frames that have boxes on both sides; (N,) for each row of the ground truth, -1 where there are none."""
    both = np.intersect1d(matches.truth_frames, matches.result_frames)
    places = np.asarray(np.searchsorted(both, matches.truth_frames))
    known: np.ndarray = places < len(both)
    known[known] = both[places[known]] == matches.truth_frames[known]
    return np.where(known, places, -1)


def _match_frames(matches: SequenceMatches, iou_threshold: float) -> np.ndarray:
    """Return the places of the overlaps that are matches, frame by frame.

    Two boxes that overlap enough with each other alone are a match whatever came before; only the rest, which is little,
    is gone through one frame after the other.
    """
    near = np.flatnonzero(reaches(matches.ious, iou_threshold))
    rows, columns, ious = matches.rows[near], matches.columns[near], matches.ious[near]
    truths, names = matches.truth_ids[rows], matches.result_ids[columns]
    frames = _active_frames(matches)[rows]
    chosen: np.ndarray = (np.bincount(rows)[rows] == 1) & (np.bincount(columns)[columns] == 1)
    doubtful = np.flatnonzero(~chosen)
    begin = np.asarray(np.searchsorted(frames, np.arange(int(frames.max(initial=-1)) + 2)))
    held_name: np.ndarray = np.zeros(len(matches.truth_counts), np.int64)
    held_in: np.ndarray = np.full(len(held_name), -1, np.int64)
    ends = np.flatnonzero(np.diff(frames[doubtful], append=-1))
    for pairs in np.split(doubtful, ends[:-1] + 1) if len(doubtful) else ():
        before = int(frames[pairs[0]]) - 1
        if before >= 0:
            last = np.arange(begin[before], begin[before + 1])
            last = last[chosen[last]]
            held_name[truths[last]], held_in[truths[last]] = names[last], before
        is_kept = (held_in[truths[pairs]] == before) & (held_name[truths[pairs]] == names[pairs]) & (before >= 0)
        costs = -(ious[pairs] + _KEEP * is_kept)
        chosen[pairs[assign_pairs(rows[pairs], columns[pairs], costs, 0.0)]] = True
    return near[chosen]
