"""cv2.findContours on each crop, moved to its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

ENVIRONMENT = "opencv"
Value = Mapping[str, np.ndarray]


def OUTPUT(result: Any, value: Value, facts: Any) -> dict[str, np.ndarray]:
    """How many points each mask's contours have, which is the same only where the contours are."""
    return {"points": np.array([sum(len(contour) for contour in contours) for contours in result])}


def make(facts: Mapping[str, Any]) -> Callable[[Value], Any]:
    import cv2

    cv2.setNumThreads(1)

    def run(value: Value) -> list[list[np.ndarray]]:
        out, offset = [], 0
        for x1, y1, x2, y2 in value["crops"].tolist():
            size = (y2 - y1) * (x2 - x1)
            crop = value["data"][offset : offset + size].reshape(y2 - y1, x2 - x1)
            offset += size
            way = cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
            found = cv2.findContours(crop, *way, offset=(x1, y1))[0] if size else ()
            out.append([contour.reshape(-1, 2) for contour in found])
        return out

    return run


WAYS = {"findContours on crops": make}
