"""What all losses share: from outputs and targets to named terms, by an assigner, terms and a reduction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from yolokkn.data.batch import Targets
from yolokkn.evaluation.coco_similarity import sigmas_of
from yolokkn.models.outputs import HeadOutputs, HeadSpec, decode_boxes, decode_keypoints
from yolokkn.training.assigners.assignment import Assignment, usable_targets
from yolokkn.training.assigners.cells import AnchorKinds, prior_boxes
from yolokkn.training.assigners.ignoring import in_ignored_regions
from yolokkn.training.losses.masks import mask_cross_entropy
from yolokkn.training.losses.options import LossOptions
from yolokkn.training.losses.positives import Positives
from yolokkn.training.losses.reduction import Reducer, identity
from yolokkn.training.losses.selection import in_float32, pick
from yolokkn.training.losses.terms import binary_cross_entropy, object_similarity


@dataclass(frozen=True)
class LossValue:
    """What a loss says of a batch.

    Attributes:
        total: Scalar float32 with gradients: the sum of the terms.
        terms: The terms with their gains, detached scalars.
        num_targets: Targets that anchors answer for (not ignored, with an area).
    """

    total: Tensor
    terms: dict[str, Tensor]
    num_targets: int


class Loss(ABC):
    """A loss for one head; call it with outputs and targets.

    Attributes:
        head: What the head's numbers mean.
        options: The loss's own options.
        average: Gives the mean of a tensor over all processes.
        num_processes: How many there are.
    """

    def __init__(
        self,
        head: HeadSpec,
        options: LossOptions,
        average: Callable[[Tensor], Tensor] = identity,
        num_processes: int = 1,
    ) -> None:
        self.head = head
        self.options = options
        self.average = average
        self.num_processes = num_processes

    def __call__(self, outputs: HeadOutputs, targets: Targets) -> LossValue:
        """Compare what a network says with what is there.

        Args:
            outputs: Raw logits, in any floating dtype; all is computed in float32.
            targets: The objects of the batch, on the same device; may be empty.

        Returns:
            Finite values for finite logits; every output of the head has a gradient, zero where nothing is asked of it.

        Raises:
            ValueError: The outputs are not of this loss's head, or the targets do not fit them.
        """
        self._check(outputs, targets)
        with torch.autocast(outputs.boxes.device.type, enabled=False):
            outputs = in_float32(outputs)
            assignment = self.assign(outputs, targets)
            positives = self._positives(outputs, targets, assignment)
            target_sum = assignment.weights.sum()
            reduce = Reducer(self.options.reduction, len(outputs.boxes), target_sum, self.average, self.num_processes)
            terms = self.terms(outputs, positives, reduce)
            if self.head.num_prototypes:
                terms["mask"] = self.options.mask * self._mask_term(outputs, targets, positives, reduce)
            if self.head.num_keypoints:
                terms |= self._keypoint_terms(targets, positives, reduce)
            terms = {name: self.options.overall_gain * value for name, value in terms.items()}
            total = torch.stack(list(terms.values())).sum()
        return LossValue(total, {k: v.detach() for k, v in terms.items()}, len(usable_targets(targets)))

    @abstractmethod
    def assign(self, outputs: HeadOutputs, targets: Targets) -> Assignment:
        """Say which anchors answer for which targets; no gradients."""

    @abstractmethod
    def terms(self, outputs: HeadOutputs, positives: Positives, reduce: Reducer) -> dict[str, Tensor]:
        """Compute the terms of boxes and scores, with their gains."""

    def ignored(self, outputs: HeadOutputs, targets: Targets, boxes: Tensor | None = None) -> Tensor:
        """(B, A) bool anchors in ignored regions; boxes are decoded only where there are such regions."""
        if not bool(targets.ignored.any()):
            return torch.zeros(outputs.boxes.shape[:2], dtype=torch.bool, device=outputs.boxes.device)
        decoded = decoded_boxes(outputs) if boxes is None else boxes
        priors = prior_boxes(outputs.grid, AnchorKinds.of(outputs.grid, self.head))
        return in_ignored_regions(targets, decoded, priors)

    def _check(self, outputs: HeadOutputs, targets: Targets) -> None:
        if outputs.spec != self.head:
            raise ValueError(f"{type(self).__name__}: outputs must be of the head {self.head}, got {outputs.spec}")
        pictures, classes = len(outputs.boxes), self.head.num_classes
        for name, values, limit in (
            ("image_index", targets.image_index, pictures),
            ("class_ids", targets.class_ids, classes),
        ):
            if len(values) and not 0 <= int(values.min()) <= int(values.max()) < limit:
                raise ValueError(
                    f"{type(self).__name__}: targets.{name} must lie in 0 .. {limit - 1}, "
                    f"got {int(values.min())} .. {int(values.max())}"
                )

    def _positives(self, outputs: HeadOutputs, targets: Targets, assignment: Assignment) -> Positives:
        picked = pick(outputs, assignment.image_index, assignment.anchor_index)
        target = assignment.target_index
        return Positives(
            assignment, picked, decode_boxes(picked)[0], targets.boxes[target].float(), targets.class_ids[target]
        )

    def _mask_term(self, outputs: HeadOutputs, targets: Targets, positives: Positives, reduce: Reducer) -> Tensor:
        if outputs.prototypes is None or positives.outputs.mask_coeffs is None:
            raise ValueError(f"{type(self).__name__}: outputs must have prototypes and mask_coeffs, as their spec says")
        masks, has_mask = targets.masks, targets.has_mask
        if masks is None or has_mask is None:
            masks = torch.zeros((len(targets), *outputs.prototypes.shape[2:]), dtype=torch.bool)
            masks = masks.to(outputs.prototypes.device)
            has_mask = torch.zeros(len(targets), dtype=torch.bool, device=masks.device)
        chosen = positives.assignment
        kept = has_mask[chosen.target_index].nonzero()[:, 0]
        image, target = chosen.image_index[kept], chosen.target_index[kept]
        coeffs = positives.outputs.mask_coeffs[0, kept]
        total = mask_cross_entropy(
            coeffs, outputs.prototypes, masks, targets.boxes.float(), image, target, chosen.weights[kept]
        )
        return reduce(total, len(kept))

    def _keypoint_terms(self, targets: Targets, positives: Positives, reduce: Reducer) -> dict[str, Tensor]:
        picked, chosen = positives.outputs, positives.assignment
        if picked.keypoints is None:
            raise ValueError(f"{type(self).__name__}: outputs must have keypoints, as their spec says")
        count = self.head.num_keypoints
        if targets.keypoints is None:
            truths = positives.truths.new_zeros((len(chosen), count, 3))
        else:
            truths = targets.keypoints[chosen.target_index].float()
        kept = (truths[..., 2] > 0).any(-1).nonzero()[:, 0]
        truths, weights = truths[kept], chosen.weights[kept]
        xy = decode_keypoints(picked)[0, kept, :, :2]
        sigmas = torch.tensor(sigmas_of(count), device=xy.device)
        similarity = object_similarity(xy, truths, positives.truths[kept], sigmas)
        seen = binary_cross_entropy(picked.keypoints[0, kept, :, 2], (truths[..., 2] > 0).float()).mean(-1)
        return {
            "keypoint": self.options.keypoint * reduce((weights * similarity).sum(), len(kept)),
            "visibility": self.options.visibility * reduce((weights * seen).sum(), len(kept)),
        }


@torch.no_grad()
def decoded_boxes(outputs: HeadOutputs) -> Tensor:
    """(B, A, 4) xyxy boxes of all anchors, without gradients."""
    return decode_boxes(outputs)
