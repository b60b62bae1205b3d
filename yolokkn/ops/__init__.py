"""The kernels' documented doors. Each has a slow, obvious twin of the same name in `yolokkn.ops.reference`."""

from __future__ import annotations

from yolokkn.ops import reference
from yolokkn.ops._native import instruction_set
from yolokkn.ops.iou import pairwise_iou
from yolokkn.ops.letterbox import letterbox

__all__ = ["implementations", "instruction_set", "letterbox", "pairwise_iou", "reference"]


def implementations() -> tuple[str, ...]:
    """Return the implementations that this build has.

    Example:
        >>> "cpu" in implementations()
        True
    """
    return ("reference", "cpu")
