"""Augmentation: labels follow the pixels, and the same generator gives the same picture."""

from __future__ import annotations

import copy
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.files import picture, sample_with_all
from tests.strategies import scaled
from yolokkn import ops
from yolokkn.data.augment import (
    AugmentConfig,
    affine,
    augment,
    copy_paste,
    degrade,
    flip,
    hsv,
    letterbox,
    mixup,
    mosaic,
    reduce_image,
)
from yolokkn.data.augment.appearance import colour_matrix
from yolokkn.data.augment.geometry import Placement, compose, move_boxes, move_labels, move_points, warp_onto
from yolokkn.data.rings import clip_ring, fill_masks, fill_rings, mask_to_rings
from yolokkn.data.sample import Sample
from yolokkn.geometry import Letterbox

STRONG = AugmentConfig(degrees=20, shear=8, scale=0.5, perspective=0.0003, copy_paste=0.5, mixup=0.3, mosaic9=0.3)
KEEP_ALL = AugmentConfig(min_box_px=0, min_visible=0)


def equal(a: Sample, b: Sample) -> bool:
    same = all(
        np.array_equal(getattr(a, n), getattr(b, n)) for n in ("image", "boxes", "class_ids", "ignored", "keypoints")
    )
    rings = [np.concatenate(m) if m else np.zeros((0, 2)) for s in (a, b) for m in s.masks]
    half = len(rings) // 2
    return same and all(np.array_equal(x, y) for x, y in zip(rings[:half], rings[half:], strict=True))


def generator(seed=0):
    return np.random.default_rng(seed)


@settings(max_examples=scaled(40), deadline=None)
@given(seed=st.integers(0, 2**32), turn=st.floats(-3, 3), gain=st.floats(0.3, 3), shift=st.floats(-50, 50))
def test_moving_there_and_back_gives_the_labels_back(seed, turn, gain, shift):
    sample = sample_with_all(seed)
    matrix = np.array([[gain * np.cos(turn), -np.sin(turn), shift], [np.sin(turn), gain * np.cos(turn), 5], [0, 0, 1]])
    if abs(np.linalg.det(matrix)) < 0.05:
        return
    points = sample.boxes.reshape(-1, 2, 2)
    back = move_points(move_points(points, matrix), np.linalg.inv(matrix))
    np.testing.assert_allclose(back, points, atol=1e-2)
    straight = np.diag([gain, gain, 1.0])
    straight[:2, 2] = shift, 3
    boxes = move_boxes(move_boxes(sample.boxes, straight), np.linalg.inv(straight))
    np.testing.assert_allclose(boxes, sample.boxes, atol=1e-2)


@settings(max_examples=scaled(40), deadline=None)
@given(seed=st.integers(0, 2**32), axis=st.sampled_from([0, 1]))
def test_two_flips_are_none(seed, axis):
    sample = sample_with_all(seed)
    before = copy.deepcopy(sample)
    once = flip(sample, [(0, 1)], axis=axis)
    twice = flip(once, [(0, 1)], axis=axis)
    np.testing.assert_array_equal(twice.image, sample.image)
    np.testing.assert_allclose(twice.boxes, sample.boxes, atol=1e-4)
    np.testing.assert_allclose(twice.keypoints, sample.keypoints, atol=1e-4)
    for a, b in zip(twice.masks, sample.masks, strict=True):
        np.testing.assert_allclose(a[0], b[0], atol=1e-4)
    assert equal(sample, before)
    assert once.keypoints[0, 0, 2] == sample.keypoints[0, 1, 2]  # left has become right
    assert (once.keypoints[:, 2] == 0).all()  # what is not labelled stays nowhere


def inside(sample: Sample, hw) -> None:
    boxes = sample.boxes
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= np.array(hw)[::-1] + 1e-3).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all() and boxes.dtype == np.float32
    for box, rings in zip(boxes, sample.masks, strict=True):
        for ring in rings:
            assert (ring >= box[:2] - 1e-3).all() and (ring <= box[2:] + 1e-3).all()
    visible = sample.keypoints[..., 2] > 0
    points = sample.keypoints[visible][:, :2]
    assert (points >= 0).all() and (points <= np.array(hw)[::-1]).all()
    assert (sample.keypoints[~visible] == 0).all()


@settings(max_examples=scaled(40), deadline=None)
@given(seed=st.integers(0, 2**32))
def test_labels_stay_inside_whatever_is_done(seed):
    hw = (96, 128)
    load = lambda i: sample_with_all(i, hw=(60 + i, 80))  # noqa: E731
    sample = augment(load, 0, range(6), generator(seed), hw, STRONG, [(0, 1)])
    assert sample.image.shape == (*hw, 3) and sample.image.dtype == np.uint8
    inside(sample, hw)
    assert equal(sample, augment(load, 0, range(6), generator(seed), hw, STRONG, [(0, 1)]))  # the generator decides all
    assert not equal(sample, augment(load, 0, range(6), generator(seed + 1), hw, STRONG, [(0, 1)]))


def marked(hw=(60, 80), boxes=((10, 12, 30, 40), (50, 5, 70, 25))) -> Sample:
    """White rectangles on black, labelled exactly."""
    image = np.zeros((*hw, 3), np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 255
    array = np.array(boxes, np.float32)
    rings = tuple((np.array([[a, b], [c, b], [c, d], [a, d]], np.float32),) for a, b, c, d in array)
    points = np.stack([array[:, :2] + 2, array[:, 2:] - 2], 1)
    keypoints = np.concatenate([points, np.full((len(array), 2, 1), 2)], 2).astype(np.float32)
    return Sample(image, array, np.zeros(len(array), np.int64), rings, keypoints, image_id="m")


@pytest.mark.parametrize(
    "config", [AugmentConfig(), AugmentConfig(degrees=30, shear=5), STRONG], ids=["scale", "turn", "all"]
)
@pytest.mark.parametrize("count", [1, 4, 9])
@pytest.mark.parametrize("with_masks", [True, False])
def test_labels_lie_where_the_pixels_are(config, count, with_masks):
    config = replace(config, pad_value=0)
    checked = 0
    for seed in range(12):
        samples = [marked((60 + 7 * i, 80 - 3 * i)) for i in range(count)]
        if not with_masks:
            samples = [replace(s, masks=None) for s in samples]
        hw = (160, 192)
        out = (
            affine(samples[0], generator(seed), hw, config)
            if count == 1
            else mosaic(samples, generator(seed), hw, config)
        )
        white = out.image[..., 0] > 127
        if with_masks:
            union = np.zeros(hw, np.uint8)
            for rings in out.masks:
                union |= fill_rings(rings, hw)
            big = cv2.erode(union, np.ones((5, 5), np.uint8)) > 0
            assert white[big].all()
            around = cv2.dilate(union, np.ones((7, 7), np.uint8)) > 0
            left_over = white & ~around  # slivers whose box went because too little was left
            assert left_over.sum() < 0.04 * white.size
        for keypoint in out.keypoints[out.keypoints[..., 2] > 0]:
            x, y = min(int(keypoint[0]), hw[1] - 1), min(int(keypoint[1]), hw[0] - 1)
            window = white[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            assert window.any()
        if config.degrees == 0:
            for x1, y1, x2, y2 in np.rint(out.boxes).astype(int).tolist():
                if x2 - x1 > 6 and y2 - y1 > 6:
                    assert white[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].all()
                    checked += 1
    assert checked or config.degrees


def test_straight_and_turned_warps_agree():
    image = cv2.resize(picture((40, 50), 3), (200, 160), interpolation=cv2.INTER_CUBIC)
    matrix = np.array([[0.8, 0, 10.0], [0, 0.8, 20.0], [0, 0, 1]])
    hair = matrix.copy()
    hair[0, 1] = 1e-9  # takes the way of rotations
    one, two = np.zeros((160, 192, 3), np.uint8), np.zeros((160, 192, 3), np.uint8)
    whole = (0.0, 0.0, 200.0, 160.0)
    true = warp_onto(one, image, matrix, whole)
    assert warp_onto(two, image, hair, whole) is hair
    np.testing.assert_allclose(true, matrix, atol=0.02)
    difference = np.abs(one[25:140, 15:165].astype(int) - two[25:140, 15:165])
    assert difference.mean() < 2 and np.percentile(difference, 99) < 12


def test_straight_and_turned_labels_agree():
    rng, checked = generator(4), 0
    for seed in range(40):
        sample = sample_with_all(seed)
        matrix = np.diag([*rng.uniform(0.5, 2, 2), 1.0])
        matrix[:2, 2] = rng.uniform(-40, 60, 2)
        visible = (*rng.uniform(0, 20, 2).tolist(), 80.0, float(rng.uniform(40, 60)))
        hair = matrix.copy()
        hair[0, 1] = 1e-9  # takes the way of rotations
        config = AugmentConfig(min_visible=float(rng.uniform(0, 0.9)))
        one, two = (move_labels(sample, m, visible, (64, 96), config) for m in (matrix, hair))
        assert len(one) == len(two)
        np.testing.assert_allclose(one.boxes, two.boxes, atol=1e-3)
        np.testing.assert_allclose(one.keypoints, two.keypoints, atol=1e-3)
        for mine, theirs in zip(one.masks, two.masks, strict=True):
            assert (fill_rings(mine, (64, 96)) != fill_rings(theirs, (64, 96))).sum() <= 2
            checked += 1
    assert checked > 30


@pytest.mark.parametrize("scale", [0.25, 1.0])
def test_masks_are_painted_together_as_alone(scale):
    rng = generator(2)
    ring = lambda low, high: rng.uniform(low, high, (int(rng.integers(3, 9)), 2)).astype(np.float32)  # noqa: E731
    masks = [tuple(ring(-30, 120) for _ in range(n)) for n in (1, 0, 3, 2, 1)] + [(), (ring(200, 300),)]
    together = np.zeros((len(masks), 60, 90), np.uint8)
    fill_masks(masks, together, scale)
    assert [bool(m.any()) for m in together] == [True, False, True, True, True, False, scale < 1]
    for rings, bitmap in zip(masks, together, strict=True):
        np.testing.assert_array_equal(fill_rings(rings, (60, 90), scale), bitmap)
        parity = sum((fill_rings((r,), (60, 90), scale) for r in rings), np.zeros((60, 90), np.uint8)) % 2
        assert (parity != bitmap).mean() < 0.03  # they differ along the outlines only


def test_boxes_of_which_too_little_is_left_go():
    sample = replace(marked(boxes=((10, 10, 50, 50), (70, 10, 79, 50))), masks=None)
    shift = np.eye(3)
    shift[0, 2] = -47  # 3 of 40 pixels are left of the first, all of the second
    whole = (0.0, 0.0, 80.0, 60.0)
    assert move_labels(sample, shift, whole, (60, 80), AugmentConfig()).boxes.tolist() == [[23, 10, 32, 50]]
    assert len(move_labels(sample, shift, whole, (60, 80), KEEP_ALL)) == 2


@pytest.mark.parametrize("with_masks", [True, False])
def test_what_is_left_of_an_ignored_region_stays(with_masks):
    sample = replace(marked(boxes=((10, 10, 50, 50), (5, 10, 48, 50))), ignored=np.array([False, True]))
    sample = sample if with_masks else replace(sample, masks=None)
    shift = np.eye(3)
    shift[0, 2] = -47
    whole = (0.0, 0.0, 80.0, 60.0)
    moved = move_labels(sample, shift, whole, (60, 80), AugmentConfig())
    assert moved.boxes.tolist() == [[0, 10, 1, 50]] and moved.ignored.tolist() == [True]
    shift[0, 2] = -48
    assert not len(move_labels(sample, shift, whole, (60, 80), AugmentConfig(min_box_px=3)))


def test_copying_objects_needs_masks():
    config = AugmentConfig(copy_paste=0.3)
    with pytest.raises(ValueError, match=r"copy_paste must be 0 for samples without masks, got 0\.3; open the dataset"):
        augment(lambda i: replace(sample_with_all(i), masks=None), 0, range(6), generator(), (96, 128), config)


def test_masks_decide_boxes():
    ring = np.array([[10, 10], [30, 10], [10, 30]], np.float32)  # a triangle, in a box that is too large
    sample = Sample(picture(), np.array([[5, 5, 40, 40]], np.float32), np.zeros(1, np.int64), ((ring,),))
    out = compose([Placement(sample, 1.0, 0.0, 0.0, (0.0, 0.0, 80.0, 60.0))], np.eye(3), (60, 80), KEEP_ALL)
    assert out.boxes.tolist() == [[10, 10, 30, 30]]


def test_neighbours_of_a_mosaic_leave_no_gap():
    white = Sample(np.full((64, 64, 3), 255, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    for degrees in (0, 20):
        config = AugmentConfig(degrees=degrees, scale=0, translate=0, pad_value=0)
        for seed in range(10):
            image = mosaic([white] * 4, generator(seed), (64, 64), config).image
            middle = image[24:40, 24:40]
            gaps = (middle < 128).mean()
            assert gaps < (0.01 if degrees == 0 else 0.2), (degrees, seed, gaps)


def test_colours():
    grey = Sample(np.full((4, 4, 3), 100, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    out = hsv(grey, generator(3), AugmentConfig(hsv_v=0)).image
    assert np.abs(out.astype(int) - 100).max() <= 1  # grey has no hue
    np.testing.assert_allclose(colour_matrix(0, 1, 1), np.eye(3), atol=1e-6)
    third = colour_matrix(1 / 3, 1, 1) @ np.array([0, 0, 1.0])  # red turned by a third is green
    np.testing.assert_allclose(third, [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(colour_matrix(0, 0, 1) @ [0, 0, 1.0], [0.299] * 3, atol=1e-6)
    same = AugmentConfig(hsv_h=0, hsv_s=0, hsv_v=0)
    assert hsv(grey, generator(), same) is grey


def test_degrading_is_light_and_changes_no_input():
    sample = sample_with_all(1)
    before = sample.image.copy()
    for kind in ("blur", "noise", "jpeg"):
        config = replace(AugmentConfig(blur=0, noise=0, jpeg=0), **{kind: 1.0})
        out = degrade(sample, generator(4), config)
        assert 0 < np.abs(out.image.astype(int) - before).mean() < 12
    np.testing.assert_array_equal(sample.image, before)
    assert degrade(sample, generator(), AugmentConfig(blur=0, noise=0, jpeg=0)) is sample


def test_mixup():
    a, b = sample_with_all(1), sample_with_all(2)
    out = mixup(a, b, generator())
    assert len(out) == 10 and len(out.masks) == 10 and out.keypoints.shape == (10, 3, 3)
    assert np.abs(out.image.astype(int) - (a.image.astype(int) + b.image) / 2).mean() < 20
    with pytest.raises(ValueError, match="pictures must have one size"):
        mixup(a, sample_with_all(1, hw=(64, 80)), generator())


def test_copy_paste_takes_from_what_it_hides():
    base = marked((120, 160), ((20, 20, 90, 100),))
    donor = marked((120, 160), ((60, 40, 100, 80),))
    donor = replace(donor, image=donor.image // 2)  # grey objects
    before = base.image.copy()
    pasted = hidden = 0
    for seed in range(40):
        out = copy_paste(base, donor, generator(seed), AugmentConfig())
        grey = (out.image[..., 0] > 100) & (out.image[..., 0] < 150)
        if len(out) == 2:
            pasted += 1
            mask = fill_rings(out.masks[1], (120, 160)) > 0
            assert (mask == grey).mean() > 0.985
            below = fill_rings(out.masks[0], (120, 160)) > 0
            assert (mask & below).mean() < 0.01  # nobody owns a pixel twice
            hidden += bool(out.boxes[0].tolist() != base.boxes[0].tolist() or below.sum() < 70 * 80)
        else:
            assert not grey.any()
    assert pasted > 5 and hidden > 0
    np.testing.assert_array_equal(base.image, before)
    assert copy_paste(base, replace(donor, masks=None), generator(), AugmentConfig()) is base


@pytest.mark.parametrize("hw", [(60, 80), (300, 200), (33, 500)])
def test_letterbox_is_the_runtimes(hw):
    sample = sample_with_all(0, hw=hw if min(hw) > 40 else (60, 500))
    out, geometry = letterbox(sample, (96, 128))
    hw = sample.image.shape[:2]
    assert geometry == Letterbox.fit(hw, (96, 128))
    planes = ops.letterbox(sample.image, geometry, swap_rb=False, scale=(1, 1, 1))
    assert np.abs(out.image.transpose(2, 0, 1) - planes).max() <= 0.5
    np.testing.assert_allclose(geometry.to_frame(out.boxes), sample.boxes, atol=1e-3)
    reduced = reduce_image(sample.image, (96, 128))  # what the cache keeps gives the same pixels
    np.testing.assert_array_equal(letterbox(replace(sample, image=reduced), (96, 128))[0].image, out.image)


@pytest.mark.parametrize("tolerance", [0.0, 0.5])
def test_bitmaps_become_rings_and_back(tolerance):
    for seed in range(8):
        mask = cv2.resize(generator(seed).integers(0, 256, (7, 9), dtype=np.uint8), (90, 70)) > 140
        rings = mask_to_rings(mask, (3, 4), tolerance)
        back = fill_rings(tuple(r - (3, 4) for r in rings), mask.shape) > 0
        assert (back != mask).mean() <= (0 if tolerance == 0 else 0.02)
    assert mask_to_rings(np.zeros((4, 4))) == ()


@settings(max_examples=scaled(100), deadline=None)
@given(seed=st.integers(0, 2**32))
def test_clipped_rings_fill_what_is_left(seed):
    rng = generator(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 9)))
    ring = np.stack([32 + np.cos(angle) * rng.uniform(5, 40), 32 + np.sin(angle) * 25], 1).astype(np.float32)
    x1, y1, x2, y2 = sorted(rng.integers(0, 64, 2).tolist()) + sorted(rng.integers(0, 64, 2).tolist())
    x1, y1, x2, y2 = x1, x2, y1 + 1, y2 + 1
    whole = fill_rings((ring,), (64, 64))
    cut = np.zeros_like(whole)
    cut[y1:y2, x1:x2] = whole[y1:y2, x1:x2]
    clipped = clip_ring(ring, (x1, y1, x2, y2))
    filled = fill_rings((clipped,), (64, 64)) if len(clipped) else np.zeros_like(whole)
    perimeter = 2 * (x2 - x1 + y2 - y1) + 8
    assert np.count_nonzero(filled != cut) <= 0.25 * perimeter + 2


def test_filled_areas_have_no_bias():
    errors = []
    for seed in range(200):
        rng = generator(seed)
        angle = np.sort(rng.uniform(0, 2 * np.pi, 8))
        ring = (30 + rng.uniform(8, 25, (8, 1)) * np.stack([np.cos(angle), np.sin(angle)], 1)).astype(np.float32)
        x, y = ring.T.astype(float)
        area = abs(np.dot(x, np.roll(y, -1)) - np.dot(np.roll(x, -1), y)) / 2
        outline = np.linalg.norm(ring - np.roll(ring, -1, 0), axis=1).sum()
        errors.append((int(fill_rings((ring,), (60, 60)).sum()) - area) / outline)
    assert abs(np.mean(errors)) < 0.02  # of a pixel on each side


def test_config_is_checked():
    for bad in ({"mosaic": 1.5}, {"scale": 1.0}, {"degrees": -1}, {"pad_value": 300}, {"hsv_h": float("nan")}):
        with pytest.raises((ValueError, TypeError), match="AugmentConfig"):
            AugmentConfig(**bad)
    with pytest.raises(ValueError, match="four or nine"):
        mosaic([sample_with_all()] * 3, generator(), (64, 64), AugmentConfig())


def test_zoom_makes_a_mosaics_pictures_smaller_and_keeps_more_of_them():
    boxes, ids = np.array([[20, 20, 40, 40]], np.float32), np.zeros(1, np.int64)
    samples = [Sample(np.zeros((64, 64, 3), np.uint8), boxes, ids) for _ in range(4)]
    sides, counts = [], []
    for zoom in (1.0, 0.5):
        config = AugmentConfig(scale=0.0, translate=0.0, zoom=zoom, min_visible=0.0)
        made = [mosaic(samples, np.random.default_rng(seed), (64, 64), config) for seed in range(20)]
        sides.append(max(float((one.boxes[:, 2] - one.boxes[:, 0]).max()) for one in made if len(one)))
        counts.append(sum(len(one) for one in made))
    assert sides == pytest.approx([20, 10], abs=0.5) and counts[0] < counts[1]
