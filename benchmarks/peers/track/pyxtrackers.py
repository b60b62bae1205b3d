"""pyxtrackers: trackers in Cython."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

ENVIRONMENT = "pyxtrackers"
Value = Mapping[str, np.ndarray]


def OUTPUT(result: Any, value: Value, facts: Any) -> dict[str, np.ndarray]:
    return {"tracked": np.array([len(result)])}


def maker(kind: str) -> Callable[[Mapping[str, Any]], Callable[[Value], Any]]:
    def make(facts: Mapping[str, Any]) -> Callable[[Value], Any]:
        import pyxtrackers as p

        tracker = p.BYTETracker(track_thresh=0.25) if kind == "bytetrack" else p.Sort(max_age=30)
        return lambda value: tracker.update(np.column_stack([value["boxes"], value["scores"]]).astype(np.float64))

    return make


WAYS = {"bytetrack": maker("bytetrack"), "sort": maker("sort")}
