"""Parity: noise does not alarm, and what is broken on purpose is named, with its numbers."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.integration.layout_cases import layout_models
from tests.recorded import cell_heads, recorded_model
from yolokkn import ops
from yolokkn.errors import ModelError
from yolokkn.layouts.channels import ChannelsLayout
from yolokkn.runtime.backends import Backend
from yolokkn.runtime.differences import compare_arrays, compare_detections
from yolokkn.runtime.load import load
from yolokkn.runtime.parity import compare_models
from yolokkn.runtime.parity_models import open_models
from yolokkn.runtime.parity_report import STAGES, as_table
from yolokkn.runtime.tolerances import KERNELS, TOLERANCES, tolerance_table
from yolokkn.types import Detections, Masks

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 96, 3), np.uint8)
RUNNABLE = {name: content for name, content in layout_models(has_detections=True).items()}


class Changed(Backend):
    """A backend that runs another one and changes what it gives."""

    name = "changed"

    def __init__(self, backend, change):
        self._backend, self._change = backend, change
        self.inputs, self.outputs = backend.inputs, backend.outputs
        self.metadata, self.op_types = backend.metadata, backend.op_types

    def run(self, feeds):
        return self._change(self._backend.run(feeds))


def changed(model, change):
    return replace(model, backend=Changed(model.backend, change))


def detector(**kwargs):
    """A v8 detector of 64 x 64 with four detections."""
    table = cell_heads(7)
    for row, score in ((20, 0.9), (28, 0.8), (33, 0.7), (43, 0.6)):
        table[row, 2:4], table[row, 5] = (10, 8), score
    return load(recorded_model({"output0": table.T[None].copy()}, metadata={"task": "detect"}, **kwargs))


def first(result):
    return result.columns[0].first_difference


@pytest.mark.parametrize("name", RUNNABLE)
def test_every_layout_agrees_with_its_reference(name):
    layout = name.removesuffix(" with masks")
    opened = open_models(RUNNABLE[name], layout=layout, backends=["onnxruntime"])
    result = compare_models(opened.models, opened.plain, IMAGE)
    assert result.agrees, as_table(result)
    assert [s.stage for s in result.columns[0].stages] == list(STAGES)
    assert result.num_detections >= 1
    has_masks, has_keypoints = opened.plain.layout.task.startswith("segment"), "pose" in opened.plain.layout.task
    states = {s.stage: s.agrees for s in result.columns[0].stages}
    assert states["masks"] is (True if has_masks else None)
    assert states["keypoints"] is (True if has_keypoints else None)


def test_both_backends_agree_and_noise_does_not_alarm():
    pytest.importorskip("openvino")
    opened = open_models("person-segment", score_threshold=0.1)
    assert {"onnxruntime", "openvino"} <= set(opened.models) | set(opened.missing)
    from yolokkn.data.toy_scene import ToyScene, draw_scene

    image = draw_scene(0, 0, ToyScene((480, 640), persons=True, max_objects=8)).image
    rng = np.random.default_rng(1)

    def noisy(outputs):
        return {k: (v * (1 + rng.normal(0, 2e-5, v.shape))).astype(v.dtype) for k, v in outputs.items()}

    models = {"openvino": opened.models["openvino"], "noisy": changed(opened.models["onnxruntime"], noisy)}
    result = compare_models(models, opened.plain, image)
    assert result.agrees and result.num_detections >= 3, as_table(result)
    states = {s.stage: s.agrees for s in result.columns[0].stages}
    assert states["masks"] is True and states["network"] is True


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda o: {k: v + np.float32(0.01) * (np.arange(v.shape[-1]) == 7) for k, v in o.items()}, "6 of 588 values"),
        (lambda o: {k: np.where(np.arange(v.shape[-1]) == 3, np.nan, v).astype(v.dtype) for k, v in o.items()}, "inf"),
        (lambda o: {k: np.roll(v, 1, -1) for k, v in o.items()}, "of 588 values beyond the tolerance"),
    ],
    ids=["one column", "NaN", "shifted"],
)
def test_a_broken_network_is_named(change, said):
    model = detector()
    result = compare_models({"broken": changed(model, change)}, model, IMAGE)
    assert not result.agrees
    assert first(result).stage == "network" and "output0" in first(result).detail and said in first(result).detail
    text = as_table(result)
    assert "broken DIFFERS, first at network: output output0" in text
    assert next(line for line in text.splitlines() if line.startswith("preprocess")).split()[1] == "ok"


def test_a_network_that_does_not_run_or_gives_other_outputs():
    model = detector()

    def fail(outputs):
        raise ModelError("out of order\nand more")

    result = compare_models({"a": changed(model, fail)}, model, IMAGE)
    assert first(result).stage == "network" and first(result).detail == "it does not run: out of order"
    other = load(RUNNABLE["end2end"], layout="end2end")
    result = compare_models({"a": other}, model, IMAGE)
    network = result.columns[0].stages[1]
    assert network.agrees is None and "output0 (1 x 10 x 6) against output0 (1 x 7 x 84)" in network.detail
    assert first(result).stage == "detections" and "missing" in first(result).detail


@pytest.mark.parametrize("rule", ["stretch", "topleft"])
def test_another_letterbox_is_named(rule):
    model = detector()
    layout = replace(model.layout, preprocess=replace(model.layout.preprocess, rule=rule))
    result = compare_models({"other": replace(model, layout=layout)}, model, IMAGE)
    assert first(result).stage == "preprocess"
    assert f"{rule}" in first(result).detail and "against letterbox" in first(result).detail


def test_other_colours_and_sizes_are_named():
    model = detector()
    bgr = replace(model.layout, preprocess=replace(model.layout.preprocess, swap_rb=False))
    result = compare_models({"bgr": replace(model, layout=bgr)}, model, IMAGE)
    assert first(result).stage == "preprocess" and "BGR" in first(result).detail
    larger = load(
        recorded_model({"output0": cell_heads(7, input_hw=(96, 96)).T[None].copy()}, input_hw=(96, 96)), layout="v8"
    )
    result = compare_models({"larger": larger}, model, IMAGE)
    assert first(result).detail.startswith("input 3 x 96 x 96 against 3 x 64 x 64")


def _broken(name, function):
    """The real kernels but for one."""
    real = {n: getattr(ops, n) for n in ops.__all__}
    return SimpleNamespace(**{**real, name: function(getattr(ops, name))})


def _moved(decode):
    def wrong(*args, **kwargs):
        found = decode(*args, **kwargs)
        return found._replace(boxes=found.boxes + np.float32(0.01))

    return wrong


@pytest.mark.parametrize(
    "name, function, stage",
    [
        ("decode_channels", _moved, "decode"),
        ("decode_channels", lambda f: lambda *a, **k: f(*a, **{**k, "score_threshold": 0.75}), "decode"),
        ("nms", lambda f: lambda *a, **k: f(*a, **k)[:-1], "nms"),
        ("inverse_letterbox", lambda f: lambda *a, **k: f(*a, **k) + np.float32(3), "detections"),
    ],
)
def test_a_broken_kernel_is_named(name, function, stage):
    model = detector()
    made = ChannelsLayout(3, head="output0", num_extras=0, kernels=_broken(name, function))
    result = compare_models({"broken": replace(model, layout=made)}, model, IMAGE)
    assert first(result).stage == stage, as_table(result)


def test_finished_rows_may_come_in_another_order():
    table = np.zeros((1, 10, 6), np.float32)
    table[0, :6] = [[20, 15, 40, 25, s, 2] for s in (0.9, 0.5, 0.5, 0.5, 0.4, 0.3)]
    table[0, :6, :4] += np.arange(6, dtype=np.float32)[:, None] * 30 % 20
    model = load(recorded_model({"output0": table}, metadata={"end2end": "True"}))

    def swap(outputs):
        rows = outputs["output0"].copy()
        rows[0, [1, 2, 8]] = rows[0, [2, 1, 9]]
        return {"output0": rows}

    assert compare_models({"swapped": changed(model, swap)}, model, IMAGE).agrees
    lost = compare_models(
        {"lost": changed(model, lambda o: {"output0": o["output0"] * (np.arange(10) != 0)[:, None]})}, model, IMAGE
    )
    assert first(lost).stage == "network"


def test_the_threshold_is_lowered_where_nothing_is_found():
    table = cell_heads(7)
    table[[20, 28, 33], 5] = 0.06
    model = load(recorded_model({"output0": table.T[None].astype(np.float32)}, metadata={"task": "detect"}))
    result = compare_models({"a": model}, model, IMAGE)
    assert result.score_threshold == 0.05 and result.num_detections == 3
    nothing = load(layout_models(has_detections=False)["v8"])
    result = compare_models({"a": nothing}, nothing, IMAGE)
    assert result.agrees and "nothing was detected" in as_table(result)


def test_arrays():
    reference = np.array([[1.0, 100.0], [np.nan, np.inf]])
    assert compare_arrays(reference, reference, 0.0).num_beyond == 0
    found = compare_arrays(reference, reference + np.array([[0.05, 0.5], [0, 0]]), 0.01, 0.01)
    assert (found.num_beyond, found.where, found.largest) == (1, (0, 0), 0.5)  # 0.5 of 100 is within 1 %
    found = compare_arrays(reference, np.array([[1.0, np.nan], [np.nan, -np.inf]]), 1e9, 1e9)
    assert found.num_beyond == 2 and found.largest == np.inf
    assert compare_arrays(np.zeros((0, 4)), np.zeros((0, 4)), 0.0).num_values == 0
    with pytest.raises(ValueError, match=r"compare_arrays: found must have the shape \(2,\), got \(3,\)"):
        compare_arrays(np.zeros(2), np.zeros(3), 0.0)


def some(boxes, scores, class_ids=None, **more):
    n = len(boxes)
    ids = np.zeros(n, np.int32) if class_ids is None else np.int32(class_ids)
    return Detections(np.float32(boxes).reshape(n, 4), np.float32(scores), ids, **more)


A, B, C = (10, 10, 50, 50), (100, 100, 160, 180), (200, 20, 260, 60)


def test_detections_are_matched_and_counted():
    tolerance = TOLERANCES["fp32"]
    reference = some([A, B, C], [0.9, 0.8, 0.2505])
    same = compare_detections(reference, reference, tolerance)
    assert same.is_noise and same.num_matched == 3 and same.box_px == 0 == same.num_order_changes
    turned = compare_detections(reference, reference[[1, 0, 2]], tolerance)
    assert not turned.is_noise and (turned.num_order_changes, turned.num_order_allowed) == (1, 0)
    near = some([A, B, C], [0.9, 0.8995, 0.2505])
    assert compare_detections(near, near[[1, 0, 2]], tolerance).is_noise  # which of the two is first, noise decides
    at_threshold = compare_detections(reference, reference[[0, 1]], tolerance, score_threshold=0.25)
    assert at_threshold.is_noise and at_threshold.num_at_threshold == 1
    missing = compare_detections(reference, reference[[0, 2]], tolerance, score_threshold=0.25)
    assert not missing.is_noise and (missing.num_missing, missing.num_extra) == (1, 0)
    extra = compare_detections(reference[[0, 2]], reference, tolerance, score_threshold=0.25)
    assert not extra.is_noise and (extra.num_missing, extra.num_extra) == (0, 1)
    other = compare_detections(reference, some([A, B, C], [0.9, 0.8, 0.2505], [0, 1, 0]), tolerance)
    assert not other.is_noise and other.num_class_changes == 1 and other.num_matched == 3
    moved = compare_detections(reference, some([A, (101, 100, 160, 180), C], [0.9, 0.8, 0.2505]), tolerance)
    assert not moved.is_noise and moved.box_px == 1 and moved.where == 1
    assert compare_detections(
        reference, some([A, (101, 100, 160, 180), C], [0.9, 0.8, 0.2505]), TOLERANCES["fp16"]
    ).is_noise
    doubted = compare_detections(reference, some([A, B, C], [0.9, 0.81, 0.2505]), tolerance)
    assert not doubted.is_noise and doubted.score == pytest.approx(0.01)
    nothing = compare_detections(reference[:0], reference[:0], tolerance)
    assert nothing.is_noise and nothing.where == -1
    assert not compare_detections(reference[:0], reference, tolerance).is_noise


def test_what_suppression_decides_by_a_hair_is_noise():
    tolerance = TOLERANCES["fp32"]
    pair = some([A, (10, 10, 50, 38.0)], [0.9, 0.8])  # IoU 0.7
    assert compare_detections(pair, pair[:1], tolerance, iou_threshold=0.7).is_noise
    assert not compare_detections(pair, pair[:1], tolerance, iou_threshold=0.75).is_noise


def test_masks_and_keypoints_count():
    tolerance = TOLERANCES["fp32"]
    crops, data = np.int32([[10, 10, 50, 50]]), np.ones(1600, np.uint8)
    holes = data.copy()
    holes[:200] = 0
    full = some([A], [0.9], masks=Masks(data, crops, (100, 100)))
    pierced = some([A], [0.9], masks=Masks(holes, crops, (100, 100)))
    found = compare_detections(full, pierced, tolerance)
    assert found.mask_share == 0.125 and not found.is_noise
    assert compare_detections(full, pierced, TOLERANCES["int8"]).is_noise
    points = np.float32([[[20, 20, 0.9], [30, 30, 0.1]]])
    seen, unseen = points.copy(), points.copy()
    seen[0, 0, 0] += 2
    unseen[0, 1, 0] += 2
    reference = some([A], [0.9], keypoints=points)
    assert compare_detections(reference, some([A], [0.9], keypoints=seen), tolerance).box_px == 2
    assert compare_detections(reference, some([A], [0.9], keypoints=unseen), tolerance).is_noise


def test_the_table_of_tolerances_rises_and_is_shown():
    rows = [TOLERANCES[name] for name in ("fp32", "fp16", "int8")]
    for field in TOLERANCES["fp32"].__dataclass_fields__:
        values = [getattr(row, field) for row in rows]
        assert values == sorted(values) and getattr(KERNELS, field) <= max(values[0], 0.02)
    lines = tolerance_table().splitlines()
    assert len(lines) == 1 + len(TOLERANCES["fp32"].__dataclass_fields__)
    assert lines[0].split()[-5:] == ["fp32", "fp16", "int8", "int8-same", "kernels"]
    model = detector()
    with pytest.raises(
        ValueError, match="compare_models: precision must be one of fp32, fp16, int8, int8-same, got 'fp8'"
    ):
        compare_models({"a": model}, model, IMAGE, precision="fp8")


def test_it_works_without_torch(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('torch must not be needed')")
    path = tmp_path / "model.onnx"
    path.write_bytes(RUNNABLE["v8-seg"])
    code = f"import sys; from yolokkn.cli import main; sys.exit(main(['doctor', {str(path)!r}]))"
    done = subprocess.run([sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "masks" in done.stdout and "agree" in done.stdout


def test_a_wide_tolerance_does_not_explain_that_all_is_lost():
    """int8 may move scores by 0.2, and a threshold then hides some detections: not every one of ten."""
    boxes = np.stack([np.arange(10) * 50.0, np.zeros(10), np.arange(10) * 50.0 + 40, np.full(10, 40.0)], 1)
    scores = np.linspace(0.44, 0.30, 10).astype(np.float32)
    reference = some(boxes, scores)
    tolerance = TOLERANCES["int8"]
    assert not compare_detections(reference, reference[[]], tolerance, score_threshold=0.25).is_noise
    assert compare_detections(reference, reference[:6], tolerance, score_threshold=0.25).is_noise
