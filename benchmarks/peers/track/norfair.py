"""norfair (Python): boxes by IoU, its defaults otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

ENVIRONMENT = "norfair"
Value = Mapping[str, np.ndarray]


def OUTPUT(result: Any, value: Value, facts: Any) -> dict[str, np.ndarray]:
    return {"tracked": np.array([len(result)])}


def make(facts: Mapping[str, Any]) -> Callable[[Value], Any]:
    from norfair import Detection, Tracker

    tracker = Tracker(distance_function="iou", distance_threshold=0.7)

    def run(value: Value) -> Any:
        pairs = zip(value["boxes"].reshape(-1, 2, 2), value["scores"], strict=True)
        return tracker.update([Detection(points=box, scores=np.array([score, score])) for box, score in pairs])

    return run


WAYS = {"iou": make}
