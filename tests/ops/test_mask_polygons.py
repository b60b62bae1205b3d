from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ops.mask_cases import masks_from_full, random_masks
from yolokkn import ops


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
