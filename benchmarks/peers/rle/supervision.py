"""Run lengths by supervision, from masks at the frame's size; not COCO's compressed text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

ENVIRONMENT = "supervision"


def OUTPUT(result: Any, value: Any, facts: Any) -> dict[str, np.ndarray]:
    runs = [np.asarray(one, np.int64) for one in result]
    return {"runs": np.concatenate(runs), "lengths": np.array([len(one) for one in runs])}


def make(facts: Mapping[str, Any]) -> Callable[[Mapping[str, np.ndarray]], Any]:
    from supervision.detection.utils.converters import mask_to_rle

    return lambda value: [mask_to_rle(mask) for mask in value["full"]]


WAYS = {"mask_to_rle": make}
