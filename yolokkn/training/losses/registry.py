"""Losses by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from yolokkn.errors import did_you_mean
from yolokkn.models.outputs import HeadSpec
from yolokkn.training.losses.anchor_based import (
    AlexeyDarknetLoss,
    DarknetLoss,
    DarknetReviseLoss,
    KknLoss,
    YolofiveLoss,
)
from yolokkn.training.losses.base import Loss
from yolokkn.training.losses.options import (
    AlexeyOptions,
    DarknetOptions,
    KknOptions,
    LossOptions,
    TaskAlignedOptions,
    YolofiveOptions,
)
from yolokkn.training.losses.reduction import identity
from yolokkn.training.losses.task_aligned import TaskAlignedLoss


@dataclass(frozen=True)
class LossKind:
    """A loss that can be built.

    Attributes:
        loss: Its class.
        options: The class of its options.
    """

    loss: type[Loss]
    options: type[LossOptions]


LOSSES: dict[str, LossKind] = {
    "darknet": LossKind(DarknetLoss, DarknetOptions),
    "darknet_revise": LossKind(DarknetReviseLoss, DarknetOptions),
    "alexey_darknet": LossKind(AlexeyDarknetLoss, AlexeyOptions),
    "yolofive": LossKind(YolofiveLoss, YolofiveOptions),
    "kkn20230730": LossKind(KknLoss, KknOptions),
    "task_aligned": LossKind(TaskAlignedLoss, TaskAlignedOptions),
}


def build_loss(
    name: str,
    head: HeadSpec,
    *,
    average: Callable[[Tensor], Tensor] = identity,
    num_processes: int = 1,
    **options: Any,
) -> Loss:
    """Build a loss for a head.

    Args:
        name: One of `LOSSES`.
        head: What the head's numbers mean.
        average: Gives the mean of a tensor over all processes; the divisors of "mean" and "targets" go through it.
        num_processes: How many there are.
        **options: Fields of the loss's options; the others keep their defaults.

    Raises:
        ValueError: The name or an option is unknown, or a value out of range.

    Example:
        >>> head = HeadSpec(num_classes=2, strides=(8, 16, 32), formula="distance")
        >>> build_loss("task_aligned", head, top_k=13).options.top_k
        13
    """
    if name not in LOSSES:
        hint = did_you_mean(name, LOSSES)
        raise ValueError(f"build_loss: name must be one of {', '.join(LOSSES)}, got {name!r}{hint}")
    return LOSSES[name].loss(head, read_options(name, options), average, num_processes)


def read_options(name: str, options: Mapping[str, Any]) -> LossOptions:
    """Make the options of a loss.

    Raises:
        ValueError: An option is unknown, or a value out of range.
    """
    kind = LOSSES[name].options
    legal = [field.name for field in fields(kind)]
    for option in options:
        if option not in legal:
            hint = did_you_mean(option, legal)
            raise ValueError(f"build_loss: an option of {name} must be one of {', '.join(legal)}, got {option!r}{hint}")
    return kind(**options)
