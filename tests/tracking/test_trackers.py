import sys
import threading
import time

import numpy as np
import pytest

from tests.tracking.scenes import crowd, detected, hostile_times
from yolokkn import tracking
from yolokkn.tracking import reference
from yolokkn.tracking.mot_files import read_seqinfo
from yolokkn.tracking.sequences import track_detections

SEQUENCES = {"MOT17-02": 100, "MOT17-05": 418, "MOT17-09": 262, "MOT17-13": 200}  # frames: the reference is slow
BOX = [[10, 10, 50, 90]]


def twin(tracker: tracking.Tracker):
    return reference.TRACKERS[tracker.name](tracker.settings, tracker.frame_rate, tracker.class_policy)


@pytest.fixture(params=["reference", "cpu"])
def make(request):
    """Each implementation in turn, made as `create` makes it."""

    def build(name, **kwargs):
        tracker = tracking.create(name, **kwargs)
        return twin(tracker) if request.param == "reference" else tracker

    return build


def run(tracker, scenes, times=None):
    times = times or [None] * len(scenes)
    return [tracker.update(*scene, t).tolist() for scene, t in zip(scenes, times, strict=True)]


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_mot17_equals_reference(name, sequence, shared_data):
    folder = shared_data / "mot17" / sequence
    tracker = tracking.create(name, frame_rate=read_seqinfo(folder).frame_rate)
    path, limits = folder / "det" / "det.txt", {"min_confidence": 0.1, "num_frames": SEQUENCES[sequence]}
    rows = track_detections(path, tracker, **limits)
    assert len({row.track_id for row in rows}) > 15
    assert track_detections(path, twin(tracker), **limits) == rows


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_ten_repeats_are_the_same(name, shared_data):
    path = shared_data / "mot17" / "MOT17-09" / "det" / "det.txt"
    tracker = tracking.create(name)
    first = track_detections(path, tracker)
    for _ in range(9):
        tracker.reset()
        assert track_detections(path, tracker) == first


@pytest.mark.parametrize("policy", ["strict", "agnostic"])
@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_crowds_equal_reference(name, policy):
    rng = np.random.default_rng(3)
    for seed, count in enumerate((1, 5, 30, 70)):
        scenes = list(crowd(seed, count, 25))
        tracker = tracking.create(name, class_policy=policy)
        other = twin(tracker)
        times = hostile_times(rng, 25) if seed % 2 else None
        assert run(tracker, scenes, times) == run(other, scenes, times)
        live = tracker.tracks()
        assert live.track_ids.tolist() == [t.track_id for t in other.tracks]
        assert live.states.tolist() == [t.state for t in other.tracks]
        want = np.array([t.box for t in other.tracks]).reshape(-1, 4).astype(np.float32)
        np.testing.assert_array_equal(live.boxes, want)


@pytest.mark.parametrize(
    "settings",
    [
        {"match_thresh": 1.0, "fuse_score": False},
        {"match_thresh": 0.0},
        {"track_buffer": 0, "new_track_thresh": 0.9},
        {"track_high_thresh": 0.6, "track_low_thresh": 0.0, "new_track_thresh": 0.0},
    ],
)
def test_settings_equal_reference(settings):
    tracker = tracking.create("bytetrack", **settings)
    scenes = list(crowd(9, 40, 25))
    assert run(tracker, scenes) == run(twin(tracker), scenes)


def test_identical_boxes_equal_reference():
    scenes = [detected(BOX * n) for n in (7, 9, 3, 0, 8, 40, 33)]
    for name in tracking.TRACKERS:
        tracker = tracking.create(name, min_hits=1) if name == "sort" else tracking.create(name)
        assert run(tracker, scenes) == run(twin(tracker), scenes)


def test_bytetrack_confirms_first_frame_at_once_and_others_at_the_second_hit(make):
    tracker = make("bytetrack")
    other = [[200, 10, 240, 90]]
    assert run(tracker, [detected(BOX), detected(BOX + other), detected(BOX + other)]) == [[1], [1, -1], [1, 2]]


def test_bytetrack_low_score_keeps_a_track_but_starts_none(make):
    tracker = make("bytetrack")
    got = run(tracker, [detected(BOX), detected(BOX, 0.15), detected(BOX, 0.05), detected([[300, 1, 340, 80]], 0.15)])
    assert got == [[1], [1], [-1], [-1]]


@pytest.mark.parametrize(("buffer", "missed", "same"), [(5, 4, True), (5, 5, False)])
def test_lost_track_is_found_within_its_buffer(make, buffer, missed, same):
    for name, key in (("bytetrack", "track_buffer"), ("sort", "max_age")):
        tracker = make(name, **{key: buffer})
        got = run(tracker, [detected(BOX)] * 4 + [detected([])] * missed + [detected(BOX)] * 3)
        assert got[3] == [1]
        assert got[-1] == ([1] if same else [2])


def test_buffer_counts_time_not_updates(make):
    for rate_of_frames, misses_allowed in ((30, 9), (15, 4)):
        tracker = make("bytetrack", track_buffer=10, frame_rate=30)
        times = iter(np.arange(100) / rate_of_frames)
        run(tracker, [detected(BOX)] * 2, [next(times) for _ in range(2)])
        run(tracker, [detected([])] * misses_allowed, [next(times) for _ in range(misses_allowed)])
        assert tracker.update(*detected(BOX), next(times)).tolist() == [1]
        run(tracker, [detected([])] * (misses_allowed + 1), [next(times) for _ in range(misses_allowed + 1)])
        assert tracker.update(*detected(BOX), next(times)).tolist() == [-1]


def test_prediction_covers_the_true_time(make):
    """An object of 8 px a frame, then 4 frames dropped: without the timestamp it would be 32 px beside its track."""
    boxes = [detected([[x, 10, x + 24, 90]]) for x in (*range(0, 160, 8), 192)]
    times = [i / 30 for i in range(20)] + [24 / 30]
    assert run(make("bytetrack"), boxes, times)[-1] == [1]
    assert run(make("bytetrack"), boxes)[-1] == [-1]


@pytest.mark.parametrize(("policy", "want"), [("strict", [[1], [-1], [2], [1]]), ("agnostic", [[1], [1], [1], [1]])])
def test_class_policy(make, policy, want):
    tracker = make("bytetrack", class_policy=policy)
    assert run(tracker, [detected(BOX, class_ids=c) for c in (0, 7, 7, 0)]) == want


def test_sort_confirms_after_min_hits(make):
    tracker = make("sort", min_hits=3)
    run(tracker, [detected([])] * 3)
    assert run(tracker, [detected(BOX)] * 4) == [[-1], [-1], [1], [1]]


def test_ids_follow_the_input_order(make):
    tracker = make("bytetrack")
    scenes = [detected([[100 * i, 0, 100 * i + 50, 90] for i in order]) for order in ([0, 1, 2], [2, 0, 1])]
    assert run(tracker, scenes) == [[1, 2, 3], [3, 1, 2]]


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_rows_without_sense_are_ignored(make, name):
    bad = [np.nan, np.inf, -np.inf]
    rows = [[10, 10, 10, 90], [50, 90, 10, 10], [0, 0, -5, 5]] + [[0, b, 9, 9] for b in bad]
    rows += [[-3e38, -3e38, 3e38, 3e38], [3e38, 0, 3.3e38, 1e-40], *BOX]
    boxes, scores, class_ids = detected(rows)
    tracker = make(name)
    for _ in range(5):
        got = tracker.update(boxes, scores, class_ids)
        assert got[:6].tolist() == [-1] * 6
        assert got[-1] > 0
    for score in bad:
        assert tracker.update(*detected(BOX, score)).tolist() == [-1]


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_random_rows_equal_reference(name):
    rng = np.random.default_rng(11)
    special = np.array([0, 1, -1, 1e-40, 1e-45, 3e38, -3e38, 1e19, np.nan, np.inf, -np.inf, 7, 7.0001], np.float32)
    for _ in range(30):
        tracker = tracking.create(name)
        other = twin(tracker)
        for _ in range(8):
            count = int(rng.integers(0, 40))
            boxes = rng.choice(special, (count, 4))
            usual = rng.random(count) < 0.5
            boxes[usual] = np.sort(rng.uniform(0, 60, (count, 2, 2)), 1).reshape(count, 4)[usual]
            scores = rng.choice(np.array([0.1, 0.25, 0.9, 2.0, -1.0, np.nan], np.float32), count)
            scene = boxes, scores, rng.integers(0, 2, count).astype(np.int32)
            np.testing.assert_array_equal(tracker.update(*scene), other.update(*scene))
            assert np.isfinite(tracker.tracks().boxes).all()


def test_inputs_are_not_changed():
    boxes, scores, class_ids = next(crowd(0, 20, 1))
    for array in (boxes, scores, class_ids):
        array.flags.writeable = False
    before = boxes.copy(), scores.copy(), class_ids.copy()
    for name in tracking.TRACKERS:
        tracking.create(name).update(boxes, scores, class_ids)
    for old, new in zip(before, (boxes, scores, class_ids), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_two_trackers_are_independent(name):
    scenes = list(crowd(4, 20, 15))
    alone = run(tracking.create(name), scenes)
    first, second = tracking.create(name), tracking.create(name)
    for scene, want in zip(scenes, alone, strict=True):
        assert first.update(*scene).tolist() == want
        second.update(*scene)
    assert max(max(ids) for ids in alone) > 1
    first.reset()
    assert run(first, scenes) == alone
    assert len(first.tracks()) > 0
    first.reset()
    assert len(first.tracks()) == 0


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_tracks_stay_bounded(name):
    tracker = tracking.create(name)
    rng = np.random.default_rng(0)
    for _ in range(3000):
        corner = rng.uniform(0, 1e4, (20, 2))
        tracker.update(*detected(np.concatenate([corner, corner + 5], 1)), 0.0)
        assert len(tracker.tracks()) <= 20 * 32


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_one_tracker_in_many_threads(name):
    tracker = tracking.create(name)
    scenes = list(crowd(6, 50, 200))
    failures, counts = [], []

    def work():
        try:
            for scene in scenes:
                ids = tracker.update(*scene)
                given = ids[ids > 0].tolist()
                assert len(ids) == len(scene[0]) and len(set(given)) == len(given)
                live = tracker.tracks()
                assert len(live.boxes) == len(live.track_ids) and np.isfinite(live.boxes).all()
                counts.append(1)
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not failures
    assert len(counts) == 4 * len(scenes)


def test_update_releases_the_gil():
    """While one thread is inside a long update, this one goes on."""
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 30, (3000, 2))
    scene = detected(np.concatenate([corner, corner + 400], 1))
    tracker = tracking.create("bytetrack", match_thresh=0.05, fuse_score=False)
    tracker.update(*scene)
    entered, ended = threading.Event(), []

    def work():
        entered.set()
        tracker.update(*scene)
        ended.append(time.perf_counter())

    thread = threading.Thread(target=work)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)  # without a release, the thread would keep the GIL to its end
    try:
        thread.start()
        entered.wait()
        here = time.perf_counter()
    finally:
        sys.setswitchinterval(interval)
    thread.join()
    assert here < ended[0]


def test_live_tracks_show_predictions_of_lost_ones():
    tracker = tracking.create("bytetrack")
    for x in range(0, 100, 4):
        tracker.update(*detected([[x, 10, x + 40, 90]]))
    tracker.update(*detected([]))
    live = tracker.tracks()
    assert tracking.TRACK_STATES[live.states[0]] == "lost"
    assert live.ages.tolist() == [1.0]
    np.testing.assert_allclose(live.boxes, [[100, 10, 140, 90]], atol=0.5)
