"""OpenCV's batched suppression behind NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.peers.decode.by_numpy import IOU, MAX_DETECTIONS, decode, scores_only

ENVIRONMENT = "opencv"
OUTPUT = scores_only


def make(facts: Mapping[str, Any]) -> Callable[[Mapping[str, np.ndarray]], Any]:
    import cv2

    cv2.setNumThreads(1)

    def run(value: Mapping[str, np.ndarray]) -> Any:
        boxes, scores, classes, _ = decode(value["output"], facts)
        boxes[:, 2:] -= boxes[:, :2]
        kept = cv2.dnn.NMSBoxesBatched(boxes, scores, classes, facts["score_threshold"], IOU)
        return scores[kept[:MAX_DETECTIONS]]

    return run


WAYS = {"": make}
