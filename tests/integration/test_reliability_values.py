"""Sizes, values and ties at their extremes, through whole calls."""

import numpy as np
import pytest

import yolokkn
from tests.ops.heads import assert_same
from tests.recorded import cell_heads, recorded_model
from tests.strategies import scaled
from tests.tracking.scenes import detected
from yolokkn import ops, tracking
from yolokkn.geometry import LETTERBOX_RULES, Letterbox
from yolokkn.types import Masks

F4 = np.float32


def v8(**kwargs):
    table = cell_heads(4 + 3)
    table[5] = 30, 20, 20, 10, 0, 0.9, 0
    table[70] = 32, 32, 64, 64, 0.5, 0, 0  # the whole input
    return recorded_model({"output0": table.T[None].copy()}, **kwargs)


@pytest.mark.parametrize("rule", LETTERBOX_RULES)
def test_ten_thousand_sizes_through_the_whole_model(rule):
    rng = np.random.default_rng(10)
    memory = rng.integers(0, 256, 1 << 18, np.uint8)
    model = yolokkn.load(v8(), letterbox=rule, threads=1)
    sides = [1, 2, 3, 7, 8192, 16384]
    num_found = 0
    for case in range(scaled(10_000 // 3)):
        h, w = (int(rng.choice([*sides, rng.integers(1, 100), rng.integers(1, 3000)])) for _ in range(2))
        if case % 50 == 0:
            h, w = [(1, 1), (1, 8192), (8192, 1), (1, 65536), (65536, 1)][case // 50 % 5]
        if 3 * h * w > len(memory):
            h = max(len(memory) // (3 * w), 1)
        found = model(memory[: 3 * h * w].reshape(h, w, 3))
        num_found += len(found)
        x1, y1, x2, y2 = found.boxes.T
        assert np.isfinite(found.boxes).all() and (x1 >= 0).all() and (y1 >= 0).all(), (h, w)
        assert (x2 <= w).all() and (y2 <= h).all() and (x2 > x1).all() and (y2 > y1).all(), (h, w)
        assert 0.5 in found.scores, (h, w)  # the box of the whole input covers every frame
    assert num_found > scaled(10_000 // 3)


def test_sizes_that_cannot_be_are_refused_before_anything_is_allocated():
    model = yolokkn.load(v8())
    for shape in [(0, 0, 3), (0, 8192, 3), (8192, 0, 3), (1 << 40, 0, 3)]:
        with pytest.raises(ValueError, match="image must have shape"):
            model(np.zeros(shape, np.uint8))
    huge = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (1 << 20, 1 << 20, 3))  # claims 3 TiB
    with pytest.raises(ValueError, match="letterbox: "):
        model(huge)


def random_bits(rng, shape):
    """Any bit pattern: NaN, infinity, denormals; half of the values plain, and some denormal."""
    values = rng.integers(0, 1 << 32, shape, np.uint32)
    plain, small = rng.random(shape) < 0.5, rng.random(shape) < 0.05
    values[small] &= np.uint32(0x807FFFFF)
    out = values.view(F4)
    out[plain] = rng.random(int(plain.sum()), F4)
    return out


def test_a_million_hostile_rows_equal_the_reference():
    rng, rows, dropped, kept = np.random.default_rng(12), 0, 0, 0
    for _ in range(scaled(5)):
        count = 25_000
        channels = random_bits(rng, (9, count))
        heads = [random_bits(rng, (2 * 8, 100, count // 200))]
        anchors = [np.array([[8, 8], [20, 9]], F4)]
        calls = [
            (ops.decode_channels, ops.reference.decode_channels, (channels, 5), {}),
            (ops.decode_channels, ops.reference.decode_channels, (channels, 5), {"multi_label": True}),
            (ops.decode_rows, ops.reference.decode_rows, (channels.T.copy(), 4), {"objectness": True}),
            (
                ops.decode_rows,
                ops.reference.decode_rows,
                (channels.T.copy(), 5),
                {"objectness": False, "box_format": "xyxy"},
            ),
            (
                ops.decode_distances,
                ops.reference.decode_distances,
                (heads,),
                {"num_classes": 3, "input_hw": (640, 640), "num_bins": 1},
            ),
            (
                ops.decode_heads,
                ops.reference.decode_heads,
                (heads,),
                {"num_classes": 3, "anchors": anchors, "input_hw": (640, 640), "formula": "darknet"},
            ),
            (
                ops.decode_heads,
                ops.reference.decode_heads,
                (heads,),
                {"num_classes": 3, "anchors": anchors, "input_hw": (640, 640), "formula": "v5"},
            ),
            (ops.decode_table, ops.reference.decode_table, (channels.T[:, :7].copy(), 3), {}),
            (
                ops.decode_queries,
                ops.reference.decode_queries,
                (channels[:4].T.copy(), channels[4:].T.copy()),
                {"input_hw": (64, 64)},
            ),
        ]
        for kernel, reference, arguments, options in calls:
            with np.errstate(all="ignore"):
                found, want = kernel(*arguments, **options), reference(*arguments, **options)
            assert_same(found, want)
            assert np.isfinite(found.boxes).all() and np.isfinite(found.scores).all()
            rows, dropped, kept = rows + count, dropped + found.num_dropped, kept + len(found.scores)
    assert rows >= scaled(1_000_000) and dropped > rows // 100 and kept > rows // 100


def test_hostile_rows_through_the_whole_model():
    rng, dropped = np.random.default_rng(1), 0
    for seed in range(scaled(40)):
        table = random_bits(rng, (1, 4 + 3 + 2, 84))
        table[:, 4:7] = np.where(rng.random((1, 3, 84)) < 0.8, rng.random((1, 3, 84)), table[:, 4:7])
        outputs = {"output0": table, "output1": random_bits(rng, (1, 2, 16, 16))}
        model = yolokkn.load(recorded_model(outputs, metadata={"task": "segment"}))
        found = model(np.zeros((48, 64, 3), np.uint8))
        assert np.isfinite(found.boxes).all() and np.isfinite(found.scores).all(), seed
        assert found.masks.to_full().shape == (len(found), 48, 64)
        dropped += found.num_dropped
    assert dropped > 0


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_hostile_boxes_leave_a_tracker_whole(name):
    rng, num_rows = np.random.default_rng(2), 0
    tracker = tracking.create(name)
    steady = detected([[10, 10, 50, 90]])
    first = 0
    while num_rows < scaled(200_000):
        count = int(rng.integers(0, 60))
        boxes, scores = random_bits(rng, (count, 4)), random_bits(rng, count)
        ids = rng.integers(-(2**31), 2**31, count).astype(np.int32)
        joined = [np.concatenate(pair) for pair in zip(steady, (boxes, scores, ids), strict=True)]
        got = tracker.update(*joined, float(rng.choice([np.nan, np.inf, 1e300, -1e300, 0.0, num_rows])))
        live = tracker.tracks()
        assert np.isfinite(live.boxes).all() and len(live) < 5000
        assert len(set(got[got > 0].tolist())) == (got > 0).sum()
        if num_rows > 1000:
            first = first or int(got[0])
            assert first > 0 and got[0] == first  # what stands still keeps its id among all that
        num_rows += count


def test_ties_are_deterministic_and_bounded():
    rng = np.random.default_rng(13)
    box = np.array([[3, 3, 30, 30]], F4)
    for count in (8400, 8399, 30_000):
        boxes, scores = np.repeat(box, count, 0), np.full(count, 0.5, F4)
        for ids in (None, np.zeros(count, np.int32), rng.integers(0, 80, count).astype(np.int32)):
            for threshold in (0.0, 0.7, 1.0):
                kept = [ops.nms(boxes, scores, ids, iou_threshold=threshold).tolist() for _ in range(2)]
                assert kept[0] == kept[1] and len(kept[0]) <= 300
                if threshold == 1.0:
                    assert kept[0] == list(range(300))  # nothing is above 1: input order, cut at the limit
                else:
                    firsts = [0] if ids is None else np.sort(np.unique(ids, return_index=True)[1]).tolist()
                    assert kept[0] == firsts


def test_ties_through_the_whole_model():
    table = np.zeros((8400, 84), F4)
    table[:, :4], table[:, 4:] = (320, 320, 100, 100), 0.5
    content = recorded_model({"output0": table.T[None].copy()}, input_hw=(640, 640), metadata={"task": "detect"})
    model = yolokkn.load(content, threads=1, multi_label=True)
    found = model(np.zeros((640, 640, 3), np.uint8))
    assert found.class_ids.tolist() == list(range(80)) and set(found.scores.tolist()) == {0.5}
    again = model(np.zeros((640, 640, 3), np.uint8))
    assert again.boxes.tobytes() == found.boxes.tobytes()


def test_masks_of_boxes_outside_the_frame_are_clipped():
    """csrc/tests/test_masks.cpp takes a million of them through every door under ASan and UBSan."""
    rng = np.random.default_rng(14)
    for _ in range(scaled(50)):
        hw = (int(rng.integers(1, 60)), int(rng.integers(1, 60)))
        geometry = Letterbox.fit(hw, (32, 48))
        boxes = rng.uniform(-100, 160, (1000, 4)).astype(F4)
        hit = rng.random((1000, 4)) < 0.05
        boxes[hit] = random_bits(rng, int(hit.sum()))
        masks = ops.assemble_masks(rng.normal(0, 1, (1000, 3)).astype(F4), np.ones((3, 8, 12), F4), boxes, geometry)
        x1, y1, x2, y2 = masks.crops.T
        assert (x1 >= 0).all() and (y1 >= 0).all() and (x2 <= hw[1]).all() and (y2 <= hw[0]).all()
        inside = np.isfinite(boxes).all(1) & (
            np.clip(boxes, 0, [hw[1], hw[0]] * 2)[:, :2] < np.clip(boxes, 0, [hw[1], hw[0]] * 2)[:, 2:]
        ).all(1)
        assert (((x2 > x1) & (y2 > y1)) <= inside).all()
        again = ops.decode_rle(ops.encode_rle(masks))
        np.testing.assert_array_equal(ops.paint_masks(again), ops.paint_masks(masks))
        assert isinstance(masks[masks.areas() > 0], Masks)
