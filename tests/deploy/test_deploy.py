"""One network, four ways: torch, the checkpoint behind the runtime, the ONNX file, the ONNX file with half weights."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import yolokkn
from tests.deploy.networks import CASES, HW, PICTURE, fitted, save
from yolokkn.deploy import build_onnx, export_onnx, load_checkpoint_model, load_network, network_model, onnx_verify
from yolokkn.deploy import onnx_export as module
from yolokkn.errors import ModelError
from yolokkn.graph import parse_model, read_model
from yolokkn.models import decode_boxes
from yolokkn.training.checkpoint import save_checkpoint

LOW = 0.02


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case))
def network(request):
    return fitted(*request.param)


@pytest.fixture(scope="module")
def small():
    return fitted("yolovkkn2-p", "detect")


def check_same(found, wanted, atol_px=0.02):
    assert len(found) == len(wanted) > 0
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-4)
    np.testing.assert_allclose(found.boxes, wanted.boxes, atol=atol_px)
    assert found.class_ids.tolist() == wanted.class_ids.tolist()
    assert (found.masks is None) == (wanted.masks is None)
    if found.masks is not None:
        ours, theirs = found.masks.to_full(), wanted.masks.to_full()
        assert (ours != theirs).mean() < 1e-3
    assert (found.keypoints is None) == (wanted.keypoints is None)
    if found.keypoints is not None:
        np.testing.assert_allclose(found.keypoints, wanted.keypoints, atol=atol_px)


def test_the_same_numbers_from_torch_checkpoint_and_onnx(network, tmp_path):
    options = {"score_threshold": LOW, "max_detections": 50}
    wanted = network_model(network, **options)(PICTURE)
    assert (wanted.masks is not None) == ("segment" in network.spec.task)
    assert (wanted.keypoints is not None) == ("pose" in network.spec.task)
    save(network, tmp_path / "best.safetensors")
    model = load_checkpoint_model(tmp_path / "best.safetensors", **options)
    assert model.name == "best.safetensors" and model.class_names == ("person", "car")
    check_same(model(PICTURE), wanted, 0)
    report = export_onnx(network, tmp_path / "best.onnx")
    assert max(report.differences.values()) < 0.02 and report.num_half == 0
    exported = yolokkn.load(tmp_path / "best.onnx", **options)
    assert exported.layout.name == model.layout.name == report.layout
    assert exported.input_hw == model.input_hw == HW
    check_same(exported(PICTURE), wanted)


def test_the_boxes_are_those_that_the_losses_decode(network):
    """The best detection of the runtime is an anchor of `decode_boxes`, taken back through the letterbox by hand."""
    model = network_model(network, score_threshold=LOW, max_detections=5)
    square = np.random.default_rng(2).integers(0, 255, (*HW, 3), np.uint8)  # as large as the input: no letterbox
    found = model(square)
    images = torch.from_numpy(np.ascontiguousarray(square[:, :, ::-1].transpose(2, 0, 1))[None]).float() / 255
    with torch.no_grad():
        outputs = network(images)
        boxes = decode_boxes(outputs)[0].numpy()
        scores = outputs.classes.sigmoid()
        if outputs.objectness is not None:
            scores = scores * outputs.objectness.sigmoid()[..., None]
    best = int(scores[0].max(1).values.argmax())
    np.testing.assert_allclose(found.scores[0], float(scores[0].max()), atol=1e-4)
    low, high = np.zeros(4), np.array([HW[1], HW[0]] * 2)
    np.testing.assert_allclose(found.boxes[0], np.clip(boxes[best], low, high), atol=0.02)


def test_what_the_file_says(small, tmp_path):
    path = tmp_path / "a.onnx"
    report = export_onnx(small, path, summary={"epoch": 3, "AP": 0.5})
    model = read_model(path)
    assert (report.opset, report.ir_version) == (model.opset, model.ir_version) == (17, 8)
    assert report.num_bytes == path.stat().st_size
    assert model.producer.startswith("yolokkn ")
    assert json.loads(model.metadata["training"]) == {"epoch": 3, "AP": 0.5}
    assert model.metadata["version"] == yolokkn.__version__
    assert json.loads(model.metadata["names"]) == ["person", "car"]
    assert "Identity" not in {node.op_type for node in model.graph.node}
    assert not any(node.doc_string for node in model.graph.node)
    assert [t.shape for t in model.inputs] == [(1, 3, *HW)]
    assert report.text().startswith(f"{path}: ") and "largest difference" in report.text()
    assert b"/root" not in path.read_bytes() and b".py" not in path.read_bytes()


@pytest.mark.parametrize("options", [{"batch": None}, {"batch": 3}, {"opset": 11}, {"opset": 18}, {"dynamic_hw": True}])
def test_every_kind_of_file_gives_the_same(small, options):
    content, report = build_onnx(small, **options)
    assert max(report.differences.values()) < 0.02
    check_same(
        yolokkn.load(content, score_threshold=LOW, imgsz=HW)(PICTURE),
        network_model(small, score_threshold=LOW)(PICTURE),
    )


@pytest.mark.parametrize("case", [("yolovkkn-n", "detect"), ("yolovkkn-n", "segment"), ("yolovkkn2-p", "segment-pose")])
def test_free_sizes_are_free_and_named(case):
    content, report = build_onnx(fitted(*case), batch=None, dynamic_hw=True)
    model = parse_model(content)
    assert model.inputs[0].shape == ("batch", 3, "height", "width") == report.input_shape
    assert all(output.shape[0] == "batch" for output in model.outputs)
    sizes = [size for output in model.outputs for size in output.shape[2:]]
    assert all(isinstance(size, str) for size in sizes) and "batch" not in sizes
    runtime = yolokkn.load(content, score_threshold=LOW, imgsz=(160, 160))
    assert len(runtime(np.full((100, 300, 3), 90, np.uint8))) >= 0 and runtime.rectangular


@pytest.mark.parametrize("case", [("yolovkkn-n", "segment"), ("yolovkkn2-p", "detect")])
def test_half_weights_halve_the_file_and_little_else(case):
    network = fitted(*case)
    whole, _ = build_onnx(network)
    content, report = build_onnx(network, half=True)
    assert len(content) < 0.56 * len(whole)
    assert report.num_half > 20 and report.rounding.keys() == report.differences.keys()
    assert (
        max(report.differences.values()) < 0.02
    )  # to the network with rounded weights: the storing itself loses nothing
    dtypes = {spec.dtype for spec in yolokkn.load(content).backend.inputs + yolokkn.load(content).backend.outputs}
    assert dtypes == {"float32"}
    options = {"score_threshold": LOW, "max_detections": 5}
    found, wanted = yolokkn.load(content, **options)(PICTURE), yolokkn.load(whole, **options)(PICTURE)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=0.02)


def test_weights_beyond_half_stay_whole(small):
    import copy

    network = copy.deepcopy(small)
    first = next(m for m in network.modules() if isinstance(m, torch.nn.Conv2d))
    with torch.no_grad():
        first.weight[0, 0, 0, 0] = 1e6
    content, report = build_onnx(network, half=True, verify=False)
    _, all_half = build_onnx(small, half=True, verify=False)
    assert 0 < report.num_half <= all_half.num_half
    assert parse_model(content)


def test_a_file_that_gives_other_numbers_is_not_written(small, tmp_path, monkeypatch):
    path = tmp_path / "a.onnx"
    monkeypatch.setattr(onnx_verify, "TOLERANCE", 0.0)
    with pytest.raises(ModelError, match="export_onnx: output detections must equal the network's within 0 "):
        export_onnx(small, path)
    assert not list(tmp_path.iterdir())


def test_a_constant_that_the_tracer_froze_is_found(small, monkeypatch):
    """Traced at one size with the anchors of that size, and declared free: the second size gives it away."""
    frozen, trace = module.Deployable(small, HW), module._export
    monkeypatch.setattr(module, "_export", lambda network, *rest: trace(frozen, *rest))
    with pytest.raises(ModelError, match="the file does not run on 1 pictures of 96 x 64"):
        build_onnx(small, dynamic_hw=True)


def test_existing_files_and_wrong_arguments(small, tmp_path):
    path = tmp_path / "a.onnx"
    path.write_text("old")
    with pytest.raises(FileExistsError, match="exists already"):
        export_onnx(small, path)
    assert path.read_text() == "old"
    with pytest.raises(ValueError, match=r"path must end in \.onnx"):
        export_onnx(small, tmp_path / "a.pt")
    for options, said in (
        ({"opset": 19}, "opset must be 11 to 18"),
        ({"batch": 0}, "batch must be 1 to 1024"),
        ({"imgsz": (100, 100)}, "multiples of 32"),
        ({"summary": {"a": "x" * 200_000}}, "summary must have at most"),
    ):
        with pytest.raises(ValueError, match=said):
            build_onnx(small, **options)


def test_weights_must_be_those_of_the_network(small, tmp_path):
    path = tmp_path / "a.safetensors"
    tensors = {f"model/{name}": value for name, value in small.state_dict().items()}
    manifest = {"model": small.spec.to_dict()}
    first = next(name for name in tensors if name.endswith("weight"))
    for change, said in (
        ({first: None}, r"1 missing \("),
        ({"model/extra": torch.ones(1)}, r"1 unknown \(extra"),
        ({first: torch.ones(1)}, r"must have the shape .* got \(1,\)"),
        ({first: tensors[first].long()}, "must be of a kind with torch.float32, got torch.int64"),
        ({first: tensors[first] * np.nan}, "must be finite, got NaN or infinity"),
    ):
        changed = {k: v for k, v in {**tensors, **change}.items() if v is not None}
        save_checkpoint(path, changed, manifest)
        with pytest.raises(ModelError, match=said):
            load_network(path)
    save_checkpoint(path, tensors, {})
    with pytest.raises(ModelError, match="does not say which network"):
        load_network(path)
    save_checkpoint(path, tensors, {"model": small.spec.to_json()})
    assert load_network(path)[0].spec == small.spec
