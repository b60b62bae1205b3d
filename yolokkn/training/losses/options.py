"""Options of the losses: frozen values, checked once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from yolokkn.training.losses.reduction import REDUCTIONS, Reduction


@dataclass(frozen=True)
class LossOptions:
    """What every loss can be told.

    Attributes:
        reduction: "sum" divides by pictures, "mean" by the elements of the term, "targets" by the soft targets' sum.
        gain: Factor of all terms; 0 takes the one that makes gradients of about the same size with every loss and
            reduction, so that one learning rate serves all (`GAINS`).
        mask: Gain of the mask term.
        keypoint: Gain of the keypoints' similarity.
        visibility: Gain of the keypoints' confidence.
    """

    GAINS: ClassVar[dict[str, float]] = {"sum": 0.2, "mean": 1.0, "targets": 1.0}

    reduction: Reduction = "sum"
    gain: float = 0.0
    mask: float = 1.0
    keypoint: float = 1.5
    visibility: float = 0.2

    def __post_init__(self) -> None:
        if self.reduction not in REDUCTIONS:
            raise ValueError(
                f"{type(self).__name__}: reduction must be one of {', '.join(REDUCTIONS)}, got {self.reduction!r}"
            )
        for field in fields(self):
            value = getattr(self, field.name)
            numbers = value if isinstance(value, tuple) else (value,)
            if field.name != "reduction" and not all(
                isinstance(x, (int, float)) and 0 <= x < float("inf") for x in numbers
            ):
                raise ValueError(
                    f"{type(self).__name__}: {field.name} must be a finite number of 0 or more, got {value!r}"
                )

    @property
    def overall_gain(self) -> float:
        """The factor of all terms."""
        return self.gain or self.GAINS[self.reduction]


@dataclass(frozen=True)
class TaskAlignedOptions(LossOptions):
    """Options of `task_aligned`.

    Attributes:
        box: Gain of 1 - CIoU.
        classes: Gain of the class scores.
        objectness: Gain of the objectness, for heads that have it.
        dfl: Gain of the distribution focal loss, for "distance" heads with bins.
        top_k: Most anchors of a target.
        alpha: Power of the score in the alignment.
        beta: Power of the IoU in the alignment.
    """

    GAINS: ClassVar[dict[str, float]] = {"sum": 0.1, "mean": 1.0, "targets": 1.0}

    reduction: Reduction = "targets"
    mask: float = 7.5
    keypoint: float = 12.0
    visibility: float = 1.0
    box: float = 7.5
    classes: float = 0.5
    objectness: float = 0.5
    dfl: float = 1.5
    top_k: int = 10
    alpha: float = 0.5
    beta: float = 6.0
