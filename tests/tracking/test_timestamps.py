"""Timestamps that jump, repeat, go back or are no numbers: nothing breaks, ids survive."""

import numpy as np
import pytest

from tests.strategies import scaled
from tests.tracking.scenes import crowd, detected, hostile_times
from yolokkn import tracking
from yolokkn.tracking.reference.clock import MAX_STEP, MIN_STEP, Clock


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_ids_survive_hostile_clocks(name):
    rng = np.random.default_rng(0)
    tracker = tracking.create(name)
    starts = np.array([[10, 10, 60, 110], [200, 50, 260, 200], [400, 300, 430, 380]], np.float32)
    scores, class_ids = np.full(3, 0.9, np.float32), np.zeros(3, np.int32)
    for _ in range(scaled(5_000)):
        tracker.reset()
        speed = rng.uniform(-0.3, 0.3, (3, 2)).astype(np.float32)
        boxes, shift = starts, np.tile(speed, 2)
        for time_s in hostile_times(rng, 7):
            boxes = boxes + shift
            assert tracker.update(boxes, scores, class_ids, time_s).tolist() == [1, 2, 3]
        live = tracker.tracks()
        assert np.isfinite(live.boxes).all()
        assert (live.boxes[:, 2:] > live.boxes[:, :2]).all()


@pytest.mark.parametrize("name", tracking.TRACKERS)
@pytest.mark.parametrize(("rate", "start"), [(30.0, 0.0), (25.0, 1.7e9), (29.97, 86400.0), (14.0, -3.0)])
def test_nominal_steps_equal_no_timestamps(name, rate, start):
    scenes = list(crowd(8, 30, 60))
    plain, timed, rounded = (tracking.create(name, frame_rate=rate) for _ in range(3))
    for frame, scene in enumerate(scenes):
        want = plain.update(*scene)
        np.testing.assert_array_equal(timed.update(*scene, start + frame / rate), want)
        np.testing.assert_array_equal(rounded.update(*scene, round(start + frame / rate, 3)), want)
        np.testing.assert_array_equal(timed.tracks().boxes, plain.tracks().boxes)
        np.testing.assert_array_equal(rounded.tracks().boxes, plain.tracks().boxes)


def test_steps_stay_in_their_range():
    rng = np.random.default_rng(1)
    for _ in range(500):
        clock = Clock(30.0)
        before = clock.now
        for time_s in hostile_times(rng, 12):
            assert MIN_STEP <= clock.advance(time_s) <= MAX_STEP
            assert clock.now >= before + MIN_STEP
            before = clock.now


@pytest.mark.parametrize(
    ("times", "steps", "now"),
    [
        ([0.0, 0.1, 0.2], [1, 1, 1], 3),
        ([0.0, 0.2, 0.25], [1, 2, 0.5], 3.5),
        ([0.0, 0.0, -1.0, -0.8], [1, 1, 1, 2], 5),  # repeated and backwards: one frame; then on from the new time
        ([0.0, float("nan"), 0.2], [1, 1, 1], 3),  # the clock ran on while it said nothing
        ([None, 5.0, None, 5.3], [1, 1, 1, 2], 5),
        ([0.0, 100.0, 100.1], [1, 1, 1], 1002),  # a jump is predicted as one frame, but it ages
        ([0.0, 1e300, 1e300], [1, 1, 1], 1e6 + 2),
    ],
)
def test_clock_by_hand(times, steps, now):
    clock = Clock(10.0)
    assert [pytest.approx(clock.advance(t)) for t in times] == steps
    assert clock.now == pytest.approx(now)


def test_a_long_gap_ends_lost_tracks_and_keeps_seen_ones():
    still, gone = [10, 10, 60, 110], [200, 50, 260, 200]
    tracker = tracking.create("bytetrack")
    tracker.update(*detected([still, gone]), 0.0)
    tracker.update(*detected([still]), 1 / 30)
    assert tracker.update(*detected([still, gone]), 60.0).tolist() == [1, -1]
    assert tracker.update(*detected([still, gone]), 60.0 + 1 / 30).tolist() == [1, 3]


@pytest.mark.parametrize("bad", ["1", [0.0], 10**400])
def test_refuses_what_is_no_time(bad):
    with pytest.raises(TypeError, match="update: timestamp_s must be seconds as a float or None, got"):
        tracking.create("sort").update(*detected([[0, 0, 5, 5]]), bad)
