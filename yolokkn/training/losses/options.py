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

    GAINS: ClassVar[dict[str, float]] = {"sum": 0.1, "mean": 5.0, "targets": 0.5}

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

    GAINS: ClassVar[dict[str, float]] = {"sum": 0.1, "mean": 10.0, "targets": 1.0}

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


@dataclass(frozen=True)
class ObjectOptions(LossOptions):
    """Options of the losses that score positives and background by separate terms.

    Attributes:
        box: Gain of the box term.
        objectness: Gain of the objectness of positives.
        background: Gain of the objectness (or class scores) of the background.
        classes: Gain of the class term.
    """

    box: float = 1.0
    objectness: float = 1.0
    background: float = 1.0
    classes: float = 1.0


@dataclass(frozen=True)
class DarknetOptions(ObjectOptions):
    """Options of `darknet` and `darknet_revise`.

    Attributes:
        ignore_iou: Predictions with a higher IoU with any target are no background.
    """

    ignore_iou: float = 0.7


@dataclass(frozen=True)
class AlexeyOptions(DarknetOptions):
    """Options of `alexey_darknet`; its normalisers are the gains.

    Attributes:
        iou_threshold: IoU of shapes above which an anchor answers for a target.
        box: Its "iou_normalizer". Darknet's 0.07 multiplies slopes by the box as a share of the whole picture; here slopes
            are those of the logits, which are smaller by the cell's share of the picture.
    """

    box: float = 2.0
    iou_threshold: float = 0.213


@dataclass(frozen=True)
class KknOptions(ObjectOptions):
    """Options of `kkn20230730`.

    Attributes:
        iou_threshold: IoU above which an anchor answers for a target.
        per_level: Most anchors of a target, for each level.
        num_scale: Whether the box term is that of four overlaps, balanced by the number of positives of each class.
    """

    GAINS: ClassVar[dict[str, float]] = {"sum": 0.05, "mean": 5.0, "targets": 1.0}

    box: float = 2.0
    iou_threshold: float = 0.3
    per_level: int = 10
    num_scale: bool = False


@dataclass(frozen=True)
class YolofiveOptions(LossOptions):
    """Options of `yolofive`.

    Attributes:
        box: Gain of 1 - CIoU.
        objectness: Gain of the objectness of all anchors.
        classes: Gain of the class term.
        max_ratio: Ratio of sides that anchors must stay below.
        balance: Weights of the levels' objectness from the finest; a head with fewer levels takes the last of them.
    """

    GAINS: ClassVar[dict[str, float]] = {"sum": 0.05, "mean": 5.0, "targets": 1.0}

    reduction: Reduction = "mean"
    box: float = 0.5
    objectness: float = 1.0
    classes: float = 0.5
    max_ratio: float = 4.0
    balance: tuple[float, ...] = (4.0, 1.0, 0.4)

    def balances(self, strides: tuple[int, ...]) -> list[float]:
        """One weight for each level, in the head's order of levels."""
        if len(strides) > len(self.balance):
            raise ValueError(
                f"YolofiveOptions: balance must have a number for each of {len(strides)} levels, got {self.balance}"
            )
        by_stride = dict(zip(sorted(strides), self.balance[-len(strides) :], strict=True))
        return [by_stride[stride] for stride in strides]
