import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ops.heads import SPECIAL
from tests.strategies import COUNTS, random_boxes, scaled
from yolokkn import ops


def brute_force(boxes, scores, class_ids, iou_threshold, max_detections):
    """Another statement of the rule: walk down the order, strike out what the box at hand suppresses."""
    valid = np.isfinite(boxes).all(1) & np.isfinite(scores)
    with np.errstate(all="ignore"):
        hit = ops.reference.pairwise_iou(boxes, boxes) > np.float32(iou_threshold)
    if class_ids is not None:
        hit &= class_ids[:, None] == class_ids
    kept = []
    for i in sorted(np.nonzero(valid)[0], key=lambda i: (-scores[i], i)):
        if valid[i] and len(kept) < max_detections:
            kept.append(i)
            valid &= ~hit[i]
    return np.array(kept, np.int64)


def small_case(rng):
    count = int(rng.integers(0, 20))
    boxes = random_boxes(rng, count, size=float(rng.choice([4, 30])))
    if rng.random() < 0.5:
        boxes = np.round(boxes)
    scores = (rng.integers(0, 5, count) / 4).astype(np.float32) - np.float32(rng.choice([0, 0.5]))
    if rng.random() < 0.2 and count:
        boxes[rng.integers(count), rng.integers(4)] = rng.choice(SPECIAL)
        scores[rng.integers(count)] = rng.choice(SPECIAL)
    ids = None if rng.random() < 0.3 else rng.integers(-1, 3, count).astype(np.int32)
    return boxes, scores, ids, float(rng.choice([0, 0.3, 0.5, 0.7, 1])), int(rng.choice([1, 3, 300]))


def test_many_cases_equal_brute_force():
    rng = np.random.default_rng(13)  # csrc/tests/test_nms.cpp runs 100,000
    for _ in range(scaled(4000)):
        boxes, scores, ids, threshold, limit = small_case(rng)
        got = ops.nms(boxes, scores, ids, iou_threshold=threshold, max_detections=limit)
        np.testing.assert_array_equal(got, brute_force(boxes, scores, ids, threshold, limit))


@pytest.mark.parametrize("count", [*COUNTS, 255, 256, 257, 1500])
@pytest.mark.parametrize("classes", [None, 1, 40])
def test_equals_reference(count, classes):
    rng = np.random.default_rng(count)
    boxes = random_boxes(rng, count)
    scores = (rng.normal(0, 1, count) if count % 2 else rng.integers(0, 9, count)).astype(np.float32)
    ids = None if classes is None else rng.integers(0, classes, count).astype(np.int32)
    for threshold in (0.1, 0.7):
        got = ops.nms(boxes, scores, ids, iou_threshold=threshold)
        np.testing.assert_array_equal(got, ops.reference.nms(boxes, scores, ids, iou_threshold=threshold))
        assert got.dtype == np.int64


def test_one_ulp_either_side_of_the_threshold(op):
    boxes = np.array([[0, 0, 4, 1], [0, 0, 3, 1]], np.float32)
    scores = np.array([0.9, 0.8], np.float32)
    iou = np.float32(0.75)
    assert op.pairwise_iou(boxes[:1], boxes[1:])[0, 0] == iou
    assert op.nms(boxes, scores, iou_threshold=float(iou)).tolist() == [0, 1]  # equal is not greater
    assert op.nms(boxes, scores, iou_threshold=float(np.nextafter(iou, np.float32(0)))).tolist() == [0]
    assert op.nms(boxes, scores, iou_threshold=float(np.nextafter(iou, np.float32(1)))).tolist() == [0, 1]


def test_random_pairs_at_their_own_iou():
    rng = np.random.default_rng(5)
    scores = np.array([0.9, 0.8], np.float32)
    for _ in range(500):
        pair = np.concatenate([rng.uniform(0, 40, (2, 2)), rng.uniform(41, 90, (2, 2))], 1).astype(np.float32)
        iou = ops.reference.pairwise_iou(pair[:1], pair[1:])[0, 0]
        below = np.nextafter(iou, np.float32(0))
        assert len(ops.nms(pair, scores, iou_threshold=float(iou))) == 2
        assert len(ops.nms(pair, scores, iou_threshold=float(below))) == 1


def test_classes_are_compared(op):
    boxes = np.array([[0, 0, 10, 10]] * 4, np.float32)
    scores = np.array([0.5, 0.9, 0.7, 0.7], np.float32)
    ids = np.array([0, 1, 0, -7], np.int32)
    assert op.nms(boxes, scores, ids).tolist() == [1, 2, 3]
    assert op.nms(boxes, scores).tolist() == [1]


def test_ties_keep_input_order_and_zero_has_no_sign(op):
    boxes = np.arange(12, dtype=np.float32)[:, None] * 10 + np.array([0, 0, 5, 5], np.float32)
    scores = np.array([0.0, -0.0] * 6, np.float32)
    assert op.nms(boxes, scores).tolist() == list(range(12))


def test_degenerate_boxes_are_kept(op):
    boxes = np.array([[5, 5, 5, 9], [5, 5, 5, 9], [9, 9, 1, 1], [0, 0, 10, 10]], np.float32)
    assert op.nms(boxes, np.array([0.9, 0.8, 0.7, 0.6], np.float32), iou_threshold=0.0).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_never_kept(op, value):
    boxes = np.array([[0, 0, 9, 9]] * 3, np.float32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    boxes[0, 2] = value
    scores[1] = value
    assert op.nms(boxes, scores).tolist() == [2]


def test_boxes_whose_area_overflows(op):
    boxes = np.array([[-3e38, -3e38, 3e38, 3e38], [0, 0, 3e38, 3e38], [0, 0, 1, 1]], np.float32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    np.testing.assert_array_equal(op.nms(boxes, scores), ops.reference.nms(boxes, scores))


def test_many_identical_boxes_and_all_ties():
    boxes = np.tile(np.array([[3, 3, 30, 30]], np.float32), (8400, 1))
    scores = np.full(8400, 0.5, np.float32)
    assert ops.nms(boxes, scores).tolist() == [0]
    ids = np.arange(8400, dtype=np.int32)
    assert ops.nms(boxes, scores, ids, max_detections=9000).tolist() == list(range(8400))
    apart = boxes + np.arange(8400, dtype=np.float32)[:, None] * 40
    assert ops.nms(apart, scores).tolist() == list(range(300))
    assert ops.nms(apart, scores, max_detections=9000).tolist() == list(range(8400))


def test_read_only_inputs_stay_as_they_are():
    rng = np.random.default_rng(0)
    boxes, scores = random_boxes(rng, 50), rng.random(50).astype(np.float32)
    before = boxes.tobytes() + scores.tobytes()
    boxes.flags.writeable = scores.flags.writeable = False
    ops.nms(boxes, scores, np.zeros(50, np.int32))
    assert boxes.tobytes() + scores.tobytes() == before


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_properties(seed):
    boxes, scores, ids, threshold, limit = small_case(np.random.default_rng(seed))
    kept = ops.nms(boxes, scores, ids, iou_threshold=threshold, max_detections=limit)
    assert len(set(kept.tolist())) == len(kept) <= limit
    assert (np.diff(scores[kept]) <= 0).all()
    again = ops.nms(boxes[kept], scores[kept], None if ids is None else ids[kept], iou_threshold=threshold)
    assert again.tolist() == list(range(len(kept)))


BOXES, SCORES = np.zeros((2, 4), np.float32), np.zeros(2, np.float32)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: ops.nms(BOXES.astype(float), SCORES), TypeError, "nms: boxes must have dtype float32, got float64"),
        (lambda: ops.nms(BOXES[:, :3].copy(), SCORES), ValueError, r"boxes must have shape \(\*, 4\), got \(2, 3\)"),
        (lambda: ops.nms(np.zeros((2, 8), np.float32)[:, ::2], SCORES), ValueError, "boxes must be C-contiguous"),
        (lambda: ops.nms(BOXES, SCORES[:1]), ValueError, r"scores must have shape \(2,\), got \(1,\)"),
        (
            lambda: ops.nms(BOXES, SCORES, np.zeros(2, np.int64)),
            TypeError,
            "class_ids must have dtype int32, got int64",
        ),
        (lambda: ops.nms(BOXES, SCORES, np.zeros(3, np.int32)), ValueError, r"class_ids must have shape \(2,\)"),
        (lambda: ops.nms(BOXES, SCORES, iou_threshold=-0.1), ValueError, r"iou_threshold must be within \[0, 1\]"),
        (lambda: ops.nms(BOXES, SCORES, max_detections=0), ValueError, "max_detections must be 1 or more, got 0"),
    ],
)
def test_refuses_what_does_not_fit(call, error, text):
    with pytest.raises(error, match=text):
        call()
