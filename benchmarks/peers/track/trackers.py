"""trackers (Python, over supervision's Detections): the best known library of them; its identities are measured too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

ENVIRONMENT = "trackers"
KINDS = ("sort", "bytetrack", "ocsort", "cbiou", "botsort")
Value = Mapping[str, np.ndarray]


def OUTPUT(result: Any, value: Value, facts: Any) -> dict[str, np.ndarray]:
    ids = np.full(len(result), -1) if result.tracker_id is None else np.asarray(result.tracker_id, np.int64)
    return {"tracked": np.array([int((ids >= 0).sum())]), "boxes": result.xyxy[ids >= 0], "track_ids": ids[ids >= 0]}


def maker(kind: str) -> Callable[[Mapping[str, Any]], Callable[[Value], Any]]:
    def make(facts: Mapping[str, Any]) -> Callable[[Value], Any]:
        import supervision as sv
        import trackers as t

        kinds = {
            "sort": t.SORTTracker, "bytetrack": t.ByteTrackTracker, "ocsort": t.OCSORTTracker, "cbiou": t.CBIoUTracker,
            "botsort": lambda: t.BoTSORTTracker(enable_cmc=False),
        }  # fmt: skip
        tracker = kinds[kind]()

        def run(value: Value) -> Any:
            found = sv.Detections(value["boxes"], confidence=value["scores"], class_id=value["class_ids"])
            return tracker.update(found)

        return run

    return make


WAYS = {kind: maker(kind) for kind in KINDS}
