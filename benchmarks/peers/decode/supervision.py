"""supervision's suppression behind NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.peers.decode.by_numpy import IOU, MAX_DETECTIONS, decode, scores_only

ENVIRONMENT = "supervision"
OUTPUT = scores_only


def make(facts: Mapping[str, Any]) -> Callable[[Mapping[str, np.ndarray]], Any]:
    from supervision.detection.utils.iou_and_nms import box_non_max_suppression

    if facts["multi_label"]:
        raise ValueError("it holds the IoU of every pair: gigabytes for a dense output")

    def run(value: Mapping[str, np.ndarray]) -> Any:
        boxes, scores, classes, _ = decode(value["output"], facts)
        table = np.concatenate([boxes, scores[:, None], classes[:, None]], axis=1)
        return np.sort(scores[box_non_max_suppression(table, IOU)])[::-1][:MAX_DETECTIONS]

    return run


WAYS = {"": make}
