"""Slow NumPy twins of the kernels: the specification. One file per op, of the op's name."""

from yolokkn.ops.reference.decode import decode_channels, decode_rows
from yolokkn.ops.reference.decode_distances import decode_distances
from yolokkn.ops.reference.decode_final import decode_final, decode_queries, decode_table, gather_extras
from yolokkn.ops.reference.decode_heads import decode_heads
from yolokkn.ops.reference.iou import pairwise_iou
from yolokkn.ops.reference.keypoints import decode_keypoints, inverse_letterbox
from yolokkn.ops.reference.letterbox import letterbox
from yolokkn.ops.reference.masks import assemble_masks, decode_rle, encode_rle, mask_polygons, paint_masks
from yolokkn.ops.reference.nms import nms

__all__ = [
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
    "inverse_letterbox",
    "letterbox",
    "mask_polygons",
    "nms",
    "paint_masks",
    "pairwise_iou",
]
