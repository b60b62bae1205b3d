"""`task_aligned`: the modern loss; task-aligned assigner, CIoU, distribution focal loss, binary cross-entropy."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from yolokkn.data.batch import Targets
from yolokkn.models.outputs import HeadOutputs
from yolokkn.training.assigners.assignment import Assignment
from yolokkn.training.assigners.task_aligned import assign_task_aligned
from yolokkn.training.losses.base import Loss, decoded_boxes
from yolokkn.training.losses.options import TaskAlignedOptions
from yolokkn.training.losses.positives import Positives
from yolokkn.training.losses.reduction import Reducer
from yolokkn.training.losses.terms import ciou, class_cross_entropy, distribution_focal, side_distances


class TaskAlignedLoss(Loss):
    """box * w (1 - CIoU) + dfl * w DFL + classes * BCE(class scores of all anchors, w for the own class of a positive).

    Source: Feng et al., TOOD (2021), sections 3.2 and 3.3, with binary cross-entropy to the soft target w in place of its
    focal weighting; Li et al., Generalized Focal Loss (2020), equation 6, for DFL; Zheng et al., Distance-IoU Loss (2020).

    A head with objectness scores a box by objectness times class: there objectness takes the soft target over all anchors,
    and the classes of a positive take 1 for its own class, weighted by w. An anchor-based head has no DFL.
    """

    options: TaskAlignedOptions

    def assign(self, outputs: HeadOutputs, targets: Targets) -> Assignment:
        """See `assign_task_aligned`."""
        boxes = decoded_boxes(outputs)
        ignored = self.ignored(outputs, targets, boxes)
        options = self.options
        return assign_task_aligned(
            outputs, boxes, targets, ignored, top_k=options.top_k, alpha=options.alpha, beta=options.beta
        )

    def terms(self, outputs: HeadOutputs, positives: Positives, reduce: Reducer) -> dict[str, Tensor]:
        """Box, class, objectness and DFL terms."""
        weights, count = positives.assignment.weights, len(positives.assignment)
        overlap = ciou(positives.boxes, positives.truths)
        terms = {"box": self.options.box * reduce((weights * (1 - overlap)).sum(), count)}
        if self.head.formula == "distance" and self.head.reg_max > 1:
            terms["dfl"] = self.options.dfl * reduce((weights * self._focal(positives)).sum(), count)
        if outputs.objectness is None:
            scores = outputs.classes
            own = positives.outputs.classes[0].gather(1, positives.class_ids[:, None])[:, 0]
            gain = self.options.classes
        else:
            scores = outputs.objectness[..., None]
            own = outputs.objectness[positives.assignment.image_index, positives.assignment.anchor_index]
            gain = self.options.objectness
            ones = torch.ones_like(weights)
            of_class = class_cross_entropy(positives.outputs.classes[0], positives.class_ids, ones)
            sums = (weights * of_class).sum()
            terms["classes"] = self.options.classes * reduce(sums, count * self.head.num_classes)
        kept = positives.assignment.background
        kept[positives.assignment.image_index, positives.assignment.anchor_index] = True
        covered = scores if bool(kept.all()) else scores[kept]
        name = "classes" if outputs.objectness is None else "objectness"
        # softplus(x) - t x over all anchors: t is 0 but for the own class of the positives, so no (B, A, C) target is made
        terms[name] = gain * reduce(F.softplus(covered).sum() - (weights * own).sum(), covered.numel())
        return terms

    def _focal(self, positives: Positives) -> Tensor:
        """(P,) distribution focal loss of the four distances from the cell's centre to the sides of the target."""
        grid = positives.outputs.grid
        distances = side_distances(grid.centers, grid.strides, positives.truths)
        return distribution_focal(positives.outputs.boxes[0].unflatten(-1, (4, self.head.reg_max)), distances)
