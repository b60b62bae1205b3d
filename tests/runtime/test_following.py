"""Frames that no network saw: their tracks, their order, and what becomes of them when a run ends early."""

import csv
import itertools

import numpy as np
import pytest

import yolokkn
from tests.runtime.test_pipeline import Counter, Frames, Sink, no_thread_is_left, one_box
from yolokkn import tracking
from yolokkn.runtime.cadence import EveryNth
from yolokkn.runtime.pipeline import Pipeline, PipelineConfig
from yolokkn.runtime.sinks import open_sink
from yolokkn.runtime.sources import open_source
from yolokkn.runtime.timing import LatencyLedger
from yolokkn.types import Detections, Frame

STILL, GONE_AFTER = np.array([200, 100, 240, 160], np.float32), 12
WAY = np.array([2, 1, 2, 1], np.float32)  # a frame, of the one that moves
START = np.array([20, 30, 60, 90], np.float32)


class Street(Frames):
    """Two objects: one walks; one stands, and is gone from frame GONE_AFTER on."""

    def __iter__(self):
        for frame in super().__iter__():
            yield Frame(np.full((240, 320, 3), frame.index, np.uint8), frame.index, frame.index / 25, frame.captured_s)


def see(seen, image, gate):
    index = int(image[0, 0, 0])
    seen.append(index)
    boxes = [START + WAY * index] + ([STILL] if index < GONE_AFTER else [])
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32), np.full(count, 0.9, np.float32), np.zeros(count, np.int32), class_names=("cat",),
        timing_ms={"inference": 1.0},
    )  # fmt: skip


def run(count, every, *, is_live=False, tracker="bytetrack", **options):
    seen = []
    pipeline = Pipeline(
        Street(count, is_live=is_live, **options),
        lambda image, gate: see(seen, image, gate),
        tracker=tracking.create(tracker, frame_rate=25),
        cadence=None if every == 1 else EveryNth(every),
        config=PipelineConfig(num_requests=2, num_workers=2),
        ledger=LatencyLedger(),
    )
    with pipeline:
        results = list(pipeline)
    return sorted(seen), results, pipeline.ledger


@pytest.mark.parametrize("tracker", tracking.TRACKERS)
@pytest.mark.parametrize("every", [2, 3, 8])
def test_the_network_sees_every_nth_frame_and_the_tracks_go_on(every, tracker):
    seen, results, ledger = run(41, every, tracker=tracker)
    assert seen == list(range(0, 41, every))
    assert [frame.index for frame, _ in results] == list(range(41))
    assert ledger.num_frames == 41 and ledger.num_carried == 41 - len(seen) and not ledger.dropped
    for frame, tracks in results:
        assert tracks.carried == (frame.index not in seen)
        assert tracks.class_names == ("cat",) or not len(tracks)
    late = [tracks.confirmed() for frame, tracks in results if frame.index >= 3 * every]
    walker = late[0].track_ids[0]
    for index, tracks in enumerate(late, 3 * every):
        assert walker in tracks.track_ids
        place = tracks.boxes[tracks.track_ids.tolist().index(walker)]
        np.testing.assert_allclose(place, START + WAY * index, atol=0.01)  # of both detections: on the straight way


@pytest.mark.parametrize("tracker", tracking.TRACKERS)
def test_a_live_source_does_not_wait_for_what_comes(tracker):
    _, results, ledger = run(40, 2, is_live=True, tracker=tracker)
    assert ledger.num_carried == 20
    for frame, tracks in results[20:]:
        place = tracks.confirmed().boxes[0]
        np.testing.assert_allclose(place, START + WAY * frame.index, atol=2.5)


def test_who_is_gone_is_not_carried_beyond_the_detection_that_misses_him():
    _, results, _ = run(30, 3)
    counts = [len(tracks.confirmed()) for _, tracks in results]
    assert counts[9:12] == [2, 2, 2] and set(counts[GONE_AFTER:]) == {1}


def test_carried_boxes_end_at_the_frame():
    _, results, _ = run(170, 2)
    assert any(tracks.carried and (tracks.boxes[:, 2] == 320).any() for _, tracks in results)
    for _, tracks in results:
        if tracks.carried:
            assert (tracks.boxes >= 0).all() and (tracks.boxes <= [320, 240, 320, 240]).all()
            assert (tracks.boxes[:, 2:] > tracks.boxes[:, :2]).all()


def test_one_in_one_is_the_same_as_none_carried():
    plain = [tracks.track_ids.tolist() for _, tracks in run(30, 1)[1]]
    pipeline = Pipeline(
        Street(30), lambda image, gate: see([], image, gate), tracker=tracking.create("bytetrack", frame_rate=25),
        cadence=EveryNth(1),
    )  # fmt: skip
    with pipeline:
        assert [tracks.track_ids.tolist() for _, tracks in pipeline] == plain


def test_frames_before_an_error_come_out_before_it():
    pipeline = Pipeline(
        Street(50, fail_at=20), lambda image, gate: see([], image, gate), tracker=tracking.create("sort"), cadence=EveryNth(8)
    )  # fmt: skip
    got = []
    with pytest.raises(OSError, match="cable cut"), pipeline:
        for frame, _ in pipeline:
            got.append(frame.index)
    assert got == list(range(20)) and no_thread_is_left()


def test_frames_that_wait_are_counted_where_the_run_is_left():
    pipeline = Pipeline(
        Street(50), lambda image, gate: see([], image, gate), tracker=tracking.create("sort"), cadence=EveryNth(4)
    )  # fmt: skip
    with pipeline:
        given = 0
        for frame, _ in pipeline:
            given += 1
            if frame.index == 5:
                break
    source = pipeline._lane.source
    assert given + pipeline.ledger.dropped["stopped"] == source.num_made and no_thread_is_left()


def test_sinks_get_every_frame_in_order():
    sink = Sink()
    with Pipeline(
        Street(21), lambda image, gate: see([], image, gate), tracker=tracking.create("kkn"), cadence=EveryNth(4), sinks=[sink]
    ) as pipeline:  # fmt: skip
        assert len(list(pipeline)) == 21
    assert [index for index, _ in sink.seen] == list(range(21))


def test_sources_without_times_tell_the_tracker_the_true_steps():
    class Told(Counter):
        def predict(self, timestamp_s=None):
            return tracking.create("sort").predict()

        def tracks(self):
            return tracking.create("sort").tracks()

    tracker = Told()
    with Pipeline(Frames(7, has_timestamps=False), one_box, tracker=tracker, cadence=EveryNth(3)) as pipeline:
        list(pipeline)
    assert tracker.calls == [0.0, 3 / 25, 6 / 25]


def test_trackers_and_runs_that_cannot_carry():
    with pytest.raises(TypeError, match="tracker must have predict and tracks where frames are carried, got Counter"):
        Pipeline(Frames(3), one_box, tracker=Counter(), cadence=EveryNth(2))
    with pytest.raises(ValueError, match="cadence must come with a tracker"):
        Pipeline(Frames(3), one_box, cadence=EveryNth(2))


def test_lines_say_which_frames_were_carried(tmp_path):
    _, results, _ = run(9, 4)
    with (
        open_sink(str(tmp_path / "out.jsonl")) as sink,
        open_sink(f"mot:{tmp_path / 'out.txt'}") as mot,
        open_sink(str(tmp_path / "out.csv")) as table,
    ):
        for frame, tracks in results:
            for one in (sink, mot, table):
                one.write(frame, tracks)
    with open(tmp_path / "out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {int(row["frame"]) for row in rows} == set(range(9))
    assert all(row["carried"] == str(int(int(row["frame"]) % 4 != 0)) for row in rows)
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert ['"carried":true' in line for line in lines] == [i % 4 != 0 for i in range(9)]
    frames = {int(line.split(",")[0]) for line in (tmp_path / "out.txt").read_text().splitlines()}
    assert frames == set(range(1, 10))


@pytest.mark.parametrize("detect_every", [3, "auto"])
def test_a_real_clip(shared_data, detect_every):
    """Ids go on through the carried frames; each has about as many tracks as its neighbours."""
    options = {"model": shared_data / "weights" / "yolox" / "yolox_nano.onnx", "classes": ["person"], "threads": 1}
    budget = {"budget_ms": 0.01} if detect_every == "auto" else {}
    with open_source(shared_data / "videos" / "vtest.avi") as source:
        images = [frame.image for frame, _ in zip(source, range(60), strict=False)]
    results = list(yolokkn.track(images, detect_every=detect_every, **budget, **options))
    assert len(results) == 60
    carried = [tracks.carried for _, tracks in results]
    assert carried.count(True) > 30
    if detect_every == "auto":
        return
    assert carried == [i % 3 != 0 for i in range(60)]
    for (_, before), (_, after) in itertools.pairwise(results[30:]):
        ids, others = set(before.confirmed().track_ids.tolist()), set(after.confirmed().track_ids.tolist())
        assert len(ids & others) >= 0.7 * max(len(ids), 1)
