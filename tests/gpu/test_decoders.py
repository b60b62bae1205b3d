"""The CUDA decoders against the reference: every key, box and count."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.heads import assert_same, random_anchors, random_options, random_values
from tests.ops.test_decode_distances import random_levels
from tests.ops.test_decode_heads import random_heads
from tests.strategies import scaled
from yolokkn import ops

CLASSES = [1, 2, 5, 31, 32, 33, 80]


def rounds(seed, count=25):
    for i in range(scaled(count)):
        yield np.random.default_rng([seed, i])


def test_channels(cuda_op):
    for rng in rounds(1):
        nc = int(rng.choice(CLASSES))
        output = random_values(rng, (4 + nc + int(rng.integers(3)), random_anchors(rng)))
        options = random_options(rng, nc)
        assert_same(
            cuda_op.decode_channels(output, nc, **options), ops.reference.decode_channels(output, nc, **options)
        )


@pytest.mark.parametrize("box_format", ["cxcywh", "xyxy"])
@pytest.mark.parametrize("objectness", [True, False])
def test_rows(cuda_op, objectness, box_format):
    for rng in rounds(2, 12):
        nc = int(rng.choice(CLASSES))
        output = random_values(rng, (random_anchors(rng), 4 + objectness + nc + int(rng.integers(3))))
        options = {"objectness": objectness, "box_format": box_format, **random_options(rng, nc)}
        assert_same(cuda_op.decode_rows(output, nc, **options), ops.reference.decode_rows(output, nc, **options))


def test_grid_rows(cuda_op):
    for rng in rounds(3, 12):
        nc = int(rng.integers(1, 9))
        hw = (64 * int(rng.integers(1, 3)), 64 * int(rng.integers(1, 4)))
        output = random_values(rng, (sum((hw[0] // s) * (hw[1] // s) for s in (8, 16, 32)), 5 + nc))
        options = {"objectness": True, "box_format": "grid", "input_hw": hw, **random_options(rng, nc)}
        assert_same(cuda_op.decode_rows(output, nc, **options), ops.reference.decode_rows(output, nc, **options))


@pytest.mark.parametrize("formula", ["darknet", "v5"])
def test_heads(cuda_op, formula):
    for rng in rounds(4):
        heads, options = random_heads(rng)
        options.update(formula=formula, objectness_times_class=bool(rng.integers(2)), scale_xy=[1.05, 1.2])
        assert_same(cuda_op.decode_heads(heads, **options), ops.reference.decode_heads(heads, **options))


@pytest.mark.parametrize("num_bins", [1, 2, 16])
def test_distances(cuda_op, num_bins):
    for rng in rounds(5, 15):
        levels, options = random_levels(rng, num_bins)
        assert_same(cuda_op.decode_distances(levels, **options), ops.reference.decode_distances(levels, **options))


def test_queries(cuda_op):
    for rng in rounds(6):
        nc, count = int(rng.integers(1, 9)), random_anchors(rng)
        boxes = random_values(rng, (count, 4))
        logits = random_values(rng, (count, nc + int(rng.integers(2))), logits=True)
        options = {"input_hw": (320, 640), "top_k": int(rng.choice([1, 10, 300])), **random_options(rng, nc)}
        want = ops.reference.decode_queries(boxes, logits, nc, **options)
        assert_same(cuda_op.decode_queries(boxes, logits, nc, **options), want)


def test_table(cuda_op):
    for rng in rounds(7):
        nc, count = int(rng.integers(1, 9)), random_anchors(rng)
        table = random_values(rng, (count, 6 + int(rng.integers(3))))
        with np.errstate(over="ignore"):
            table[:, 5] *= rng.choice([nc + 1.0, -1.0, 2e9])
        options = random_options(rng, nc)
        del options["multi_label"]
        assert_same(cuda_op.decode_table(table, nc, **options), ops.reference.decode_table(table, nc, **options))


def test_float16_outputs_are_widened(cuda_op):
    for rng in rounds(8, 8):
        with np.errstate(over="ignore"):
            output = random_values(rng, (12, 200)).astype(np.float16)
        wide = output.astype(np.float32)
        assert_same(cuda_op.decode_channels(output, 8), ops.reference.decode_channels(wide, 8))
        rows, wide_rows = np.ascontiguousarray(output.T), np.ascontiguousarray(wide.T)
        want = ops.reference.decode_rows(wide_rows, 7, objectness=True)
        assert_same(cuda_op.decode_rows(rows, 7, objectness=True), want)


def test_every_float16_is_widened_exactly(cuda_op):
    """All 65,536 halves as scores: those above the threshold come back as their float32."""
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    output = np.ones((5, 65536), np.float16)
    output[4] = halves
    found = cuda_op.decode_channels(output, 1, score_threshold=0.0, max_candidates=65536)
    wide = halves.astype(np.float32)
    passing = np.flatnonzero(np.isfinite(wide) & (wide > 0))
    np.testing.assert_array_equal(found.anchor_index, passing)
    np.testing.assert_array_equal(found.scores, wide[passing])
    assert found.num_dropped == np.count_nonzero(~(wide < np.inf))


def test_too_small_a_room_is_told_and_nothing_is_written_behind_it(cuda_op):
    output = np.full((5, 300), 0.9, np.float32)
    buffers = cuda_op.candidates(300, 7)
    cuda_op.kernels.decode_channels(cuda_op.upload(output), 1, candidates=buffers, stream=cuda_op.stream)
    assert cuda_op.download(buffers.counters).tolist() == [300, 0]


def test_arguments_are_checked(cuda_op):
    buffers = cuda_op.candidates(10, 10)
    output = cuda_op.upload(np.zeros((6, 10), np.float32))
    for arguments, options, words in (
        ((np.zeros((6, 10), np.float32), 2), {}, "output must be an array on the GPU"),
        ((cuda_op.upload(np.zeros((6, 10))), 2), {}, "output must have dtype float32 or float16, got f8"),
        ((output, 3), {}, "num_classes must be 1 or more and leave room in the 6 channels, got 3"),
        ((output, 2), {"score_threshold": 1.5}, r"score_threshold must be within \[0, 1\], got 1.5"),
        ((output, 2), {"class_mask": cuda_op.upload(np.ones(3, np.uint8))}, r"class_mask must have shape \(2,\), got \(3,\)"),
        ((output, 2), {"stream": "no"}, "stream must be a stream's handle"),
        ((cuda_op.upload(np.zeros((6, 11), np.float32)), 2), {}, r"candidates.boxes must have a row .* \(11\), got 10"),
    ):  # fmt: skip
        with pytest.raises((TypeError, ValueError), match=f"^decode_channels: {words}"):
            cuda_op.kernels.decode_channels(*arguments, **{"candidates": buffers, **options})
