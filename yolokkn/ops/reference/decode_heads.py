"""Specification of the decoder of raw heads: logits, anchors and grids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolokkn.ops.candidates import Candidates
from yolokkn.ops.reference.decode import collect, corners
from yolokkn.ops.reference.elementary import exp, sigmoid


def _boxes(t: np.ndarray, anchors: np.ndarray, formula: str, k: float, input_hw: tuple[int, int]) -> np.ndarray:
    """Decode t (na, 4, gy, gx) to (na * gy * gx, 4) corners."""
    grid_h, grid_w = t.shape[2:]
    one, half, two = np.float32(1), np.float32(0.5), np.float32(2)
    stride_x, stride_y = np.float32(input_hw[1] / grid_w), np.float32(input_hw[0] / grid_h)
    x, y = np.arange(grid_w, dtype=np.float32), np.arange(grid_h, dtype=np.float32)[:, None]
    anchor_w, anchor_h = (anchors[:, i, None, None] for i in (0, 1))
    if formula == "v5":
        cx, cy = two * sigmoid(t[:, 0]) - half, two * sigmoid(t[:, 1]) - half
        w, h = two * sigmoid(t[:, 2]), two * sigmoid(t[:, 3])
        w, h = w * w * anchor_w, h * h * anchor_h
    else:
        k = np.float32(k)
        cx, cy = (sigmoid(t[:, i]) * k - (k - one) * half for i in (0, 1))
        w, h = exp(t[:, 2]) * anchor_w, exp(t[:, 3]) * anchor_h
    cxcywh = np.stack([(cx + x) * stride_x, (cy + y) * stride_y, w, h], axis=-1)
    return corners(cxcywh.reshape(-1, 4))


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
    """Decode heads of (na*(5+nc), gy, gx) logits; see `yolokkn.ops.decode_heads`.

    A cell whose objectness logit is NaN or +inf is dropped; one whose sigmoid(objectness) is not above the threshold
    has no candidate, whatever its classes hold; of the others a considered class logit that is NaN or +inf drops it.
    """
    factors = [float(scale_xy)] * len(heads) if isinstance(scale_xy, (int, float)) else list(scale_xy)
    boxes, scores, bad = [], [], []
    with np.errstate(all="ignore"):
        for head, anchor, k in zip(heads, anchors, factors, strict=True):
            t = head.reshape(len(anchor), 5 + num_classes, *head.shape[1:])
            boxes.append(_boxes(t[:, :4], anchor, formula, k, input_hw))
            logits = t[:, 4:].transpose(0, 2, 3, 1).reshape(-1, 1 + num_classes)
            objectness = sigmoid(logits[:, :1])
            present = objectness > np.float32(score_threshold)
            score = sigmoid(logits[:, 1:])
            score = objectness * score if objectness_times_class else score
            score = np.where(np.isposinf(logits[:, 1:]), np.float32(np.inf), score)
            scores.append(np.where(present, score, np.float32(-np.inf)))
            bad.append(np.isnan(logits[:, 0]) | np.isposinf(logits[:, 0]))
        return collect(
            np.concatenate(boxes) if boxes else np.zeros((0, 4), np.float32),
            np.concatenate(scores) if scores else np.zeros((0, num_classes), np.float32),
            np.concatenate(bad) if bad else np.zeros(0, bool),
            score_threshold=score_threshold,
            multi_label=multi_label,
            max_candidates=max_candidates,
            class_mask=class_mask,
        )
