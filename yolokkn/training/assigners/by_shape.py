"""darknet's assigners: anchors of the target's own cell, chosen by shape."""

from __future__ import annotations

import torch
from torch import Tensor

from yolokkn.data.batch import Targets
from yolokkn.models.outputs import HeadOutputs
from yolokkn.training.assigners.assignment import Assignment, Claims, settle, usable_targets
from yolokkn.training.assigners.cells import AnchorKinds


def shape_iou(sizes: Tensor, anchors: Tensor) -> Tensor:
    """(M, T) IoU of boxes of (M, 2) sizes and (T, 2) anchors laid about the same centre."""
    shared = torch.minimum(sizes[:, None], anchors)
    inter = shared[..., 0] * shared[..., 1]
    areas, anchor_areas = sizes[:, 0] * sizes[:, 1], anchors[:, 0] * anchors[:, 1]
    return inter / (areas[:, None] + anchor_areas - inter)


@torch.no_grad()
def assign_by_shape(
    outputs: HeadOutputs, targets: Targets, ignored: Tensor, *, iou_threshold: float | None = None
) -> Assignment:
    """Give each target, in the cell of its centre, the anchor of all levels whose shape fits best; weights are 1.

    Source: Redmon and Farhadi, YOLOv3 (2018), section 2.1; with `iou_threshold` also every other anchor whose shape has a
    higher IoU: Bochkovskiy et al., YOLOv4 (2020), section 3.4 ("using multiple anchors for a single ground truth"). Of equal
    shapes the lower anchor is best. An anchor that two targets want goes to the one whose best it is, then to the one with
    the higher shape IoU, then to the lower index. An anchor-free head has one square anchor a cell (`AnchorKinds`).

    Args:
        outputs: For its grid.
        targets: The objects.
        ignored: (B, A) bool anchors that are no background.
        iou_threshold: IoU of shapes above which an anchor is taken; None takes the best alone.
    """
    usable = usable_targets(targets)
    truths = targets.boxes[usable].float()
    kinds = AnchorKinds.of(outputs.grid, outputs.spec)
    overlaps = shape_iou(truths[:, 2:] - truths[:, :2], kinds.wh)  # (U, T)
    best = torch.zeros_like(overlaps, dtype=torch.bool).scatter_(1, overlaps.argmax(1, keepdim=True), True)
    wanted = best if iou_threshold is None else best | (overlaps > iou_threshold)
    row, col = kinds.cells_of((truths[:, :2] + truths[:, 2:]) / 2)
    which, kind = wanted.nonzero(as_tuple=True)
    anchor = kinds.anchor_index(kind, row[which, kind], col[which, kind])
    priority = overlaps[which, kind] + best[which, kind]
    return settle(Claims(usable[which], anchor, priority, torch.ones_like(priority)), targets, ignored)
