import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ops.heads import assert_same, random_anchors, random_options, random_values
from tests.strategies import scaled
from yolokkn import ops

ROUNDS = scaled(150)  # about 150 * 200 anchors for each decoder


def rounds(seed):
    for i in range(ROUNDS):
        yield np.random.default_rng([seed, i])


def test_channels_equal_reference():
    rows = 0
    for rng in rounds(1):
        nc = int(rng.choice([1, 2, 5, 31, 32, 33, 80]))
        output = random_values(rng, (4 + nc + int(rng.integers(3)), random_anchors(rng)))
        before = output.tobytes()
        options = random_options(rng, nc)
        assert_same(ops.decode_channels(output, nc, **options), ops.reference.decode_channels(output, nc, **options))
        assert output.tobytes() == before
        rows += output.shape[1]
    assert rows > 25_000


@pytest.mark.parametrize("box_format", ["cxcywh", "xyxy"])
@pytest.mark.parametrize("objectness", [True, False])
def test_rows_equal_reference(objectness, box_format):
    for rng in rounds(2):
        nc = int(rng.choice([1, 2, 5, 31, 32, 33, 80]))
        output = random_values(rng, (random_anchors(rng), 4 + objectness + nc + int(rng.integers(3))))
        options = {"objectness": objectness, "box_format": box_format, **random_options(rng, nc)}
        before = output.tobytes()
        assert_same(ops.decode_rows(output, nc, **options), ops.reference.decode_rows(output, nc, **options))
        assert output.tobytes() == before


def test_grid_rows_equal_reference():
    for rng in rounds(3):
        nc = int(rng.integers(1, 9))
        hw = (64 * int(rng.integers(1, 3)), 64 * int(rng.integers(1, 4)))
        output = random_values(rng, (sum((hw[0] // s) * (hw[1] // s) for s in (8, 16, 32)), 5 + nc))
        options = {"objectness": True, "box_format": "grid", "input_hw": hw, **random_options(rng, nc)}
        assert_same(ops.decode_rows(output, nc, **options), ops.reference.decode_rows(output, nc, **options))


def test_a_hundred_thousand_hostile_rows_equal_reference():
    rng = np.random.default_rng(12)
    output = rng.integers(0, 2**32, (84, 100_000), np.uint64).astype(np.uint32).view(np.float32)
    for options in ({}, {"multi_label": True, "score_threshold": 0.0}):
        found = ops.decode_channels(output, 8, **options)
        assert_same(found, ops.reference.decode_channels(output, 8, **options))
        assert found.num_dropped > 0 and np.isfinite(found.boxes).all() and np.isfinite(found.scores).all()
    rows = np.ascontiguousarray(output.T[:, :20])
    assert_same(ops.decode_rows(rows, 8, objectness=True), ops.reference.decode_rows(rows, 8, objectness=True))


def channels(*columns):
    return np.array(columns, np.float32).T.copy()


def test_hand_computed_channels(op):
    output = channels([10, 20, 4, 8, 0.1, 0.9], [50, 60, 10, 10, 0.3, 0.2], [1, 1, 1, 1, 0.2, 0.25])
    found = op.decode_channels(output, 2)
    assert found.boxes.tolist() == [[8, 16, 12, 24], [45, 55, 55, 65]]
    assert found.class_ids.tolist() == [1, 0] and found.anchor_index.tolist() == [0, 1]
    assert found.num_dropped == 0


def test_threshold_is_strict_to_the_ulp(op):
    limit = np.float32(0.3)
    scores = [np.nextafter(limit, np.float32(0)), limit, np.nextafter(limit, np.float32(1))]
    output = np.ones((5, 3), np.float32)
    output[4] = scores
    assert op.decode_channels(output, 1, score_threshold=0.3).anchor_index.tolist() == [2]


def test_ties_go_to_the_lowest_class_id(op):
    output = np.ones((4 + 40, 9), np.float32) * np.float32(0.5)
    assert op.decode_channels(output, 40).class_ids.tolist() == [0] * 9
    rows = np.ascontiguousarray(output.T)
    assert op.decode_rows(rows, 40, objectness=False).class_ids.tolist() == [0] * 9
    rows[:, 4 + 13 : 4 + 30] = 0.75
    assert op.decode_rows(rows, 40, objectness=False).class_ids.tolist() == [13] * 9


def test_mask_is_applied_before_the_best_class(op):
    output = channels([10, 20, 4, 8, 0.9, 0.4, 0.5], [1, 1, 1, 1, 0.9, 0.1, np.nan])
    found = op.decode_channels(output, 3, class_mask=np.array([False, True, False]))
    assert found.class_ids.tolist() == [1] and found.scores[0] == np.float32(0.4) and found.num_dropped == 0
    assert len(op.decode_channels(output, 3, class_mask=np.zeros(3, bool)).scores) == 0


def test_multi_label_keeps_class_order(op):
    output = channels([1, 1, 1, 1, 0.6, 0.1, 0.9], [2, 2, 1, 1, 0.3, 0.3, 0.0])
    found = op.decode_channels(output, 3, multi_label=True)
    assert found.anchor_index.tolist() == [0, 0, 1, 1] and found.class_ids.tolist() == [0, 2, 0, 1]


def test_max_candidates_keeps_the_best_in_input_order(op):
    output = np.ones((5, 6), np.float32)
    output[4] = [0.5, 0.9, 0.7, 0.7, 0.7, 0.8]
    assert op.decode_channels(output, 1, max_candidates=4).anchor_index.tolist() == [1, 2, 3, 5]


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf])
def test_what_is_not_finite_is_dropped_and_counted_once(op, value):
    output = np.full((4 + 2, 3), 0.5, np.float32)
    output[4:, 1] = value
    output[0, 2] = value
    found = op.decode_channels(output, 2, multi_label=True)
    assert found.num_dropped == 2 and found.anchor_index.tolist() == [0, 0]
    low = output.copy()
    low[4:, 2] = 0  # a broken box without a candidate does not matter
    assert op.decode_channels(low, 2).num_dropped == 1


def test_objectness_gates_and_multiplies(op):
    rows = np.array([[5, 5, 2, 2, 0.5, 0.8], [5, 5, 2, 2, 0.2, 3.0], [5, 5, 2, 2, np.nan, 0.1]], np.float32)
    found = op.decode_rows(rows, 1, objectness=True)
    assert found.anchor_index.tolist() == [0] and found.num_dropped == 1
    assert found.scores[0] == np.float32(0.5) * np.float32(0.8)
    gated = rows[1:2].copy()
    gated[0, 5] = np.nan  # not looked at
    assert op.decode_rows(gated, 1, objectness=True).num_dropped == 0


def test_grid_of_yolox(op):
    rows = np.zeros((5, 6), np.float32)  # a 16 x 16 input: 2 x 2 cells of 8, one of 16
    rows[:, 4:] = 1
    found = op.decode_rows(rows, 1, objectness=True, box_format="grid", strides=(8, 16), input_hw=(16, 16))
    assert found.boxes.tolist() == [[-4, -4, 4, 4], [4, -4, 12, 4], [-4, 4, 4, 12], [4, 4, 12, 12], [-8, -8, 8, 8]]


def test_extras_are_left_alone(op):
    output = np.full((4 + 1 + 3, 2), np.nan, np.float32)
    output[:5] = 0.5
    assert len(op.decode_channels(output, 1).scores) == 2


@pytest.mark.parametrize("count", [0, 1])
def test_empty_has_the_right_types(op, count):
    for found in (
        op.decode_channels(np.zeros((6, count), np.float32), 2),
        op.decode_rows(np.zeros((count, 6), np.float32), 2, objectness=False),
    ):
        assert [f.dtype for f in found[:4]] == [np.float32, np.float32, np.int32, np.int64]
        assert [f.shape for f in found[:4]] == [(0, 4), (0,), (0,), (0,)] and found.num_dropped == 0


def test_read_only_output_is_accepted():
    output = np.full((6, 9), 0.5, np.float32)
    output.flags.writeable = False
    assert len(ops.decode_channels(output, 2).scores) == 9


GOOD = np.zeros((6, 8), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: ops.decode_channels([[0.0]], 2),
            TypeError,
            "decode_channels: output must be a NumPy array of float32",
        ),
        (lambda: ops.decode_channels(GOOD.astype(np.float16), 2), TypeError, "output must have dtype float32"),
        (lambda: ops.decode_channels(GOOD[None], 2), ValueError, r"output must have shape \(\*, \*\), got \(1, 6, 8\)"),
        (lambda: ops.decode_channels(GOOD[:, ::2], 2), ValueError, "output must be C-contiguous"),
        (lambda: ops.decode_channels(GOOD, 3), ValueError, r"output must have 4 \+ num_classes \(3\) or more channels"),
        (lambda: ops.decode_channels(GOOD, 0), ValueError, "num_classes must be 1 or more, got 0"),
        (lambda: ops.decode_channels(GOOD, 2**62), ValueError, "output must have 4"),
        (lambda: ops.decode_channels(GOOD, 2, score_threshold=1.5), ValueError, r"must be within \[0, 1\], got 1.5"),
        (lambda: ops.decode_channels(GOOD, 2, score_threshold=np.nan), ValueError, r"within \[0, 1\], got nan"),
        (lambda: ops.decode_channels(GOOD, 2, max_candidates=0), ValueError, "max_candidates must be 1 or more, got 0"),
        (lambda: ops.decode_channels(GOOD, 2, class_mask=np.ones(3, bool)), ValueError, r"class_mask must have shape"),
        (lambda: ops.decode_channels(GOOD, 2, class_mask=np.ones(2)), TypeError, "class_mask must have dtype bool"),
        (lambda: ops.decode_rows(GOOD, 4, objectness=True), ValueError, r"decode_rows: output must have 5"),
        (
            lambda: ops.decode_rows(GOOD, 2, objectness=True, box_format="ltrb"),
            ValueError,
            "box_format must be one of cxcywh, xyxy, grid, got 'ltrb'",
        ),
        (
            lambda: ops.decode_rows(GOOD, 2, objectness=True, box_format="grid", input_hw=(64, 64)),
            ValueError,
            r"output must have 84 rows for input_hw \(64, 64\) and these strides, got 6",
        ),
        (
            lambda: ops.decode_rows(GOOD, 2, objectness=True, box_format="grid", input_hw=(60, 64)),
            ValueError,
            "input_hw must be multiples of every stride",
        ),
        (lambda: ops.decode_rows(GOOD, 2, objectness=True, box_format="grid"), TypeError, "input_hw must be a pair"),
    ],
)
def test_refuses_what_does_not_fit(call, error, text):
    with pytest.raises(error, match=text):
        call()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_properties(seed):
    rng = np.random.default_rng(seed)
    nc = int(rng.integers(1, 6))
    output = random_values(rng, (4 + nc, random_anchors(rng)))
    options = random_options(rng, nc)
    found = ops.decode_channels(output, nc, **options)
    assert (found.scores > np.float32(options["score_threshold"])).all() and np.isfinite(found.boxes).all()
    assert len(found.scores) <= options["max_candidates"]
    assert (np.diff(found.anchor_index * nc + found.class_ids) > 0).all()
    np.testing.assert_array_equal(found.scores, output[4 + found.class_ids, found.anchor_index])
    if options["class_mask"] is not None:
        assert options["class_mask"][found.class_ids].all()
