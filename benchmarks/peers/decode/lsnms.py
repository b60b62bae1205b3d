"""lsnms (Numba) behind NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.peers.decode.by_numpy import IOU, MAX_DETECTIONS, decode, scores_only

ENVIRONMENT = "lsnms"
OUTPUT = scores_only


def make(facts: Mapping[str, Any]) -> Callable[[Mapping[str, np.ndarray]], Any]:
    import lsnms

    def run(value: Mapping[str, np.ndarray]) -> Any:
        boxes, scores, classes, _ = decode(value["output"], facts)
        return scores[lsnms.nms(boxes, scores, IOU, 0.0, classes)[:MAX_DETECTIONS]]

    return run


WAYS = {"": make}
