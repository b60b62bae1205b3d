"""Specification of greedy non-maximum suppression."""

from __future__ import annotations

import numpy as np

from yolokkn.ops.reference.iou import pairwise_iou


def nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    class_ids: np.ndarray | None = None,
    *,
    iou_threshold: float = 0.7,
    max_detections: int = 300,
) -> np.ndarray:
    """Keep the best boxes, each overlapping no better one of its class too much; see `yolokkn.ops.nms`."""
    valid = np.isfinite(boxes).all(1) & np.isfinite(scores)
    kept: list[int] = []
    with np.errstate(all="ignore"):
        for index in np.argsort(-scores, kind="stable"):
            if len(kept) == max_detections:
                break
            if not valid[index]:
                continue
            rivals = [k for k in kept if class_ids is None or class_ids[k] == class_ids[index]]
            iou = pairwise_iou(boxes[index : index + 1], boxes[rivals])
            if not (iou > np.float32(iou_threshold)).any():
                kept.append(int(index))
    return np.array(kept, np.int64)
