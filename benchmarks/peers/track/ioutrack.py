"""ioutrack: trackers in Rust."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

ENVIRONMENT = "ioutrack"
Value = Mapping[str, np.ndarray]


def OUTPUT(result: Any, value: Value, facts: Any) -> dict[str, np.ndarray]:
    return {"tracked": np.array([len(result)])}


def maker(kind: str) -> Callable[[Mapping[str, Any]], Callable[[Value], Any]]:
    def make(facts: Mapping[str, Any]) -> Callable[[Value], Any]:
        import ioutrack as i

        if kind == "sort":
            tracker = i.Sort(max_age=30)
        else:
            tracker = i.ByteTrack(max_age=30, high_score_threshold=0.25, init_tracker_min_score=0.25)
        return lambda value: tracker.update(np.column_stack([value["boxes"], value["scores"]]), return_all=False)

    return make


WAYS = {"bytetrack": maker("bytetrack"), "sort": maker("sort")}
