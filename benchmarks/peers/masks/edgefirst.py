"""edgefirst's box tiles at the frame's resolution, (h, w, 1) from the pixel nearest to each box's corner, on one CPU thread.

Prototypes are handed over once in the order that its float path takes (h, w, P); the conversion is not timed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.peers.masks.opencv import crops_of

ENVIRONMENT = "edgefirst"
Value = Mapping[str, np.ndarray]


def OUTPUT(result: Any, value: Value, facts: Mapping[str, Any]) -> dict[str, np.ndarray]:
    found = []
    for tile, box, (x1, y1, x2, y2) in zip(
        result, value["boxes"], crops_of(value["boxes"], facts["frame_hw"]), strict=True
    ):
        left, top = (int(v) for v in np.round(np.maximum(box[:2], 0)))
        crop: np.ndarray = np.zeros((y2 - y1, x2 - x1), bool)
        here = np.asarray(tile)[max(y1 - top, 0) : y2 - top, max(x1 - left, 0) : x2 - left, 0] > 0
        y, x = max(top - y1, 0), max(left - x1, 0)
        here = here[: crop.shape[0] - y, : crop.shape[1] - x]
        crop[y : y + here.shape[0], x : x + here.shape[1]] = here
        found.append(crop.ravel())
    return {"pixels": np.concatenate(found)}


def make(facts: Mapping[str, Any]) -> Callable[[Value], Any]:
    import edgefirst.image
    import edgefirst.tensor

    def tensor(values: np.ndarray) -> Any:
        out = edgefirst.tensor.Tensor(list(values.shape), "float32")
        out.from_numpy(np.ascontiguousarray(values))
        return out

    class ProtoData:
        def __init__(self, coeffs: np.ndarray, prototypes: np.ndarray) -> None:
            self.source = prototypes
            self.tensors = tensor(coeffs), tensor(prototypes.transpose(1, 2, 0))

        def __edgefirst_protodata__(self) -> tuple[Any, Any, str]:
            coeffs, prototypes = (t.__edgefirst_tensor__(access="read") for t in self.tensors)
            return coeffs, prototypes, "nhwc"

    processor = edgefirst.image.ImageProcessor()
    held: list[ProtoData] = []
    frame_h, frame_w = facts["frame_hw"]
    input_wh = np.array(facts["input_hw"][::-1] * 2, np.float32)
    gain = np.array(facts["gain_xy"] * 2, np.float32)
    pad = np.array([facts["pad_left"], facts["pad_top"]] * 2, np.float32)

    def run(value: Value) -> Any:
        boxes = value["boxes"]
        if not held or held[0].source is not value["prototypes"]:
            held[:] = [ProtoData(value["coeffs"], value["prototypes"])]
        content = np.array([0, 0, frame_w, frame_h], np.float32)
        normalised, region = ((b * gain + pad) / input_wh for b in (boxes, content))
        resolution = edgefirst.image.MaskResolution.Scaled(frame_w, frame_h)
        scores, classes = np.ones(len(boxes), np.float32), np.zeros(len(boxes), np.uintp)
        return processor.materialize_masks(normalised, scores, classes, held[0], tuple(region.tolist()), resolution)

    return run


WAYS = {"box tiles": make}
