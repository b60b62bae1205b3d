from __future__ import annotations

import numpy as np
import pycocotools.mask as coco_mask
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ops.mask_cases import masks_from_full, random_masks
from yolokkn import ops
from yolokkn.types import Masks


def coco_rle(full: np.ndarray) -> dict:
    return coco_mask.encode(np.asfortranarray(full.astype(np.uint8)))


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
