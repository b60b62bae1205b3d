"""Slow NumPy twins of the kernels: the specification. One file per op, of the op's name."""

from yolokkn.ops.reference.iou import pairwise_iou
from yolokkn.ops.reference.masks import assemble_masks, decode_rle, encode_rle, mask_polygons, paint_masks

__all__ = ["assemble_masks", "decode_rle", "encode_rle", "mask_polygons", "paint_masks", "pairwise_iou"]
