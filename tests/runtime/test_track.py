"""The Python door of the main job, as the README uses it."""

import numpy as np
import pytest

import yolokkn
from tests.recorded import cell_heads, recorded_model
from yolokkn import tracking
from yolokkn.errors import SinkError

PICTURES = np.zeros((4, 64, 64, 3), np.uint8)


@pytest.fixture
def content():
    table = cell_heads(6)
    table[5] = 30, 30, 20, 12, 0, 0.9
    table[60] = 10, 40, 8, 8, 0.15, 0
    return recorded_model(
        {"output0": table.T[None].copy()}, metadata={"task": "detect", "names": "{0: 'cat', 1: 'dog'}"}
    )


def counts(run):
    return [len(tracks) for _, tracks in run]


@pytest.mark.parametrize("tracker", ["bytetrack", "sort"])
def test_a_model_loaded_here_keeps_weak_detections(content, tracker):
    assert counts(yolokkn.track(PICTURES, model=content, tracker=tracker)) == [2] * 4


def test_a_loaded_model_takes_thresholds_and_the_tracker_its_settings(content):
    model = yolokkn.load(content)
    assert counts(yolokkn.track(PICTURES, model=model)) == [1] * 4
    run = yolokkn.track(PICTURES, model=model, tracker="bytetrack", score_threshold=0.1, track_buffer=60)
    assert counts(run) == [2] * 4
    assert counts(yolokkn.track(PICTURES, model=model, classes=["cat"], score_threshold=0.1)) == [1] * 4
    assert model.options.score_threshold == 0.25


def test_a_tracker_from_a_file(content, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("tracker_type: bytetrack\nnew_track_thresh: 0.99\ngmc_method: none\n")
    for settings, started in (({}, False), ({"new_track_thresh": 0.2}, True)):  # what is said here wins
        run = yolokkn.track(PICTURES, model=content, tracker=str(file), **settings)
        assert any((tracks.track_ids >= 0).any() for _, tracks in run) == started


def test_a_tracker_of_ones_own(content):
    tracker = tracking.create("sort", score_threshold=0.05, min_hits=1)
    ids = [tracks.track_ids.tolist() for _, tracks in yolokkn.track(PICTURES, model=content, tracker=tracker)]
    assert ids == [[1, 2]] * 4


def test_options_are_checked_at_the_call(content):
    model = yolokkn.load(content)
    with pytest.raises(TypeError, match=r"track: track_bufer must be given to yolokkn\.load"):
        yolokkn.track(PICTURES, model=model, track_bufer=3)
    with pytest.raises(TypeError, match="threads"):
        yolokkn.track(PICTURES, model=model, threads=3)
    with pytest.raises(ValueError, match="did you mean 'bytetrack'"):
        yolokkn.track(PICTURES, model=model, tracker="bytetrak")
    with pytest.raises(ValueError, match="policy must be one of"):
        yolokkn.track(PICTURES, model=model, policy="newest")
    with pytest.raises(ValueError, match="track_buffer must be within"):
        yolokkn.track(PICTURES, model=model, track_buffer=-1)
    with pytest.raises(FileNotFoundError):
        yolokkn.track(PICTURES, model="nothing.onnx")
    with pytest.raises(TypeError, match="track_buffer must be given where the tracker is made"):
        yolokkn.track(PICTURES, model=model, tracker=tracking.create("sort"), track_buffer=9)


def test_leaving_the_loop_closes_the_outputs(content, tmp_path):
    out = tmp_path / "r.json"
    for frame, _ in yolokkn.predict(PICTURES, model=content, save=f"coco:{out}"):
        if frame.index == 1:
            break
    assert out.exists()


def test_results_never_replace_their_source(content, tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), PICTURES[0])
    with pytest.raises(SinkError, match="is what the source reads"):
        list(yolokkn.predict(tmp_path, model=content, save=f"{tmp_path}/*.png"))
