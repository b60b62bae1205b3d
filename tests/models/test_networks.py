"""Every family and task: shapes, one type of output, gradients everywhere, sizes, priors."""

from __future__ import annotations

import copy
from dataclasses import fields

import pytest
import torch

from tests.models.conftest import CASES, TINY, tiny, tiny_spec
from yolokkn.models import HeadOutputs, build_model, decode_boxes, preset
from yolokkn.models.heads import prior_bias

NAMES80 = [str(i) for i in range(80)]


def tensors(outputs):
    named = {f.name: getattr(outputs, f.name) for f in fields(outputs)}
    return {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}


@pytest.mark.parametrize(("name", "task"), CASES)
def test_the_outputs_have_the_shapes_of_the_task(name, task):
    network = build_model(tiny_spec(name, task))
    out = network(torch.rand(2, 3, 64, 96))
    head = network.head
    per_cell = len(head.anchors[0]) if head.anchors else 1
    count = per_cell * sum((64 // s) * (96 // s) for s in head.strides)
    assert out.boxes.shape == (2, count, head.num_box_channels)
    assert out.classes.shape == (2, count, 3)
    assert (out.objectness is not None) == head.has_objectness
    if out.objectness is not None:
        assert out.objectness.shape == (2, count)
    assert (out.mask_coeffs is not None) == (out.prototypes is not None) == task.startswith("segment")
    if out.prototypes is not None:
        assert out.mask_coeffs.shape == (2, count, 32)
        assert out.prototypes.shape == (2, 32, 16, 24)
    assert (out.keypoints is not None) == task.endswith("pose")
    if out.keypoints is not None:
        assert out.keypoints.shape == (2, count, 17, 3)
    assert out.grid.input_hw == (64, 96) and out.spec is head
    assert decode_boxes(out).shape == (2, count, 4)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_training_and_evaluation_give_the_same_type(name, task):
    network = build_model(tiny_spec(name, task))
    images = torch.rand(1, 3, 64, 96)
    trained, evaluated = network.train()(images), network.eval()(images)
    assert type(trained) is type(evaluated) is HeadOutputs
    a, b = tensors(trained), tensors(evaluated)
    assert {k: v.shape for k, v in a.items()} == {k: v.shape for k, v in b.items()}


@pytest.mark.parametrize(("name", "task"), CASES)
def test_gradients_reach_every_parameter(name, task):
    network = tiny(name, task)
    sum(value.square().sum() for value in tensors(network(torch.rand(2, 3, 64, 96))).values()).backward()
    without = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without


@pytest.mark.parametrize("name", ["yolovkkn-n", "yolovkkn2-p", "yolo-fastest-1.1"])
def test_a_network_is_the_same_whatever_the_memory_format(name):
    network = tiny(name).eval()
    images = torch.rand(2, 3, 64, 96)
    wanted = network(images)
    last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    got = last(images.contiguous(memory_format=torch.channels_last))
    for key, value in tensors(wanted).items():
        torch.testing.assert_close(tensors(got)[key], value, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", TINY)
def test_autocast_and_other_sizes_work(name):
    network = tiny(name, "segment" if "kkn" in name else "detect")
    with torch.autocast("cpu", torch.bfloat16):
        out = network(torch.rand(1, 3, 32, 64))
    assert out.boxes.dtype == torch.bfloat16 and torch.isfinite(out.boxes).all()
    assert out.grid.input_hw == (32, 64)
    assert network(torch.rand(1, 3, 64, 64)).grid.input_hw == (64, 64)


def test_the_anchors_are_laid_out_once_per_size_and_usable_after_validation():
    network = tiny("yolovkkn-n")
    with torch.inference_mode():
        first = network(torch.rand(1, 3, 32, 64)).grid
    out = network(torch.rand(1, 3, 32, 64))
    assert out.grid is first
    decode_boxes(out).sum().backward()
    for side in range(1, 60):
        network.grid(((side, 1), (1, 1), (1, 1)), torch.device("cpu"))
    assert len(network._grids) <= 32


def test_torch_compile_captures_the_whole_network():
    network = tiny("yolovkkn2-p").eval()
    images = torch.rand(1, 3, 32, 32)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(decode_boxes(compiled(images)), decode_boxes(network(images)))


@pytest.mark.parametrize("shape", [(1, 3, 64, 70), (1, 1, 64, 64), (3, 64, 64), (1, 3, 40, 64)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"forward: .*images must"):
        build_model(tiny_spec("yolovkkn2-p"))(torch.rand(shape))


@pytest.mark.parametrize("name", TINY)
def test_an_untrained_network_expects_few_objects_and_boxes_of_sensible_size(name):
    network = build_model(tiny_spec(name, imgsz=(256, 256)))
    out = network(torch.rand(2, 3, 256, 256))
    scores = out.classes.sigmoid()
    if out.objectness is not None:
        scores = scores * out.objectness.sigmoid()[..., None]
    assert 0.5 < scores.sum().item() / 2 < 100
    sizes = decode_boxes(out)[..., 2:] - decode_boxes(out)[..., :2]
    assert (sizes > 4).all() and (sizes < 1000).all()


@pytest.mark.parametrize("name", TINY)
def test_the_prior_expects_as_many_objects_however_many_anchors_a_cell_has(name):
    head = build_model(tiny_spec(name)).head
    for level, stride in enumerate(head.strides):
        first = prior_bias(head, level, (256, 320))[head.num_box_channels].sigmoid().item()
        chance = first if head.has_objectness else first * head.num_classes / 0.6
        anchors = (256 // stride) * (320 // stride) * (len(head.anchors[level]) if head.anchors else 1)
        assert chance * anchors == pytest.approx(8, rel=1e-4)


COUNTS = {
    "yolovkkn-n": 1_872_157,
    "yolovkkn-s": 7_235_389,
    "yolovkkn-m": 21_190_557,
}


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_published_structures_have_their_published_size(name, count):
    with torch.device("meta"):
        assert build_model(preset(name, NAMES80)).num_parameters == count


def test_the_pico_variant_is_small():
    with torch.device("meta"):
        assert build_model(preset("yolovkkn2-p", NAMES80)).num_parameters <= 1_400_000
