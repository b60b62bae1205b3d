"""Class offsets and the greedy loop in torch, as they are composed where torchvision is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.peers.decode.by_numpy import IOU, MAX_DETECTIONS, decode, scores_only

ENVIRONMENT = "torch"
OUTPUT = scores_only


def make(facts: Mapping[str, Any]) -> Callable[[Mapping[str, np.ndarray]], Any]:
    import torch

    torch.set_num_threads(1)

    def run(value: Mapping[str, np.ndarray]) -> Any:
        boxes, scores, classes, _ = (torch.from_numpy(np.ascontiguousarray(a)) for a in decode(value["output"], facts))
        order = scores.argsort(descending=True)
        boxes, scores = (boxes + classes[:, None] * 7680)[order], scores[order]
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        rest, kept = torch.arange(len(scores)), []
        while len(rest) and len(kept) < MAX_DETECTIONS:
            first, rest = rest[0], rest[1:]
            kept.append(int(first))
            size = torch.minimum(boxes[first, 2:], boxes[rest, 2:]) - torch.maximum(boxes[first, :2], boxes[rest, :2])
            shared = size.clamp_(0).prod(1)
            rest = rest[shared / (area[first] + area[rest] - shared) <= IOU]
        return scores[kept].numpy()

    return run


WAYS = {"": make}
