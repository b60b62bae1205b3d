from __future__ import annotations

import sys
import threading

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ops.mask_cases import random_masks
from tests.strategies import COUNTS
from yolokkn import ops
from yolokkn.geometry import Letterbox
from yolokkn.ops.reference.masks import node_logits, sample_logits
from yolokkn.types import Masks


def random_scene(rng, count, frame_hw, planes=32, proto_hw=(40, 40), input_hw=(160, 160), rule="letterbox"):
    h, w = frame_hw
    centres = rng.uniform(-0.1, 1.1, (count, 2)) * [w, h]
    sizes = rng.uniform(0, 0.8, (count, 2)) * [w, h]
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], 1).astype(np.float32)
    prototypes = rng.normal(size=(planes, *proto_hw)).astype(np.float32)
    return (
        rng.normal(size=(count, planes)).astype(np.float32),
        prototypes,
        boxes,
        Letterbox.fit(frame_hw, input_hw, rule),
    )


class TestAssemble:
    @pytest.mark.parametrize("count", COUNTS)
    def test_equals_reference(self, count):
        scene = random_scene(np.random.default_rng(count), count, (90, 160))
        got, want = ops.assemble_masks(*scene), ops.reference.assemble_masks(*scene)
        np.testing.assert_array_equal(got.crops, want.crops)
        np.testing.assert_array_equal(got.data, want.data)
        assert got.frame_hw == want.frame_hw == (90, 160)

    @pytest.mark.parametrize("rule", ["letterbox", "topleft", "stretch"])
    @pytest.mark.parametrize(
        ("frame_hw", "proto_hw", "input_hw", "planes"),
        [
            ((1, 1), (1, 1), (1, 1), 1),
            ((1, 500), (5, 33), (20, 132), 3),
            ((500, 1), (33, 5), (132, 20), 3),
            ((20, 30), (160, 160), (640, 640), 8),  # fewer pixels than prototype positions
            ((300, 200), (31, 65), (124, 260), 0),
            ((64, 64), (7, 9), (500, 3), 5),  # prototypes that are no fraction of the input
        ],
    )
    def test_equals_reference_for_every_geometry(self, rule, frame_hw, proto_hw, input_hw, planes):
        scene = random_scene(np.random.default_rng(7), 20, frame_hw, planes, proto_hw, input_hw, rule)
        got, want = ops.assemble_masks(*scene), ops.reference.assemble_masks(*scene)
        np.testing.assert_array_equal(got.crops, want.crops)
        np.testing.assert_array_equal(got.data, want.data)

    def test_samples_equal_full_bilinear_resize(self, op):
        """Against another's bilinear resize of the whole logits, apart from those that rounding may take either way."""
        rng = np.random.default_rng(3)
        coeffs, prototypes, boxes, _ = random_scene(rng, 6, (120, 160), proto_hw=(30, 40))
        geometry = Letterbox.fit((120, 160), (120, 160))
        logits = np.tensordot(coeffs, prototypes, 1).astype(np.float32)
        full = ops.paint_masks(op.assemble_masks(coeffs, prototypes, boxes, geometry))
        for i, (x1, y1, x2, y2) in enumerate(op.assemble_masks(coeffs, prototypes, boxes, geometry).crops):
            resized = cv2.resize(logits[i], (160, 120), interpolation=cv2.INTER_LINEAR)[y1:y2, x1:x2]
            sure = np.abs(resized) > 1e-3
            np.testing.assert_array_equal(full[i, y1:y2, x1:x2][sure], (resized > 0)[sure])

    def test_hand_computed(self, op):
        prototypes = np.array([[[1, -1], [1, -1]], [[0, 0], [0, 4]]], np.float32)
        coeffs = np.array([[1, 0], [1, 0.5], [-1, 0]], np.float32)
        boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 4], [1.5, 1.6, 2.6, 4]], np.float32)
        masks = op.assemble_masks(coeffs, prototypes, boxes, Letterbox.fit((4, 4), (4, 4)))
        assert masks.crops.tolist() == [[0, 0, 4, 4], [0, 0, 4, 4], [1, 2, 3, 4]]
        assert masks.crop(0).tolist() == [[1, 1, 0, 0]] * 4
        # 1 - 2 fx + 2 fx fy, weights of the pixels 0 1/4 3/4 1
        assert masks.crop(1).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]
        assert masks.crop(2).tolist() == [[0, 1], [0, 1]]

    def test_zero_is_outside(self, op):
        boxes = np.array([[0, 0, 8, 8]], np.float32)
        for prototype in (np.zeros((1, 2, 2), np.float32), np.full((1, 2, 2), -0.0, np.float32)):
            masks = op.assemble_masks(np.ones((1, 1), np.float32), prototype, boxes, Letterbox.fit((8, 8), (8, 8)))
            assert masks.areas().tolist() == [0] and len(masks.data) == 64

    @pytest.mark.parametrize(
        ("box", "crop"),
        [
            ((0.5, 0.5, 1.5, 1.5), (0, 0, 1, 1)),  # centres on the left edge are in, on the right edge out
            (tuple(np.nextafter(np.float32([0.5, 0.5, 0.5, 0.5]), np.float32([1, 1, 1, 1]))), (0, 0, 0, 0)),
            ((np.nextafter(np.float32(0.5), np.float32(1)), 0, 2, 2), (1, 0, 2, 2)),
            ((-5, -5, 100, 100), (0, 0, 10, 8)),
            ((3, 3, 3, 5), (0, 0, 0, 0)),
            ((5, 5, 3, 7), (0, 0, 0, 0)),
            ((10, 0, 20, 5), (0, 0, 0, 0)),
            ((-9, -9, 0.5, 0.5), (0, 0, 0, 0)),
            ((3e38, 0, 3.4e38, 8), (0, 0, 0, 0)),
            ((-3e38, -3e38, 3e38, 3e38), (0, 0, 10, 8)),
            ((np.nan, 0, 5, 5), (0, 0, 0, 0)),
            ((0, 0, np.inf, 5), (0, 0, 0, 0)),
            ((-np.inf, 0, 5, 5), (0, 0, 0, 0)),
        ],
    )
    def test_crops(self, op, box, crop):
        boxes = np.array([[0, 0, 2, 2], box, [1, 1, 3, 3]], np.float32)
        scene = np.ones((3, 1), np.float32), np.ones((1, 2, 2), np.float32), boxes, Letterbox.fit((8, 10), (32, 32))
        masks = op.assemble_masks(*scene)
        assert masks.crops.tolist() == [[0, 0, 2, 2], list(crop), [1, 1, 3, 3]]
        assert masks.data.all()

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_coefficients_that_are_not_finite_give_zeros(self, op, bad):
        coeffs, prototypes, boxes, geometry = random_scene(np.random.default_rng(1), 3, (50, 60))
        boxes[:] = 0, 0, 60, 50
        clean = op.assemble_masks(coeffs, prototypes, boxes, geometry)
        coeffs[1, 5] = bad
        masks = op.assemble_masks(coeffs, prototypes, boxes, geometry)
        assert masks.areas()[1] == 0
        for i in (0, 2):
            np.testing.assert_array_equal(masks.crop(i), clean.crop(i))

    def test_prototypes_that_are_not_finite_count_as_zero(self):
        coeffs, prototypes, boxes, geometry = random_scene(np.random.default_rng(2), 5, (50, 60))
        prototypes[3, ::7, ::5] = np.nan
        prototypes[4, ::6, ::9] = np.inf
        prototypes[5] = np.where(prototypes[5] > 0, np.float32(2e38), np.float32(-2e38))
        got = ops.assemble_masks(coeffs, prototypes, boxes, geometry)
        want = ops.reference.assemble_masks(coeffs, prototypes, boxes, geometry)
        np.testing.assert_array_equal(got.data, want.data)

    def test_inputs_stay_as_they_are_and_may_be_read_only(self):
        scene = random_scene(np.random.default_rng(4), 5, (50, 60))
        copies = [a.copy() for a in scene[:3]]
        for a in scene[:3]:
            a.flags.writeable = False
        ops.assemble_masks(*scene)
        for a, b in zip(scene[:3], copies, strict=True):
            np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize(
        ("index", "bad", "error", "text"),
        [
            (0, [[1.0]], TypeError, "assemble_masks: coeffs must be a NumPy array of float32, got list"),
            (0, np.zeros((2, 4)), TypeError, "coeffs must have dtype float32, got float64"),
            (0, np.zeros(4, np.float32), ValueError, "coeffs must have shape"),
            (
                1,
                np.zeros((3, 5, 5), np.float32),
                ValueError,
                r"prototypes must have shape \(4, \*, \*\), got \(3, 5, 5\)",
            ),
            (1, np.zeros((4, 0, 5), np.float32), ValueError, "prototypes must have a height and width of 1 or more"),
            (1, np.zeros((4, 5, 10), np.float32)[..., ::2], ValueError, "prototypes must be C-contiguous"),
            (2, np.zeros((3, 4), np.float32), ValueError, r"boxes must have shape \(2, 4\), got \(3, 4\)"),
            (3, (1, 2), TypeError, "geometry must be a yolokkn.geometry.Letterbox, got tuple"),
            (3, Letterbox((0, 5), (4, 4), (4, 4)), ValueError, "geometry must have sizes of 1 or more"),
            (3, Letterbox((2**40, 5), (4, 4), (4, 4)), ValueError, r"geometry must have an image below 2\*\*30"),
        ],
    )
    def test_refuses_what_does_not_fit(self, index, bad, error, text):
        scene = [
            np.zeros((2, 4), np.float32),
            np.zeros((4, 5, 5), np.float32),
            np.zeros((2, 4), np.float32),
            Letterbox.fit((8, 8), (8, 8)),
        ]
        scene[index] = bad
        with pytest.raises(error, match=text):
            ops.assemble_masks(*scene)

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def test_any_arrays_end_in_masks_or_an_exception(self, data):
        dims = st.integers(0, 5)
        shape = {1: st.tuples(dims, dims), 2: st.tuples(dims, dims, dims), 3: st.tuples(dims, st.sampled_from([3, 4]))}
        dtype = st.sampled_from([np.float32, np.float32, np.float32, np.float64, np.uint8])
        arrays = [np.full(data.draw(shape[i]), data.draw(st.floats(-1e5, 1e5)), data.draw(dtype)) for i in (1, 2, 3)]
        side = st.integers(-1, 40)
        pairs = [(data.draw(side), data.draw(side)) for _ in range(3)]
        geometry = Letterbox(*pairs, data.draw(side), data.draw(side))
        try:
            masks = ops.assemble_masks(*arrays, geometry)
        except (TypeError, ValueError):
            return
        assert len(masks) == len(arrays[0]) and set(np.unique(masks.data)) <= {0, 1}


class TestPaint:
    def test_equals_to_full(self, op):
        masks = random_masks(np.random.default_rng(9), 10, (50, 70))
        np.testing.assert_array_equal(op.paint_masks(masks), masks.to_full())
        out = np.ones((10, 50, 70), bool)
        assert op.paint_masks(masks, out) is out
        np.testing.assert_array_equal(out, masks.to_full())

    @pytest.mark.parametrize(
        ("out", "error", "text"),
        [
            (np.zeros((1, 4, 4), np.uint8), TypeError, "paint_masks: out must have dtype bool, got uint8"),
            (np.zeros((2, 4, 4), bool), ValueError, r"out must have shape \(1, 4, 4\), got \(2, 4, 4\)"),
            (np.zeros((1, 4, 8), bool)[..., ::2], ValueError, "out must be C-contiguous"),
            (np.broadcast_to(np.zeros(1, bool), (1, 1, 1)), ValueError, "out must have shape"),
        ],
    )
    def test_refuses_what_does_not_fit(self, out, error, text):
        with pytest.raises(error, match=text):
            ops.paint_masks(Masks(np.ones(1, np.uint8), np.array([[0, 0, 1, 1]], np.int32), (4, 4)), out)


@pytest.mark.parametrize("door", ["encode_rle", "paint_masks", "mask_polygons"])
class TestEveryDoor:
    def test_refuses_what_is_no_masks(self, door):
        with pytest.raises(TypeError, match=f"{door}: masks must be a yolokkn.types.Masks, got list"):
            getattr(ops, door)([])

    @pytest.mark.parametrize("crop", [[0, 0, 5, 1], [0, 0, 1, 5], [-1, 0, 4, 1], [4, 1, -1, 0], [2, 2, 1, 1]])
    def test_refuses_crops_outside_the_frame(self, door, crop):
        masks = Masks(np.zeros(0, np.uint8), np.zeros((1, 4), np.int32), (4, 4))
        x1, y1, x2, y2 = crop
        object.__setattr__(masks, "crops", np.array([crop], np.int32))
        object.__setattr__(masks, "data", np.zeros((x2 - x1) * (y2 - y1), np.uint8))
        with pytest.raises(ValueError, match=f"{door}: masks.crops must lie inside the frame of 4x4"):
            getattr(ops, door)(masks)

    def test_input_stays_as_it_is(self, door):
        masks = random_masks(np.random.default_rng(10), 8, (60, 50))
        data, crops = masks.data.copy(), masks.crops.copy()
        masks.data.flags.writeable = masks.crops.flags.writeable = False
        getattr(ops, door)(masks)
        np.testing.assert_array_equal(masks.data, data)
        np.testing.assert_array_equal(masks.crops, crops)


def test_the_lock_is_released():
    scene = random_scene(np.random.default_rng(11), 200, (1080, 1920), proto_hw=(160, 160), input_hw=(640, 640))
    interval, turns, done = sys.getswitchinterval(), 0, threading.Event()
    worker = threading.Thread(target=lambda: (ops.assemble_masks(*scene), done.set()))
    sys.setswitchinterval(1000)  # the worker keeps the lock unless it lets go of it
    try:
        worker.start()
        while not done.wait(0.001):
            turns += 1
    finally:
        sys.setswitchinterval(interval)
        worker.join()
    assert turns > 3


def test_reference_samples_are_bilinear():
    """The specification itself: samples between four positions, and the edge held."""
    logits = node_logits(np.ones((1, 1), np.float32), np.array([[[0, 1], [2, 3]]], np.float32))[0]
    got = sample_logits(logits, np.array([0, 0, 4, 4]), Letterbox.fit((4, 4), (4, 4)))
    steps = np.array([0, 0.25, 0.75, 1])
    np.testing.assert_allclose(got, steps[None] + 2 * steps[:, None])


def test_masks_index_like_their_crops():
    masks = random_masks(np.random.default_rng(12), 9, (40, 30))
    full = masks.to_full()
    for index in (3, -1, slice(2, 8, 2), np.array([5, 0, 5]), np.arange(9) % 2 == 0, slice(0, 0)):
        np.testing.assert_array_equal(masks[index].to_full(), np.atleast_3d(full[index]).reshape(-1, 40, 30))
    assert masks.areas().tolist() == full.sum((1, 2)).tolist()
    np.testing.assert_array_equal(masks.crop(-2), masks.crop(7))
    with pytest.raises(IndexError, match=r"Masks.crop: index must be within 9 masks, got 9"):
        masks.crop(9)
