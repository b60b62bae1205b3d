"""Packed masks, as the GPU gives them, against NumPy's unpackbits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ops.mask_cases import pack_masks, random_masks
from yolokkn.ops.masks import unpack_masks
from yolokkn.types import Masks


@pytest.mark.parametrize("frame_hw", [(1, 1), (1, 70), (70, 1), (33, 31), (64, 64), (50, 321)])
def test_packed_and_unpacked_again(frame_hw):
    masks = random_masks(np.random.default_rng(5), 20, frame_hw)
    bits, starts = pack_masks(masks)
    got = unpack_masks(bits, starts, masks.crops, frame_hw)
    assert isinstance(got, Masks) and got.frame_hw == frame_hw
    np.testing.assert_array_equal(got.data, masks.data)
    np.testing.assert_array_equal(got.crops, masks.crops)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 100), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_any_bits_of_any_width(width, height, seed):
    """Bits behind a row's last pixel do not matter, nor do words between masks."""
    words = -(-width // 32) * height
    bits = np.random.default_rng(seed).integers(0, 2**32, words + 9, np.uint32)
    rows = bits[4 : 4 + words].reshape(height, words // height if height else 1).view(np.uint8)
    want = np.unpackbits(rows, axis=1, count=width, bitorder="little") if height else np.zeros(0, np.uint8)
    crops = np.array([[3, 2, 3 + width, 2 + height], [0, 0, 0, 0]], np.int32)
    got = unpack_masks(bits, np.array([4, 0], np.int32), crops, (5, 200))
    np.testing.assert_array_equal(got.data, want.ravel())


def test_none():
    got = unpack_masks(np.zeros(0, np.uint32), np.zeros(1, np.int32), np.zeros((0, 4), np.int32), (5, 6))
    assert len(got) == 0 and got.data.shape == (0,)


@pytest.mark.parametrize(
    ("starts", "crops", "error", "text"),
    [
        ([0], [[0, 0, 33, 4]], None, ""),
        ([1], [[0, 0, 33, 4]], ValueError, "starts must lie within the bits, got 1 for mask 0 of 8 words among 8"),
        ([-1], [[0, 0, 3, 1]], ValueError, "starts must lie within the bits"),
        ([], [[0, 0, 3, 1]], ValueError, "starts must have a value for each of 1 masks, got 0"),
        ([0], [[3, 0, 0, 1]], ValueError, "crops must be x1 <= x2"),
        ([0], [[0, 0, 2**31 - 1, 2**31 - 1]], ValueError, "bits must hold the crops' 4611686014132420609 pixels"),
    ],
)
def test_refuses_what_does_not_fit(starts, crops, error, text):
    arguments = np.zeros(8, np.uint32), np.array(starts, np.int32), np.array(crops, np.int32), (5, 40)
    if error is None:
        assert unpack_masks(*arguments).data.sum() == 0
        return
    with pytest.raises(error, match=f"unpack_masks: {text}"):
        unpack_masks(*arguments)
