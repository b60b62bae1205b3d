"""The kernels' documented doors. Each has a slow, obvious twin of the same name in `yolokkn.ops.reference`."""

from __future__ import annotations

from yolokkn.ops import reference
from yolokkn.ops._native import instruction_set
from yolokkn.ops.iou import pairwise_iou
from yolokkn.ops.masks import assemble_masks, decode_rle, encode_rle, mask_polygons, paint_masks

__all__ = [
    "assemble_masks",
    "decode_rle",
    "encode_rle",
    "implementations",
    "instruction_set",
    "mask_polygons",
    "paint_masks",
    "pairwise_iou",
    "reference",
]


def implementations() -> tuple[str, ...]:
    """Return the implementations that this build has.

    Example:
        >>> "cpu" in implementations()
        True
    """
    return ("reference", "cpu")
