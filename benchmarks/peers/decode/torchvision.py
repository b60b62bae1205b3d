"""torchvision's batched_nms behind NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.peers.decode.by_numpy import IOU, MAX_DETECTIONS, decode, scores_only

ENVIRONMENT = "torchvision"
OUTPUT = scores_only


def make(facts: Mapping[str, Any]) -> Callable[[Mapping[str, np.ndarray]], Any]:
    import torch
    from torchvision.ops import batched_nms

    torch.set_num_threads(1)

    def run(value: Mapping[str, np.ndarray]) -> Any:
        boxes, scores, classes, _ = (torch.from_numpy(np.ascontiguousarray(a)) for a in decode(value["output"], facts))
        return scores[batched_nms(boxes, scores, classes, IOU)[:MAX_DETECTIONS]].numpy()

    return run


WAYS = {"": make}
