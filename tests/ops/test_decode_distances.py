import numpy as np
import pytest

from tests.ops.heads import assert_same, random_options, random_values
from yolokkn import ops


def random_levels(rng, num_bins):
    nc, extras = int(rng.integers(1, 9)), int(rng.integers(0, 4))
    hw = (64 * int(rng.integers(1, 3)), 64 * int(rng.integers(1, 4)))
    levels = [random_values(rng, (4 * num_bins + nc + extras, hw[0] // s, hw[1] // s), logits=True) for s in (8, 32)]
    return levels, {"num_classes": nc, "input_hw": hw, "num_bins": num_bins, **random_options(rng, nc)}


@pytest.mark.parametrize("num_bins", [1, 2, 8, 16])
def test_equals_reference(num_bins):
    for seed in range(100):
        levels, options = random_levels(np.random.default_rng(seed), num_bins)
        before = [level.tobytes() for level in levels]
        assert_same(ops.decode_distances(levels, **options), ops.reference.decode_distances(levels, **options))
        assert before == [level.tobytes() for level in levels]


def test_gate_of_logits_is_exact_around_every_threshold():
    """Logits a few ulp around the one whose sigmoid is the threshold: the prefilter must lose none."""
    for threshold in (0.001, 0.01, 0.25, 0.49, 0.9, 0.999):
        middle = np.float32(np.log(threshold / (1 - threshold)))
        level = np.zeros((5, 1, 2003), np.float32)
        level[4] = (middle.view(np.int32) + np.arange(-1000, 1003)).astype(np.int32).view(np.float32)
        options = {"num_classes": 1, "input_hw": (8, 16024), "num_bins": 1, "score_threshold": threshold}
        found = ops.decode_distances([level], **options)
        assert_same(found, ops.reference.decode_distances([level], **options))
        assert 0 < len(found.scores) < 2003


def test_hand_computed(op):
    level = np.full((4 * 3 + 2, 2, 2), -50, np.float32)
    level[[0, 4, 8, 9], 1, 0] = 50  # left 0 bins, top 1, right 2, bottom 0
    level[9, 1, 0], level[8, 1, 0] = 50, 50  # bottom: bins 9, 10, 11 of which the first; right: bins 6, 7, 8
    level[13, 1, 0] = 2
    found = op.decode_distances([level], num_classes=2, input_hw=(32, 64), num_bins=3)
    assert found.boxes.tolist() == [[16, 8, 80, 24]]
    assert found.class_ids.tolist() == [1] and found.anchor_index.tolist() == [2]
    assert np.allclose(found.scores, 1 / (1 + np.exp(-2.0)))


def test_levels_and_their_strides(op):
    first, second = np.full((5, 2, 4), -9, np.float32), np.full((5, 1, 2), -9, np.float32)
    second[4, 0, 1] = 9
    second[:4, 0, 1] = np.log(np.expm1(1.0))  # a softplus of 1
    found = op.decode_distances([first, second], num_classes=1, input_hw=(32, 64), num_bins=1)
    assert found.anchor_index.tolist() == [9]
    assert np.allclose(found.boxes, [[16, -16, 80, 48]], atol=1e-4)


def test_refuses():
    level = np.zeros((9, 2, 2), np.float32)
    for levels, options, words in (
        ([level], {"num_classes": 0}, "num_classes must be 1 or more"),
        ([], {"num_classes": 0}, "num_classes must be 1 or more"),
        ([level], {"num_classes": 2, "num_bins": 2}, "or more channels, got 9"),
        ([level], {"num_classes": 1, "num_bins": 0}, "num_bins must be 1 to 1024, got 0"),
        ([level[0]], {"num_classes": 1, "num_bins": 1}, "levels\\[0\\] must have shape"),
        ([level[:, ::2]], {"num_classes": 1, "num_bins": 1}, "C-contiguous"),
    ):
        with pytest.raises(ValueError, match=words):
            ops.decode_distances(levels, input_hw=(16, 16), **options)
    with pytest.raises(TypeError, match="have dtype float32"):
        ops.decode_distances([level.astype(np.float64)], num_classes=1, input_hw=(16, 16), num_bins=1)
