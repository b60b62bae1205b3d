"""boxmot's ByteTrack and OC-SORT in Python (AGPL: measured, never a part of anything here); they ask for torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

ENVIRONMENT = "boxmot"
Value = Mapping[str, np.ndarray]


def OUTPUT(result: Any, value: Value, facts: Any) -> dict[str, np.ndarray]:
    return {"tracked": np.array([len(result)])}


def maker(kind: str) -> Callable[[Mapping[str, Any]], Callable[[Value], Any]]:
    def make(facts: Mapping[str, Any]) -> Callable[[Value], Any]:
        import importlib

        module = importlib.import_module(f"boxmot.trackers.box.{kind.lower()}.tracker")
        tracker, picture = getattr(module, kind)(), np.zeros((1080, 1920, 3), np.uint8)

        def run(value: Value) -> Any:
            rows = np.column_stack([value["boxes"], value["scores"], value["class_ids"]]).astype(np.float32)
            return tracker.update(rows, picture)

        return run

    return make


WAYS = {"bytetrack": maker("ByteTrack"), "ocsort": maker("OcSort")}
