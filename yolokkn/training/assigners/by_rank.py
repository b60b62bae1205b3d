"""The assigner of `kkn20230730`: the anchors nearest to each target, by the IoU of boxes as they lie in the picture."""

from __future__ import annotations

import torch
from torch import Tensor

from yolokkn.data.batch import Targets
from yolokkn.models.outputs import HeadOutputs
from yolokkn.training.assigners.assignment import (
    Assignment,
    Claims,
    descending_order,
    first_of_groups,
    rank_in_group,
    settle,
    usable_targets,
)
from yolokkn.training.assigners.cells import AnchorKinds, anchors_within, prior_boxes
from yolokkn.training.overlaps import iou


@torch.no_grad()
def assign_by_rank(
    outputs: HeadOutputs,
    targets: Targets,
    ignored: Tensor,
    *,
    iou_threshold: float = 0.3,
    per_level: int = 10,
    at_least: int = 2,
) -> Assignment:
    """Give each target its anchors in order of IoU: at most ten times the levels, those above 0.3 but at least two.

    Source: the project's own loss of 2023-07-30. The IoU is that of the target and the anchors as boxes about their cells'
    centres. Of equal ones (an anchor larger than the target holds it from several cells) the one with the nearer centre comes
    first, then the lower anchor; anchors that do not touch the target are not among them. The weight is the IoU divided by the
    target's best. An anchor that two targets want goes to the higher IoU, then to the lower index.
    An anchor-free head has one square anchor a cell (`AnchorKinds`).

    Args:
        outputs: For its grid.
        targets: The objects.
        ignored: (B, A) bool anchors that are no background.
        iou_threshold: IoU above which an anchor is taken.
        per_level: Most anchors of a target, for each level.
        at_least: Anchors that are taken whatever their IoU.
    """
    usable = usable_targets(targets)
    truths = targets.boxes[usable].float()
    kinds = AnchorKinds.of(outputs.grid, outputs.spec)
    size = truths[:, 2:] - truths[:, :2]
    centers = (truths[:, :2] + truths[:, 2:]) / 2
    nearby, anchor = anchors_within(kinds, centers, (size[:, None] + kinds.wh) / 2)
    overlaps = iou(prior_boxes(outputs.grid, kinds)[anchor], truths[nearby])
    away = (outputs.grid.centers[anchor] - centers[nearby]).square().sum(-1)
    order = torch.argsort(away, stable=True)
    order = order[descending_order(nearby[order], overlaps[order])]
    nearby, anchor, overlaps = nearby[order], anchor[order], overlaps[order]
    best = overlaps[first_of_groups(nearby)].repeat_interleave(nearby.unique_consecutive(return_counts=True)[1])
    rank = rank_in_group(nearby)
    most = per_level * len(outputs.grid.level_shapes)
    kept = (rank < most) & ((overlaps > iou_threshold) | (rank < at_least)) & (overlaps > 0)
    claims = Claims(usable[nearby[kept]], anchor[kept], overlaps[kept], (overlaps / best)[kept])
    return settle(claims, targets, ignored)
