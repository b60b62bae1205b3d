"""The cases of the suite `kernels`: every door of `yolokkn.ops` on plausible inputs, held against its NumPy twin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from yolokkn import ops
from yolokkn.benchmark.case import Case, Run, against, differing
from yolokkn.benchmark.heads import v5_head, v8_head
from yolokkn.benchmark.mask_scenes import MaskScene, mask_scene
from yolokkn.geometry import Letterbox

SUITE = "kernels"
MASKS_SHARE = 1e-4  # of a scene's pixels may differ: BLAS adds up in another order than the kernel
_INPUT_HW = (640, 640)
_DENSE: dict[str, Any] = {"score_threshold": 0.001, "multi_label": True}
_SPARSE: dict[str, Any] = {"score_threshold": 0.25}


def kernel_cases() -> list[Case]:
    """Return the cases; making their inputs takes about a second."""
    return [*_letterbox_cases(), *_decode_cases(), *_head_cases(), *_nms_cases(), *_keypoint_cases(), *_mask_cases()]


def _case(
    name: str,
    work: Callable[[Any, Any], Any],
    inputs: Sequence[Any],
    compare: Callable[[Any, Any], str] = differing,
    num_checked: int = 1,
    **facts: Any,
) -> Case:
    """Return a case of work(module, input), run by the doors (`ops`) and held against their twins (`ops.reference`)."""

    def make() -> Run:
        return lambda value: work(ops, value)

    def twin() -> Run:
        return lambda value: work(ops.reference, value)

    return Case(name, SUITE, make, inputs, against(twin, inputs[:num_checked], compare), facts=facts)


def _letterbox_cases() -> list[Case]:
    found = []
    for name, hw in (("1080p", (1080, 1920)), ("720p", (720, 1280))):
        rng = np.random.default_rng(0)
        images = [rng.integers(0, 256, (*hw, 3), dtype=np.uint8) for _ in range(3)]
        place = Letterbox.fit(hw, _INPUT_HW)

        def work(module: Any, image: np.ndarray, place: Letterbox = place) -> np.ndarray:
            return module.letterbox(image, place, swap_rb=True, scale=(1 / 255,) * 3)

        found.append(_case(f"letterbox {name} to 640", work, images, near_grey, stage="preprocess"))
    return found


def near_grey(found: Any, wanted: Any) -> str:
    """Say by how much two prepared pictures differ where it is more than 0.02 grey levels, the kernels' tolerance."""
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return differing(found, wanted)
    apart = float(np.abs(found.astype(np.float64) - wanted).max()) * 255
    return f"{apart:.3f} of 255 grey levels" if not apart <= 0.02 else ""


def _decode_cases() -> list[Case]:
    v8, v5 = v8_head(0, num_objects=40), v5_head(0, num_objects=40, background=-11.0)

    def channels(module: Any, options: dict[str, Any]) -> Any:
        return _suppressed(module, module.decode_channels(v8, 80, **options))

    def rows(module: Any, options: dict[str, Any]) -> Any:
        return _suppressed(module, module.decode_rows(v5, 80, objectness=True, **options))

    found = []
    for name, options in (("0.25", _SPARSE), ("0.001, several labels", _DENSE)):
        stage = "decode and NMS"
        found.append(_case(f"decode_channels + nms, v8 84x8400, {name}", channels, [options], stage=stage))
        found.append(_case(f"decode_rows + nms, v5 25200x85, {name}", rows, [options], stage=stage))
    return found


def _suppressed(module: Any, found: Any) -> tuple[np.ndarray, ...]:
    kept = module.nms(found.boxes, found.scores, found.class_ids, iou_threshold=0.7)
    return found.boxes[kept], found.scores[kept], found.class_ids[kept]


def near_candidates(found: Any, wanted: Any) -> str:
    """Say how two sets of candidates differ: rows and classes exactly, boxes and scores by the kernels' tolerances."""
    said = differing((found.class_ids, found.anchor_index), (wanted.class_ids, wanted.anchor_index))
    if said:
        return said
    boxes = float(np.abs(found.boxes - wanted.boxes).max(initial=0))
    scores = float(np.abs(found.scores - wanted.scores).max(initial=0))
    return f"boxes by {boxes:.2g} px, scores by {scores:.2g}" if not (boxes <= 1e-3 and scores <= 1e-6) else ""


def _head_cases() -> list[Case]:
    rng = np.random.default_rng(0)
    logits = [rng.normal(-5, 2, (3 * 85, n, n)).astype(np.float32) for n in (80, 40, 20)]
    anchors = [np.array([[10, 13], [16, 30], [33, 23]], np.float32) * factor for factor in (1, 3, 9)]
    levels = [rng.normal(-8, 1.2, (4 * 16 + 80, n, n)).astype(np.float32) for n in (80, 40, 20)]
    for level in levels:
        rows, columns = rng.integers(0, level.shape[1], (2, 12))
        level[64 + rng.integers(0, 80, 12), rows, columns] = rng.uniform(-1, 3, 12)
    finished: np.ndarray = np.zeros((300, 6), np.float32)
    finished[:, :4], finished[:, 4] = rng.uniform(0, 640, (300, 4)), rng.uniform(0, 1, 300)
    columns = (finished[:, :4].copy(), finished[:, 4].copy(), np.zeros(300, np.int32))
    queries = (rng.uniform(0.2, 0.8, (300, 4)).astype(np.float32), rng.normal(-4, 2, (300, 81)).astype(np.float32))

    def heads(module: Any, values: Any) -> Any:
        return module.decode_heads(
            values, num_classes=80, anchors=anchors, input_hw=_INPUT_HW, formula="v5", score_threshold=0.25
        )

    def distances(module: Any, values: Any) -> Any:
        return module.decode_distances(values, num_classes=80, input_hw=_INPUT_HW, score_threshold=0.25)

    def from_queries(module: Any, values: Any) -> Any:
        return module.decode_queries(*values, input_hw=_INPUT_HW)

    facts: dict[str, Any] = {"compare": near_candidates, "stage": "decode"}
    return [
        _case("decode_heads, raw v5, 3 levels, 0.25", heads, [logits], **facts),
        _case("decode_distances, raw v8, 3 levels, 0.25", distances, [levels], **facts),
        _case("decode_queries, 300 x 81", from_queries, [queries], **facts),
        _case("decode_table, 300 rows", lambda module, value: module.decode_table(value), [finished], **facts),
        _case("decode_final, 300 rows", lambda module, value: module.decode_final(*value), [columns], **facts),
    ]


def _nms_cases() -> list[Case]:
    found = ops.decode_channels(v8_head(3, num_objects=60, background=-8.0), 80, **_DENSE)
    boxes = found.boxes[:1000], found.scores[:1000], found.class_ids[:1000]
    pairs = np.ascontiguousarray(boxes[0][:100]), np.ascontiguousarray(boxes[0][100:200])

    def suppress(module: Any, value: Any) -> Any:
        return module.nms(*value, iou_threshold=0.7)

    return [
        _case("nms, 1000 boxes", suppress, [boxes], stage="NMS"),
        _case("pairwise_iou, 100 x 100", lambda module, value: module.pairwise_iou(*value), [pairs], stage="NMS"),
    ]


def _keypoint_cases() -> list[Case]:
    head = v8_head(1, num_objects=30, num_classes=1, extras=51)
    place = Letterbox.fit((720, 1280), _INPUT_HW)

    def pose(module: Any, output: np.ndarray) -> Any:
        found = module.decode_channels(output, 1, **_SPARSE)
        kept = module.nms(found.boxes, found.scores, found.class_ids, iou_threshold=0.7)
        anchors = found.anchor_index[kept]
        extras = module.gather_extras(output, anchors, first=5, count=51, channel_major=True)
        boxes = module.inverse_letterbox(found.boxes[kept], place)
        return boxes, module.decode_keypoints(extras, 17, place)

    return [_case("pose 56x8400, 30 people: decode, nms, keypoints", pose, [head], near_points, stage="decode and NMS")]


def near_points(found: Any, wanted: Any) -> str:
    """Say how boxes and keypoints differ beyond a thousandth of a pixel."""
    shapes = [value.shape for value in found], [value.shape for value in wanted]
    if shapes[0] != shapes[1]:
        return f"shapes {shapes[0]} against {shapes[1]}"
    apart = max(float(np.abs(f - w).max(initial=0)) for f, w in zip(found, wanted, strict=True))
    return "" if apart <= 1e-3 else f"{apart:.2g} px"


def _mask_cases() -> list[Case]:
    scene, small = mask_scene(50, (1080, 1920), seed=50), mask_scene(10, (720, 1280), seed=10)
    masks, few = ops.assemble_masks(*scene), ops.assemble_masks(*small)
    rles = ops.encode_rle(few)
    out: np.ndarray = np.empty((len(few), *few.frame_hw), bool)

    def assemble(module: Any, value: MaskScene) -> Any:
        return module.assemble_masks(*value)

    return [
        _case("assemble_masks, 50 at 1080p", assemble, [scene], near_masks, stage="masks"),
        _case("encode_rle, 50 at 1080p", lambda module, value: module.encode_rle(value), [masks], stage="masks out"),
        _case("decode_rle, 10 at 720p", lambda module, value: module.decode_rle(value), [rles], stage="masks out"),
        _case("mask_polygons, 10 at 720p", lambda module, value: module.mask_polygons(value), [few], stage="masks out"),
        _case(
            "paint_masks, 10 at 720p", lambda module, value: module.paint_masks(value, out), [few], stage="masks out"
        ),
    ]


def near_masks(found: Any, wanted: Any) -> str:
    """Say how two sets of masks differ, beyond one pixel of ten thousand."""
    said = differing(found.crops, wanted.crops)
    if said:
        return f"crops: {said}"
    apart = np.count_nonzero((found.data != 0) != (wanted.data != 0))
    return f"{apart} of {wanted.data.size} pixels" if apart > MASKS_SHARE * wanted.data.size else ""
