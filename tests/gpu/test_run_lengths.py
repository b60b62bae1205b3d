"""COCO's run lengths of packed masks by CUDA against the CPU's."""

from __future__ import annotations

import numpy as np
import pycocotools.mask as coco_mask
import pytest

from tests.ops.mask_cases import masks_from_full, random_masks
from tests.strategies import scaled
from yolokkn import ops
from yolokkn.types import Masks


def compressed(runs: np.ndarray, frame_hw: tuple[int, int]) -> dict:
    """Run lengths as COCO's string."""
    return coco_mask.frPyObjects({"size": list(frame_hw), "counts": runs.tolist()}, *frame_hw)


def assert_equal(cuda_op, masks: Masks) -> None:
    lengths, counts = cuda_op.encode_rle(masks)
    wanted = ops.encode_rle(masks)
    assert len(counts) == len(wanted)
    for runs, count, want in zip(lengths, counts, wanted, strict=True):
        assert count >= 1 and int(runs[:count].sum()) == masks.frame_hw[0] * masks.frame_hw[1]
        assert (runs[1:count] > 0).all()
        assert compressed(runs[:count], masks.frame_hw) == want


@pytest.mark.parametrize("frame_hw", [(1, 1), (1, 70), (70, 1), (33, 31), (32, 64), (64, 33), (20, 2100), (1030, 40)])
def test_equals_the_cpu(cuda_op, frame_hw):
    """Noise, blobs, nothing and everything; crops as high as the frame, whose columns go on in the next one, among them."""
    assert_equal(cuda_op, random_masks(np.random.default_rng(frame_hw), 15, frame_hw))


def test_small_frames(cuda_op):
    rng = np.random.default_rng(11)
    for _ in range(scaled(40)):
        frame_hw = tuple(rng.integers(1, [6, 70]).tolist())
        assert_equal(cuda_op, random_masks(rng, 6, frame_hw))


def test_every_mask_of_six_pixels(cuda_op):
    bits = np.arange(64)[:, None] >> np.arange(6) & 1
    assert_equal(cuda_op, masks_from_full(bits.reshape(64, 3, 2).astype(bool)))
    assert_equal(cuda_op, masks_from_full(bits.reshape(64, 1, 6).astype(bool)))


def test_bits_behind_a_row_do_not_matter(cuda_op):
    masks = random_masks(np.random.default_rng(3), 12, (40, 50))
    plain, counts = cuda_op.encode_rle(masks)
    loud, same = cuda_op.encode_rle(masks, noise=True)
    assert counts.tolist() == same.tolist()
    for a, b, count in zip(plain, loud, counts, strict=True):
        np.testing.assert_array_equal(a[:count], b[:count])


def test_more_runs_than_there_is_room_for(cuda_op):
    masks = masks_from_full(np.random.default_rng(4).random((3, 60, 70)) < 0.5)
    lengths, counts = cuda_op.encode_rle(masks)
    for most in (0, 1, 2, 1023, 1024, 1025):
        few, same = cuda_op.encode_rle(masks, most=most)
        assert same.tolist() == counts.tolist() and min(counts) > 1025
        np.testing.assert_array_equal(few, lengths[:, :most])


def test_a_mask_whose_words_were_not_written_has_no_runs(cuda_op):
    masks = random_masks(np.random.default_rng(1), 6, (40, 50))
    _, counts = cuda_op.encode_rle(masks)
    _, fewer = cuda_op.encode_rle(masks, missing_words=1)
    assert fewer[5] == 0 and fewer[:5].tolist() == counts[:5].tolist()


def test_the_masks_of_a_frame_never_leave_the_gpu(cuda_op):
    """Assembled and encoded one after the other: the CPU's strings."""
    from tests.ops.test_masks import random_scene

    scene = random_scene(np.random.default_rng(2), 9, (90, 160))
    want = ops.assemble_masks(*scene)
    rows, bits = cuda_op.packed_masks(*scene)
    lengths, counts = cuda_op.run_lengths(rows, bits, (90, 160), 9, 2000)
    got = [compressed(runs[:count], (90, 160)) for runs, count in zip(lengths, counts, strict=True)]
    assert got == ops.encode_rle(want)


@pytest.mark.parametrize("frame_hw", [(0, 5), (5, 0), (2**16, 2**16)])
def test_frames_that_are_refused(cuda_op, frame_hw):
    rows, bits = cuda_op.packed(random_masks(np.random.default_rng(1), 2, (40, 50)))
    with pytest.raises(ValueError, match=r"encode_rle: frame_hw must have 1 or more and below 2\*\*32 pixels"):
        cuda_op.run_lengths(rows, bits, frame_hw, 2, 10)
