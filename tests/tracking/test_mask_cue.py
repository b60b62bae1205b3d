"""kkn's masks."""

import numpy as np
import pytest

from tests.tracking.scenes import crowd, detected
from yolokkn import tracking
from yolokkn.tracking import reference
from yolokkn.tracking.reference.mask_shapes import mask_iou, shape_of
from yolokkn.types import Masks

HW = (640, 640)


def masks_of(boxes, paint, hw=HW):
    """Masks whose crops are the boxes' pixels inside the frame; paint(index, h, w) gives each bitmap."""
    low = np.clip(np.nan_to_num(np.floor(boxes[:, :2]), nan=0), 0, (hw[1], hw[0]))
    high = np.clip(np.nan_to_num(np.ceil(boxes[:, 2:]), nan=0), low, (hw[1], hw[0]))
    crops = np.concatenate([low, high], 1).astype(np.int32)
    parts = [paint(i, int(y2 - y1), int(x2 - x1)).astype(np.uint8).ravel() for i, (x1, y1, x2, y2) in enumerate(crops)]
    return Masks(np.concatenate([*parts, np.zeros(0, np.uint8)]), crops, hw)


def slash(i, h, w):
    """The lower left half of a box, or the upper right one."""
    y, x = np.mgrid[:h, :w]
    below = y * w > x * h
    return below if i % 2 == 0 else ~below


@pytest.mark.parametrize("policy", ["strict", "vote"])
def test_equals_reference(policy):
    rng = np.random.default_rng(7)
    tracker = tracking.create("kkn", class_policy=policy, mask_weight=0.6)
    other = reference.Kkn(tracker.settings, tracker.frame_rate, policy)
    plain = tracking.create("kkn", class_policy=policy)
    differ = 0
    for frame, scene in enumerate(crowd(3, 30, 30, num_classes=1)):
        masks = masks_of(
            scene[0], lambda i, h, w: rng.random((h, w)) < 0.1 if i % 5 == 0 else slash(rng.integers(2), h, w)
        )
        masks = None if frame % 6 == 5 else masks
        want = other.update(*scene, masks=masks)
        np.testing.assert_array_equal(tracker.update(*scene, masks=masks), want)
        differ += (plain.update(*scene) != want).any()
    assert differ > 5  # they did decide something


def test_those_who_swap_places_keep_their_ids():
    boxes = np.array([[100, 100, 140, 200], [108, 100, 148, 200]], np.float32)
    kept = []
    for with_masks in (False, True):
        tracker = tracking.create("kkn", mask_weight=0.5)
        for _ in range(5):
            first = tracker.update(*detected(boxes), masks=masks_of(boxes, slash) if with_masks else None).tolist()
        other = masks_of(boxes, lambda i, h, w: slash(1 - i, h, w))
        swapped = tracker.update(*detected(boxes), masks=other if with_masks else None).tolist()
        kept.append(swapped == first[::-1])
    assert kept == [False, True]


@pytest.mark.parametrize("growth", [0.0, 2.5])
@pytest.mark.parametrize("score", [0.3, 0.9])
def test_masks_make_up_for_boxes_that_hardly_overlap(growth, score):
    tracker = tracking.create("kkn", growth=growth)
    other = reference.Kkn(tracker.settings, tracker.frame_rate, tracker.class_policy)

    def both(box, score, first, last):
        boxes = np.array([box], np.float32)
        bitmap = np.zeros((100, 100), np.uint8)
        bitmap[:, first:last] = 1
        scene = detected(boxes, score)
        masks = masks_of(boxes, lambda i, h, w: bitmap)
        want = other.update(*scene, masks=masks).tolist()
        assert tracker.update(*scene, masks=masks).tolist() == want
        return want

    for _ in range(40):
        both([0, 0, 100, 100], 0.9, 50, 100)
    assert both([50, 0, 150, 100], score, 0, 50) == [1]


def test_masks_are_saved_and_kept_over_frames_without():
    boxes = np.array([[100, 100, 140, 200], [108, 100, 148, 200]], np.float32)
    tracker = tracking.create("kkn", mask_weight=0.5)
    for _ in range(3):
        tracker.update(*detected(boxes), masks=masks_of(boxes, slash))
    tracker.update(*detected(boxes))
    tracker.update(*detected(boxes), masks=masks_of(boxes, lambda i, h, w: np.zeros((h, w))))
    other = tracking.Tracker.from_bytes(tracker.to_bytes())
    crossed = masks_of(boxes, lambda i, h, w: slash(1 - i, h, w))
    assert other.update(*detected(boxes), masks=crossed).tolist() == [2, 1]


def test_a_weight_of_none_is_no_mask():
    with_masks, without = tracking.create("kkn", mask_weight=0.0), tracking.create("kkn")
    for scene in crowd(5, 15, 10):
        np.testing.assert_array_equal(
            with_masks.update(*scene, masks=masks_of(scene[0], slash)), without.update(*scene)
        )


@pytest.mark.parametrize("name", [n for n in tracking.TRACKERS if n != "kkn"])
def test_others_do_not_ask_for_them(name):
    with_masks, without = tracking.create(name), tracking.create(name)
    assert not with_masks.takes_masks
    for scene in crowd(5, 15, 10):
        np.testing.assert_array_equal(
            with_masks.update(*scene, masks=masks_of(scene[0], slash)), without.update(*scene)
        )


def test_boxes_and_masks_that_fit_badly_do_no_harm():
    rng = np.random.default_rng(0)
    tracker = tracking.create("kkn")
    other = reference.Kkn(tracker.settings, tracker.frame_rate, tracker.class_policy)
    for _ in range(200):
        boxes = rng.uniform(-200, 900, (6, 4)).astype(np.float32)
        boxes[:, 2:] = boxes[:, :2] + np.abs(boxes[:, 2:]) * rng.choice([1e-3, 0.1, 1, 1e3])
        masks = masks_of(np.abs(rng.permutation(boxes)), slash)
        boxes[rng.random((6, 4)) < 0.05] = rng.choice(np.array([np.nan, np.inf, -np.inf, 1e38], np.float32))
        with np.errstate(all="ignore"):
            want = other.update(*detected(boxes), masks=masks)
        np.testing.assert_array_equal(tracker.update(*detected(boxes), masks=masks), want)
    assert np.isfinite(tracker.tracks().boxes).all()


def test_the_specification_measures_overlap():
    full, half = np.ones((16, 16), bool), np.zeros((16, 16), bool)
    half[:, :8] = True
    a, b = np.array([0.0, 0, 32, 32]), np.array([16.0, 0, 48, 32])
    assert mask_iou(a, full, a, full) == 1
    assert mask_iou(a, full, b, full) == pytest.approx(1 / 3)
    assert mask_iou(a, full, a, half) == pytest.approx(1 / 2)
    assert mask_iou(a, half, b, full) == 0
    assert mask_iou(a, full, b + 100, full) == 0
    bitmap = np.zeros((20, 30), np.uint8)
    bitmap[:10] = 1
    assert shape_of(bitmap, (5, 5, 35, 25), np.array([5.0, 5, 35, 25])).sum() == 128
    assert not shape_of(bitmap, (5, 5, 35, 25), np.array([np.nan, 5, 35, 25])).any()


def test_refuses_masks_that_are_none():
    tracker, box = tracking.create("kkn"), detected([[0, 0, 9, 9]])
    with pytest.raises(ValueError, match="update: masks must be one for each of the 1 boxes, got 2"):
        tracker.update(*box, masks=masks_of(np.array([[0, 0, 9, 9], [2, 2, 8, 8]]), slash))
    with pytest.raises(TypeError, match="update: masks must be a Masks, got"):
        tracker.update(*box, masks=[np.ones((9, 9))])
    crooked = masks_of(box[0], slash)
    object.__setattr__(crooked, "crops", np.array([[0, 0, 9, 900]], np.int32))
    with pytest.raises(ValueError, match=r"update: masks\.crops must lie inside the frame"):
        tracker.update(*box, masks=crooked)
    assert tracker.tracks().boxes.shape == (0, 4)
