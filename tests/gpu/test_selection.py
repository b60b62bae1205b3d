"""NMS, letterbox, masks and the inverse letterbox of the CUDA kernels against their CPU twins."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.test_letterbox import SIZES, random_image
from tests.ops.test_masks import random_scene
from tests.ops.test_nms import small_case
from tests.strategies import COUNTS, random_boxes, scaled
from yolokkn import ops
from yolokkn.geometry import LETTERBOX_RULES, Letterbox
from yolokkn.ops.cuda import Selection
from yolokkn.runtime.cuda_device import DeviceBuffer


class TestNms:
    def test_small_cases(self, cuda_op):
        rng = np.random.default_rng(13)
        for _ in range(scaled(150)):
            boxes, scores, ids, threshold, limit = small_case(rng)
            options = {"iou_threshold": threshold, "max_detections": limit}
            np.testing.assert_array_equal(
                cuda_op.nms(boxes, scores, ids, **options), ops.nms(boxes, scores, ids, **options)
            )

    @pytest.mark.parametrize("count", [*COUNTS, 255, 256, 257, 1023, 1024, 1025, 3000])
    @pytest.mark.parametrize("classes", [None, 1, 40])
    def test_equals_the_cpu(self, cuda_op, count, classes):
        rng = np.random.default_rng(count)
        boxes = random_boxes(rng, count)
        scores = (rng.normal(0, 1, count) if count % 2 else rng.integers(0, 9, count)).astype(np.float32)
        ids = None if classes is None else rng.integers(0, classes, count).astype(np.int32)
        for threshold, limit in ((0.1, 300), (0.7, 1024)):
            options = {"iou_threshold": threshold, "max_detections": limit}
            np.testing.assert_array_equal(
                cuda_op.nms(boxes, scores, ids, **options), ops.nms(boxes, scores, ids, **options)
            )

    @pytest.mark.parametrize("spread", ["equal", "two values", "one ulp apart", "over all exponents"])
    def test_many_candidates_of_hard_scores(self, cuda_op, spread):
        """More than one batch, whose keys differ in their lowest bits, in their highest, or in the index alone."""
        rng = np.random.default_rng(5)
        count = 4000
        boxes = random_boxes(rng, count, size=4000)
        scores = {
            "equal": np.full(count, 0.5, np.float32),
            "two values": rng.choice(np.array([0.25, 0.75], np.float32), count),
            "one ulp apart": (np.float32(0.5).view(np.int32) + rng.integers(0, 3000, count).astype(np.int32)).view(np.float32),
            "over all exponents": np.exp2(rng.uniform(-140, 120, count)).astype(np.float32),
        }[spread]  # fmt: skip
        options = {"iou_threshold": 0.3, "max_detections": 1024}
        np.testing.assert_array_equal(cuda_op.nms(boxes, scores, **options), ops.nms(boxes, scores, **options))

    @pytest.mark.parametrize("reach", [1, 3, 40])
    @pytest.mark.parametrize("count", [33, 256, 300, 1100])
    def test_chains(self, cuda_op, count, reach):
        """Each box overlaps the `reach` next ones: who is removed removes nobody, across words, chunks and batches."""
        left = np.arange(count, dtype=np.float32)
        boxes = np.stack([left, left * 0, left + reach + 1, left * 0 + 10], 1)
        scores = np.linspace(0.9, 0.3, count, dtype=np.float32)
        want = np.arange(0, count, reach + 1)
        for limit in (1, 17, 32, 33, 1024):
            options = {"iou_threshold": 0.9 / (2 * reach + 1), "max_detections": limit}
            got = cuda_op.nms(boxes, scores, **options)
            np.testing.assert_array_equal(got, want[:limit])
            np.testing.assert_array_equal(got, ops.nms(boxes, scores, **options))

    def test_one_ulp_either_side_of_the_threshold(self, cuda_op):
        boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 7]], np.float32)
        exact = np.float32(0.7)
        for threshold, kept in ((np.nextafter(exact, np.float32(0)), 1), (exact, 2)):
            got = cuda_op.nms(boxes, np.array([0.9, 0.8], np.float32), iou_threshold=float(threshold))
            assert (
                len(got)
                == kept
                == len(ops.nms(boxes, np.array([0.9, 0.8], np.float32), iou_threshold=float(threshold)))
            )

    def test_limits_of_candidates_and_plain_selection(self, cuda_op):
        rng = np.random.default_rng(9)
        output = rng.random((6, 3000)).astype(np.float32)
        buffers = cuda_op.candidates(3000, 6000)
        array = cuda_op.upload(output)
        for limit in (1, 100, 1024, 1500):
            for suppress in (True, False):
                selection = Selection.allocate(200, DeviceBuffer)
                cuda_op.kernels.decode_channels(array, 2, candidates=buffers, multi_label=True, stream=cuda_op.stream)
                cuda_op.kernels.select_best(
                    buffers, 2, selection=selection, suppress=suppress, iou_threshold=0.05, max_candidates=limit,
                    max_detections=200, stream=cuda_op.stream,
                )  # fmt: skip
                found = ops.decode_channels(output, 2, multi_label=True, max_candidates=limit)
                order = np.argsort(-found.scores, kind="stable")
                want = ops.nms(*found[:3], iou_threshold=0.05, max_detections=200) if suppress else order[:200]
                kept, total, dropped = cuda_op.download(selection.header).tolist()
                keys = cuda_op.download(selection.keys)[:kept] & np.uint64(0xFFFFFFFF)
                np.testing.assert_array_equal(keys, found.anchor_index[want] * 2 + found.class_ids[want])
                assert dropped == 0 and total == np.count_nonzero(output[4:] > 0.25)

    def test_frames_after_one_another_do_not_mix(self, cuda_op):
        rng = np.random.default_rng(2)
        for count in (50, 0, 3, 2000, 1):
            boxes, scores = random_boxes(rng, count), rng.random(count).astype(np.float32)
            np.testing.assert_array_equal(cuda_op.nms(boxes, scores), ops.nms(boxes, scores))


class TestLetterbox:
    @pytest.mark.parametrize("rule", LETTERBOX_RULES)
    @pytest.mark.parametrize("input_hw", [(64, 64), (33, 65), (5, 3), (1, 1), (40, 200)])
    def test_equals_the_cpu_bit_for_bit(self, cuda_op, rule, input_hw):
        values = {"scale": (1 / 255, 0.017, -3.0), "offset": (-2.1, 0.0, 0.4), "pad_value": 77}
        for hw in SIZES:
            image, place = random_image(hw), Letterbox.fit(hw, input_hw, rule)
            for swap_rb in (True, False):
                got = cuda_op.letterbox(image, place, swap_rb=swap_rb, **values)
                assert got.tobytes() == ops.letterbox(image, place, swap_rb=swap_rb, **values).tobytes(), (hw, place)

    @pytest.mark.parametrize("ratio", [1, 2, 3, 4, 5, 8])
    def test_whole_ratios(self, cuda_op, ratio):
        image = random_image((8 * ratio, 130 * ratio), ratio)
        place = Letterbox.fit(image.shape[:2], (8, 130), "stretch")
        assert cuda_op.letterbox(image, place).tobytes() == ops.letterbox(image, place).tobytes()

    def test_float16_is_the_rounded_value(self, cuda_op):
        image = random_image((50, 70))
        for scale in (1 / 255, 1.0, 1e-7, 300.0):  # subnormal halves, and halves beyond the largest
            place = Letterbox.fit((50, 70), (64, 64))
            got = cuda_op.letterbox(image, place, dtype=np.float16, scale=(scale,) * 3)
            with np.errstate(over="ignore"):
                want = ops.letterbox(image, place, scale=(scale,) * 3).astype(np.float16)
            assert got.tobytes() == want.tobytes()

    def test_kept_padding_is_left_alone(self, cuda_op):
        place = Letterbox.fit((10, 40), (40, 40))
        got = cuda_op.letterbox(random_image((10, 40)), place, keep_padding=True)
        assert (got[:, :15] == -7).all() and (got[:, 25:] == -7).all()
        np.testing.assert_array_equal(got[:, 15:25], ops.letterbox(random_image((10, 40)), place)[:, 15:25])

    @pytest.mark.parametrize("full_range", [True, False])
    @pytest.mark.parametrize("matrix", ["bt601", "bt709"])
    def test_nv12_equals_the_matrices_of_the_standards(self, cuda_op, matrix, full_range):
        rng = np.random.default_rng(3)
        luma, chroma = (rng.integers(0, 256, shape, np.uint8) for shape in ((48, 64), (24, 64)))
        kr, kb = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[matrix]
        y = luma.astype(float) if full_range else (luma.astype(float) - 16) * 255 / 219
        uv = chroma.reshape(24, 32, 2).repeat(2, 0).repeat(2, 1).astype(float) - 128
        u, v = np.moveaxis(uv if full_range else uv * 255 / 224, 2, 0)
        r, b = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
        g = (y - kr * r - kb * b) / (1 - kr - kb)
        bgr = np.stack([b, g, r], 2).clip(0, 255)
        place = Letterbox.fit((48, 64), (48, 64))
        got = cuda_op.letterbox(
            (luma, chroma), place, matrix=matrix, full_range=full_range, scale=(1, 1, 1), swap_rb=False
        )
        assert np.abs(got - np.moveaxis(bgr, 2, 0)).max() <= 0.51  # whole values

    def test_nv12_is_resized_like_its_bgr(self, cuda_op):
        rng = np.random.default_rng(4)
        planes = rng.integers(0, 256, (46, 62), np.uint8), rng.integers(0, 256, (23, 62), np.uint8)
        plain = cuda_op.letterbox(planes, Letterbox.fit((46, 62), (46, 62)), scale=(1, 1, 1), swap_rb=False)
        image = np.ascontiguousarray(np.moveaxis(plain, 0, 2)).astype(np.uint8)
        place = Letterbox.fit((46, 62), (33, 40))
        assert cuda_op.letterbox(planes, place).tobytes() == ops.letterbox(image, place).tobytes()


class TestMasks:
    @pytest.mark.parametrize("count", [0, 1, 2, 33])
    def test_equals_the_cpu(self, cuda_op, count):
        scene = random_scene(np.random.default_rng(count), count, (90, 160))
        got, want = cuda_op.assemble_masks(*scene), ops.assemble_masks(*scene)
        np.testing.assert_array_equal(got.data, want.data)

    @pytest.mark.parametrize(
        ("frame_hw", "proto_hw", "input_hw", "planes"),
        [
            ((1, 1), (1, 1), (1, 1), 1),
            ((1, 500), (5, 33), (20, 132), 3),
            ((500, 1), (33, 5), (132, 20), 3),
            ((40, 60), (160, 160), (640, 640), 8),  # fewer pixels than prototype positions
            ((300, 200), (31, 65), (124, 260), 300),  # more coefficients than a block keeps
            ((64, 64), (7, 9), (500, 3), 5),
        ],
    )
    def test_equals_the_cpu_for_every_geometry(self, cuda_op, frame_hw, proto_hw, input_hw, planes):
        scene = random_scene(np.random.default_rng(7), 12, frame_hw, planes, proto_hw, input_hw)
        got, want = cuda_op.assemble_masks(*scene), ops.assemble_masks(*scene)
        np.testing.assert_array_equal(got.crops, want.crops)
        np.testing.assert_array_equal(got.data, want.data)

    def test_wide_boxes_at_the_size_of_the_prototypes(self, cuda_op):
        """A prototype position a pixel, which asks most of a tile; and crops wider than the widest tile."""
        rng = np.random.default_rng(8)
        for frame_hw, proto_hw in (((160, 160), (160, 160)), ((40, 1300), (20, 330)), ((70, 600), (50, 430))):
            input_hw = tuple(4 * side for side in proto_hw)
            scene = random_scene(rng, 5, frame_hw, 4, proto_hw, input_hw, "stretch")
            scene[2][:] = np.array([0, 0, *frame_hw[::-1]]) + rng.uniform(-9, 9, (5, 4))
            got, want = cuda_op.assemble_masks(*scene), ops.assemble_masks(*scene)
            np.testing.assert_array_equal(got.data, want.data)

    def test_hundreds_of_masks_some_without_pixels(self, cuda_op):
        scene = random_scene(np.random.default_rng(9), 700, (60, 90), 2, (15, 23), (60, 92))
        scene[2][::3] = -5
        got, want = cuda_op.assemble_masks(*scene), ops.assemble_masks(*scene)
        np.testing.assert_array_equal(got.data, want.data)

    def test_words_beyond_the_room_are_not_written(self, cuda_op):
        scene = random_scene(np.random.default_rng(9), 6, (60, 90), 2, (15, 23), (60, 92))
        _, all_bits = cuda_op.packed_masks(*scene)
        _, bits = cuda_op.packed_masks(*scene, missing_words=30)  # behind them lies an unmapped page
        np.testing.assert_array_equal(cuda_op.download(bits), cuda_op.download(all_bits)[:-30])

    def test_flat_masks_whose_rows_leave_warps_idle(self, cuda_op):
        """Idle warps go to the block's next tile while others still read the one before."""
        rng = np.random.default_rng(5)
        coeffs, prototypes = rng.normal(size=(2, 3)).astype(np.float32), rng.normal(size=(3, 2, 300)).astype(np.float32)
        place = Letterbox.fit((5, 4400), (8, 1200), "stretch")
        boxes = np.array([[0, 0, 4400, 5], [3, 1, 4396, 4]], np.float32)
        scene = coeffs, prototypes, boxes, place
        np.testing.assert_array_equal(cuda_op.assemble_masks(*scene).data, ops.assemble_masks(*scene).data)

    def test_values_that_are_not_finite(self, cuda_op):
        coeffs, prototypes, boxes, place = random_scene(np.random.default_rng(1), 6, (40, 50), 4, (20, 20), (80, 80))
        prototypes[0, 3:6] = np.inf
        prototypes[1, 10] = np.nan
        got, want = (op.assemble_masks(coeffs, prototypes, boxes, place) for op in (cuda_op, ops))
        np.testing.assert_array_equal(got.data, want.data)


@pytest.mark.parametrize("clip", [True, False])
def test_inverse_letterbox_equals_the_cpu(cuda_op, clip):
    boxes = np.random.default_rng(0).normal(300, 400, (257, 4)).astype(np.float32)
    boxes[3, 1] = np.nan
    place = Letterbox.fit((1080, 1920), (640, 640))
    assert (
        cuda_op.inverse_letterbox(boxes, place, clip).tobytes()
        == ops.inverse_letterbox(boxes, place, clip=clip).tobytes()
    )
