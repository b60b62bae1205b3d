"""powerboxes (Rust) behind NumPy, for boxes and keypoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.peers.decode.by_numpy import IOU, MAX_DETECTIONS, decode, scores_only

ENVIRONMENT = "powerboxes"
OUTPUT = scores_only


def make(facts: Mapping[str, Any]) -> Callable[[Mapping[str, np.ndarray]], Any]:
    import powerboxes

    def run(value: Mapping[str, np.ndarray]) -> Any:
        output = value["output"]
        boxes, scores, classes, anchors = decode(output, facts)
        apart = boxes + classes[:, None].astype(np.float32) * np.float32(4096)
        kept = powerboxes.nms(apart, scores.astype(np.float64), IOU, facts["score_threshold"])[:MAX_DETECTIONS]
        if facts["num_keypoints"]:
            points = output[4 + facts["num_classes"] :, anchors[kept]].T.reshape(len(kept), -1, 3)
            points[..., :2] = np.clip((points[..., :2] - np.float32([0, 140])) / np.float32(0.5), 0, [1280, 720])
            np.clip((boxes[kept] - np.float32([0, 140, 0, 140])) / np.float32(0.5), 0, [1280, 720, 1280, 720])
        return scores[kept]

    return run


WAYS = {"": make}
