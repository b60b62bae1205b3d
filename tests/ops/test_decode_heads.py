import numpy as np
import pytest

from tests.ops.heads import assert_same, random_options, random_values
from yolokkn import ops
from yolokkn.ops.reference.elementary import exp, sigmoid


def random_heads(rng):
    nc, na = int(rng.integers(1, 9)), int(rng.integers(1, 4))
    hw = (64 * int(rng.integers(1, 3)), 64 * int(rng.integers(1, 4)))
    heads = [random_values(rng, (na * (5 + nc), hw[0] // s, hw[1] // s), logits=True) for s in (16, 32)]
    anchors = [rng.uniform(5, 50, (na, 2)).astype(np.float32) for _ in heads]
    return heads, {"num_classes": nc, "anchors": anchors, "input_hw": hw, **random_options(rng, nc)}


@pytest.mark.parametrize("times", [True, False])
@pytest.mark.parametrize("formula", ["darknet", "v5"])
def test_equals_reference(formula, times):
    for seed in range(150):
        heads, options = random_heads(np.random.default_rng(seed))
        options.update(formula=formula, objectness_times_class=times, scale_xy=[1.05, 1.2])
        before = [h.tobytes() for h in heads]
        assert_same(ops.decode_heads(heads, **options), ops.reference.decode_heads(heads, **options))
        assert before == [h.tobytes() for h in heads]


def test_gate_of_logits_is_exact_around_every_threshold():
    """Logits a few ulp around the one whose sigmoid is the threshold: the prefilter must lose none."""
    for threshold in (0.001, 0.01, 0.25, 0.49, 0.9, 0.999, 0.99999):
        middle = np.float32(np.log(threshold / (1 - threshold)))
        logits = (middle.view(np.int32) + np.arange(-1000, 1000)).astype(np.int32).view(np.float32)
        head = np.zeros((6, 1, 2000), np.float32)
        head[4], head[5] = 80.0, logits
        options = {"num_classes": 1, "anchors": [np.ones((1, 2), np.float32)], "input_hw": (8, 16000)}
        options.update(formula="v5", score_threshold=threshold)
        found = ops.decode_heads([head], **options)
        assert_same(found, ops.reference.decode_heads([head], **options))
        assert 0 < len(found.scores) < 2000 or threshold > 0.9999  # up there the sigmoid has few values


def test_hand_computed(op):
    head = np.zeros((12, 2, 2), np.float32)
    head[4:6] = head[10:12] = -9
    head[10:12, 1, 0] = 9  # second anchor, second line, first column
    anchors = [np.array([[4, 4], [8, 16]], np.float32)]
    common = {"num_classes": 1, "anchors": anchors, "input_hw": (64, 32)}
    for formula in ("darknet", "v5"):
        found = op.decode_heads([head], formula=formula, **common)
        assert found.boxes.tolist() == [[4, 40, 12, 56]] and found.anchor_index.tolist() == [6]


def test_without_objectness_factor(op):
    head = np.zeros((6, 1, 1), np.float32)
    options = {"num_classes": 1, "anchors": [np.ones((1, 2), np.float32)], "input_hw": (8, 8), "formula": "v5"}
    assert len(op.decode_heads([head], **options).scores) == 0  # 0.25 is not above 0.25
    assert op.decode_heads([head], objectness_times_class=False, **options).scores.tolist() == [0.5]


def test_exp_and_sigmoid_are_accurate():
    x = np.linspace(-100, 100, 200_001).astype(np.float32)
    wide = np.exp(x.astype(np.float64))
    inside = (x > -87.3) & (x < 88.7)
    assert (np.abs(exp(x) / wide - 1)[inside] < 2.5e-7).all()
    assert (exp(x)[x < -87.4] == 0).all() and np.isinf(exp(x)[x > 88.8]).all()
    assert np.abs(sigmoid(x) - 1 / (1 + 1 / wide)).max() < 2e-7
    assert np.isnan(exp(np.array([np.nan], np.float32)))[0]


def test_empty(op):
    found = op.decode_heads([], num_classes=2, anchors=[], input_hw=(8, 8), formula="v5")
    assert found.boxes.shape == (0, 4) and found.boxes.dtype == np.float32


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"formula": "v4"}, ValueError, "formula must be one of darknet, v5, got 'v4'"),
        ({"anchors": []}, ValueError, r"anchors must be as many as heads \(1\), got 0"),
        ({"scale_xy": [1.0, 2.0]}, ValueError, r"scale_xy must be as many as heads \(1\), got 2"),
        ({"scale_xy": "x"}, TypeError, "scale_xy must be a number or one for each head, got 'x'"),
        ({"scale_xy": [None]}, TypeError, "scale_xy must be a number or one for each head"),
        ({"scale_xy": None}, TypeError, "scale_xy must be a number or one for each head"),
        ({"num_classes": 2}, ValueError, r"heads\[0\] must have shape \(7, \*, \*\), got \(6, 1, 1\)"),
        ({"anchors": [np.ones((1, 2))]}, TypeError, r"anchors\[0\] must have dtype float32"),
        ({"input_hw": (0, 8)}, ValueError, "input_hw must be 1 or more in both"),
        ({"input_hw": 8}, TypeError, "input_hw must be a pair of integers"),
        ({"num_classes": 0}, ValueError, "num_classes must be 1 or more, got 0"),
        ({"num_classes": 2**61}, ValueError, "num_classes must be"),
    ],
)
def test_refuses_what_does_not_fit(change, error, text):
    options = {"num_classes": 1, "anchors": [np.ones((1, 2), np.float32)], "input_hw": (8, 8), "formula": "v5"}
    with pytest.raises(error, match=text):
        ops.decode_heads([np.zeros((6, 1, 1), np.float32)], **{**options, **change})
