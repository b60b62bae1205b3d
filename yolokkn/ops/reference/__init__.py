"""Slow NumPy twins of the kernels: the specification. One file per op, of the op's name."""

from yolokkn.ops.reference.iou import pairwise_iou
from yolokkn.ops.reference.letterbox import letterbox

__all__ = ["letterbox", "pairwise_iou"]
