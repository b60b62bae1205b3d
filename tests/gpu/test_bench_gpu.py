"""The GPU benchmark from end to end on the emulated GPU: its checks hold, every row is there; its times mean nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import bench_gpu, gpu_measure, gpu_torch
from benchmarks.gpu_measure import Goal, Row
from tests.strategies import random_boxes
from yolokkn import ops
from yolokkn.ops.cuda import CudaKernels
from yolokkn.runtime import cuda_device


@pytest.fixture
def bench(emulated_runtime, monkeypatch):
    monkeypatch.setattr(cuda_device, "_runtime", lambda: emulated_runtime)
    monkeypatch.setattr(ops.cuda, "kernels", lambda: CudaKernels(emulated_runtime))
    monkeypatch.setattr(gpu_measure, "ROUNDS", 1)
    monkeypatch.setattr(gpu_measure, "IN_GRAPH", 1)
    return gpu_measure.Bench()


def test_every_row_is_measured_after_its_check(bench, tmp_path, capsys):
    report = bench_gpu.measure(bench, None, 1, tmp_path / "gpu.json")
    assert report.failed == []
    table, kept = capsys.readouterr().out, json.loads((tmp_path / "gpu.json").read_text())
    assert [row["name"] for row in kept["rows"]] == [row.name for row in report.rows] and len(report.rows) == 30
    assert all(row.name in table for row in report.rows) and "5000 candidates" in table
    goals = {goal.what for row in report.rows for goal in row.goals}
    assert goals == {
        "2 x floor",
        "25 us",
        "120 us",
        "20 us",
        "40 us",
        "p99 1.3 x p50",
    }  # and 10 x torchvision with torch
    assert all((row.slowest_round is None) != (row.p99 is None) for row in report.rows)


def test_a_wrong_result_is_not_timed_and_costs_its_group_alone(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(bench.kernels, "gather_detections", lambda *a, **k: None)
    monkeypatch.setattr(bench_gpu, "letterbox_rows", lambda *a: iter([Row("letterbox", 1.0)]))
    monkeypatch.setattr(bench_gpu, "mask_rows", lambda *a: iter([]))
    report = bench_gpu.measure(bench, None, 1, tmp_path / "gpu.json")
    words = "ValueError: decoding and NMS differs from the CPU's; it is not timed"
    assert report.failed == [f"decode + NMS: {words}", f"pipeline: {words}"]
    kept = json.loads((tmp_path / "gpu.json").read_text())
    assert kept["failed"] == report.failed and len(kept["rows"]) == 3  # the letterbox and two of the upload


@pytest.mark.parametrize("field", ["boxes", "scores", "class_ids"])
def test_each_field_of_the_results_is_checked(bench, monkeypatch, field):
    chain = bench_gpu.Chain(bench, bench_gpu.head_of("crowd"), 0.001)
    right = chain.result.detections

    def wrong(names):
        found = right(names)
        getattr(found, field)[0] += 1
        return found

    monkeypatch.setattr(chain.result, "detections", wrong)
    with pytest.raises(ValueError, match="decoding and NMS differs"):
        chain.check()


def test_a_wrong_nv12_is_noticed(bench):
    rng = np.random.default_rng(0)
    luma, chroma = rng.integers(0, 256, (64, 64), np.uint8), rng.integers(0, 256, (32, 64), np.uint8)
    bench_gpu.check_nv12(bench, luma, chroma, (bench.upload(luma), bench.upload(chroma)))
    swapped = np.ascontiguousarray(chroma.reshape(32, 32, 2)[..., ::-1]).reshape(32, 64)
    with pytest.raises(ValueError, match="NV12 differs"):
        bench_gpu.check_nv12(bench, luma, chroma, (bench.upload(luma), bench.upload(swapped)))


def test_cold_inputs_are_more_than_the_cache(bench):
    assert bench.copies(1000) * 1000 > 2 * bench.l2_bytes or bench.copies(1000) == gpu_measure.MOST_COPIES
    assert bench.copies(1 << 30) == 2
    bench.l2_bytes = 60 << 20
    assert bench.copies(1080 * 1920 * 3) == 22


def test_inputs_take_turns(bench, monkeypatch):
    monkeypatch.setattr(gpu_measure, "IN_GRAPH", 5)
    seen = []
    bench.time(*(lambda i=i: seen.append(i) for i in range(3)))
    assert seen == [0, 1, 2, 0, 1, 2, 0, 1]  # once before the capture, then five in the graph
    seen.clear()
    bench.time(*(lambda i=i: seen.append(i) for i in range(7)))
    assert seen == [*range(7), *range(7)]  # each at least once


def test_goals_say_whether_they_are_met():
    assert str(Goal("40 us", 39.9, 40)) == "goal 40 us: met (39.9)"
    assert str(Goal("40 us", 41, 40)) == "goal 40 us: MISSED (41.0)"
    assert "met" in str(Goal("10 x", 10, 10, at_least=True)) and "MISSED" in str(Goal("10 x", 9, 10, at_least=True))


def test_torchs_twins_do_the_same_work():
    torch = pytest.importorskip("torch")
    image = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    twin = gpu_torch.letterbox(torch, torch.from_numpy(image), torch.float32)[0].numpy()
    np.testing.assert_allclose(twin, ops.letterbox(image, bench_gpu.PLACE), atol=2 / 255)
    nms, called = gpu_torch.find_nms(torch)
    head = bench_gpu.head_of("sparse")
    boxes, scores, class_ids = gpu_torch.postprocess(torch, nms, torch.from_numpy(head), bench_gpu.PLACE, 0.25)
    want = ops.decode_channels(head, 80)
    kept = ops.nms(want.boxes, want.scores, want.class_ids)[:300]
    np.testing.assert_array_equal(scores.numpy(), want.scores[kept])
    np.testing.assert_array_equal(class_ids.numpy(), want.class_ids[kept])
    placed = ops.inverse_letterbox(want.boxes[kept], bench_gpu.PLACE)
    np.testing.assert_allclose(boxes.numpy(), placed, atol=1e-2)
    assert called


@pytest.mark.parametrize("count", [0, 1, 200])
def test_the_nms_by_hand_equals_ours(count):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(count)
    boxes = random_boxes(rng, count)
    scores, classes = rng.random(count).astype(np.float32), rng.integers(0, 3, count).astype(np.int32)
    given = (torch.from_numpy(np.ascontiguousarray(values)) for values in (boxes, scores, classes))
    kept = gpu_torch.batched_nms_by_hand(torch, *given, 0.45)
    want = ops.nms(boxes, scores, classes, iou_threshold=0.45, max_detections=1000)
    np.testing.assert_array_equal(kept.numpy(), want)


def test_the_networks_that_are_measured_can_be_loaded():
    torch = pytest.importorskip("torch")
    model = gpu_torch.half_model(torch, "yolovkkn2-n", "cpu", score_threshold=0.001)
    assert model(np.zeros((64, 64, 3), np.uint8)).boxes.shape[1] == 4
    assert model.with_options(score_threshold=0.5).options.score_threshold == 0.5
