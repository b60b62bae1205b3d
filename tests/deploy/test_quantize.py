"""Int8 graphs: every network of the project and real files, on each backend, against the float32 original."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest

import yolokkn
from tests.deploy.networks import CASES, HW, PICTURE, fitted
from tests.deploy.test_half_graph import check_tensorrt_reads, graph_of
from yolokkn.deploy import build_onnx, calibration_feeds, plan_layers, quantize_int8, to_half
from yolokkn.deploy.accuracy import AccuracyDelta, SpeedRatio, compare_accuracy, compare_speed
from yolokkn.deploy.onnx_check import check_onnx
from yolokkn.deploy.onnx_package import import_onnx
from yolokkn.errors import MissingDependencyError, ModelError
from yolokkn.graph import darknet_to_onnx, model_cost, parse_model
from yolokkn.graph.onnx_file import tensor_array
from yolokkn.runtime.backends import open_backend

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
SQUARE = np.random.default_rng(7).integers(0, 255, (*HW, 3), np.uint8)


def feeds_for(content, **options):
    model = yolokkn.load(content, **options)
    return [model.workspace().feeds(picture) for picture in (PICTURE, SQUARE)]


def producers_of_inputs(content):
    """For every convolution the kind of node that makes its input."""
    graph = parse_model(content).graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    return {node.name: makers.get(node.input[0], "") for node in graph.node if node.op_type == "Conv"}


def agreement(wanted, got):
    """Correlation of every number of the raw outputs."""
    return min(np.corrcoef(wanted[name].ravel(), got[name].ravel())[0, 1] for name in wanted)


def check_int8(content, target, feeds, least=0.95, backends=("onnxruntime",), **options):
    int8 = quantize_int8(content, feeds, target=target, **options)
    before, after = parse_model(content), parse_model(int8)
    onnx.checker.check_model(int8)
    hw = next(iter(feeds[0].values())).shape[2:]
    cost, was = model_cost(after, hw), model_cost(before, hw)
    assert cost.gflops == was.gflops is not None and cost.parameters == was.parameters, (cost, was)
    assert after.metadata == before.metadata and after.producer == before.producer
    assert (after.inputs, after.outputs) == (before.inputs, before.outputs)
    assert after.opset == max(before.opset, 13) and after.ir_version <= 10
    assert {opset.domain for opset in after.proto.opset_import} == {""}
    plan = plan_layers(content, **options)
    makers = producers_of_inputs(int8)
    assert plan.quantized and {makers[name] for name in plan.quantized} == {"DequantizeLinear"}
    head = [name for name, why in plan.kept.items() if why == "a last layer before the outputs"]
    int8_weights = {
        tensor.name for tensor in after.graph.initializer if tensor.data_type == 3 and len(tensor.dims) == 4
    }
    assert head and len(int8_weights) == len(plan.quantized)
    wanted = open_backend("onnxruntime", content, threads=1).run(feeds[0])
    for backend in backends:
        got = open_backend(backend, int8, threads=1).run(feeds[0])
        assert agreement(wanted, got) > least, backend
    return int8


@pytest.mark.parametrize(
    ("case", "target"), [*((case, "tensorrt") for case in CASES), *((case, "cpu") for case in CASES[:2])], ids=str
)
def test_every_network_of_the_project(case, target):
    content = build_onnx(fitted(*case), verify=False)[0]
    int8 = check_int8(content, target, feeds_for(content), least=0.9)
    assert len(int8) < 0.4 * len(content)
    if target == "tensorrt":
        check_tensorrt_reads(int8)


def test_half_weights_and_free_sizes_are_quantised_alike():
    content = build_onnx(fitted("yolovkkn2-p", "detect"), half=True, batch=None, dynamic_hw=True, verify=False)[0]
    feeds = feeds_for(content, imgsz=HW)
    feeds.append({"images": np.random.default_rng(0).random((1, 3, 64, 160), np.float32)})  # another size in between
    check_int8(content, "cpu", feeds)


def test_openvino_runs_those_for_cpus():
    pytest.importorskip("openvino", reason="openvino is not installed")
    content = build_onnx(fitted("yolovkkn2-p", "segment"), verify=False)[0]
    check_int8(content, "cpu", feeds_for(content), least=0.9, backends=("openvino",))


def test_the_kinds_of_numbers_of_each_target():
    """TensorRT: symmetric int8, no int32 anywhere. CPUs: uint8, the picture's numbers within 7 bits of it."""
    content = build_onnx(fitted("yolovkkn2-p", "detect"), verify=False)[0]
    for target, points in (("tensorrt", {3}), ("cpu", {2, 3, 6})):
        graph = parse_model(quantize_int8(content, feeds_for(content), target=target)).graph
        tensors = {tensor.name: tensor for tensor in graph.initializer}
        quantised = [n for n in graph.node if n.op_type == "DequantizeLinear"]
        assert {tensors[node.input[2]].data_type for node in quantised} == points
        weights = [
            tensors[n.input[0]] for n in quantised if n.input[0] in tensors and len(tensors[n.input[0]].dims) == 4
        ]
        values = np.concatenate([np.frombuffer(tensor.raw_data, np.int8) for tensor in weights])
        assert np.abs(values.astype(int)).max() == 127
        if target == "tensorrt":
            assert all(not np.any(np.frombuffer(tensors[n.input[2]].raw_data, np.int8)) for n in quantised)
        first = next(node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == "images")
        scale = tensor_array(tensors[first.input[1]])
        assert scale == pytest.approx(1 / 127, rel=0.03), "pictures have numbers from 0 to 1"


def test_the_same_pictures_give_the_same_bytes():
    content = build_onnx(fitted("yolovkkn2-p", "detect"), verify=False)[0]
    assert quantize_int8(content, feeds_for(content)) == quantize_int8(content, feeds_for(content))


def test_layers_are_left_for_a_reason():
    weights = np.random.default_rng(0).random((8, 1, 3, 3), np.float32)
    content = graph_of(np.ones((8, 3, 1, 1), np.float32), middle=weights)
    plan = plan_layers(content)
    assert plan.quantized == ("first",)
    assert plan.kept == {"middle": "a depthwise convolution", "boxes": "a last layer before the outputs"}
    assert "  1: a depthwise convolution: middle" in plan.text().splitlines()
    assert plan_layers(content, depthwise=True).quantized == ("first", "middle")
    assert plan_layers(content, depthwise=True, protect=["first"]).kept["first"] == "asked for"
    feeds = [{"images": np.random.default_rng(1).random((1, 3, 8, 8), np.float32)}]
    for depthwise in (False, True):
        check_int8(content, "tensorrt", feeds, depthwise=depthwise)


def test_wrong_arguments_and_other_files_are_refused(monkeypatch):
    content = build_onnx(fitted("yolovkkn2-p", "detect"), verify=False)[0]
    feeds = feeds_for(content)
    for options, said in (
        ({"target": "cup"}, "target must be one of tensorrt, cpu, got 'cup'; did you mean cpu"),
        ({"method": "mean"}, "method must be one of mse, minmax, percentile"),
        ({"protect": ["/stem/Con"]}, "protect must name layers of model, got '/stem/Con'"),
    ):
        with pytest.raises(ValueError, match=said):
            quantize_int8(content, feeds, **options)
    with pytest.raises(
        ValueError, match="feeds must hold a picture at least, got none; a calibration needs real pictures"
    ):
        quantize_int8(content, [])
    with pytest.raises(ModelError, match="must be a float32 model, got an int8 one"):
        quantize_int8(quantize_int8(content, feeds), feeds)
    with pytest.raises(ModelError, match="must have float32 convolutions before its last layers, got none"):
        quantize_int8(to_half(content), feeds)
    model = parse_model(content)
    model.proto.opset_import[0].version = 19
    with pytest.raises(ModelError, match="must have opset 7 to 18, got 19"):
        quantize_int8(model.to_bytes(), feeds)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(
        MissingDependencyError, match=r"the package onnx must be installed; run: pip install 'yolokkn\[qu"
    ):
        quantize_int8(content, feeds)


def test_nothing_is_printed_or_logged(capfd, caplog):
    content = build_onnx(fitted("yolovkkn2-p", "detect"), verify=False)[0]
    capfd.readouterr()
    with caplog.at_level(logging.WARNING):
        quantize_int8(content, feeds_for(content))
    assert capfd.readouterr() == ("", "") and not caplog.records


def test_darknet_models(shared_data):
    cfg = shared_data / "weights" / "yolo-fastest" / "yolo-fastest-1.1_coco__yolo-fastest-1.1.cfg"
    content = darknet_to_onnx(cfg, cfg.with_suffix(".weights"))
    feeds = list(calibration_feeds(yolokkn.load(content), shared_data / "coco" / "train2017", 8))
    for target in ("tensorrt", "cpu"):
        check_int8(content, target, feeds)


@pytest.fixture(scope="module")
def yolox(shared_data):
    content = (shared_data / "weights" / "yolox" / "yolox_nano.onnx").read_bytes()
    return content, list(calibration_feeds(yolokkn.load(content), shared_data / "coco" / "train2017", 32))


@pytest.mark.slow
@pytest.mark.parametrize(("target", "backend"), [("tensorrt", "onnxruntime"), ("cpu", "openvino")])
def test_yolox_nano_loses_at_most_a_hundredth_of_ap(yolox, shared_data, target, backend):
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    content, feeds = yolox
    int8 = check_int8(content, target, feeds)
    if target == "tensorrt":
        check_tensorrt_reads(int8)
    coco = shared_data / "coco"
    annotations = coco / "annotations" / "instances_val2017.json"
    delta = compare_accuracy(content, int8, annotations, coco / "val2017", backend=backend, iou_threshold=0.65)
    assert delta.num_images == 206 and delta.ap_before == pytest.approx(0.2918, abs=0.0005)
    assert -0.01 <= delta.delta < 0.01, delta


def test_both_are_timed_on_every_backend_that_is_installed():
    content = build_onnx(fitted("yolovkkn2-p", "detect"), verify=False)[0]
    ratios = compare_speed(content, content, num_runs=3, threads=1)
    assert ratios[0].backend == "onnxruntime"
    assert all(ratio.before_ms > 0 and ratio.after_ms > 0 and ratio.ratio > 0 for ratio in ratios)


def test_what_people_read_says_when_nothing_is_gained():
    slower = SpeedRatio("onnxruntime", 10.0, 12.0).text()
    assert slower.endswith("10.0 ms -> 12.0 ms, 0.83 times as fast; it is NOT faster on this CPU")
    assert SpeedRatio("openvino", 10.0, 5.0).text() == "openvino: 10.0 ms -> 5.000 ms, 2.00 times as fast"
    equal = SpeedRatio("onnxruntime", 79.1, 80.1, (0.95, 1.06)).text()
    assert "0.99 times as fast (half of the pairs: 0.95 to 1.06); no difference that this measurement can tell" in equal
    assert "NOT" not in equal and "1.08 times as fast" in SpeedRatio("openvino", 79.8, 74.2).text()
    text = AccuracyDelta("bbox", 206, "onnxruntime", 0.29164, 0.29106, 0.17756, 0.17764).text()
    assert text.startswith("AP 0.2916 -> 0.2911 (-0.0005), AP50 0.1776 -> 0.1776 (+0.0000): bbox")
    text = AccuracyDelta("bbox", 206, "onnxruntime", 0.2918, 0.2887, 0.4569, 0.4504).text()
    assert text.startswith("AP 0.2918 -> 0.2887 (-0.0031), AP50 0.4569 -> 0.4504 (-0.0065): bbox on 206 pictures")


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (ImportError("no onnx"), "must be installed; run: pip install 'yolokkn"),
        (
            RuntimeError("gencode 6.31.1 runtime 5.29.6\nmore"),
            r"cannot be imported \(gencode 6.31.1 runtime 5.29.6\); run: pip",
        ),
    ],
)
def test_an_onnx_package_that_does_not_start_is_said_in_a_line(raised, said, monkeypatch):
    """Protobuf older than onnx's code is such a case; what only checks goes on without."""
    real = __import__

    def fail(name, *args, **options):
        if name.partition(".")[0] == "onnx":
            raise raised
        return real(name, *args, **options)

    monkeypatch.setattr("builtins.__import__", fail)
    with pytest.raises(MissingDependencyError, match=f"^f: the package onnx {said}"):
        import_onnx("f")
    assert check_onnx(b"nothing", "f") is False
