"""BoT-SORT's appearance vectors."""

import numpy as np
import pytest

from tests.tracking.scenes import crowd, detected
from yolokkn import tracking
from yolokkn.tracking import reference

# Two that cross, and stand almost at the same place for a while.
LEFT, RIGHT = np.array([1, 0, 0, 0], np.float32), np.array([0, 1, 0, 0], np.float32)


def test_equals_reference():
    rng = np.random.default_rng(2)
    tracker = tracking.create("botsort", proximity_thresh=0.8)
    other = reference.BotSort(tracker.settings, tracker.frame_rate, tracker.class_policy)
    looks = rng.normal(0, 1, (5, 16)).astype(np.float32)
    for frame, scene in enumerate(crowd(3, 25, 25)):
        count = len(scene[0])
        vectors = looks[rng.integers(0, 5, count)] + rng.normal(0, 0.3, (count, 16)).astype(np.float32)
        vectors[rng.random(count) < 0.1] = rng.choice(np.array([0, np.nan, np.inf, 3e38], np.float32))
        if frame % 7 == 6:
            vectors = vectors[:, :4].copy()  # another length
        embeddings = None if frame % 5 == 4 else vectors
        want = other.update(*scene, embeddings=embeddings)
        np.testing.assert_array_equal(tracker.update(*scene, embeddings=embeddings), want)


def test_those_who_swap_places_keep_their_ids():
    boxes = np.array([[100, 100, 140, 200], [112, 100, 152, 200]], np.float32)
    kept = []
    for with_looks in (False, True):
        tracker = tracking.create("botsort")
        looks = np.stack([LEFT, RIGHT])
        for _ in range(5):
            first = tracker.update(*detected(boxes), embeddings=looks if with_looks else None).tolist()
        swapped = tracker.update(*detected(boxes), embeddings=looks[::-1].copy() if with_looks else None).tolist()
        kept.append(swapped == first[::-1])
    assert kept == [False, True]


@pytest.mark.parametrize("name", [n for n in tracking.TRACKERS if n != "botsort"])
def test_others_do_not_ask_for_them(name):
    with_looks, without = tracking.create(name), tracking.create(name)
    for scene in crowd(5, 15, 10):
        looks = np.random.default_rng(0).normal(0, 1, (len(scene[0]), 4)).astype(np.float32)
        np.testing.assert_array_equal(with_looks.update(*scene, embeddings=looks), without.update(*scene))


def test_refuses_vectors_of_other_rows():
    tracker = tracking.create("botsort")
    with pytest.raises(ValueError, match="update: embeddings must have shape"):
        tracker.update(*detected([[0, 0, 9, 9]]), embeddings=np.zeros((2, 4), np.float32))
