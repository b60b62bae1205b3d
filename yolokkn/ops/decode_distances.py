"""Door of the decoder of raw anchor-free heads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolokkn.ops import _native
from yolokkn.ops.arguments import explain_kinds
from yolokkn.ops.candidates import Candidates


@explain_kinds
def decode_distances(
    levels: Sequence[np.ndarray],
    *,
    num_classes: int,
    input_hw: tuple[int, int],
    num_bins: int = 16,
    score_threshold: float = 0.25,
    multi_label: bool = False,
    max_candidates: int = 30000,
    class_mask: np.ndarray | None = None,
) -> Candidates:
    """Decode raw anchor-free levels of logits: this project's own networks, and heads with distribution focal loss.

    The shared rules stand in `yolokkn.ops.decode`. A cell is looked at only when a class logit can pass the threshold: no
    exponential is computed for the others, and boxes are made for candidates alone.

    Args:
        levels: For each scale (4*bins + nc + e, gy, gx) float32 logits: the bins of left, of top, of right, of bottom,
            the classes, and extras that are not read.
        num_classes: Number of classes, nc.
        input_hw: Height and width of the model's input; a level's stride is the input over its grid, per axis.
        num_bins: Bins of a side; its distance, in strides from the cell's centre, is their numbers' mean weighed by the
            softmax (Li et al., Generalized Focal Loss, 2020, equation 3). 1: the softplus of the one number.
        score_threshold: Within [0, 1]; a candidate's score, sigmoid(class), is strictly greater.
        multi_label: Return every class above the threshold instead of the best one of a cell.
        max_candidates: The best that stay, 1 or more.
        class_mask: (nc,) bool, the classes to keep; None keeps all.

    Returns:
        Candidates; `anchor_index` runs level by level, within a level in (gy, gx) order.

    Raises:
        TypeError: An array has the wrong kind or dtype.
        ValueError: A shape or value is wrong, or an array is not C-contiguous.

    Example:
        >>> level = np.zeros((9, 1, 1), np.float32)  # two bins a side, evenly weighed: half a stride each way
        >>> level[8] = 4.0
        >>> decode_distances([level], num_classes=1, input_hw=(32, 32), num_bins=2).boxes.tolist()
        [[0.0, 0.0, 32.0, 32.0]]
    """
    return Candidates(
        *_native.decode_distances(
            levels, num_classes, input_hw, num_bins, score_threshold, multi_label, max_candidates, class_mask
        )
    )
