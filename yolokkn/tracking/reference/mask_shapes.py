"""Specification of masks as trackers compare them: coarse bitmaps in the boxes."""

from __future__ import annotations

import math

import numpy as np

from yolokkn.types import Masks

SIDE = 16


def centre(low: float, length: float, part: int) -> float:
    """Return the centre of one of 16 equal parts of an interval."""
    return low + (part + 0.5) * (length / SIDE)


def cell(value: float, low: float, length: float) -> int:
    """Return which of 16 equal parts of an interval a value lies in."""
    return min(max(math.floor((value - low) / length * SIDE), 0), SIDE - 1)


def shape_of(bitmap: np.ndarray, crop: tuple[int, int, int, int], box: np.ndarray) -> np.ndarray:
    """Return which cells of a box have their centre in a mask.

    Args:
        bitmap: (h, w) the mask in its crop.
        crop: x1, y1, x2, y2 of the crop in the frame.
        box: (4,) float64 xyxy.

    Returns:
        (16, 16) bool.
    """
    shape: np.ndarray = np.zeros((SIDE, SIDE), bool)
    if not np.isfinite(box).all():
        return shape
    x1, y1, x2, y2 = box.tolist()
    for r in range(SIDE):
        for c in range(SIDE):
            x, y = math.floor(centre(x1, x2 - x1, c)), math.floor(centre(y1, y2 - y1, r))
            if crop[0] <= x < crop[2] and crop[1] <= y < crop[3]:
                shape[r, c] = bitmap[y - crop[1], x - crop[0]] != 0
    return shape


def mask_shapes(masks: Masks, boxes: np.ndarray) -> list[np.ndarray]:
    """Return the shape of each mask in its box."""
    crops = [tuple(crop) for crop in masks.crops.tolist()]
    return [shape_of(masks.crop(i), crops[i], boxes[i].astype(np.float64)) for i in range(len(boxes))]


def mask_iou(box_a: np.ndarray, shape_a: np.ndarray, box_b: np.ndarray, shape_b: np.ndarray) -> float:
    """Compute the IoU of two masks, each laid into a box: by 16 x 16 samples of where the boxes overlap."""
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = box_a.tolist(), box_b.tolist()
    left, top = max(ax1, bx1), max(ay1, by1)
    width, height = min(ax2, bx2) - left, min(ay2, by2) - top
    if not (width > 0 and height > 0):
        return 0.0
    aw, ah, bw, bh = ax2 - ax1, ay2 - ay1, bx2 - bx1, by2 - by1
    both = 0
    for r in range(SIDE):
        for c in range(SIDE):
            x, y = centre(left, width, c), centre(top, height, r)
            in_a = shape_a[cell(y, ay1, ah), cell(x, ax1, aw)]
            both += bool(in_a and shape_b[cell(y, by1, bh), cell(x, bx1, bw)])
    cells = SIDE * SIDE
    area_a, area_b = int(shape_a.sum()) / cells * (aw * ah), int(shape_b.sum()) / cells * (bw * bh)
    shared = min(both / cells * (width * height), area_a, area_b)
    joined = area_a + area_b - shared
    return shared / joined if joined > 0 else 0.0
