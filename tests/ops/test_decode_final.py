import numpy as np
import pytest

from tests.ops.heads import assert_same, random_anchors, random_options, random_values
from yolokkn import ops


def test_queries_equal_reference():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        nc, count = int(rng.integers(1, 9)), random_anchors(rng)
        boxes = random_values(rng, (count, 4))
        logits = random_values(rng, (count, nc + int(rng.integers(2))), logits=True)
        options = {"input_hw": (320, 640), "top_k": int(rng.choice([1, 10, 300])), **random_options(rng, nc)}
        before = boxes.tobytes() + logits.tobytes()
        assert_same(
            ops.decode_queries(boxes, logits, nc, **options), ops.reference.decode_queries(boxes, logits, nc, **options)
        )
        assert boxes.tobytes() + logits.tobytes() == before


@pytest.mark.parametrize("kind", [np.float32, np.int32, np.int64])
def test_final_and_table_equal_reference(kind):
    for seed in range(200):
        rng = np.random.default_rng(seed)
        nc, count = int(rng.integers(1, 9)), random_anchors(rng)
        table = random_values(rng, (count, 6 + int(rng.integers(3))))
        with np.errstate(over="ignore"):
            table[:, 5] *= rng.choice([nc + 1.0, -1.0, 2e9])
        options = random_options(rng, nc)
        del options["multi_label"]
        classes = None if rng.random() < 0.3 else nc
        assert_same(ops.decode_table(table, classes, **options), ops.reference.decode_table(table, classes, **options))
        ids = (
            table[:, 5].copy() if kind is np.float32 else np.nan_to_num(table[:, 5], posinf=9).clip(-9, 99).astype(kind)
        )
        used = None if rng.random() < 0.5 else int(rng.integers(0, count + 1))
        arguments = (table[:, :4].copy(), table[:, 4].copy(), ids, used)
        options["num_classes"] = classes
        assert_same(ops.decode_final(*arguments, **options), ops.reference.decode_final(*arguments, **options))


def test_hand_computed_queries(op):
    boxes = np.array([[0.5, 0.5, 0.5, 0.5], [0.25, 0.25, 0.25, 0.25]], np.float32)
    logits = np.array([[0.0, 1.0, 9.0], [2.0, 1.0, 9.0]], np.float32)
    found = op.decode_queries(boxes, logits, 2, input_hw=(100, 200), top_k=3)
    assert found.anchor_index.tolist() == [1, 0, 1] and found.class_ids.tolist() == [0, 1, 1]
    assert found.boxes[1].tolist() == [50, 25, 150, 75]
    single = op.decode_queries(boxes, logits, 2, input_hw=(100, 200), multi_label=False)
    assert single.anchor_index.tolist() == [1, 0]


def test_hand_computed_table(op):
    table = np.array(
        [
            [0, 0, 2, 2, 0.9, 2.4],  # class 2
            [0, 0, 2, 2, 0.9, 80.0],  # no such class
            [0, 0, 2, 2, 0.9, np.nan],
            [0, 0, np.inf, 2, 0.9, 1],
            [0, 0, 0, 0, 0.0, np.nan],  # padding
            [0, 0, 2, 2, np.nan, 1],
        ],
        np.float32,
    )
    found = op.decode_table(table, 80)
    assert found.anchor_index.tolist() == [0] and found.class_ids.tolist() == [2] and found.num_dropped == 4


def test_count_limits_the_rows(op):
    boxes, scores, ids = np.zeros((3, 4), np.float32), np.ones(3, np.float32), np.arange(3, dtype=np.int32)
    assert op.decode_final(boxes, scores, ids, 2).anchor_index.tolist() == [0, 1]
    assert op.decode_final(boxes, scores, ids, 0).boxes.shape == (0, 4)


@pytest.mark.parametrize("channel_major", [True, False])
def test_gather_extras(op, channel_major):
    output = np.arange(60, dtype=np.float32).reshape(6, 10)
    index = np.array([9, 0, 3, 3] if channel_major else [5, 0, 3, 3])
    want = output[2:5, index].T if channel_major else output[index, 2:5]
    np.testing.assert_array_equal(op.gather_extras(output, index, first=2, count=3, channel_major=channel_major), want)
    none = op.gather_extras(output, np.zeros(0, np.int64), first=2, count=3, channel_major=channel_major)
    assert none.shape == (0, 3) and none.dtype == np.float32


BOXES = np.zeros((2, 4), np.float32)
SCORES = np.zeros(2, np.float32)
IDS = np.zeros(2, np.int32)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: ops.decode_final(BOXES, SCORES[:1], IDS), ValueError, r"scores must have shape \(2,\), got \(1,\)"),
        (lambda: ops.decode_final(BOXES, SCORES, IDS.astype(np.int8)), TypeError, "class_ids must have dtype int32"),
        (lambda: ops.decode_final(BOXES, SCORES, IDS, 3), ValueError, r"count must be within 0 and .* \(2\), got 3"),
        (lambda: ops.decode_final(BOXES, SCORES, IDS, -1), ValueError, "count must be"),
        (lambda: ops.decode_final(BOXES, SCORES, IDS, num_classes=0), ValueError, "num_classes must be 1 or more"),
        (
            lambda: ops.decode_table(np.zeros((2, 5), np.float32)),
            ValueError,
            "output must have 6 or more columns, got 5",
        ),
        (lambda: ops.decode_queries(BOXES, BOXES, 5, input_hw=(8, 8)), ValueError, r"columns of logits \(4\), got 5"),
        (lambda: ops.decode_queries(BOXES, BOXES, input_hw=(8, 8), top_k=0), ValueError, "top_k must be 1 or more"),
        (
            lambda: ops.decode_queries(BOXES, BOXES[:1], input_hw=(8, 8)),
            ValueError,
            r"logits must have shape \(2, \*\)",
        ),
        (
            lambda: ops.gather_extras(BOXES, np.array([4]), first=0, count=1, channel_major=True),
            ValueError,
            r"anchor_index must be within 0 and the number of anchors \(4\), got 4",
        ),
        (
            lambda: ops.gather_extras(BOXES, np.array([-1]), first=0, count=1, channel_major=True),
            ValueError,
            "anchor_index must be",
        ),
        (
            lambda: ops.gather_extras(BOXES, np.array([0]), first=1, count=2, channel_major=True),
            ValueError,
            "first and count must lie within the 2 channels of output, got first 1, count 2",
        ),
        (
            lambda: ops.gather_extras(BOXES, np.array([0], np.int32), first=0, count=1, channel_major=True),
            TypeError,
            "anchor_index must have dtype int64",
        ),
    ],
)
def test_refuses_what_does_not_fit(call, error, text):
    with pytest.raises(error, match=text):
        call()
