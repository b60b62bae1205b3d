"""Slow NumPy twins of the kernels: the specification. One file per op, of the op's name."""

from yolokkn.ops.reference.decode import decode_channels, decode_rows
from yolokkn.ops.reference.decode_final import decode_final, decode_queries, decode_table, gather_extras
from yolokkn.ops.reference.decode_heads import decode_heads
from yolokkn.ops.reference.iou import pairwise_iou
from yolokkn.ops.reference.keypoints import decode_keypoints, inverse_letterbox
from yolokkn.ops.reference.letterbox import letterbox
from yolokkn.ops.reference.nms import nms

__all__ = [
    "decode_channels",
    "decode_final",
    "decode_heads",
    "decode_keypoints",
    "decode_queries",
    "decode_rows",
    "decode_table",
    "gather_extras",
    "inverse_letterbox",
    "letterbox",
    "nms",
    "pairwise_iou",
]
