"""darknet models converted to ONNX against an independent NumPy forward pass, and against OpenCV where it still can."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from tests.graph import darknet_reference
from tests.graph.darknet_families import FAMILIES
from tests.graph.darknet_models import EVERY_LAYER, TINY, write_model
from yolokkn.errors import ModelError
from yolokkn.graph import darknet_to_onnx, find_names, model_cost, parse_model
from yolokkn.graph.darknet_cfg import read_cfg
from yolokkn.graph.darknet_layers import plan_network

YOLO_FASTEST = (
    "yolo-fastest-1.0_coco__yolo-fastest",
    "yolo-fastest-1.0_coco__yolo-fastest-xl",
    "yolo-fastest-1.1_coco__yolo-fastest-1.1",
    "yolo-fastest-1.1_coco__yolo-fastest-1.1-xl",
    "yolo-fastest-1.1_body__yolo-fastest-1.1_body",
)


def run(model: bytes, images: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})


def check_against_reference(cfg: Path, weights: Path) -> None:
    model = darknet_to_onnx(cfg, weights)
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    shape = parse_model(model).inputs[0].shape
    image = np.random.default_rng(1).random(shape[1:], dtype=np.float32)
    expected = darknet_reference.forward(cfg.read_text(), darknet_reference.floats_of(weights), image)
    got = run(model, image[None])
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert a.shape == (1, *b.shape)
        np.testing.assert_allclose(a[0], b, atol=1e-4, rtol=0)


def test_every_layer_equals_the_reference(tmp_path):
    cfg = write_model(tmp_path, EVERY_LAYER)
    check_against_reference(cfg, cfg.with_suffix(".weights"))


@pytest.mark.parametrize(
    "size,stride,padding", [(2, 1, None), (2, 2, None), (3, 2, None), (5, 1, 3), (3, 2, 1), (4, 3, 5)]
)
def test_maxpool_pads_as_darknet_does(tmp_path, size, stride, padding):
    pool = f"[maxpool]\nsize={size}\nstride={stride}\n" + ("" if padding is None else f"padding={padding}\n")
    # 13 x 13 before the pooling; the average makes one cell of whatever comes after it
    text = TINY.replace("=32", "=26").replace("[yolo]", f"{pool}[avgpool]\n[yolo]")
    cfg = write_model(tmp_path, text)
    check_against_reference(cfg, cfg.with_suffix(".weights"))


@pytest.mark.parametrize("filters", [3, 6, 9])
def test_a_shortcut_adds_the_channels_that_both_have(tmp_path, filters):
    extra = f"[convolutional]\nfilters={filters}\nsize=1\nactivation=linear\n[route]\nlayers=0\n[shortcut]\nfrom=-2\n"
    cfg = write_model(tmp_path, TINY.replace("[yolo]", f"{extra}activation=leaky\n[yolo]"))
    check_against_reference(cfg, cfg.with_suffix(".weights"))


@pytest.mark.parametrize("name", YOLO_FASTEST)
def test_yolo_fastest_equals_the_reference_on_a_small_image(shared_data, tmp_path, name):
    folder = shared_data / "weights" / "yolo-fastest"
    text = re.sub(r"(?m)^(width|height)=.*", r"\1=64", (folder / f"{name}.cfg").read_text())
    (tmp_path / "small.cfg").write_text(text)
    check_against_reference(tmp_path / "small.cfg", folder / f"{name}.weights")


@pytest.mark.skipif(not hasattr(cv2.dnn, "readNetFromDarknet"), reason="OpenCV 5 has no darknet importer")
@pytest.mark.parametrize("name", YOLO_FASTEST)
def test_yolo_fastest_equals_opencv_at_full_size(shared_data, name):
    stem = str(shared_data / "weights" / "yolo-fastest" / name)
    net = cv2.dnn.readNetFromDarknet(f"{stem}.cfg", f"{stem}.weights")
    layers = net.getLayerNames()
    before = [f"_{int(layer.split('_')[1]) - 1}" for layer in layers if layer.startswith("yolo")]
    raw = [next(n for n in layers if n.startswith("conv") and n.endswith(end)) for end in before]
    images = np.random.default_rng(2).random((1, 3, 320, 320), dtype=np.float32)
    net.setInput(images)
    for a, b in zip(run(darknet_to_onnx(f"{stem}.cfg"), images), net.forward(raw), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_published_networks_take_the_floats_of_their_published_weights(tmp_path, name):
    cfg, file_bytes = FAMILIES[name]
    (tmp_path / "model.cfg").write_text(cfg(416))
    network = plan_network(read_cfg(tmp_path / "model.cfg"))
    floats = sum(layer.settings.num_floats for layer in network.layers if layer.kind == "convolutional")
    assert file_bytes in (16 + 4 * floats, 20 + 4 * floats)
    assert sorted(network.layers[i].shape for i in network.heads) == [
        (255, s, s) for s in (13, 26, 52)[: len(network.heads)]
    ]


def test_yolov4_tiny_equals_the_reference(tmp_path):
    cfg = write_model(tmp_path, FAMILIES["yolov4-tiny"][0](64))
    check_against_reference(cfg, cfg.with_suffix(".weights"))
    cfg.write_text(FAMILIES["yolov4-tiny"][0](416))
    assert model_cost(parse_model(darknet_to_onnx(cfg))).gflops == pytest.approx(6.9, abs=0.05)  # as its authors say


def test_a_batch_gives_each_image_its_own_result(tmp_path):
    model = darknet_to_onnx(write_model(tmp_path, EVERY_LAYER))
    images = np.random.default_rng(3).random((3, 3, 32, 64), dtype=np.float32)
    for whole, *single in zip(run(model, images), *(run(model, image[None]) for image in images), strict=True):
        np.testing.assert_allclose(whole, np.concatenate(single), atol=1e-5, rtol=0)


def test_the_metadata_say_how_to_decode(tmp_path):
    model = parse_model(darknet_to_onnx(write_model(tmp_path, EVERY_LAYER), names=["cat", "dög"]))
    metadata = model.metadata
    assert metadata["layout"] == "darknet" and metadata["task"] == "detect" and metadata["letterbox"] == "stretch"
    assert json.loads(metadata["names"]) == ["cat", "dög"]
    assert json.loads(metadata["imgsz"]) == [32, 64] and json.loads(metadata["stride"]) == 8
    assert json.loads(metadata["anchors"]) == [[[5.5, 6], [7, 8]], [[1, 2], [3, 4]]]
    assert json.loads(metadata["scale_xy"]) == [1.05, 1.0]
    assert metadata["producer"] == "yolokkn" and model.producer.startswith("yolokkn ")
    assert [o.name for o in model.outputs] == ["yolo_0", "yolo_1"]
    assert model.inputs[0].shape == ("batch", 3, 32, 64) and model.outputs[0].shape == ("batch", 14, 4, 8)
    assert model.opset <= 18 and model.ir_version <= 10
    ops = {node.op_type for node in model.graph.node}
    assert "BatchNormalization" not in ops and "Identity" not in ops


def test_the_cost_of_a_converted_model_is_hand_countable(tmp_path):
    cost = model_cost(parse_model(darknet_to_onnx(write_model(tmp_path, TINY))))
    assert cost.parameters == 6 + 6 * 27 + 6 + 36
    assert cost.gflops == 2 * (16 * 16 * 6 * 27 + 16 * 16 * 6 * 6) / 1e9


def test_two_heads_may_read_one_layer(tmp_path):
    head = TINY[TINY.index("[yolo]") :]
    cfg = write_model(tmp_path, TINY + "[route]\nlayers=-2\n" + head)
    check_against_reference(cfg, cfg.with_suffix(".weights"))


@pytest.mark.parametrize("version", [(0, 1), (0, 2), (0, 5), (1, 0), (2, 5)])
def test_both_headers_are_read(tmp_path, version):
    cfg = write_model(tmp_path, TINY, version=version)
    check_against_reference(cfg, cfg.with_suffix(".weights"))


def test_names_are_found_only_by_convention(tmp_path):
    cfg = write_model(tmp_path, TINY)
    assert find_names(cfg) is None
    (tmp_path / "coco.names").write_text("person\n")
    assert find_names(cfg) is None
    assert json.loads(parse_model(darknet_to_onnx(cfg)).metadata["names"]) == ["0"]
    (tmp_path / "model.data").write_text("classes= 1\nnames = ./coco.names\nbackup = model\n")
    assert find_names(cfg) == ("person",)
    (tmp_path / "model.names").write_text("body\r\n\r\n")
    assert find_names(cfg) == ("body",)
    assert json.loads(parse_model(darknet_to_onnx(cfg)).metadata["names"]) == ["body"]
    (tmp_path / "model.names").write_text("a\nb\n")
    with pytest.raises(ModelError, match=r"must be as many as its classes \(1\), got 2; pass names"):
        darknet_to_onnx(cfg)
    with pytest.raises(ValueError, match=r"names must be as many as the classes \(1\), got 2"):
        darknet_to_onnx(cfg, names=["a", "b"])


def test_names_outside_the_folder_are_not_followed(tmp_path):
    outside = tmp_path / "secret.names"
    outside.write_text("secret\n")
    folder = tmp_path / "models"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "x.names").write_text("secret\n")
    cfg = write_model(folder, TINY)
    (folder / "link.names").symlink_to(outside)
    tries = [
        "../secret.names",
        str(outside),
        "sub/x.names",
        "..",
        ".",
        "",
        "..\\secret.names",
        "link.names",
        "a" * 5000,
    ]
    tries += ["./../secret.names", "sub/../../secret.names", "~/secret.names", "%2e%2e/secret.names", "/etc/passwd"]
    for name in tries:
        (folder / "model.data").write_text(f"names = {name}\n")
        assert find_names(cfg) is None, name
    (folder / "model.data").unlink()
    (folder / "model.names").symlink_to(outside)
    assert find_names(cfg) is None
