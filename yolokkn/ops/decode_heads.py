"""Door of the decoder of raw heads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolokkn.ops import _native
from yolokkn.ops.arguments import explain_kinds
from yolokkn.ops.candidates import Candidates


@explain_kinds
def decode_heads(
    heads: Sequence[np.ndarray],
    *,
    num_classes: int,
    anchors: Sequence[np.ndarray],
    input_hw: tuple[int, int],
    formula: str,
    scale_xy: Sequence[float] | float = 1.0,
    objectness_times_class: bool = True,
    score_threshold: float = 0.25,
    multi_label: bool = False,
    max_candidates: int = 30000,
    class_mask: np.ndarray | None = None,
) -> Candidates:
    """Decode raw heads of logits: darknet v3, v4, tiny, Yolo-Fastest, and v5-style heads.

    The shared rules stand in `yolokkn.ops.decode`. A cell is looked at only when sigmoid(objectness) is above the
    threshold; an objectness logit, or a considered class logit of a cell that is looked at, that is NaN or +infinity
    drops the cell. No exponential is computed for logits that cannot pass.

    Args:
        heads: For each scale (na*(5+nc), gy, gx) float32 logits: for each of the na anchors t_x t_y t_w t_h,
            objectness, classes.
        num_classes: Number of classes, nc.
        anchors: For each head (na, 2) float32 widths and heights in input pixels.
        input_hw: Height and width of the model's input; a head's stride is the input over its grid, per axis.
        formula: "darknet": xy = (k*sigmoid(t) - (k-1)/2 + grid) * stride, wh = anchor * exp(t);
            "v5": xy = (2*sigmoid(t) - 0.5 + grid) * stride, wh = anchor * (2*sigmoid(t))**2.
        scale_xy: k of each head, or one for all; only "darknet" uses it.
        objectness_times_class: The score is sigmoid(objectness) * sigmoid(class); False: sigmoid(class) alone.
        score_threshold: Within [0, 1]; a candidate's score is strictly greater.
        multi_label: Return every class above the threshold instead of the best one of a cell.
        max_candidates: The best that stay, 1 or more.
        class_mask: (nc,) bool, the classes to keep; None keeps all.

    Returns:
        Candidates; `anchor_index` runs head by head, within a head in (anchor, gy, gx) order.

    Raises:
        TypeError: An array has the wrong kind or dtype.
        ValueError: A shape or value is wrong, or an array is not C-contiguous.

    Example:
        >>> head = np.zeros((6, 1, 1), np.float32)
        >>> head[4:] = 4.0
        >>> anchors = [np.array([[8, 16]], np.float32)]
        >>> decode_heads([head], num_classes=1, anchors=anchors, input_hw=(32, 32), formula="darknet").boxes.tolist()
        [[12.0, 8.0, 20.0, 24.0]]
    """
    return Candidates(
        *_native.decode_heads(
            heads,
            num_classes,
            anchors,
            input_hw,
            formula,
            scale_xy,
            objectness_times_class,
            score_threshold,
            multi_label,
            max_candidates,
            class_mask,
        )
    )
