"""The suites: every kernel, tracker and backend is measured, and none whose output is wrong."""

from __future__ import annotations

from dataclasses import is_dataclass, replace

import numpy as np
import pytest

from tests.recorded import cell_heads, recorded_model
from yolokkn import ops, tracking
from yolokkn.benchmark import Plan, Timed, measure, suites
from yolokkn.benchmark.backends import backend_cases
from yolokkn.benchmark.kernels import kernel_cases
from yolokkn.benchmark.pipeline import ONE_BY_ONE, WHOLE, pipeline_cases
from yolokkn.benchmark.startup import startup_cases
from yolokkn.benchmark.suites import Request, run_suites
from yolokkn.benchmark.trackers import tracker_cases
from yolokkn.errors import SourceError
from yolokkn.runtime.load import load
from yolokkn.runtime.parity_models import open_models

SMALL = Plan(budget_s=0.2, min_rounds=2, max_rounds=3)
KERNELS = {case.name: case for case in kernel_cases()}


def spoiled(value):
    """The same result with one value changed."""
    if isinstance(value, np.ndarray) and value.size:
        wrong = value.copy()
        wrong.flat[value.size // 2] = ~wrong.flat[0] if value.dtype == bool else wrong.flat[value.size // 2] + 1
        return wrong if not np.array_equal(wrong, value) else 1 - value
    if isinstance(value, ops.Candidates):
        return value._replace(boxes=spoiled(value.boxes))
    if is_dataclass(value):
        return replace(value, data=np.where(value.data != 0, 0, 1).astype(value.data.dtype))
    if isinstance(value, dict):
        return {**value, "counts": value["counts"] + b"0"}
    if isinstance(value, (list, tuple)):
        return type(value)([*value[:-1], spoiled(value[-1])])
    raise AssertionError(f"cannot spoil {type(value).__name__}")


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_that_gives_one_wrong_value_is_refused(name):
    case = KERNELS[name]
    if name.startswith("mask_polygons"):
        return  # its twin takes a second; the next test looks at it
    run = case.make()
    assert case.check(lambda value: spoiled(run(value))) != ""


def test_every_door_of_the_kernels_is_measured(monkeypatch):
    called = set()
    doors = set(ops.__all__) - {"Candidates", "implementations", "instruction_set", "reference"}
    works = {door: getattr(ops, door) for door in doors}
    for door in doors:

        def recording(*args, door=door, work=works[door], **options):
            called.add(door)
            return work(*args, **options)

        monkeypatch.setattr(ops, door, recording)
    for case in kernel_cases():
        case.make()(case.inputs[0])
    assert called == doors


def test_kernels_are_right_and_measured():
    results = measure(list(KERNELS.values()), SMALL)
    assert [r.refused or r.missing for r in results if not r.is_measured] == []


def test_every_tracker_is_measured_and_wrong_identities_are_refused():
    cases = tracker_cases((10,))
    assert {case.facts["tracker"] for case in cases} == set(tracking.TRACKERS)
    for case in cases:
        run = case.make()
        assert case.check(case.make()) == ""
        assert "values differ" in case.check(lambda frame, run=run: np.where(run(frame) > 2, 1, 0))


def table(move=0.0):
    rows = cell_heads(6)
    for row, score in ((20, 0.9), (28, 0.8), (33, 0.7), (43, 0.6)):
        rows[row, 2:4], rows[row, 5] = (10, 8), score
    rows[28, 0] += move
    return rows.T[None].copy()


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "small.onnx"
    path.write_bytes(recorded_model({"output0": table()}, metadata={"task": "detect", "names": "{0: 'cat', 1: 'dog'}"}))
    return path


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (24, 48, 96, 3), np.uint8)


def test_backends_give_the_reference_and_one_that_does_not_is_refused(model, pictures, monkeypatch):
    pytest.importorskip("openvino")
    from yolokkn.runtime.backends.openvino import OpenVinoBackend

    cases = backend_cases(model, pictures[:2], backends=["onnxruntime", "openvino"], threads=2)
    assert [case.name for case in cases] == [
        "onnxruntime, single runs", "onnxruntime, 2 runs at once", "openvino, single runs", "openvino, 2 runs at once",
    ]  # fmt: skip
    assert all(result.is_measured for result in measure(cases, SMALL))
    right = OpenVinoBackend.run

    def wrong(self, feeds):
        return {name: value + 5 for name, value in right(self, feeds).items()}

    monkeypatch.setattr(OpenVinoBackend, "run", wrong)
    found = {r.name: r for r in measure(backend_cases(model, pictures[:2], threads=2), SMALL)}
    assert found["onnxruntime, 2 runs at once"].is_measured
    for name in ("openvino, single runs", "openvino, 2 runs at once"):
        assert "picture 0: network" in found[name].refused and not found[name].is_measured
    assert any(word in found["tensorrt"].missing for word in ("must be installed", "CUDA", "NVIDIA driver"))


def test_another_model_in_place_of_the_int8_one_is_refused(model, pictures, tmp_path):
    moved = tmp_path / "moved.onnx"
    moved.write_bytes(recorded_model({"output0": table(30.0)}, metadata={"task": "detect"}))
    cases = backend_cases(model, pictures[:1], int8=moved, backends=["onnxruntime"], threads=1)
    good, bad = measure(cases, SMALL)
    assert good.is_measured and "network" in bad.refused and bad.name == "onnxruntime fp32, single runs"


def opened(model):
    both = open_models(model, backends=["onnxruntime"], threads=1, score_threshold=0.1)
    return both.models["onnxruntime"], both.plain


def test_the_pipeline_is_measured_frame_by_frame_and_whole(model, pictures):
    cases = pipeline_cases(*opened(model), pictures, num_frames=10)
    network, frames, whole = measure(cases, SMALL)
    assert network.is_measured and frames.name == ONE_BY_ONE and whole.name == WHOLE
    assert list(frames.stages_ms) == ["decode", "preprocess", "inference", "postprocess", "track"]
    assert sum(p50 for p50, _, _ in frames.stages_ms.values()) == pytest.approx(frames.p50, rel=0.5)
    assert len(whole.samples_ms) == whole.rounds.max() + 1  # twenty frames: one mean of ten a round


def test_a_pipeline_of_wrong_detections_or_identities_is_refused(model, pictures, monkeypatch):
    cases = pipeline_cases(*opened(model), pictures, num_frames=10)
    good = cases[1].make()(10)
    assert cases[1].check(lambda count: good) == ""
    ids = [replace(tracks, track_ids=tracks.track_ids + 1) for tracks in good.output]
    assert "identities" in cases[1].check(lambda count: Timed([1.0], ids))
    boxes = [replace(tracks, boxes=tracks.boxes + 3) for tracks in good.output]
    assert "frame 0" in cases[2].check(lambda count: Timed([1.0], boxes))
    fewer = [tracks[:1] for tracks in good.output]
    assert "frame 0" in cases[2].check(lambda count: Timed([1.0], fewer))


def test_a_source_that_is_never_the_same_twice_is_refused(model, pictures, monkeypatch):
    from yolokkn.runtime.sources.images import ImagesSource

    monkeypatch.setattr(ImagesSource, "is_live", True)
    with pytest.raises(SourceError, match="a live source is never the same twice; record it"):
        pipeline_cases(*opened(model), pictures)


def test_the_start_is_measured_in_processes_of_its_own(model, pictures):
    both = load(model, threads=1)
    cases = startup_cases(both, model, pictures[0], threads=1)
    results = {r.name: r for r in measure(cases, Plan(budget_s=0.1, min_rounds=1, max_rounds=1))}
    assert all(r.is_measured for r in results.values()), [r.refused for r in results.values()]
    assert results["python alone"].p50 < results["first detections of a cold process"].p50
    other = startup_cases(both.with_options(score_threshold=0.75), model, pictures[0], threads=1)
    assert "2 of 2 matched" in other[2].check(other[2].make())


def test_a_run_tells_model_source_cores_and_every_suite(model, pictures, monkeypatch):
    quick = {name: (SMALL, SMALL) for name in suites.SUITES}
    monkeypatch.setattr(suites, "_PLANS", quick)
    request = Request(model=str(model), source=pictures, threads=1, backends=["onnxruntime"], only="n", quick=True)
    run = run_suites(["trackers", "backends", "pipeline"], request)
    assert run.suites == ("trackers", "backends", "pipeline")
    assert run.settings["model"]["name"] == "small.onnx" and len(run.settings["model"]["sha256"]) == 16
    assert run.settings["source"] == "pictures in memory" and run.settings["threads"] == 1
    assert all(len(cores) == 1 for cores in run.settings["cores"].values())
    assert {r.facts["beside"] for r in run.of("yardstick")} == set(run.suites)
    with pytest.raises(ValueError, match="only must be part of a case's name, got 'nothing of it'"):
        run_suites(["trackers"], replace(request, only="nothing of it"))
    with pytest.raises(ValueError, match="names must be of kernels, trackers"):
        run_suites(["kernel"], request)
