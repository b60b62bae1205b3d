"""Door of the pairwise IoU kernel."""

from __future__ import annotations

import numpy as np

from yolokkn.ops import _native


def pairwise_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute the intersection over union of every pair of two sets of boxes.

    Args:
        a: (N, 4) float32 xyxy, any unit.
        b: (M, 4) float32 xyxy, the same unit.

    Returns:
        (N, M) float32 in [0, 1]; 0 wherever a box is degenerate.

    Raises:
        TypeError: An array is not float32.
        ValueError: A shape is wrong or an array is not C-contiguous.

    Example:
        >>> a = np.array([[0, 0, 4, 1]], np.float32)
        >>> pairwise_iou(a, np.array([[0, 0, 1, 1], [0, 0, 4, 1]], np.float32)).tolist()
        [[0.25, 1.0]]
    """
    return _native.pairwise_iou(a, b)
