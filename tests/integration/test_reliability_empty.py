"""Nothing detected, or every class filtered out: each public function gives a valid empty result."""

import json
import os

import av
import cv2
import numpy as np
import pytest

import yolokkn
from tests.integration.layout_cases import layout_models
from tests.recorded import recorded_model
from yolokkn import ops, tracking
from yolokkn.evaluation.coco import CocoDataset, evaluate_coco
from yolokkn.geometry import Letterbox
from yolokkn.layouts import LAYOUTS
from yolokkn.runtime.draw import TrailHistory, draw
from yolokkn.runtime.evaluate import coco_rows, collect_coco_results
from yolokkn.runtime.sinks import open_sink
from yolokkn.types import Detections, Frame, Masks, Tracks

F4, I4 = np.float32, np.int32
PICTURE = np.full((48, 64, 3), 90, np.uint8)
GEOMETRY = Letterbox.fit((48, 64), (64, 64))
NO_BOXES, NO_SCORES, NO_IDS = np.zeros((0, 4), F4), np.zeros(0, F4), np.zeros(0, I4)
NO_MASKS = Masks(np.zeros(0, np.uint8), np.zeros((0, 4), I4), (48, 64))
NO_ANCHORS = np.zeros(0, np.int64)


def assert_empty(found: Detections) -> None:
    assert len(found) == 0
    for name, dtype, shape in (("boxes", F4, (0, 4)), ("scores", F4, (0,)), ("class_ids", I4, (0,))):
        value = getattr(found, name)
        assert (value.dtype, value.shape) == (dtype, shape), name


def empty_results(kind: type[Detections]) -> list[Detections]:
    """Without masks and keypoints, with masks, with keypoints."""
    more = [{}, {"masks": NO_MASKS}, {"keypoints": np.zeros((0, 17, 3), F4)}]
    return [kind.empty(class_names=("a",), **m) for m in more]


DOORS = {
    "pairwise_iou": lambda op: op.pairwise_iou(NO_BOXES, NO_BOXES),
    "nms": lambda op: op.nms(NO_BOXES, NO_SCORES, NO_IDS),
    "inverse_letterbox": lambda op: op.inverse_letterbox(NO_BOXES, GEOMETRY),
    "decode_keypoints": lambda op: op.decode_keypoints(np.zeros((0, 51), F4), 17, GEOMETRY),
    "decode_channels": lambda op: op.decode_channels(np.zeros((7, 0), F4), 3),
    "decode_rows": lambda op: op.decode_rows(np.zeros((0, 8), F4), 3, objectness=True),
    "decode_distances": lambda op: op.decode_distances([], num_classes=3, input_hw=(64, 64)),
    "decode_heads": lambda op: op.decode_heads([], num_classes=3, anchors=[], input_hw=(64, 64), formula="v5"),
    "decode_queries": lambda op: op.decode_queries(NO_BOXES, np.zeros((0, 3), F4), input_hw=(64, 64)),
    "decode_final": lambda op: op.decode_final(NO_BOXES, NO_SCORES, NO_IDS),
    "decode_table": lambda op: op.decode_table(np.zeros((0, 6), F4)),
    "gather_extras": lambda op: op.gather_extras(
        np.zeros((9, 20), F4), NO_ANCHORS, first=4, count=5, channel_major=True
    ),
    "assemble_masks": lambda op: op.assemble_masks(np.zeros((0, 2), F4), np.ones((2, 4, 4), F4), NO_BOXES, GEOMETRY),
    "encode_rle": lambda op: op.encode_rle(NO_MASKS),
    "decode_rle": lambda op: op.decode_rle([]),
    "paint_masks": lambda op: op.paint_masks(NO_MASKS),
    "mask_polygons": lambda op: op.mask_polygons(NO_MASKS),
}


def same_kind(a, b) -> bool:
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape
    if isinstance(a, Masks):
        return same_kind(a.data, b.data) and same_kind(a.crops, b.crops) and a.frame_hw == b.frame_hw
    if isinstance(a, tuple):
        return all(same_kind(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def test_every_op_takes_nothing_as_its_reference_does():
    others = {"Candidates", "implementations", "instruction_set", "letterbox", "reference"}
    assert set(DOORS) == set(ops.__all__) - others
    for name, call in DOORS.items():
        got = call(ops)
        assert same_kind(got, call(ops.reference)), name
        if not isinstance(got, ops.Candidates):
            assert len(got) == 0, name
        else:
            assert len(got.boxes) == len(got.scores) == len(got.anchor_index) == got.num_dropped == 0, name


def test_every_decoder_filters_every_class():
    none, rng = {"class_mask": np.zeros(3, bool)}, np.random.default_rng(0)
    some = {
        "decode_channels": lambda **k: ops.decode_channels(rng.random((7, 50)).astype(F4), 3, **k),
        "decode_rows": lambda **k: ops.decode_rows(rng.random((50, 8)).astype(F4) + F4(0.3), 3, objectness=True, **k),
        "decode_distances": lambda **k: ops.decode_distances(
            [np.ones((7, 2, 2), F4)], num_classes=3, input_hw=(64, 64), num_bins=1, **k
        ),
        "decode_heads": lambda **k: ops.decode_heads(
            [np.ones((16, 2, 2), F4)],
            anchors=[np.ones((2, 2), F4)],
            num_classes=3,
            input_hw=(64, 64),
            formula="v5",
            **k,
        ),
        "decode_queries": lambda **k: ops.decode_queries(
            np.ones((9, 4), F4), np.ones((9, 3), F4), input_hw=(64, 64), **k
        ),
        "decode_final": lambda **k: ops.decode_final(np.ones((9, 4), F4), np.ones(9, F4), np.ones(9, I4), **k),
        "decode_table": lambda **k: ops.decode_table(np.ones((9, 6), F4), **k),
    }
    for name, call in some.items():
        assert len(call().scores) > 0, name
        found = call(**none)
        assert same_kind(found[:4], DOORS[name](ops)[:4]) and found.num_dropped == 0, name


def test_every_layout_without_detections_and_with_every_class_filtered():
    names = set()
    full, empty = layout_models(True), layout_models(False)
    for name, content in full.items():
        model = yolokkn.load(content)
        names.add(model.layout.name)
        assert name.split()[0] == model.layout.name
        found = model(PICTURE)
        assert len(found) == 1, name
        filtered = [model.with_options(classes=()), model.with_options(score_threshold=1.0)]
        if model.layout.num_classes != 1:
            filtered.append(model.with_options(classes=(0,)))
        for other in [*filtered, yolokkn.load(empty[name])]:
            nothing = other(PICTURE)
            assert_empty(nothing)
            assert (nothing.masks is None) == (found.masks is None), name
            assert (nothing.keypoints is None) == (found.keypoints is None), name
            if nothing.masks is not None:
                assert nothing.masks.frame_hw == (48, 64) and nothing.masks.to_full().shape == (0, 48, 64)
            if nothing.keypoints is not None:
                assert nothing.keypoints.shape == (0, *found.keypoints.shape[1:])
    assert names == set(LAYOUTS)


@pytest.mark.parametrize("kind", [Detections, Tracks])
def test_empty_results_answer_every_question(kind):
    supervision = pytest.importorskip("supervision")
    for result in empty_results(kind):
        for index in (slice(None), slice(3, 9), NO_ANCHORS, np.zeros(0, bool), result.scores > 0.5, []):
            part = result[np.array(index, int) if isinstance(index, list) else index]
            assert_empty(part)
            assert type(part) is kind and part.class_names == ("a",)
        with pytest.raises(IndexError):
            result[0]
        view = result.to_supervision()
        assert isinstance(view, supervision.Detections) and len(view) == 0
        joined = Tracks.from_detections(Detections.empty(), np.zeros(0, np.int64))
        assert len(joined.confirmed()) == 0


def test_empty_masks_answer_every_question():
    for masks in (NO_MASKS, Masks(np.zeros(0, np.uint8), np.zeros((0, 4), I4), (0, 0))):
        assert len(masks) == len(masks[:]) == len(masks[NO_ANCHORS]) == len(masks.areas()) == 0
        assert masks.areas().dtype == np.int64 and masks.to_full().shape == (0, *masks.frame_hw)
        with pytest.raises(IndexError, match=r"Masks\.crop: index must be within 0 masks"):
            masks.crop(0)


def test_drawing_nothing_changes_nothing():
    for kind in (Detections, Tracks):
        for result in empty_results(kind):
            np.testing.assert_array_equal(draw(PICTURE, result, trails=TrailHistory()), PICTURE)
    trails = TrailHistory()
    trails.update(Tracks.empty())
    assert len(trails) == 0


@pytest.mark.parametrize("kind", [Detections, Tracks])
@pytest.mark.parametrize(
    "uri",
    ["a.mp4", "a.mkv", "a.mov", "a.avi", "a.gif", "a.jsonl", "a.csv", "mot:a.txt", "coco:a.json", "b/*.png", "b/*.jpg"],
)
def test_every_sink_writes_nothing_well(tmp_path, monkeypatch, uri, kind):
    monkeypatch.chdir(tmp_path)
    if kind is Detections and uri.startswith("mot:"):
        pytest.skip("a mot: sink takes Tracks only")
    source = "000000000001.jpg" if uri.startswith("coco:") else "clip.mp4"
    with open_sink(uri, frame_rate=25) as sink:
        for i, result in enumerate([*empty_results(kind), kind.empty()]):
            sink.write(Frame(PICTURE, i, i / 25, 0.0, source), result)
    assert sink.num_written == 4
    path = sink.paths[0]
    if path.suffix in (".mp4", ".mkv", ".mov", ".avi", ".gif"):
        with av.open(str(path)) as container:
            assert sum(1 for _ in container.decode(video=0)) == 4
    elif path.suffix in (".png", ".jpg"):
        assert len(os.listdir("b")) == 4
        assert path.suffix == ".jpg" or np.array_equal(cv2.imread(str(path)), PICTURE)
    elif path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert [row["boxes"] for row in rows] == [[]] * 4
    elif path.suffix == ".csv":
        assert len(path.read_text().splitlines()) == 1
    elif path.suffix == ".json":
        assert json.loads(path.read_text()) == []
    else:
        assert path.read_text() == ""


def test_a_sink_without_frames_is_valid(tmp_path):
    for name in ("a.mp4", "a.gif", "a.jsonl", "a.csv"):
        with open_sink(tmp_path / name) as sink:
            pass
        assert sink.num_written == 0


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_trackers_live_through_empty_frames(name):
    tracker = tracking.create(name)
    box = np.array([[10, 10, 50, 90]], F4), np.full(1, 0.9, F4), np.zeros(1, I4)
    for update in ((NO_BOXES, NO_SCORES, NO_IDS),) * 3:
        ids = tracker.update(*update)
        assert (ids.dtype, ids.shape) == (np.int64, (0,)) and len(tracker.tracks()) == 0
    for _ in range(5):
        tracker.update(*box)
    assert len(tracker.update(NO_BOXES, NO_SCORES, NO_IDS)) == 0 and len(tracker.tracks()) == 1
    for _ in range(100):
        tracker.update(NO_BOXES, NO_SCORES, NO_IDS, None)
    assert len(tracker.tracks()) == 0 and tracker.tracks().boxes.shape == (0, 4)
    assert tracking.assign(np.zeros((0, 0), F4), 1.0).shape == (0, 2)
    none = np.zeros(0, np.int64)
    assert tracking.assign_pairs(none, none, np.zeros(0), 1.0).shape == (0,)


@pytest.mark.parametrize("iou_type", ["bbox", "segm", "keypoints"])
def test_evaluation_of_nothing_found(tmp_path, iou_type):
    cv2.imwrite(str(tmp_path / "a.png"), PICTURE)
    dataset = CocoDataset.from_dict(
        {
            "images": [{"id": 1, "width": 64, "height": 48, "file_name": "a.png"}],
            "categories": [{"id": 5, "name": "c"}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}
                | {"segmentation": [[1, 1, 10, 1, 10, 10, 1, 10]], "keypoints": [5, 5, 2] * 17, "num_keypoints": 17}
            ],
        }
    )
    task = {"bbox": "detect", "segm": "segment", "keypoints": "pose"}[iou_type]
    extras = {"bbox": 0, "segm": 2, "keypoints": 51}[iou_type]
    table = np.zeros((1, 5 + extras, 84), F4)
    outputs = {"output0": table} | ({"output1": np.ones((1, 2, 16, 16), F4)} if iou_type == "segm" else {})
    metadata = {"task": task, "names": "{0: 'c'}"} | ({"kpt_shape": "[17, 3]"} if iou_type == "keypoints" else {})
    model = yolokkn.load(recorded_model(outputs, metadata=metadata))
    results = collect_coco_results(model, dataset, tmp_path, iou_type)
    assert results == [] == coco_rows(model(PICTURE), 1, [5], iou_type)
    assert evaluate_coco(dataset, results, iou_type=iou_type)["AP"] == 0


def test_predict_and_track_give_empty_results(tmp_path):
    content = layout_models(False)["v8-seg"]
    model = yolokkn.load(content)
    saves = [f"mot:{tmp_path}/a.txt", f"{tmp_path}/a.jsonl", f"{tmp_path}/a.mp4", f"coco:{tmp_path}/a.json"]
    pictures = [PICTURE, PICTURE]
    for found in yolokkn.predict(pictures, model=model, save=saves[1:3]):
        assert_empty(found[1])
    for save in (tmp_path / "a.jsonl", tmp_path / "a.mp4"):
        save.unlink()
    tracks = list(yolokkn.track(pictures, model=model, save=saves[:3]))
    assert [type(t) for _, t in tracks] == [Tracks, Tracks] and all(t.track_ids.shape == (0,) for _, t in tracks)
