"""darknet files as torch modules: equal to the ONNX that the graph package writes, to OpenCV, and to our own presets."""

from __future__ import annotations

import cv2
import numpy as np
import onnxruntime
import pytest
import torch

from tests.graph.darknet_families import FAMILIES
from tests.graph.darknet_models import EVERY_LAYER, TINY, write_model
from tests.models.conftest import tiny_spec
from yolokkn.errors import ModelError
from yolokkn.graph import darknet_to_onnx
from yolokkn.graph.darknet_cfg import read_cfg
from yolokkn.graph.darknet_layers import plan_network
from yolokkn.models import (
    Deployable,
    ModelSpec,
    build_model,
    from_darknet,
    fuse,
    load_darknet_weights,
    preset,
    to_darknet,
)

NAMES80 = tuple(str(i) for i in range(80))
BODY_ANCHORS = (((7, 17), (20, 50), (45, 99)), ((64, 187), (123, 211), (227, 264)))

FILES = {  # file: the preset of the same layers, its classes, its anchors where they are not the preset's
    "yolo-fastest-1.0_coco__yolo-fastest": ("yolo-fastest-1.0", 80, {}),
    "yolo-fastest-1.0_coco__yolo-fastest-xl": ("yolo-fastest-1.0-xl", 80, {}),
    "yolo-fastest-1.1_coco__yolo-fastest-1.1": ("yolo-fastest-1.1", 80, {}),
    "yolo-fastest-1.1_coco__yolo-fastest-1.1-xl": ("yolo-fastest-1.1-xl", 80, {}),
    "yolo-fastest-1.1_body__yolo-fastest-1.1_body": ("yolo-fastest-1.1", 1, {"anchors": BODY_ANCHORS}),
}


def levels(network, images):
    with torch.inference_mode():
        return [level.numpy() for level in network.eval().levels(torch.from_numpy(images))[0]]


def onnx_levels(cfg, images, weights=None):
    model = darknet_to_onnx(cfg, weights)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})


def check_equal(got, wanted, atol=2e-4):
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=atol, rtol=0)


@pytest.fixture(params=FILES)
def files(request, shared_data):
    stem = shared_data / "weights" / "yolo-fastest" / request.param
    return stem.with_name(stem.name + ".cfg"), stem.with_name(stem.name + ".weights"), *FILES[request.param]


def test_real_files_give_what_their_onnx_gives(files):
    cfg, weights, *_ = files
    network = from_darknet(cfg, weights)
    images = np.random.default_rng(0).random((1, 3, 320, 320), dtype=np.float32)
    wanted = onnx_levels(cfg, images)
    check_equal(levels(network, images), wanted)
    check_equal(levels(fuse(network), images), wanted)
    wide = np.random.default_rng(1).random((2, 3, 96, 160), dtype=np.float32)
    assert [a.shape[2:] for a in levels(network, wide)] == [(3, 5), (6, 10)]


@pytest.mark.skipif(not hasattr(cv2.dnn, "readNetFromDarknet"), reason="OpenCV 5 has no darknet importer")
def test_real_files_give_what_opencv_gives(files):
    cfg, weights, *_ = files
    net = cv2.dnn.readNetFromDarknet(str(cfg), str(weights))
    names = net.getLayerNames()
    before = [f"_{int(name.split('_')[1]) - 1}" for name in names if name.startswith("yolo")]
    raw = [next(n for n in names if n.startswith("conv") and n.endswith(end)) for end in before]
    images = np.random.default_rng(2).random((1, 3, 320, 320), dtype=np.float32)
    net.setInput(images)
    check_equal(levels(from_darknet(cfg, weights), images), net.forward(raw))


def described(plan):
    """List what a network's layers do, apart from how its file says it."""
    rows = []
    for layer in plan.layers:
        settings = layer.settings
        if layer.kind == "yolo":
            settings = (settings.anchors, settings.num_classes, settings.scale_xy)
        if layer.kind == "dropout":
            settings = float(layer.section.text("probability", "0.5"))
        rows.append((layer.kind, layer.sources, layer.shape, settings))
    return rows


def test_our_presets_have_the_layers_of_the_files_and_take_their_weights(files):
    cfg, weights, name, num_classes, values = files
    network = build_model(preset(name, NAMES80[:num_classes], **values))
    assert described(network.plan) == described(plan_network(read_cfg(cfg)))
    load_darknet_weights(network, weights)
    images = np.random.default_rng(3).random((1, 3, 320, 320), dtype=np.float32)
    check_equal(levels(network, images), onnx_levels(cfg, images))
    # the file's header holds a version and the images seen; all numbers behind it are the same bytes
    assert to_darknet(network)[1][20:] == weights.read_bytes()[20:]


@pytest.mark.parametrize("name", ["yolov3", "yolov3-tiny"])
def test_yolov3_has_the_layers_that_were_published(tmp_path, name):
    text, file_bytes = FAMILIES[name]
    (tmp_path / "x.cfg").write_text(text(416))
    wanted = described(plan_network(read_cfg(tmp_path / "x.cfg")))
    with torch.device("meta"):
        network = build_model(preset(name, NAMES80))
    got = described(network.plan)
    assert [row for row in got if row[0] != "yolo"] == [row for row in wanted if row[0] != "yolo"]
    assert [row[:3] for row in got] == [row[:3] for row in wanted]
    statistics = sum(b.numel() for key, b in network.named_buffers() if "running" in key)
    assert file_bytes in (
        16 + 4 * (network.num_parameters + statistics),
        20 + 4 * (network.num_parameters + statistics),
    )
    assert network.num_parameters == {"yolov3": 61_949_149, "yolov3-tiny": 8_852_366}[name]
    assert network.head.strides == ((32, 16, 8) if name == "yolov3" else (32, 16))
    assert network.head.anchors[0][-1] == ((373, 326) if name == "yolov3" else (344, 319))


def test_every_kind_of_layer_equals_its_onnx(tmp_path):
    cfg = write_model(tmp_path, EVERY_LAYER)
    network = from_darknet(cfg, cfg.with_suffix(".weights"))
    _, height, width = network.plan.input_shape
    images = np.random.default_rng(4).random((2, 3, height, width), dtype=np.float32)
    check_equal(levels(network, images), onnx_levels(cfg, images), atol=1e-4)
    assert to_darknet(network)[1][20:] == cfg.with_suffix(".weights").read_bytes()[20:]


@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(2, 1, None), (2, 2, None), (3, 2, None), (5, 1, 3), (3, 2, 1), (4, 3, 5)]
)
@pytest.mark.parametrize("side", [26, 28])
def test_pooling_pads_as_darknet_does(tmp_path, size, stride, padding, side):
    pool = f"[maxpool]\nsize={size}\nstride={stride}\n" + ("" if padding is None else f"padding={padding}\n")
    text = TINY.replace("=32", f"={side}").replace("[yolo]", f"{pool}[avgpool]\n[yolo]")
    cfg = write_model(tmp_path, text)
    images = np.random.default_rng(5).standard_normal((1, 3, side, side)).astype(np.float32)
    check_equal(levels(from_darknet(cfg, cfg.with_suffix(".weights")), images), onnx_levels(cfg, images), atol=1e-4)


def test_a_spec_rebuilds_the_network_and_weights_travel_through_darknet(tmp_path):
    network = build_model(tiny_spec("yolov3-tiny", scale_xy=(1.05, 1.2)))
    assert network.head.scale_xy == (1.2, 1.05)
    network.train()(torch.rand(2, 3, 64, 96))
    text, weights = to_darknet(network)
    (tmp_path / "own.cfg").write_text(text)
    (tmp_path / "own.weights").write_bytes(weights)
    again = from_darknet(tmp_path / "own.cfg", tmp_path / "own.weights")
    assert again.spec.letterbox == "stretch" and again.spec.imgsz == (64, 96)
    assert again.head == network.head
    images = np.random.default_rng(6).random((1, 3, 64, 96), dtype=np.float32)
    check_equal(levels(again, images), levels(network, images), atol=0)
    check_equal(onnx_levels(tmp_path / "own.cfg", images), levels(network, images))
    rebuilt = build_model(ModelSpec.from_json(again.spec.to_json()))
    rebuilt.load_state_dict(again.state_dict())
    check_equal(levels(rebuilt, images), levels(network, images), atol=0)


def test_deployed_it_is_the_darknet_layout():
    network = build_model(tiny_spec("yolo-fastest-1.1"))
    module = Deployable(network)
    assert module.layout == "darknet" and module.output_names == ("head_0", "head_1")
    images = np.random.default_rng(7).random((1, 3, 64, 96), dtype=np.float32)
    with torch.inference_mode():
        got = [x.numpy() for x in module(torch.from_numpy(images))]
    check_equal(got, levels(network, images))


def test_files_that_do_not_fit_are_refused(tmp_path):
    cfg = write_model(tmp_path, TINY)
    with pytest.raises(ModelError, match="no such file"):
        from_darknet(tmp_path / "none.cfg")
    weights = cfg.with_suffix(".weights")
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(ModelError, match="must hold the"):
        from_darknet(cfg, weights)
    spec = from_darknet(cfg).spec
    with pytest.raises(ValueError, match="class_names must be as many as the classes of the cfg"):
        build_model(ModelSpec("darknet", (*spec.class_names, "more"), imgsz=spec.imgsz, cfg=spec.cfg))
    with pytest.raises(ValueError, match="must have its batch normalizations, got a fused one"):
        to_darknet(fuse(build_model(tiny_spec("yolov3-tiny"))))
    with pytest.raises(ValueError, match=r"anchors must be one entry a level \(2\)"):
        build_model(preset("yolov3-tiny", ["a"], anchors=BODY_ANCHORS[:1]))
    with pytest.raises(ValueError, match=r"variant must be one of '1.0', .* got '2'"):
        preset("yolo-fastest-1.0", ["a"], variant="2")
    with pytest.raises(ValueError, match="task must be detect for family yolov3"):
        preset("yolov3", ["a"], "segment")
