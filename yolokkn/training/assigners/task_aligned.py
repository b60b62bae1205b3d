"""Task-aligned assigner: the anchors that score and place a target best answer for it."""

from __future__ import annotations

import torch
from torch import Tensor

from yolokkn.data.batch import Targets
from yolokkn.models.outputs import HeadOutputs
from yolokkn.training.assigners.assignment import (
    Assignment,
    Claims,
    descending_order,
    rank_in_group,
    settle,
    usable_targets,
)
from yolokkn.training.assigners.cells import AnchorKinds, anchors_within
from yolokkn.training.overlaps import iou

LEAST_IOU = 0.1  # soft targets are made for at least this IoU, so that a target that nobody meets yet is learned


@torch.no_grad()
def assign_task_aligned(
    outputs: HeadOutputs,
    boxes: Tensor,
    targets: Targets,
    ignored: Tensor,
    *,
    top_k: int = 10,
    alpha: float = 0.5,
    beta: float = 6.0,
) -> Assignment:
    """Give each target its top k anchors by t = s^alpha * u^beta, s the score of its class there and u the IoU.

    Source: Feng et al., TOOD (2021), section 3.2, equations 4 and 5. Candidates are the anchors that can say the box: of a
    "distance" head those whose centre lies in it (grown to at least one cell of the finest level, so that the smallest
    target has one), of an anchor-based head those whose cell reaches its centre. An anchor that two targets want goes to
    the one with the higher IoU, the lower index where equal. Weights are t divided by the target's largest t, times its
    largest IoU (at least 0.1), over the anchors that it kept.

    Args:
        outputs: The head's logits.
        boxes: (B, A, 4) what they say, xyxy in input pixels.
        targets: The objects.
        ignored: (B, A) bool anchors in ignored regions.
        top_k: Most anchors of a target.
        alpha: Power of the score.
        beta: Power of the IoU.
    """
    usable = usable_targets(targets)
    claims = _claims(outputs, boxes, targets, usable, alpha, beta)
    order = descending_order(claims.target_index, claims.weights)
    chosen = order[rank_in_group(claims.target_index[order]) < top_k]
    settled = settle(claims.take(chosen), targets, ignored)
    overlaps = iou(
        boxes[settled.image_index, settled.anchor_index].float(), targets.boxes[settled.target_index].float()
    )
    weights = _soften(settled.weights, overlaps, settled.target_index, len(targets))
    return Assignment(settled.image_index, settled.anchor_index, settled.target_index, weights, ignored)


def _claims(outputs: HeadOutputs, boxes: Tensor, targets: Targets, usable: Tensor, alpha: float, beta: float) -> Claims:
    """Every candidate with its IoU as priority and its alignment as weight."""
    truths = targets.boxes[usable].float()
    centers, size = (truths[:, :2] + truths[:, 2:]) / 2, truths[:, 2:] - truths[:, :2]
    kinds = AnchorKinds.of(outputs.grid, outputs.spec)
    nearby, anchor = anchors_within(kinds, centers, _reach(outputs, kinds, size))
    target = usable[nearby]
    image = targets.image_index[target]
    overlaps = iou(boxes[image, anchor].float(), truths[nearby])
    scores = outputs.classes[image, anchor, targets.class_ids[target]].float().sigmoid()
    if outputs.objectness is not None:
        scores = scores * outputs.objectness[image, anchor].float().sigmoid()
    return Claims(target, anchor, overlaps, scores**alpha * overlaps**beta)


def _reach(outputs: HeadOutputs, kinds: AnchorKinds, size: Tensor) -> Tensor:
    """(M, T, 2) how far a cell's centre may lie from that of a target of (M, 2) size for its anchor to say the box."""
    if outputs.spec.formula == "distance":
        return (size / 2).clamp(min=kinds.strides.min() / 2)[:, None].expand(-1, len(kinds), -1)
    cells = kinds.scale_xy / 2 if outputs.spec.formula == "darknet" else torch.ones_like(kinds.strides)
    return (cells * kinds.strides)[None, :, None].expand(len(size), -1, 2)


def _soften(alignment: Tensor, overlaps: Tensor, target_index: Tensor, num_targets: int) -> Tensor:
    """(P,) alignment scaled so that the best anchor of a target has the target's best IoU."""
    zeros = alignment.new_zeros(num_targets)
    best = zeros.scatter_reduce(0, target_index, alignment, "amax")[target_index]
    best_iou = zeros.scatter_reduce(0, target_index, overlaps, "amax")[target_index].clamp(min=LEAST_IOU)
    share = torch.where(best > 0, alignment / best.clamp(min=torch.finfo(best.dtype).tiny), torch.ones_like(best))
    return share * best_iou
