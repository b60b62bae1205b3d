"""One compiled OpenVINO graph: slicing, products and its NonMaxSuppression, which is always multi-label."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.peers.decode.by_numpy import IOU, MAX_DETECTIONS, scores_only

ENVIRONMENT = "openvino"
OUTPUT = scores_only


def make(facts: Mapping[str, Any]) -> Callable[[Mapping[str, np.ndarray]], Any]:
    import openvino as ov
    from openvino import opset9 as op

    if not facts["multi_label"]:
        raise ValueError("its NonMaxSuppression is multi-label")
    is_channels, num_classes = facts["layout"] == "channels", facts["num_classes"]
    first = 4 if is_channels else 5
    raw = op.parameter(list(facts["shape"]), np.float32)
    rows = op.transpose(raw, [1, 0]) if is_channels else raw
    boxes = op.slice(rows, [0], [4], [1], [1])
    scores = op.slice(rows, [first], [first + num_classes], [1], [1])
    if not is_channels:
        scores = op.multiply(scores, op.slice(rows, [4], [5], [1], [1]))
    picked = op.non_max_suppression(
        op.unsqueeze(boxes, 0),
        op.unsqueeze(op.transpose(scores, [1, 0]), 0),
        np.int64(MAX_DETECTIONS),
        np.float32(IOU),
        np.float32(facts["score_threshold"]),
        box_encoding="center",
        sort_result_descending=True,
    )
    options = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = ov.Core().compile_model(ov.Model([picked.output(1)], [raw]), "CPU", options).create_infer_request()

    def run(value: Mapping[str, np.ndarray]) -> Any:
        request.set_input_tensor(ov.Tensor(value["output"], shared_memory=True))
        request.infer()
        return request.get_output_tensor(0).data[:MAX_DETECTIONS, 2]

    return run


WAYS = {"": make}
