"""Specification of the decoder of raw anchor-free heads: class logits, and distances from a cell's centre."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolokkn.ops.candidates import Candidates
from yolokkn.ops.reference.decode import collect
from yolokkn.ops.reference.elementary import exp, sigmoid, softplus


def _distances(logits: np.ndarray) -> np.ndarray:
    """Turn (4, bins, gy, gx) logits into (4, gy, gx) distances in cells."""
    bins = logits.shape[1]
    if bins == 1:
        return softplus(logits[:, 0])
    weights = exp(logits - logits.max(1, keepdims=True))
    total, weighed = np.zeros_like(weights[:, 0]), np.zeros_like(weights[:, 0])
    for i in range(bins):  # one after the other: the sums of every implementation round alike
        total = total + weights[:, i]
        weighed = weighed + weights[:, i] * np.float32(i)
    return weighed / total


def _boxes(logits: np.ndarray, input_hw: tuple[int, int]) -> np.ndarray:
    """Decode (4, bins, gy, gx) to (gy * gx, 4) corners."""
    grid_h, grid_w = logits.shape[2:]
    stride_x, stride_y = np.float32(input_hw[1] / grid_w), np.float32(input_hw[0] / grid_h)
    left, top, right, bottom = _distances(logits)
    x = np.arange(grid_w, dtype=np.float32) + np.float32(0.5)
    y = np.arange(grid_h, dtype=np.float32)[:, None] + np.float32(0.5)
    corners = [(x - left) * stride_x, (y - top) * stride_y, (x + right) * stride_x, (y + bottom) * stride_y]
    return np.stack(corners, axis=-1).reshape(-1, 4)


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
    """Decode levels of (4*bins + nc + e, gy, gx) logits; see `yolokkn.ops.decode_distances`.

    A considered class logit that is NaN or +inf drops its cell.
    """
    boxes: list[np.ndarray] = [np.zeros((0, 4), np.float32)]
    scores: list[np.ndarray] = [np.zeros((0, num_classes), np.float32)]
    with np.errstate(all="ignore"):
        for level in levels:
            box, logits = level[: 4 * num_bins], level[4 * num_bins : 4 * num_bins + num_classes]
            boxes.append(_boxes(box.reshape(4, num_bins, *level.shape[1:]), input_hw))
            score = np.where(np.isposinf(logits), np.float32(np.inf), sigmoid(logits))
            scores.append(score.reshape(num_classes, -1).T)
        all_scores = np.concatenate(scores)
        return collect(
            np.concatenate(boxes),
            all_scores,
            np.zeros(len(all_scores), bool),
            score_threshold=score_threshold,
            multi_label=multi_label,
            max_candidates=max_candidates,
            class_mask=class_mask,
        )
