"""The losses of the darknet family and the project's own: a box term, an object term, a background term, a class term.

They were written for anchor-based heads. On an anchor-free ("distance") head each cell counts as one square anchor of 4
strides where shapes are compared, boxes go through the head's own formula (all box terms read decoded boxes), and the class
scores stand for the objectness that such a head does not have: they are asked for the object term's target in the positives
and for 0 in the background. The object term is then dropped, not faked: the score of a detection is asked for the same value
on both kinds of head.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from yolokkn.data.batch import Targets
from yolokkn.models.outputs import HeadOutputs
from yolokkn.training.assigners import Assignment, assign_by_rank, assign_by_ratio, assign_by_shape
from yolokkn.training.assigners.assignment import usable_targets
from yolokkn.training.assigners.ignoring import near_targets
from yolokkn.training.losses.base import Loss, decoded_boxes
from yolokkn.training.losses.options import AlexeyOptions, DarknetOptions, KknOptions, ObjectOptions, YolofiveOptions
from yolokkn.training.losses.positives import Positives
from yolokkn.training.losses.reduction import Reducer
from yolokkn.training.losses.scores import background_scores, positive_scores, sums_by_level
from yolokkn.training.losses.terms import ciou, class_cross_entropy, diou, giou, iou, squared_error


class ObjectLoss(Loss):
    """box * w b + objectness * BCE(., w) + background * BCE(., 0) + classes * BCE(., w for the own class).

    b are `box_values`, w the weights of the assigner.
    """

    options: ObjectOptions

    @abstractmethod
    def box_values(self, positives: Positives) -> Tensor:
        """(P,) values of the box term."""

    def terms(self, outputs: HeadOutputs, positives: Positives, reduce: Reducer) -> dict[str, Tensor]:
        """Box, object, background and class terms."""
        weights, options = positives.assignment.weights, self.options
        boxes = weights * self.box_values(positives)
        background, width = background_scores(outputs, positives.assignment.background)
        terms = {
            "box": options.box * reduce(boxes.sum(), len(positives)),
            "background": options.background * reduce(background.sum(), len(background) * width),
        }
        found, width = positive_scores(positives, weights)
        name, gain = ("objectness", options.objectness) if self.head.has_objectness else ("classes", options.classes)
        terms[name] = gain * reduce(found.sum(), len(found) * width)
        if self.head.has_objectness:
            classes = class_cross_entropy(positives.outputs.classes[0], positives.class_ids, weights)
            terms["classes"] = options.classes * reduce(classes.sum(), len(classes) * self.head.num_classes)
        return terms


class DarknetLoss(ObjectLoss):
    """`ObjectLoss` with (2 - w h) (dx^2 + dy^2 + dw^2 + dh^2), all weights 1.

    Source: Redmon and Farhadi, YOLOv3 (2018), sections 2.1 and 2.2; the weight 2 - w h is darknet's. The anchor whose shape
    fits best answers for a target; predictions with an IoU above 0.7 with any target are no background.
    """

    options: DarknetOptions

    def assign(self, outputs: HeadOutputs, targets: Targets) -> Assignment:
        """See `assign_by_shape`; near misses are ignored."""
        return assign_by_shape(outputs, targets, self.no_background(outputs, targets))

    def box_values(self, positives: Positives) -> Tensor:
        """(P,) squared errors."""
        picked = positives.outputs.grid
        return squared_error(positives.boxes, positives.truths, picked.strides, picked.input_hw)

    def no_background(self, outputs: HeadOutputs, targets: Targets) -> Tensor:
        """(B, A) anchors in ignored regions and those whose prediction is near a target."""
        boxes = decoded_boxes(outputs)
        near = near_targets(targets, usable_targets(targets), boxes, self.options.ignore_iou)
        return near | self.ignored(outputs, targets, boxes)


class DarknetReviseLoss(DarknetLoss):
    """`darknet` with (2 - w h) (1 - CIoU) in place of the squared errors of the coordinates.

    Source: as `DarknetLoss`; Zheng et al., Distance-IoU Loss (2020), equation 10.
    """

    def box_values(self, positives: Positives) -> Tensor:
        """(P,) (2 - w h) (1 - CIoU)."""
        size = positives.truths[:, 2:] - positives.truths[:, :2]
        height, width = positives.outputs.grid.input_hw
        share = size[:, 0] * size[:, 1] / (height * width)
        return (2 - share) * (1 - ciou(positives.boxes, positives.truths))


class AlexeyDarknetLoss(DarknetLoss):
    """`ObjectLoss` with 1 - CIoU, all weights 1, over every anchor above a shape IoU.

    Source: Bochkovskiy et al., YOLOv4 (2020), section 3.4: several anchors for one target, CIoU, and "eliminate grid
    sensitivity", which is the head's `scale_xy` and so part of its box formula.
    """

    options: AlexeyOptions

    def assign(self, outputs: HeadOutputs, targets: Targets) -> Assignment:
        """See `assign_by_shape`, with its threshold; near misses are ignored."""
        ignored = self.no_background(outputs, targets)
        return assign_by_shape(outputs, targets, ignored, iou_threshold=self.options.iou_threshold)

    def box_values(self, positives: Positives) -> Tensor:
        """(P,) 1 - CIoU."""
        return 1 - ciou(positives.boxes, positives.truths)


class KknLoss(ObjectLoss):
    """`ObjectLoss` with 1 - CIoU.

    Source: the project's own loss of 2023-07-30; w is the anchor's IoU divided by the target's best (`assign_by_rank`). With
    `num_scale` the box term is s_c w (4 - CIoU - DIoU - IoU - GIoU), s_c = P / (C n_c): n_c positives of the class c, C
    classes that have any, P positives in all, so that each class there is has the same share.
    """

    options: KknOptions

    def assign(self, outputs: HeadOutputs, targets: Targets) -> Assignment:
        """See `assign_by_rank`."""
        options, ignored = self.options, self.ignored(outputs, targets)
        return assign_by_rank(
            outputs, targets, ignored, iou_threshold=options.iou_threshold, per_level=options.per_level
        )

    def box_values(self, positives: Positives) -> Tensor:
        """(P,) 1 - CIoU, or all four overlaps balanced by class."""
        boxes, truths = positives.boxes, positives.truths
        if not self.options.num_scale:
            return 1 - ciou(boxes, truths)
        counts = torch.bincount(positives.class_ids, minlength=self.head.num_classes)
        counts = self.average(counts.float())  # those of the whole batch, so that each process balances alike
        scale = counts.sum() / ((counts > 0).sum() * counts[positives.class_ids])
        return scale * (4 - ciou(boxes, truths) - diou(boxes, truths) - iou(boxes, truths) - giou(boxes, truths))


class YolofiveLoss(Loss):
    """box * (1 - CIoU) + objectness * sum of levels l b_l BCE(., IoU or 0) + classes * BCE(one-hot).

    Source: Jocher et al., YOLOv5 (2020), as its documentation describes the loss; b is 4, 1, 0.4 from the finest level. The
    objectness of a level's positives (target: IoU of the decoded box) and background is one term: "mean" is the mean over
    all of the level's anchors. On a head without objectness the class scores are asked for the IoU, and the class term of
    the positives is part of it.
    """

    options: YolofiveOptions

    def assign(self, outputs: HeadOutputs, targets: Targets) -> Assignment:
        """See `assign_by_ratio`."""
        ignored = self.ignored(outputs, targets)
        return assign_by_ratio(outputs, targets, ignored, max_ratio=self.options.max_ratio)

    def terms(self, outputs: HeadOutputs, positives: Positives, reduce: Reducer) -> dict[str, Tensor]:
        """Box, objectness and class terms."""
        options, count = self.options, len(positives)
        overlaps = iou(positives.boxes.detach(), positives.truths)
        found, width = positive_scores(positives, overlaps)
        background = positives.assignment.background
        empty, _ = background_scores(outputs, background)
        levels = outputs.grid.level_ids
        ids = torch.cat((levels[positives.assignment.anchor_index], levels.expand_as(background)[background]))
        sums, counts = sums_by_level(torch.cat((found, empty)), ids, len(self.head.strides))
        balance = torch.tensor(options.balances(self.head.strides), device=sums.device)
        terms = {
            "box": options.box * reduce((1 - ciou(positives.boxes, positives.truths)).sum(), count),
            "objectness": options.objectness * (balance * reduce(sums, counts * width)).sum(),
        }
        if self.head.has_objectness:
            classes = class_cross_entropy(positives.outputs.classes[0], positives.class_ids, torch.ones_like(overlaps))
            terms["classes"] = options.classes * reduce(classes.sum(), count * self.head.num_classes)
        return terms
