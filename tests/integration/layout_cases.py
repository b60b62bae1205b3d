"""A model with recorded outputs for every layout, with detections or without any."""

from __future__ import annotations

import json

import numpy as np

from tests.recorded import cell_heads, recorded_model

A = 64 + 16 + 4
DARKNET = {"layout": "darknet", "anchors": "[[[10, 12], [20, 8]]]", "names": json.dumps(["a", "b", "c"])}
PROTOTYPES = np.ones((1, 2, 16, 16), np.float32)


def _channels(extras: int, scores: tuple[float, ...]) -> np.ndarray:
    table = cell_heads(4 + len(scores) + extras)
    table[5, :4], table[5, 4 : 4 + len(scores)] = (30, 20, 20, 10), scores
    return table.T[None].copy()


def _rows(columns: int, first: tuple[float, ...], anchors: int = 1) -> np.ndarray:
    table = np.concatenate([cell_heads(columns)] * anchors)
    table[5, : len(first)] = first
    return table[None]


def _table(columns: int, score: float, rows: int = 10) -> np.ndarray:
    table = np.zeros((1, rows, columns), np.float32)
    table[0, 0, :6] = 20, 15, 40, 25, score, 2
    return table


def _heads(logit: float) -> dict[str, np.ndarray]:
    head = np.full((1, 2 * (5 + 3), 2, 2), -9, np.float32)
    picked = head.reshape(1, 2, 8, 2, 2)[0, 1, :, 1, 0]
    picked[:4] = 0
    picked[4], picked[6] = logit, logit
    return {"yolo_0": head}


def _efficient(count: int) -> dict[str, np.ndarray]:
    boxes = np.zeros((1, 5, 4), np.float32)
    boxes[0, 0] = 20, 15, 40, 25
    return {
        "num_dets": np.array([[count]], np.int32),
        "det_boxes": boxes,
        "det_scores": np.array([[0.9, 0, 0, 0, 0]], np.float32),
        "det_classes": np.array([[2, 0, 0, 0, 0]], np.int32),
    }


def _queries(logit: float, **more: np.ndarray) -> dict[str, np.ndarray]:
    logits = np.full((1, 6, 4), -9, np.float32)
    logits[0, 2, 2] = logit
    return {"dets": np.full((1, 6, 4), 0.5, np.float32), "labels": logits, **more}


def _yolox(score: float) -> np.ndarray:
    table = np.zeros((1, A, 8), np.float32)
    table[0, 9] = 0.5, 0.5, 0, 0, score, 0, 0, score
    return table


KKN_RAW = {"layout": "kkn-raw", "task": "segment-pose", "reg_max": "1", "strides": "[8, 32]", "kpt_shape": "[2, 3]"}


def _distances(logit: float) -> dict[str, np.ndarray]:
    """Levels of 4 distances, 3 classes, 2 mask coefficients and 2 keypoints; a cell in the middle has a box of class 2."""
    first, second = (np.full((1, 4 + 3 + 2 + 6, n, n), -9, np.float32) for n in (8, 2))
    first[0, :4, 3, 3], first[0, 6, 3, 3], first[0, 7:9, 3, 3], first[0, 9:, 3, 3] = 1, logit, 1, 0
    return {"head_0": first, "head_1": second, "prototypes": PROTOTYPES}


def layout_models(has_detections: bool) -> dict[str, bytes]:
    """Layout name -> ONNX file of three classes (pose: its own); its one detection, if it has one, is of class 2."""
    s = 0.9 if has_detections else 0.0
    logit = 5.0 if has_detections else -9.0
    task = {"task": "segment"}
    rt = {
        "labels": np.array([[2, 1]], np.int64),
        "boxes": np.array([[[16, 16, 32, 48], [0, 0, 8, 8]]], np.float32),
        "scores": np.array([[s, 0]], np.float32),
    }
    finished = {"end2end": "True"}
    mask_logits = np.ones((1, 6, 16, 16), np.float32)
    return {
        "v8": recorded_model({"output0": _channels(0, (0, 0, s))}, metadata={"task": "detect"}),
        "v8-seg": recorded_model({"output0": _channels(2, (0, 0, s)), "output1": PROTOTYPES}, metadata=task),
        "v8-pose": recorded_model({"output0": _channels(6, (s,))}, metadata={"task": "pose", "kpt_shape": "[2, 3]"}),
        "v8-seg-pose": recorded_model(
            {"output0": _channels(2 + 6, (0, 0, s)), "output1": PROTOTYPES},
            metadata={"task": "segment-pose", "kpt_shape": "[2, 3]"},
        ),
        "v5": recorded_model({"output0": _rows(8, (30, 20, 20, 10, s, 0, 0, 1), 3)}),
        "v5-seg": recorded_model({"output0": _rows(10, (30, 20, 20, 10, s, 0, 0, 1), 3), "output1": PROTOTYPES}),
        "v6": recorded_model({"outputs": _rows(8, (30, 20, 20, 10, 1, 0, 0, s))}),
        "yolox": recorded_model({"output": _yolox(s)}),
        "yolox-decoded": recorded_model({"output": _rows(8, (12, 12, 8, 16, s, 0, 0, 1))}, ops=["Exp"]),
        "end2end": recorded_model({"output0": _table(6, s)}, metadata=finished),
        "end2end-seg": recorded_model({"output0": _table(8, s), "output1": PROTOTYPES}, metadata=finished),
        "end2end-pose": recorded_model({"output0": _table(6 + 51, s)}, metadata={**finished, "task": "pose"}),
        "end2end-seg-pose": recorded_model(
            {"output0": _table(8 + 6, s), "output1": PROTOTYPES},
            metadata={"layout": "end2end-seg-pose", "kpt_shape": "[2, 3]"},
        ),
        "deepstream": recorded_model({"output": _table(6, s, A)}, ops=["ArgMax"]),
        "efficientnms": recorded_model(_efficient(int(has_detections))),
        "rtdetr": recorded_model(rt, with_sizes=True),
        "rfdetr": recorded_model(_queries(logit)),
        "rfdetr with masks": recorded_model(_queries(logit, masks=mask_logits)),
        "darknet": recorded_model(_heads(logit), metadata=DARKNET),
        "v5-raw": recorded_model(_heads(logit), metadata={**DARKNET, "layout": "v5-raw"}),
        "kkn-raw": recorded_model(_distances(logit), metadata=KKN_RAW),
    }
