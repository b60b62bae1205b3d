"""Tracks between updates: where the next update would expect them, and without a trace."""

import math

import numpy as np
import pytest

from tests.tracking.scenes import crowd, detected, hostile_times
from tests.tracking.test_trackers import twin
from yolokkn import tracking
from yolokkn.tracking.reference.tracks import TRACKED

BOX = np.array([[100, 100, 140, 180]])
WAY = np.array([3, 1, 3, 1])  # a frame


def columns(live):
    return live.track_ids.tolist(), live.states.tolist(), live.ages.tolist(), live.class_ids.tolist()


@pytest.mark.parametrize("policy", ["strict", "vote"])
@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_equals_the_reference_and_changes_nothing(name, policy):
    rng = np.random.default_rng(7)
    asked, plain = (tracking.create(name, class_policy=policy) for _ in range(2))
    slow = twin(asked)
    times = hostile_times(rng, 40)
    for scene, time_s in zip(crowd(4, 30, 40), times, strict=True):
        want = plain.update(*scene, time_s)
        np.testing.assert_array_equal(asked.update(*scene, time_s), want)
        slow.update(*scene, time_s)
        before = asked.to_bytes()
        for ahead_s in (None, 0.0, 1 / 30, 0.21, 3.0, -1.0, math.nan):
            when = None if ahead_s is None else (time_s or 0.0) + ahead_s
            live, expected = asked.predict(when), slow.predict(when)
            assert live.track_ids.tolist() == [t.track_id for t in expected]
            boxes = np.array([t.box for t in expected]).reshape(-1, 4).astype(np.float32)
            np.testing.assert_array_equal(live.boxes, boxes)
            assert live.states.tolist() == [t.state for t in expected]
        assert asked.to_bytes() == before


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_a_track_goes_on_as_it_went(name):
    tracker = tracking.create(name, frame_rate=25)
    for k in range(20):
        tracker.update(*detected(BOX + WAY * k), k / 25)
    for k in (20, 22, 26):
        live = tracker.predict(k / 25)
        assert live.track_ids.tolist() == [1] and live.states.tolist() == [TRACKED]
        assert live.ages.tolist() == pytest.approx([k - 19])
        np.testing.assert_allclose(live.boxes[0], (BOX + WAY * k)[0], atol=2.5)
    np.testing.assert_array_equal(tracker.predict(20 / 25).boxes, tracker.predict().boxes)


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_a_lost_track_is_left_out_when_it_is_too_old(name):
    tracker = tracking.create(name, frame_rate=10)
    for k in range(5):
        tracker.update(*detected(BOX), k / 10)
    tracker.update(*detected([]), 0.5)
    assert tracker.predict(1.0).track_ids.tolist() == [1]
    assert len(tracker.predict(5.0)) == 0
    assert len(tracking.create(name).predict(3.0)) == 0


def test_a_time_that_is_no_number():
    with pytest.raises(TypeError, match="predict: timestamp_s must be seconds as a float or None, got str"):
        tracking.create("sort").predict("now")
