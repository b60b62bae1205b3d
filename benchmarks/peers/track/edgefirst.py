"""edgefirst-tracker: ByteTrack in Rust."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

ENVIRONMENT = "edgefirst"
Value = Mapping[str, np.ndarray]


def OUTPUT(result: Any, value: Value, facts: Any) -> dict[str, np.ndarray]:
    return {"tracked": np.array([sum(one is not None for one in result)])}


def make(facts: Mapping[str, Any]) -> Callable[[Value], Any]:
    from edgefirst.tracker import ByteTrack

    tracker, clock = ByteTrack(), itertools.count(1)

    def run(value: Value) -> Any:
        now = next(clock) * 33_333_333
        return tracker.update(value["boxes"], value["scores"], value["class_ids"].astype(np.uintp), now)

    return run


WAYS = {"bytetrack": make}
