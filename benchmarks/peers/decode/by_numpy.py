"""Decoding by tuned NumPy, which stands before every peer that only suppresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

MAX_DETECTIONS = 300
IOU = 0.7


def decode(output: np.ndarray, facts: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return xyxy boxes, scores, classes and anchors of what passes the threshold."""
    threshold, num_classes = facts["score_threshold"], facts["num_classes"]
    if facts["layout"] == "channels":
        box, table = output[:4], output[4 : 4 + num_classes]
        if facts["multi_label"]:
            classes, anchors = np.nonzero(table > threshold)
            scores = table[classes, anchors]
        else:
            best = table.max(0)
            anchors = np.nonzero(best > threshold)[0]
            classes, scores = table[:, anchors].argmax(0), best[anchors]
        cx, cy, w, h = box[:, anchors]
    else:
        anchors = np.nonzero(output[:, 4] > threshold)[0]
        rows = output[anchors]
        table = rows[:, 5:] * rows[:, 4:5]
        if facts["multi_label"]:
            index, classes = np.nonzero(table > threshold)
            scores = table[index, classes]
        else:
            classes = table.argmax(1)
            index = np.nonzero(table[np.arange(len(table)), classes] > threshold)[0]
            classes, scores = classes[index], table[index, classes[index]]
        anchors = anchors[index]
        cx, cy, w, h = rows[index, :4].T
    boxes = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1)
    if len(scores) > 30000:
        keep = np.argpartition(-scores, 30000)[:30000]
        boxes, scores, classes, anchors = boxes[keep], scores[keep], classes[keep], anchors[keep]
    return boxes, scores, classes, anchors


def scores_only(result: Any, value: Any, facts: Any) -> dict[str, np.ndarray]:
    """Return what is compared: the scores of what was kept, enough to see that the same work was done."""
    return {"scores": np.asarray(result, np.float64).ravel()}
