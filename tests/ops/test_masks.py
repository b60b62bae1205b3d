from __future__ import annotations

import sys
import threading

import cv2
import numpy as np
import pycocotools.mask as coco_mask
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import COUNTS
from yolokkn import ops
from yolokkn.geometry import Letterbox
from yolokkn.ops.reference.masks import node_logits, sample_logits
from yolokkn.types import Masks


def masks_from_full(full: np.ndarray) -> Masks:
    """Masks whose crops are the whole frame, from (N, H, W) bool."""
    n, h, w = full.shape
    crops = np.tile(np.array([0, 0, w, h], np.int32), (n, 1))
    return Masks(np.ascontiguousarray(full).astype(np.uint8).ravel(), crops, (h, w))


def coco_rle(full: np.ndarray) -> dict:
    return coco_mask.encode(np.asfortranarray(full.astype(np.uint8)))


def random_masks(rng: np.random.Generator, count: int, frame_hw: tuple[int, int]) -> Masks:
    """Masks of random crops: blobs, noise, nothing, everything, at and off the frame's edges."""
    h, w = frame_hw
    crops, parts = [], [np.zeros(0, np.uint8)]
    for i in range(count):
        xs, ys = np.sort(rng.integers(0, w + 1, 2)), np.sort(rng.integers(0, h + 1, 2))
        if i % 5 == 0:
            xs, ys = np.array([0, w]), np.array([0, h])
        shape = (int(ys[1] - ys[0]), int(xs[1] - xs[0]))
        noise = rng.random(shape)
        if i % 3 == 1 and noise.size:
            noise = cv2.GaussianBlur(noise, (5, 5), 2) * 3 - 1
        parts.append((noise > rng.choice([-1.0, 0.2, 0.5, 0.8, 2.0])).astype(np.uint8).ravel())
        crops.append([xs[0], ys[0], xs[1], ys[1]])
    return Masks(np.concatenate(parts), np.array(crops, np.int32).reshape(-1, 4), frame_hw)


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
        prototypes[5] *= 1e38
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


class TestRunLengths:
    @pytest.mark.parametrize("frame_hw", [(1, 1), (1, 70), (70, 1), (33, 31), (64, 64), (120, 200)])
    def test_encode_equals_pycocotools(self, op, frame_hw):
        masks = random_masks(np.random.default_rng(5), 12, frame_hw)
        for rle, full in zip(op.encode_rle(masks), ops.reference.paint_masks(masks), strict=True):
            assert rle == coco_rle(full)

    @settings(max_examples=200, deadline=None)
    @given(st.integers(1, 40), st.integers(1, 70), st.randoms(use_true_random=False), st.floats(0, 1))
    def test_round_trip_equals_pycocotools(self, h, w, random, density):
        rng = np.random.default_rng(random.getrandbits(32))
        full = rng.random((2, h, w)) < density
        rles = ops.encode_rle(masks_from_full(full))
        assert rles == [coco_rle(f) for f in full] == ops.reference.encode_rle(masks_from_full(full))
        decoded, slow = ops.decode_rle(rles), ops.reference.decode_rle(rles)
        np.testing.assert_array_equal(decoded.to_full(), full)
        np.testing.assert_array_equal(decoded.crops, slow.crops)
        np.testing.assert_array_equal(decoded.data, slow.data)

    def test_values_other_than_one_count_as_set(self):
        masks = random_masks(np.random.default_rng(6), 6, (40, 50))
        loud = Masks(masks.data * 255, masks.crops, masks.frame_hw)
        assert ops.encode_rle(loud) == ops.encode_rle(masks)
        np.testing.assert_array_equal(ops.paint_masks(loud), ops.paint_masks(masks))
        for a, b in zip(ops.mask_polygons(loud), ops.mask_polygons(masks), strict=True):
            assert [p.tolist() for p in a] == [p.tolist() for p in b]

    def test_full_hd(self):
        full = np.zeros((2, 1080, 1920), bool)
        full[0, 100:900, 300:1500] = True
        full[1] = True
        assert ops.encode_rle(masks_from_full(full)) == [coco_rle(f) for f in full]

    def test_decode_takes_every_form_of_counts(self, op):
        runs = [5, 2, 2, 2, 5]
        forms = [b"52203", "52203", runs, *([np.array(runs, np.uint32)] if op is ops else [])]
        masks = op.decode_rle([{"size": [4, 4], "counts": form} for form in forms])
        assert masks.crops.tolist() == [[1, 1, 3, 3]] * len(forms) and masks.data.all()

    def test_decode_takes_runs_of_nothing(self, op):
        masks = op.decode_rle([{"size": [2, 3], "counts": [0, 1, 0, 1, 4, 0]}, {"size": [2, 3], "counts": [6]}])
        assert masks.crops.tolist() == [[0, 0, 1, 2], [0, 0, 0, 0]] and masks.data.tolist() == [1, 1]

    def test_empty(self, op):
        none = Masks(np.zeros(0, np.uint8), np.zeros((0, 4), np.int32), (5, 6))
        assert op.encode_rle(none) == [] and op.mask_polygons(none) == []
        assert op.paint_masks(none).shape == (0, 5, 6) and op.paint_masks(none).dtype == bool
        decoded = op.decode_rle([])
        assert len(decoded) == 0 and decoded.frame_hw == (0, 0)
        no_pixels = Masks(np.zeros(0, np.uint8), np.array([[3, 3, 3, 5], [0, 0, 0, 0]], np.int32), (5, 6))
        assert op.encode_rle(no_pixels) == [coco_rle(np.zeros((5, 6)))] * 2
        assert op.mask_polygons(no_pixels) == [[], []]
        assert not op.paint_masks(no_pixels).any()

    @pytest.mark.parametrize(
        "counts",
        [
            b"5220",  # sums to less
            b"52203111",  # sums to more
            b"5220P",  # truncated
            b"5220\x00",
            b"5220p",
            b"PPPPPPPPPP0",
            b"oooooo?",
            b"",
            [17],
            [15],
            [-1, 17],
            [2**40, 2**40],
        ],
    )
    def test_malformed_is_refused(self, op, counts):
        with pytest.raises(ValueError, match="decode_rle: "):
            op.decode_rle([{"size": [4, 4], "counts": counts}])

    @pytest.mark.parametrize(
        ("rles", "error", "text"),
        [
            ({"size": [1, 1], "counts": [1]}, TypeError, "rles must be a list of mappings, got dict"),
            ([3], TypeError, r"rles\[0\] must be a mapping with size and counts, got int"),
            ([{"size": [1, 1]}], ValueError, r"rles\[0\] must have the keys size and counts, got \['size'\]"),
            ([{"size": [1], "counts": [1]}], TypeError, r"rles\[0\]\['size'\] must be height and width"),
            ([{"size": [1.0, 1], "counts": [1]}], TypeError, "must hold integers"),
            ([{"size": [-1, 1], "counts": [1]}], ValueError, "must hold integers from 0"),
            ([{"size": [2**20, 2**20], "counts": [2**40]}], ValueError, r"fewer than 2\*\*32 pixels"),
            ([{"size": [1, 1], "counts": 1}], TypeError, "must be bytes, str or a list of integers, got int"),
            ([{"size": [1, 1], "counts": [1.0]}], TypeError, "must be a flat list of integers, got float64"),
            ([{"size": [1, 1], "counts": "\u00e9"}], ValueError, "must hold characters"),
            (
                [{"size": [1, 1], "counts": [1]}, {"size": [1, 2], "counts": [2]}],
                ValueError,
                r"must equal that of rles\[0\]",
            ),
        ],
    )
    def test_refuses_what_does_not_fit(self, rles, error, text):
        with pytest.raises(error, match=text):
            ops.decode_rle(rles)

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=30), st.integers(0, 9), st.integers(0, 9))
    def test_any_bytes_decode_as_the_reference_does(self, text, h, w):
        rles = [{"size": [h, w], "counts": bytes(48 + b % 66 for b in text)}]
        try:
            want = ops.reference.decode_rle(rles)
        except ValueError:
            with pytest.raises(ValueError, match="decode_rle"):
                ops.decode_rle(rles)
        else:
            np.testing.assert_array_equal(ops.decode_rle(rles).to_full(), want.to_full())


def canonical(contour: np.ndarray) -> tuple:
    """A contour's points whatever its start and direction."""
    points = [tuple(int(v) for v in p) for p in contour.reshape(-1, 2)]
    turned = [c[i:] + c[:i] for c in (points, points[::-1]) for i in range(len(c)) if c[i] == min(points)]
    return tuple(min(turned))


def cv2_contours(full: np.ndarray) -> list[tuple]:
    found, _ = cv2.findContours(full.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return sorted(canonical(c) for c in found)


class TestPolygons:
    @pytest.mark.parametrize("frame_hw", [(1, 1), (1, 40), (40, 1), (33, 31), (64, 130)])
    def test_equals_opencv(self, op, frame_hw):
        masks = random_masks(np.random.default_rng(8), 15, frame_hw)
        for contours, full in zip(op.mask_polygons(masks), ops.paint_masks(masks), strict=True):
            assert all(c.dtype == np.int32 and c.ndim == 2 and c.shape[1] == 2 for c in contours)
            assert sorted(canonical(c) for c in contours) == cv2_contours(full)

    @settings(max_examples=150, deadline=None)
    @given(st.integers(1, 14), st.integers(1, 40), st.randoms(use_true_random=False), st.floats(0, 1))
    def test_equals_reference(self, h, w, random, density):
        rng = np.random.default_rng(random.getrandbits(32))
        full = rng.random((1, h, w)) < density
        (got,), (want,) = ops.mask_polygons(masks_from_full(full)), ops.reference.mask_polygons(masks_from_full(full))
        assert [c.tolist() for c in got] == [c.tolist() for c in want]
        assert sorted(canonical(c) for c in got) == cv2_contours(full[0])

    def test_leaves_out_what_lies_in_a_hole(self, op):
        full = np.zeros((1, 30, 30), bool)
        full[0, 2:28, 2:28] = True
        full[0, 5:25, 5:25] = False
        full[0, 10:20, 10:20] = True
        (contours,) = op.mask_polygons(masks_from_full(full))
        assert [c.tolist() for c in contours] == [[[2, 2], [2, 27], [27, 27], [27, 2]]]

    def test_single_pixels_and_lines(self, op):
        full = np.zeros((1, 9, 9), bool)
        full[0, 1, 1] = full[0, 3, 3:7] = full[0, 5:9, 1] = full[0, 8, 8] = True
        (contours,) = op.mask_polygons(masks_from_full(full))
        assert [c.tolist() for c in contours] == [[[1, 1]], [[3, 3], [6, 3]], [[1, 5], [1, 8]], [[8, 8]]]


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
