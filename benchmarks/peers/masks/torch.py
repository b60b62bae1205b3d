"""Upsample every mask to the frame, then cut it to its box: what training frameworks do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.peers.masks.opencv import crops_of

ENVIRONMENT = "torch"
Value = Mapping[str, np.ndarray]


def OUTPUT(result: Any, value: Value, facts: Mapping[str, Any]) -> dict[str, np.ndarray]:
    crops = crops_of(value["boxes"], facts["frame_hw"]).tolist()
    return {
        "pixels": np.concatenate([m[y1:y2, x1:x2].ravel() for m, (x1, y1, x2, y2) in zip(result, crops, strict=True)])
    }


def make(facts: Mapping[str, Any]) -> Callable[[Value], Any]:
    import torch
    import torch.nn.functional as functional

    torch.set_num_threads(1)

    def run(value: Value) -> np.ndarray:
        coeffs, prototypes = torch.from_numpy(value["coeffs"]), torch.from_numpy(value["prototypes"])
        planes, h, w = prototypes.shape
        logits = (coeffs @ prototypes.view(planes, -1)).view(-1, h, w)
        (in_h, in_w), (new_h, new_w) = facts["input_hw"], facts["resized_hw"]
        top, left = round(facts["pad_top"] * h / in_h), round(facts["pad_left"] * w / in_w)
        logits = logits[:, top : top + round(new_h * h / in_h), left : left + round(new_w * w / in_w)]
        full = functional.interpolate(logits[None], facts["frame_hw"], mode="bilinear", align_corners=False)[0]
        corners = torch.from_numpy(crops_of(value["boxes"], facts["frame_hw"]))
        xs, ys = torch.arange(full.shape[2]), torch.arange(full.shape[1])
        x1, y1, x2, y2 = (corners[:, i, None] for i in range(4))
        inside_x, inside_y = (xs >= x1) & (xs < x2), (ys >= y1) & (ys < y2)
        return (full.gt_(0.0).bool() & inside_x[:, None, :] & inside_y[:, :, None]).numpy()

    return run


WAYS = {"full frame": make}
