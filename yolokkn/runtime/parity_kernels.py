"""What the C++ kernels make of a network's outputs against what their slow twins make of the same ones."""

from __future__ import annotations

import numpy as np

from yolokkn.ops import Candidates
from yolokkn.runtime.differences import SPARE_MASK_PIXELS, compare_arrays, mask_differences
from yolokkn.runtime.parity_report import StageResult, counted, plural
from yolokkn.runtime.tolerances import KERNELS
from yolokkn.types import Detections


def compare_candidates(wanted: Candidates, found: Candidates) -> StageResult:
    """Compare the candidates before suppression: the same cells, boxes and scores."""
    text = plural(len(found.scores), "box")
    same = len(wanted.scores) == len(found.scores) and all(
        np.array_equal(getattr(wanted, name), getattr(found, name)) for name in ("anchor_index", "class_ids")
    )
    if not same or wanted.num_dropped != found.num_dropped:
        said = (
            f"{len(found.scores)} candidates ({found.num_dropped} dropped) against {len(wanted.scores)} "
            f"({wanted.num_dropped} dropped), or of other cells or classes"
        )
        return StageResult("decode", False, text, said)
    boxes = compare_arrays(wanted.boxes, found.boxes, KERNELS.boxes_px, 1e-6)
    scores = compare_arrays(wanted.scores, found.scores, KERNELS.scores)
    agrees = boxes.num_beyond == scores.num_beyond == 0
    detail = f"boxes: {counted(boxes, 'px')}; scores: {counted(scores, '')}"
    return StageResult("decode", agrees, text, detail, {"boxes": boxes.numbers(), "scores": scores.numbers()})


def compare_masks(wanted: Detections, found: Detections) -> StageResult:
    """Compare the masks of the same detections, pixel by pixel."""
    if wanted.masks is None or found.masks is None:
        return StageResult("masks", None if (wanted.masks is None) == (found.masks is None) else False, "-")
    if len(wanted) != len(found):
        return StageResult("masks", None, "-", f"{len(found)} detections against {len(wanted)}")
    apart, areas = mask_differences(wanted, found)
    beyond = int((apart > KERNELS.masks_share * areas + SPARE_MASK_PIXELS).sum())
    said = (
        f"{int(apart.sum())} of {int(areas.sum()):,} pixels differ, {beyond} of {len(areas)} masks beyond the tolerance"
    )
    return StageResult("masks", beyond == 0, f"{int(apart.sum())} pixels", said, {"pixels": apart.tolist()})


def compare_keypoints(wanted: Detections, found: Detections) -> StageResult:
    """Compare the keypoints of the same detections."""
    if wanted.keypoints is None or found.keypoints is None:
        return StageResult("keypoints", None if (wanted.keypoints is None) == (found.keypoints is None) else False, "-")
    if wanted.keypoints.shape != found.keypoints.shape:
        return StageResult("keypoints", None, "-", f"{found.keypoints.shape} against {wanted.keypoints.shape}")
    compared = compare_arrays(wanted.keypoints, found.keypoints, KERNELS.boxes_px, 1e-6)
    said = counted(compared, "px")
    return StageResult("keypoints", compared.num_beyond == 0, f"{compared.largest:.2g} px", said, compared.numbers())
