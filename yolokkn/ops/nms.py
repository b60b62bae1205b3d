"""Door of non-maximum suppression."""

from __future__ import annotations

import numpy as np

from yolokkn.ops import _native
from yolokkn.ops.arguments import explain_kinds


@explain_kinds
def nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    class_ids: np.ndarray | None = None,
    *,
    iou_threshold: float = 0.7,
    max_detections: int = 300,
) -> np.ndarray:
    """Keep the best boxes, each overlapping no better one of its class too much: greedy NMS.

    A box is suppressed when its IoU with a kept box of the same class is strictly greater than the threshold (both
    float32). Classes are compared, boxes are not moved. It ends once max_detections are kept, never by a clock.

    Args:
        boxes: (N, 4) float32 xyxy, any unit.
        scores: (N,) float32.
        class_ids: (N,) int32; None: every box is of one class.
        iou_threshold: Within [0, 1].
        max_detections: How many to keep at most, 1 or more.

    Returns:
        (K,) int64 indices by descending score; ties keep input order. Rows with NaN or infinity are never kept.

    Raises:
        TypeError: An array has the wrong kind or dtype.
        ValueError: A shape or value is wrong, or an array is not C-contiguous.

    Cost: O(N) to order lazily, then each box is compared with the kept ones of its class.

    Example:
        >>> boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]], np.float32)
        >>> nms(boxes, np.array([0.8, 0.9, 0.3], np.float32)).tolist()
        [1, 2]
    """
    return _native.nms(boxes, scores, class_ids, iou_threshold, max_detections)
