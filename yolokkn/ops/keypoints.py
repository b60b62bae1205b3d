"""Doors of the inverse letterbox of boxes and keypoints."""

from __future__ import annotations

import numpy as np

from yolokkn.geometry import Letterbox
from yolokkn.ops import _native
from yolokkn.ops.arguments import explain_kinds


@explain_kinds
def inverse_letterbox(boxes: np.ndarray, geometry: Letterbox, *, clip: bool = True) -> np.ndarray:
    """Map boxes from input pixels to frame pixels: (v - pad) / gain in float32, as `Letterbox.to_frame`.

    Args:
        boxes: (N, 4) float32 xyxy, input pixels.
        geometry: How the frame lies in the input.
        clip: Bring the boxes into the frame.

    Returns:
        (N, 4) float32 xyxy, frame pixels; a new array.

    Raises:
        TypeError: boxes is no float32 array or geometry no Letterbox.
        ValueError: A shape is wrong or the array is not C-contiguous.

    Example:
        >>> geometry = Letterbox.fit((1080, 1920), (640, 640))
        >>> inverse_letterbox(np.array([[0, 140, 320, 900]], np.float32), geometry).tolist()
        [[0.0, 0.0, 960.0, 1080.0]]
    """
    return _native.inverse_letterbox(boxes, geometry, clip)


@explain_kinds
def decode_keypoints(extras: np.ndarray, num_keypoints: int, geometry: Letterbox, *, clip: bool = True) -> np.ndarray:
    """Turn the extra columns of a pose model into keypoints of the frame.

    Args:
        extras: (N, K*3) float32 x y visibility, or (N, K*2) x y; input pixels, visibility in [0, 1].
        num_keypoints: K.
        geometry: How the frame lies in the input.
        clip: Bring the points into the frame.

    Returns:
        (N, K, 3) float32: x, y in frame pixels, visibility (1 where the model gives none). NaN stays NaN.

    Raises:
        TypeError: extras is no float32 array or geometry no Letterbox.
        ValueError: The columns do not fit K or the array is not C-contiguous.

    Example:
        >>> geometry = Letterbox.fit((1080, 1920), (640, 640))
        >>> decode_keypoints(np.array([[320, 320, 0.5]], np.float32), 1, geometry).tolist()
        [[[960.0, 540.0, 0.5]]]
    """
    return _native.decode_keypoints(extras, num_keypoints, geometry, clip)
