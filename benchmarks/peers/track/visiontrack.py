"""visiontrack-cpp: ByteTrack in C++, gated by the Mahalanobis distance or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

ENVIRONMENT = "visiontrack"
Value = Mapping[str, np.ndarray]


def OUTPUT(result: Any, value: Value, facts: Any) -> dict[str, np.ndarray]:
    return {"tracked": np.array([len(result[0])])}


def maker(gated: bool) -> Callable[[Mapping[str, Any]], Callable[[Value], Any]]:
    def make(facts: Mapping[str, Any]) -> Callable[[Value], Any]:
        import visiontrack_cpp as v

        tracker = v.ByteTracker(v.TrackerConfig(use_mahalanobis_gating=gated))

        def run(value: Value) -> Any:
            boxes, scores = value["boxes"].astype(np.float64), value["scores"].astype(np.float64)
            return tracker.update(boxes, scores, value["class_ids"])

        return run

    return make


WAYS = {"bytetrack": maker(False), "bytetrack gated": maker(True)}
