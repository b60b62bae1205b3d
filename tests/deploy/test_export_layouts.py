"""One network in five layouts: the same detections through the runtime, whoever decodes and suppresses."""

from __future__ import annotations

import json

import numpy as np
import pytest

import yolokkn
from tests.deploy.networks import CASES, HW, PICTURE, fitted
from tests.deploy.test_deploy import check_same
from yolokkn.deploy import build_onnx, network_model, onnx_verify
from yolokkn.errors import ModelError
from yolokkn.layouts import EXPORT_LAYOUTS
from yolokkn.models import Deployable
from yolokkn.models.finished import EndToEndTable, Suppression
from yolokkn.runtime.parity_models import open_models

LOW = 0.05
FAMILIES = ["yolov3", "yolov3-tiny", "yolo-fastest-1.1"]


def layouts_of(network):
    """The layouts that a network can be written in."""
    fit = []
    for layout in EXPORT_LAYOUTS:
        try:
            Deployable(network, layout=layout)
        except ValueError as error:
            assert layout in str(error)
        else:
            fit.append(layout)
    return fit


def wanted_layouts(name, task):
    tables = ["efficientnms", "deepstream"] if task == "detect" else []
    raw = ["raw"] if task == "detect" or "kkn2" in name else []
    return [*raw, "decoded", "end2end", *tables]


@pytest.mark.parametrize(("name", "task"), CASES)
def test_every_layout_gives_the_detections_of_the_network(name, task):
    network = fitted(name, task)
    options = {"score_threshold": LOW, "max_detections": 50}
    wanted = network_model(network, **options)(PICTURE)
    assert layouts_of(network) == wanted_layouts(name, task)
    for layout in layouts_of(network):
        content, report = build_onnx(network, layout=layout, suppression=Suppression(score_threshold=LOW))
        model = yolokkn.load(content, **options)
        assert model.layout.name == report.layout and model.layout.task == task
        check_same(model(PICTURE), wanted)


@pytest.mark.parametrize("layout", EXPORT_LAYOUTS)
def test_openvino_runs_every_layout_under_the_names_of_the_file(layout):
    pytest.importorskip("openvino", reason="OpenVINO (extra openvino) is not installed")
    content, report = build_onnx(
        fitted("yolovkkn2-p", "detect"), layout=layout, suppression=Suppression(score_threshold=LOW), verify=False
    )
    options = {"score_threshold": LOW, "max_detections": 50}
    model = yolokkn.load(content, backend="openvino", **options)
    assert [spec.name for spec in model.backend.outputs] == list(report.outputs)
    check_same(model(PICTURE), yolokkn.load(content, **options)(PICTURE))
    assert "openvino" in open_models(content, threads=1).models  # what the doctor opens


@pytest.mark.parametrize("layout", EXPORT_LAYOUTS)
def test_any_batch_and_size(layout):
    network = fitted("yolovkkn2-p", "segment-pose" if layout in ("raw", "end2end") else "detect")
    content, report = build_onnx(
        network, layout=layout, batch=None, dynamic_hw=True, suppression=Suppression(score_threshold=LOW)
    )
    assert report.input_shape == ("batch", 3, "height", "width")
    options = {"score_threshold": LOW, "max_detections": 50}
    for shape in ((96, 128), (64, 160)):  # free sizes follow the picture's
        picture = np.ascontiguousarray(np.resize(PICTURE, (*shape, 3)))
        wanted = network_model(network, imgsz=shape, **options)(picture)
        for found in yolokkn.load(content, imgsz=shape, **options)([picture, picture]):
            check_same(found, wanted)


def test_the_shapes_that_a_report_shows():
    network = fitted("yolovkkn2-p", "detect")
    shapes = {layout: dict(build_onnx(network, layout=layout)[1].outputs) for layout in EXPORT_LAYOUTS}
    anchors = sum((HW[0] // s) * (HW[1] // s) for s in (8, 16, 32))
    assert shapes["decoded"] == {"detections": (1, 6, anchors)}
    assert shapes["end2end"] == {"detections": (1, 300, 6)}
    assert shapes["deepstream"] == {"detections": (1, anchors, 6)}
    assert shapes["efficientnms"] == {
        "num_dets": (1, 1), "det_boxes": (1, 300, 4), "det_scores": (1, 300), "det_classes": (1, 300),
    }  # fmt: skip
    assert [shape[2:] for shape in shapes["raw"].values()] == [(12, 16), (6, 8), (3, 4)]


@pytest.mark.parametrize("layout", EXPORT_LAYOUTS)
def test_the_report_says_what_a_table_keeps_and_what_was_compared(layout):
    rule = Suppression(0.2, 0.6, 50)
    _, report = build_onnx(fitted("yolovkkn2-p", "detect"), layout=layout, suppression=rule, verify=False)
    lines = report.text().splitlines()
    if layout in ("end2end", "efficientnms"):
        assert "scores above 0.2, each with its best class alone, suppressed at IoU above 0.6, at most 50" in lines[-1]
    elif layout == "deepstream":
        assert "keeps every anchor with its best class alone" in lines[-1]
    else:
        assert lines[-1].startswith("largest difference to the network: ")
        return
    assert "AP measured of this file is lower" in lines[-1]
    assert lines[-2].startswith("largest difference to the network, in the decoded head before the table: ")


def test_the_file_says_what_it_suppresses():
    rule = Suppression(0.2, 0.5, 40)
    content, report = build_onnx(fitted("yolovkkn2-p", "detect"), layout="end2end", suppression=rule)
    metadata = yolokkn.load(content).backend.metadata
    assert {key: json.loads(metadata[key]) for key in ("nms", "conf", "iou", "max_det")} == {
        "nms": True, "conf": 0.2, "iou": 0.5, "max_det": 40,
    }  # fmt: skip
    assert report.outputs["detections"] == (1, 40, 6)


def test_raw_is_the_smallest_graph():
    from yolokkn.graph import parse_model

    network = fitted("yolovkkn2-p", "detect")
    nodes = {x: len(parse_model(build_onnx(network, layout=x)[0]).graph.node) for x in EXPORT_LAYOUTS}
    assert min(nodes, key=nodes.__getitem__) == "raw"


def test_a_table_of_other_boxes_is_not_written(monkeypatch):
    """The graph loses a row that the network has."""
    forward = EndToEndTable.forward

    def lossy(self, decoded):
        (table,) = forward(self, decoded)
        keep = np.ones((1, table.shape[1], 1), np.float32)
        keep[:, 1] = 0
        return (table * decoded.new_tensor(keep),)

    traced = onnx_verify.OnnxRuntimeBackend
    network, calls = fitted("yolovkkn2-p", "detect"), []

    def count(content, threads):
        calls.append(monkeypatch.setattr(EndToEndTable, "forward", forward))
        return traced(content, threads=threads)

    monkeypatch.setattr(EndToEndTable, "forward", lossy)
    monkeypatch.setattr(onnx_verify, "OnnxRuntimeBackend", count)
    with pytest.raises(ModelError, match="the tables of layout end2end must hold the network's detections"):
        build_onnx(network, layout="end2end", suppression=Suppression(score_threshold=LOW))


@pytest.mark.parametrize(
    ("name", "task", "layout", "words"),
    [
        ("yolovkkn2-p", "detect", "v8", "layout must be one of raw, decoded, end2end"),
        ("yolovkkn2-p", "segment", "efficientnms", "has room for boxes alone, and this is a network of task segment"),
        ("yolovkkn2-p", "pose", "deepstream", "take end2end"),
        ("yolovkkn-n", "segment", "raw", "must be of task detect, got segment; take decoded"),
    ],
)
def test_refuses(name, task, layout, words):
    with pytest.raises(ValueError, match=words):
        build_onnx(fitted(name, task), layout=layout)
