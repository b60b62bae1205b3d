"""Trackers saved and restored go on byte for byte; votes decide a track's class."""

import copy
import pickle

import numpy as np
import pytest

from tests.tracking.scenes import crowd, detected
from yolokkn import tracking
from yolokkn.tracking import reference

BOX = [[10, 10, 50, 90]]


@pytest.mark.parametrize("policy", ["strict", "agnostic", "vote"])
@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_goes_on_alike(name, policy):
    tracker = tracking.create(name, frame_rate=25, class_policy=policy)
    scenes = list(crowd(1, 30, 40))
    for i, scene in enumerate(scenes[:20]):
        tracker.update(*scene, i / 25)
    data = tracker.to_bytes()
    others = [tracking.Tracker.from_bytes(data), pickle.loads(pickle.dumps(tracker)), copy.deepcopy(tracker)]
    assert others[0].settings == tracker.settings
    assert (others[0].frame_rate, others[0].class_policy) == (25, policy)
    for i, scene in enumerate(scenes[20:], 20):
        want = tracker.update(*scene, i / 25)
        for other in others:
            np.testing.assert_array_equal(other.update(*scene, i / 25), want)
            np.testing.assert_array_equal(other.class_ids, tracker.class_ids)
    assert {other.to_bytes() for other in others} == {tracker.to_bytes()}


def test_appearance_is_saved():
    tracker = tracking.create("botsort")
    looks = np.eye(2, 8, dtype=np.float32)
    boxes = detected([[100, 100, 140, 200], [112, 100, 152, 200]])
    for _ in range(3):
        tracker.update(*boxes, embeddings=looks)
    other = tracking.Tracker.from_bytes(tracker.to_bytes())
    assert other.update(*boxes, embeddings=looks[::-1].copy()).tolist() == [2, 1]


def test_refuses_other_bytes():
    tracker = tracking.create("kkn")
    tracker.update(*detected(BOX))
    data = tracker.to_bytes()
    rng = np.random.default_rng(0)
    for cut in (b"", data[:5], data[:18], data[:60], data[:-1], data + b"x", b"x" + data[1:]):
        with pytest.raises(ValueError, match="from_bytes: data must be what to_bytes gave"):
            tracking.Tracker.from_bytes(cut)
    for _ in range(300):
        place = int(rng.integers(0, len(data)))
        bad = data[:place] + bytes([data[place] ^ int(rng.integers(1, 256))]) + data[place + 1 :]
        with pytest.raises(ValueError, match="from_bytes: data must be what to_bytes gave"):
            tracking.Tracker.from_bytes(bad)


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_votes_equal_reference(name):
    tracker = tracking.create(name, class_policy="vote")
    other = reference.TRACKERS[name](tracker.settings, tracker.frame_rate, "vote")
    for scene in crowd(2, 25, 25, num_classes=7):
        np.testing.assert_array_equal(tracker.update(*scene), other.update(*scene))
        np.testing.assert_array_equal(tracker.class_ids, other.class_ids)


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_a_vote_outlasts_a_slip(name):
    tracker = tracking.create(name, class_policy="vote")
    seen = []
    for class_id, score in ((3, 0.9), (3, 0.9), (5, 0.95), (3, 0.8), (5, 0.9), (5, 0.9), (5, 0.95)):
        ids = tracker.update(*detected(BOX, score, class_id))
        seen.append(int(tracker.class_ids[0]))
        if len(seen) > 3:
            assert ids.tolist() == [1]
    assert seen == [3, 3, 3, 3, 3, 5, 5]


@pytest.mark.parametrize(("policy", "want"), [("strict", 5), ("agnostic", 5), ("vote", 3)])
def test_the_classes_of_the_last_update(policy, want):
    tracker = tracking.create("bytetrack", class_policy=policy)
    assert tracker.class_ids.tolist() == []
    for class_id in (3, 3, 5):
        tracker.update(*detected(BOX, 0.9, class_id))
    assert tracker.class_ids.tolist() == [want]


def test_classes_are_of_the_last_update():
    tracker, boxes = tracking.create("sort"), detected(BOX)
    tracker.update(*boxes)
    tracker.class_ids[:] = 9
    assert tracker.class_ids.tolist() == [0]
    with pytest.raises(ValueError, match="update: scores must have shape"):
        tracker.update(boxes[0], np.zeros(3, np.float32), np.full(1, 7, np.int32))
    assert tracker.class_ids.tolist() == [0]
    tracker.reset()
    assert len(tracker.class_ids) == 0


def test_a_rider_does_not_keep_a_bicycle_from_its_track():
    for policy, ids in (("strict", [1, 2]), ("agnostic", [1, -1])):
        tracker = tracking.create("kkn", class_policy=policy)
        scene = detected([[0, 0, 100, 100], [2, 2, 100, 100]])
        scene[2][1] = 1
        tracker.update(*(column[:1] for column in scene))
        for _ in range(3):
            found = tracker.update(*scene).tolist()
        assert found == ids


@pytest.mark.parametrize("is_reference", [False, True])
@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_a_reset_that_keeps_ids_gives_none_twice(name, is_reference):
    tracker = tracking.create(name)
    if is_reference:
        tracker = reference.TRACKERS[name](tracker.settings, tracker.frame_rate, tracker.class_policy)

    def first_id():
        for _ in range(6):
            found = tracker.update(*detected(BOX, 0.9))
        return found.tolist()

    assert first_id() == [1]
    tracker.reset(keep_ids=True)
    assert first_id() == [2]
    tracker.reset()
    assert first_id() == [1]
