"""What is deployed says what the network says: in torch, by decode_boxes in NumPy, and as ONNX through the runtime."""

from __future__ import annotations

import io
import json
import warnings

import numpy as np
import pytest
import torch

import yolokkn
from tests.models.conftest import CASES, tiny, tiny_spec
from yolokkn.layouts import read_facts
from yolokkn.models import Deployable, build_model, decode_boxes, decode_keypoints, fuse

DECODED = [(name, task) for name, task in CASES if "kkn2" in name or task != "detect"]
RUN = [(name, task) for name in ("yolovkkn-n", "yolovkkn2-p") for task in ("detect", "segment-pose")]
RUN.append(("yolo-fastest-1.1", "detect"))


def export(module, hw, *, dynamic, opset=17):
    """Return the ONNX bytes of a Deployable, metadata and all, by way of the package's own writer of metadata."""
    import onnx

    axes = {"images": {0: "batch", **({2: "height", 3: "width"} if dynamic else {})}}
    axes.update({name: {0: "batch"} for name in module.output_names})
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", torch.jit.TracerWarning)  # nothing of the batch or the size may be frozen
        torch.onnx.export(
            module,
            (torch.rand(1, 3, *hw),),
            stream,
            dynamo=False,
            opset_version=opset,
            input_names=["images"],
            output_names=list(module.output_names),
            dynamic_axes=axes,
        )
    model = onnx.load_from_string(stream.getvalue())
    for key, value in module.metadata().items():
        model.metadata_props.add(key=key, value=value)
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("name", "task"), [(name, task) for name, task in CASES if task == "segment-pose" or "kkn" not in name]
)
def test_fusing_changes_nothing_but_the_speed(name, task):
    network = tiny(name, task).eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fused = fuse(network)
    images = torch.rand(2, 3, 64, 96)
    for wanted, got in zip(network.levels(images)[0], fused.levels(images)[0], strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-4 * max(1.0, wanted.abs().max().item()), rtol=0)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in fused.modules())
    assert not fused.training
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])


def expected(network, images):
    """Decode what a network gives in NumPy, in the order that Deployable promises."""
    out = network(images)
    boxes = decode_boxes(out).numpy()
    x1, y1, x2, y2 = np.moveaxis(boxes, -1, 0)
    scores = 1 / (1 + np.exp(-out.classes.numpy()))
    if out.objectness is not None:
        scores = scores / (1 + np.exp(-out.objectness.numpy()))[..., None]
    parts = [np.stack(((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1), -1), scores]
    if out.mask_coeffs is not None:
        parts.append(out.mask_coeffs.numpy())
    if out.keypoints is not None:
        parts.append(decode_keypoints(out).flatten(2).numpy())
    return np.concatenate(parts, -1).transpose(0, 2, 1)


@pytest.mark.parametrize("fixed", [False, True], ids=["any-size", "one-size"])
@pytest.mark.parametrize(("name", "task"), DECODED)
def test_decoded_rows_equal_the_specification(name, task, fixed):
    network = fuse(tiny(name, task))
    images = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        got = Deployable(network, (64, 96) if fixed else None)(images)
        np.testing.assert_allclose(got[0].numpy(), expected(network, images), atol=1e-3, rtol=1e-4)
    assert len(got) == (2 if task.startswith("segment") else 1)


@pytest.mark.parametrize("change", [{"reg_max": 1}, {"head_kind": "decoupled"}, {"block": "depthwise"}, {"reg_max": 5}])
def test_options_of_the_head_decode_as_well(change):
    network = fuse(tiny("yolovkkn2-p", "pose", **change))
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        got = Deployable(network)(images)[0].numpy()
        np.testing.assert_allclose(got, expected(network, images), atol=1e-3, rtol=1e-4)


def test_the_darknet_formula_of_an_anchor_network_decodes_as_well():
    network = fuse(tiny("yolovkkn-n", "segment", formula="darknet", scale_xy=(1.2, 1.1, 1.05)))
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        for size in (None, (64, 96)):
            got = Deployable(network, size)(images)[0].numpy()
            np.testing.assert_allclose(got, expected(network, images), atol=1e-2, rtol=1e-4)
    assert Deployable(tiny("yolovkkn-n", formula="darknet")).layout == "darknet"


@pytest.mark.parametrize(("name", "task"), CASES)
def test_the_metadata_are_read_as_they_are_meant(name, task):
    module = Deployable(build_model(tiny_spec(name, task)))
    facts = read_facts(module.metadata())
    spec = module.spec
    assert facts.layout == module.layout and facts.task == task and facts.class_names == spec.class_names
    assert facts.input_hw == (64, 96) and facts.stride == 32 and facts.producer == "yolokkn"
    assert facts.letterbox == "letterbox" and facts.keypoint_shape == spec.keypoint_shape
    assert (facts.anchors is not None) == (module.layout in ("v5-raw", "darknet"))
    assert json.loads(module.metadata()["names"]) == list(spec.class_names)


def boxes_of(network, image, threshold):
    """Decode every anchor's best class above a threshold; (N, 6) x1 y1 x2 y2 score class, best first."""
    images = torch.from_numpy(np.ascontiguousarray(image[..., ::-1])).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        rows = expected(network, images)[0].T
    classes = rows[:, 4 : 4 + network.spec.num_classes]
    cx, cy, w, h = rows[:, :4].T
    table = np.stack((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, classes.max(1), classes.argmax(1)), 1)
    table = table[table[:, 4] > threshold]
    return table[np.argsort(-table[:, 4], kind="stable")]


@pytest.mark.parametrize(("name", "task"), RUN)
@pytest.mark.parametrize("dynamic", [False, True], ids=["one-size", "any-size"])
def test_onnx_through_the_runtime_gives_the_boxes_of_the_network(name, task, dynamic):
    network = tiny(name, task, num_classes=2).eval()
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    every = boxes_of(network, image, 0)[:, 4]
    threshold = float(every[40] + every[39]) / 2
    module = Deployable(network, None if dynamic else (64, 96))
    model = yolokkn.load(
        export(module, (64, 96), dynamic=dynamic), score_threshold=threshold, iou_threshold=1.0, imgsz=(64, 96)
    )
    found = model(image)
    wanted = boxes_of(network, image, threshold)
    assert len(found) == 40 == len(wanted)
    np.testing.assert_allclose(found.scores, wanted[:, 4], atol=1e-4)
    clipped = wanted[:, :4].clip(0, [96, 64, 96, 64])
    order = np.lexsort(np.round(clipped, 1).T)
    np.testing.assert_allclose(np.sort(found.boxes, 0), np.sort(clipped[order], 0), atol=0.05)
    assert (found.keypoints is not None) == (found.masks is not None) == (task == "segment-pose")


@pytest.mark.parametrize(("name", "task", "opset"), [("yolovkkn-n", "segment", 17), ("yolovkkn2-p", "pose", 13)])
def test_one_graph_serves_any_batch_and_size(name, task, opset):
    import onnxruntime

    module = Deployable(tiny(name, task))
    session = onnxruntime.InferenceSession(export(module, (64, 96), dynamic=True, opset=opset))
    for shape in ((1, 3, 64, 96), (3, 3, 96, 32)):
        images = torch.rand(shape)
        with torch.inference_mode():
            wanted = module(images)
        for a, b in zip(session.run(None, {"images": images.numpy()}), wanted, strict=True):
            np.testing.assert_allclose(a, b.numpy(), atol=1e-2, rtol=1e-3)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"Deployable: imgsz must be multiples of 32, got 100x96"):
        Deployable(tiny("yolovkkn2-p"), (100, 96))
