"""Losses of detection heads: assigner, terms and reduction are separate values."""

from yolokkn.training.losses.base import Loss, LossValue
from yolokkn.training.losses.options import LossOptions, TaskAlignedOptions
from yolokkn.training.losses.reduction import Reduction
from yolokkn.training.losses.registry import LOSSES, LossKind, build_loss, read_options

__all__ = [
    "LOSSES",
    "Loss",
    "LossKind",
    "LossOptions",
    "LossValue",
    "Reduction",
    "TaskAlignedOptions",
    "build_loss",
    "read_options",
]
