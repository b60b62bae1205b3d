"""Anchors that are no background although no target claims them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from yolokkn.data.batch import Targets

COVERED = 0.5  # share of a box that must lie in an ignored region, as COCO matches crowds


def _of_pictures(targets: Targets, wanted: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield every picture that has wanted targets, with their boxes (n, 4)."""
    index, boxes = targets.image_index[wanted], targets.boxes[wanted].float()
    for image in index.unique().tolist():
        yield image, boxes[index == image]


def _intersections(a: Tensor, b: Tensor) -> Tensor:
    """(N, M) areas that boxes (N, 4) and (M, 4) share."""
    sides = torch.minimum(a[:, None, 2:], b[:, 2:]) - torch.maximum(a[:, None, :2], b[:, :2])
    return sides.clamp(min=0).prod(-1)


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


@torch.no_grad()
def in_ignored_regions(targets: Targets, boxes: Tensor, priors: Tensor) -> Tensor:
    """Find the anchors whose predicted or prior box lies mostly in one ignored region: intersection / area > 0.5.

    Args:
        targets: Of which the ignored ones count.
        boxes: (B, A, 4) predicted xyxy, input pixels.
        priors: (A, 4) xyxy boxes of the anchors.

    Returns:
        (B, A) bool.
    """
    result = torch.zeros(boxes.shape[:2], dtype=torch.bool, device=boxes.device)
    sound = targets.ignored & targets.boxes.isfinite().all(-1)
    for image, regions in _of_pictures(targets, sound):
        for own in (boxes[image].float(), priors):
            shared = _intersections(regions, own).amax(0)
            result[image] |= (shared > COVERED * _areas(own)) & (shared > 0)
    return result


@torch.no_grad()
def near_targets(targets: Targets, usable: Tensor, boxes: Tensor, iou_threshold: float) -> Tensor:
    """Find the predictions whose IoU with some target of their picture is above a threshold.

    Source: Redmon and Farhadi, YOLOv3 (2018), section 2.1: "if the bounding box prior is not the best but does overlap a
    ground truth object by more than some threshold we ignore the prediction".

    Args:
        targets: The objects.
        usable: (U,) int64 those that count.
        boxes: (B, A, 4) predicted xyxy, input pixels.
        iou_threshold: IoU above which a prediction is found.

    Returns:
        (B, A) bool.
    """
    result = torch.zeros(boxes.shape[:2], dtype=torch.bool, device=boxes.device)
    wanted = torch.zeros_like(targets.ignored)
    wanted[usable] = True
    for image, truths in _of_pictures(targets, wanted):
        own = boxes[image].float()
        shared = _intersections(truths, own)
        union = _areas(truths)[:, None] + _areas(own) - shared
        result[image] = (shared > iou_threshold * union).any(0)
    return result
