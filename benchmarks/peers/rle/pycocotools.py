"""COCO's run lengths by pycocotools, from masks at the frame's size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

ENVIRONMENT = "pycocotools"


def OUTPUT(result: Any, value: Any, facts: Any) -> dict[str, np.ndarray]:
    return {"counts": np.frombuffer(b"\n".join(rle["counts"] for rle in result), np.uint8)}


def make(facts: Mapping[str, Any]) -> Callable[[Mapping[str, np.ndarray]], Any]:
    from pycocotools import mask as coco

    return lambda value: [coco.encode(np.asfortranarray(m.view(np.uint8))) for m in value["full"]]


WAYS = {"each full mask": make}
