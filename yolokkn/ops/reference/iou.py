"""Specification of the pairwise IoU."""

from __future__ import annotations

import numpy as np


def pairwise_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute the IoU of every pair: (N, 4), (M, 4) float32 xyxy -> (N, M) float32; see `yolokkn.ops.pairwise_iou`."""

    def area(boxes: np.ndarray) -> np.ndarray:
        width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        return np.where((width > 0) & (height > 0), width * height, np.float32(0))

    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    size = high - low
    overlap = (size > 0).all(-1) & (area(a)[:, None] > 0) & (area(b)[None] > 0)
    intersection = np.where(overlap, size[..., 0] * size[..., 1], np.float32(0))
    union = area(a)[:, None] + area(b)[None] - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=overlap)
