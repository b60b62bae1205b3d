"""The anchors that answer for targets, as the terms read them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from yolokkn.models.outputs import HeadOutputs
from yolokkn.training.assigners.assignment import Assignment


@dataclass(frozen=True)
class Positives:
    """The anchors that answer for targets, and what is said of them.

    Attributes:
        assignment: Which anchor answers for which target.
        outputs: Their logits, as one picture of P anchors (`selection.pick`).
        boxes: (P, 4) predicted xyxy, input pixels; gradients flow.
        truths: (P, 4) targets' xyxy.
        class_ids: (P,) int64 targets' classes.
    """

    assignment: Assignment
    outputs: HeadOutputs
    boxes: Tensor
    truths: Tensor
    class_ids: Tensor

    def __len__(self) -> int:
        return len(self.assignment)
