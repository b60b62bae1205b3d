"""The kernels' documented doors. Each has a slow, obvious twin of the same name in `yolokkn.ops.reference`."""

from __future__ import annotations

try:
    from yolokkn.ops._native import instruction_set
except ImportError as error:
    raise ImportError(
        f"yolokkn: the compiled part is not in {__path__[0]} ({error}). Python imports yolokkn from its source folder: "
        "run from another folder, or build in place with: pip install -e ."
    ) from error
from yolokkn.ops import cuda as cuda
from yolokkn.ops import reference
from yolokkn.ops.candidates import Candidates
from yolokkn.ops.decode import decode_channels, decode_rows
from yolokkn.ops.decode_distances import decode_distances
from yolokkn.ops.decode_final import decode_final, decode_queries, decode_table, gather_extras
from yolokkn.ops.decode_heads import decode_heads
from yolokkn.ops.iou import pairwise_iou
from yolokkn.ops.keypoints import decode_keypoints, inverse_letterbox
from yolokkn.ops.letterbox import letterbox
from yolokkn.ops.masks import assemble_masks, decode_rle, encode_rle, mask_polygons, paint_masks
from yolokkn.ops.nms import nms

__all__ = [
    "Candidates",
    "assemble_masks",
    "decode_channels",
    "decode_final",
    "decode_distances",
    "decode_heads",
    "decode_keypoints",
    "decode_queries",
    "decode_rle",
    "decode_rows",
    "decode_table",
    "encode_rle",
    "gather_extras",
    "implementations",
    "instruction_set",
    "inverse_letterbox",
    "letterbox",
    "mask_polygons",
    "nms",
    "paint_masks",
    "pairwise_iou",
    "reference",
]


def implementations() -> tuple[str, ...]:
    """Return the implementations that this build has: "cuda" where it was built with nvcc.

    Example:
        >>> "cpu" in implementations()
        True
    """
    return ("reference", "cpu", "cuda") if cuda.is_built() else ("reference", "cpu")
