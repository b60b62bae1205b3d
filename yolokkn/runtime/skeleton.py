"""The skeleton of a person: which of COCO's 17 keypoints are joined, and how limbs and joints are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolokkn.runtime.palette import Colour

Limb = tuple[int, int]
LEFT: tuple[Limb, ...] = ((15, 13), (13, 11), (5, 11), (5, 7), (7, 9), (0, 1), (1, 3), (3, 5))
RIGHT: tuple[Limb, ...] = ((16, 14), (14, 12), (6, 12), (6, 8), (8, 10), (0, 2), (2, 4), (4, 6))
MIDDLE: tuple[Limb, ...] = ((11, 12), (5, 6))
_NUM_FACE = 5  # nose, eyes, ears
# The person's left is green and right orange: apart in hue and, for those who do not see that, in brightness.
SIDES: tuple[tuple[tuple[Limb, ...], Colour], ...] = (
    (MIDDLE, (235, 235, 235)),
    (LEFT, (110, 230, 60)),
    (RIGHT, (20, 120, 255)),
)
_SMALL_PX = 60  # below it a person is drawn with thin lines, without rings and face
_WHITE: Colour = (255, 255, 255)


def paint_keypoints(
    cv2: Any,
    image: np.ndarray,
    fixed: np.ndarray,
    seen: np.ndarray,
    colour: Colour,
    *,
    height_px: float,
    line_width: int,
    shift: int,
) -> None:
    """Draw one object's keypoints, and the limbs between COCO's 17.

    Widths follow the object's size up to what fits the frame's lines.

    Args:
        cv2: OpenCV.
        image: (H, W, 3) uint8 BGR, painted on.
        fixed: (K, 2) int32 points in fixed point.
        seen: (K,) bool: which are drawn.
        colour: Of the joints: the class's or track's.
        height_px: Of the object's box.
        line_width: Of the frame's boxes.
        shift: Fractional bits of `fixed`.
    """
    is_small = height_px < _SMALL_PX
    limb = 1 if is_small else int(min(max(round(height_px / 80), 1), 2 * line_width))
    if len(fixed) == 17:
        points = fixed.tolist()
        for limbs, side in SIDES:
            for a, b in limbs:
                if seen[a] and seen[b]:
                    cv2.line(image, points[a], points[b], side, limb, cv2.LINE_AA, shift)
    radius_px = 1.0 if is_small else float(min(max(height_px / 75, 1.5), 1.5 * line_width + 1))
    for k, point in enumerate(fixed.tolist()):
        if not seen[k]:
            continue
        is_face = k < _NUM_FACE and len(fixed) == 17
        if is_face and is_small:
            continue
        radius = round((0.7 if is_face else 1.0) * radius_px * (1 << shift))
        if not is_small:
            ring = max(radius // 2, (1 << shift) // 2)
            cv2.circle(image, point, radius + ring, _WHITE, -1, cv2.LINE_AA, shift)
        cv2.circle(image, point, radius, colour, -1, cv2.LINE_AA, shift)
