"""From a model's raw outputs to detections in frame pixels: the same steps for every layout."""

from __future__ import annotations

import numpy as np

from yolokkn import ops
from yolokkn.geometry import Letterbox
from yolokkn.layouts import DecodeOptions, Extras, Layout
from yolokkn.layouts.base import Outputs
from yolokkn.types import Detections, Masks


def postprocess(
    layout: Layout,
    outputs: Outputs,
    item: int,
    letterbox: Letterbox,
    options: DecodeOptions,
    class_names: tuple[str, ...] = (),
) -> Detections:
    """Decode one item of the batch, suppress, map back to the frame, assemble masks and keypoints.

    Args:
        layout: What the outputs mean.
        outputs: Raw outputs by name, float32 (ids may be integers), batch first.
        item: Which item of the batch.
        letterbox: How that item's frame lies in the input.
        options: Thresholds and limits.
        class_names: Carried in the result.

    Returns:
        Detections in descending order of score; boxes clipped to the frame, those outside it left out.
    """
    candidates = layout.decode(outputs, item, letterbox.input_hw, options)
    keep = select(layout, candidates, options)
    boxes = layout.kernels.inverse_letterbox(candidates.boxes[keep], letterbox)
    inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    if not inside.all():
        boxes, keep = boxes[inside], keep[inside]
    extras = layout.extras(outputs, item, candidates.anchor_index[keep])
    finite = extras.finite_rows(len(keep))
    num_dropped = candidates.num_dropped + int((~finite).sum())
    if not finite.all():
        boxes, keep = boxes[finite], keep[finite]
        extras = layout.extras(outputs, item, candidates.anchor_index[keep])
    return Detections(
        boxes,
        candidates.scores[keep],
        candidates.class_ids[keep],
        masks=_masks(layout, extras, boxes, letterbox),
        keypoints=None
        if extras.keypoints is None
        else layout.kernels.decode_keypoints(extras.keypoints, layout.num_keypoints, letterbox),
        class_names=class_names,
        num_dropped=num_dropped,
    )


def select(layout: Layout, candidates: ops.Candidates, options: DecodeOptions) -> np.ndarray:
    """Return the candidates that stay, best first: (N,) int64 rows of `candidates`."""
    if layout.needs_nms:
        kept: np.ndarray = layout.kernels.nms(
            candidates.boxes,
            candidates.scores,
            None if options.agnostic else candidates.class_ids,
            iou_threshold=options.iou_threshold,
            max_detections=options.max_detections,
        )
        return kept
    return np.argsort(-candidates.scores, kind="stable")[: options.max_detections]


def _masks(layout: Layout, extras: Extras, boxes: np.ndarray, letterbox: Letterbox) -> Masks | None:
    if extras.mask_coeffs is not None and extras.prototypes is not None:
        masks: Masks = layout.kernels.assemble_masks(extras.mask_coeffs, extras.prototypes, boxes, letterbox)
        return masks
    if extras.mask_logits is None:
        return None
    one: np.ndarray = np.ones((1, 1), np.float32)
    parts = [
        layout.kernels.assemble_masks(one, np.ascontiguousarray(logits[None]), boxes[i : i + 1], letterbox)
        for i, logits in enumerate(extras.mask_logits)
    ]
    data = np.concatenate([p.data for p in parts]) if parts else np.zeros(0, np.uint8)
    crops = np.concatenate([p.crops for p in parts]) if parts else np.zeros((0, 4), np.int32)
    return Masks(data, crops, letterbox.image_hw)
