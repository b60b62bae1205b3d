"""What others would use for decode + NMS.

Each maker returns a function of one raw output, or raises ImportError (not installed) or Unsuitable. A function
returns the (K,) scores of what it keeps, in any order; that is enough to see that it did the same work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_DETECTIONS = 300
IOU = 0.7


class Unsuitable(Exception):
    """The peer cannot do this case."""


@dataclass(frozen=True)
class Case:
    """One measured case: layout "channels" (v8) or "rows" (v5, with objectness)."""

    name: str
    layout: str
    output: np.ndarray
    num_classes: int
    score_threshold: float
    multi_label: bool
    num_keypoints: int = 0


def decode(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Decode by tuned NumPy: xyxy boxes, scores, classes, anchors of what passes the threshold."""
    if case.layout == "channels":
        box, table = case.output[:4], case.output[4 : 4 + case.num_classes]
        if case.multi_label:
            classes, anchors = np.nonzero(table > case.score_threshold)
            scores = table[classes, anchors]
        else:
            best = table.max(0)
            anchors = np.nonzero(best > case.score_threshold)[0]
            classes, scores = table[:, anchors].argmax(0), best[anchors]
        cx, cy, w, h = box[:, anchors]
    else:
        anchors = np.nonzero(case.output[:, 4] > case.score_threshold)[0]
        rows = case.output[anchors]
        table = rows[:, 5:] * rows[:, 4:5]
        if case.multi_label:
            index, classes = np.nonzero(table > case.score_threshold)
            scores = table[index, classes]
        else:
            classes = table.argmax(1)
            index = np.nonzero(table[np.arange(len(table)), classes] > case.score_threshold)[0]
            classes, scores = classes[index], table[index, classes[index]]
        anchors = anchors[index]
        cx, cy, w, h = rows[index, :4].T
    boxes = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1)
    if len(scores) > 30000:
        keep = np.argpartition(-scores, 30000)[:30000]
        boxes, scores, classes, anchors = boxes[keep], scores[keep], classes[keep], anchors[keep]
    return boxes, scores, classes, anchors


def numpy_powerboxes(case: Case) -> Callable[[], Any]:
    import powerboxes

    def run() -> Any:
        boxes, scores, classes, anchors = decode(case)
        apart = boxes + classes[:, None].astype(np.float32) * np.float32(4096)
        kept = powerboxes.nms(apart, scores.astype(np.float64), IOU, case.score_threshold)[:MAX_DETECTIONS]
        if case.num_keypoints:
            points = case.output[4 + case.num_classes :, anchors[kept]].T.reshape(len(kept), -1, 3)
            points[..., :2] = np.clip((points[..., :2] - np.float32([0, 140])) / np.float32(0.5), 0, [1280, 720])
            np.clip((boxes[kept] - np.float32([0, 140, 0, 140])) / np.float32(0.5), 0, [1280, 720, 1280, 720])
        return scores[kept]

    return run


def numpy_lsnms(case: Case) -> Callable[[], Any]:
    import lsnms

    def run() -> Any:
        boxes, scores, classes, _ = decode(case)
        return scores[lsnms.nms(boxes, scores, IOU, 0.0, classes)[:MAX_DETECTIONS]]

    return run


def numpy_cv2(case: Case) -> Callable[[], Any]:
    import cv2

    def run() -> Any:
        boxes, scores, classes, _ = decode(case)
        boxes[:, 2:] -= boxes[:, :2]
        kept = cv2.dnn.NMSBoxesBatched(boxes, scores, classes, case.score_threshold, IOU)
        return scores[kept[:MAX_DETECTIONS]]

    return run


def numpy_torch(case: Case) -> Callable[[], Any]:
    """Class offsets and the greedy loop in torch, as Ultralytics composes them where torchvision is missing."""
    import torch

    def run() -> Any:
        boxes, scores, classes, _ = (torch.from_numpy(np.ascontiguousarray(a)) for a in decode(case))
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

    torch.set_num_threads(1)
    return run


def numpy_supervision(case: Case) -> Callable[[], Any]:
    from supervision.detection.utils.iou_and_nms import box_non_max_suppression

    if case.multi_label:
        raise Unsuitable("it holds the IoU of every pair: gigabytes for a dense output")

    def run() -> Any:
        boxes, scores, classes, _ = decode(case)
        table = np.concatenate([boxes, scores[:, None], classes[:, None]], axis=1)
        return np.sort(scores[box_non_max_suppression(table, IOU)])[::-1][:MAX_DETECTIONS]

    return run


def openvino_graph(case: Case) -> Callable[[], Any]:
    """One compiled graph: slicing, products and its NonMaxSuppression, which is always multi-label."""
    import openvino as ov
    from openvino import opset9 as op

    if not case.multi_label:
        raise Unsuitable("its NonMaxSuppression is multi-label")
    first = 4 if case.layout == "channels" else 5
    raw = op.parameter(list(case.output.shape), np.float32)
    rows = op.transpose(raw, [1, 0]) if case.layout == "channels" else raw
    boxes = op.slice(rows, [0], [4], [1], [1])
    scores = op.slice(rows, [first], [first + case.num_classes], [1], [1])
    if case.layout == "rows":
        scores = op.multiply(scores, op.slice(rows, [4], [5], [1], [1]))
    picked = op.non_max_suppression(
        op.unsqueeze(boxes, 0),
        op.unsqueeze(op.transpose(scores, [1, 0]), 0),
        np.int64(MAX_DETECTIONS),
        np.float32(IOU),
        np.float32(case.score_threshold),
        box_encoding="center",
        sort_result_descending=True,
    )
    options = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = ov.Core().compile_model(ov.Model([picked.output(1)], [raw]), "CPU", options).create_infer_request()
    request.set_input_tensor(ov.Tensor(case.output, shared_memory=True))

    def run() -> Any:
        request.infer()
        return request.get_output_tensor(0).data[:MAX_DETECTIONS, 2]

    return run


def edgefirst(case: Case) -> Callable[[], Any]:
    from edgefirst import decoder as ef
    from edgefirst import tensor as eft

    shape = [1, *case.output.shape]
    tensor = eft.Tensor(shape, "float32")
    tensor.from_numpy(case.output[None])
    names = (
        [(ef.DimName.Batch, 1), (ef.DimName.NumFeatures, shape[1]), (ef.DimName.NumBoxes, shape[2])]
        if case.layout == "channels"
        else [(ef.DimName.Batch, 1), (ef.DimName.NumBoxes, shape[1]), (ef.DimName.NumFeatures, shape[2])]
    )
    if case.num_keypoints:
        raise Unsuitable("it decodes no keypoints")
    tool = ef.Decoder.new_from_outputs(
        [ef.Output.detection(dshape=names).with_normalized(False)],
        score_threshold=case.score_threshold,
        iou_threshold=IOU,
        decoder_version=ef.DecoderVersion.Yolov8 if case.layout == "channels" else ef.DecoderVersion.Yolov5,
        input_dims=(640, 640),
        multi_label=case.multi_label,
    )
    tool.max_det = MAX_DETECTIONS
    return lambda: tool.decode([tensor], max_boxes=MAX_DETECTIONS)[1]


PEERS: dict[str, Callable[[Case], Callable[[], Any]]] = {
    "numpy+powerboxes": numpy_powerboxes,
    "numpy+cv2": numpy_cv2,
    "numpy+lsnms": numpy_lsnms,
    "numpy+torch": numpy_torch,
    "numpy+supervision": numpy_supervision,
    "openvino graph": openvino_graph,
    "edgefirst": edgefirst,
}
