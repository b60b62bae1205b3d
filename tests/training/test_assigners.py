"""The assigners against plain loops, and what they promise by themselves."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import scaled
from tests.training import reference_assigners as reference
from tests.training.heads import HEADS, make_outputs, make_targets
from yolokkn.models.outputs import decode_boxes
from yolokkn.training.assigners import assign_by_rank, assign_by_ratio, assign_by_shape, assign_task_aligned

KINDS = ("distance", "v5", "darknet", "scaled", "tiny")
HW = (64, 96)


def nobody(outputs):
    return torch.zeros(outputs.boxes.shape[:2], dtype=torch.bool)


def as_dict(assignment):
    return {
        (int(i), int(a)): (int(t), float(w))
        for i, a, t, w in zip(
            assignment.image_index, assignment.anchor_index, assignment.target_index, assignment.weights, strict=True
        )
    }


def pairs(outputs, targets):
    """Yield (fast, slow) results of every assigner."""
    none, boxes = nobody(outputs), decode_boxes(outputs).detach()
    yield assign_by_shape(outputs, targets, none), reference.by_shape(outputs, targets)
    yield assign_by_shape(outputs, targets, none, iou_threshold=0.2), reference.by_shape(outputs, targets, 0.2)
    yield assign_by_ratio(outputs, targets, none), reference.by_ratio(outputs, targets)
    yield assign_by_rank(outputs, targets, none), reference.by_rank(outputs, targets)
    aligned = assign_task_aligned(outputs, boxes, targets, none)
    yield aligned, reference.task_aligned(outputs, boxes.numpy(), targets)


def check(outputs, targets):
    for fast, slow in pairs(outputs, targets):
        got = as_dict(fast)
        assert len(got) == len(fast), "an anchor stands in the assignment twice"
        assert {k: v[0] for k, v in got.items()} == {k: v[0] for k, v in slow.items()}
        for key, (_, weight) in got.items():
            assert weight == pytest.approx(slow[key][1], rel=1e-4, abs=1e-6)
        assert not fast.background[fast.image_index, fast.anchor_index].any()
        assert int(fast.background.sum()) == fast.background.numel() - len(fast)


def random_targets(rng, count, whole):
    centers, sizes = rng.uniform(-4, 100, (count, 2)), rng.uniform(1, 90, (count, 2)) * rng.choice([0.2, 1], (count, 1))
    boxes = np.concatenate((centers - sizes / 2, centers + sizes / 2), 1)
    if whole:
        boxes = boxes.round()  # centres on edges and middles of cells, equal boxes
    images, classes, ignored = rng.integers(0, 2, count), rng.integers(0, 3, count), rng.random(count) < 0.1
    return make_targets(images.tolist(), boxes.tolist(), classes.tolist(), ignored.tolist())


@pytest.mark.parametrize("head", KINDS)
@pytest.mark.parametrize("whole", [False, True])
def test_equals_reference(head, whole):
    for seed in range(scaled(2)):
        rng = np.random.default_rng(seed)
        check(make_outputs(HEADS[head], HW, seed=seed), random_targets(rng, int(rng.integers(0, 12)), whole))


HARD = {
    "nothing": [],
    "one pixel": [(40, 40, 41, 41)],
    "smaller than a pixel": [(40.1, 40.1, 40.2, 40.3)],
    "whole picture": [(0, 0, 96, 64)],
    "twice the same": [(10, 10, 50, 50), (10, 10, 50, 50)],
    "one in another": [(10, 10, 50, 50), (20, 20, 40, 40), (28, 28, 32, 32)],
    "on a corner of cells": [(24, 24, 40, 40), (31, 31, 33, 33)],
    "out of the picture": [(-50, -50, -10, -10), (100, 70, 140, 90)],
    "degenerate": [(10, 10, 10, 30), (5, 5, 1, 9), (20, 20, 40, 40)],
    "not finite": [(float("nan"), 0, 10, 10), (0, 0, float("inf"), 5), (8, 8, 24, 40)],
    "thin": [(0, 30, 96, 32), (47, 0, 49, 64)],
    "an anchor exactly": [(48 - 31, 32 - 22.5, 48 + 31, 32 + 22.5)],
}


@pytest.mark.parametrize("head", KINDS)
@pytest.mark.parametrize("case", list(HARD))
def test_equals_reference_on_hard_cases(head, case):
    boxes = HARD[case]
    check(make_outputs(HEADS[head], HW), make_targets([0] * len(boxes), boxes))


COORDINATE = st.integers(-8, 104) | st.floats(-8, 104, width=16)
BOX = st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE)


@settings(max_examples=scaled(15), deadline=None)
@given(st.lists(BOX, max_size=6), st.sampled_from(KINDS))
def test_equals_reference_on_any_boxes(boxes, head):
    ordered = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in boxes]
    check(make_outputs(HEADS[head], HW, pictures=1), make_targets([0] * len(boxes), ordered))


@pytest.mark.parametrize("head", KINDS)
def test_task_aligned_gives_every_target_in_the_picture_an_anchor(head):
    rng = np.random.default_rng(3)
    outputs = make_outputs(HEADS[head], HW, pictures=1)
    for _ in range(20):
        center, size = rng.uniform((0, 0), (96, 64)), rng.uniform(0.1, 60, 2)
        targets = make_targets([0], [(*(center - size / 2), *(center + size / 2))])
        found = assign_task_aligned(outputs, decode_boxes(outputs).detach(), targets, nobody(outputs))
        assert 1 <= len(found) <= 10
        assert found.weights.max() >= 0.1


def test_task_aligned_is_soft_by_the_best_overlap():
    outputs = make_outputs(HEADS["distance"], HW, pictures=1)
    boxes = decode_boxes(outputs).detach()
    targets = make_targets([0], [boxes[0, 40].clamp(0, 96).tolist()])
    found = assign_task_aligned(outputs, boxes, targets, nobody(outputs))
    assert float(found.weights.max()) == pytest.approx(float(found.weights.max().clamp(max=1)))
    chosen = reference.task_aligned(outputs, boxes.numpy(), targets)
    assert float(found.weights.max()) == pytest.approx(max(w for _, w in chosen.values()), rel=1e-5)


def test_hand_computed_shapes():
    """A box of 32 x 60 about (40, 40): of the anchors 30 x 61 (level 1, the first) fits best."""
    outputs = make_outputs(HEADS["v5"], HW, pictures=1)
    found = assign_by_shape(outputs, make_targets([0], [(24, 10, 56, 70)]), nobody(outputs))
    first_of_level_1 = 3 * 8 * 12
    assert found.anchor_index.tolist() == [first_of_level_1 + 2 * 6 + 2]  # cell row 40 // 16, column 40 // 16


def test_hand_computed_neighbours():
    """Centre (36, 44) in strides of 8 is (4.5, 5.5): from the middle on the right and the lower neighbour."""
    outputs = make_outputs(HEADS["v5"], HW, pictures=1)
    found = assign_by_ratio(outputs, make_targets([0], [(32, 40, 40, 48)]), nobody(outputs), max_ratio=1.7)
    assert found.anchor_index.tolist() == [5 * 12 + 4, 5 * 12 + 5, 6 * 12 + 4]  # 10 x 13 alone is within 1.7 of 8 x 8
