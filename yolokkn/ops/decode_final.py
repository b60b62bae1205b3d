"""Doors of the decoders of outputs that need no NMS, and of the gathering of extra columns."""

from __future__ import annotations

import numpy as np

from yolokkn.ops import _native
from yolokkn.ops.arguments import explain_kinds
from yolokkn.ops.candidates import Candidates


@explain_kinds
def decode_queries(
    boxes: np.ndarray,
    logits: np.ndarray,
    num_classes: int | None = None,
    *,
    input_hw: tuple[int, int],
    top_k: int = 300,
    score_threshold: float = 0.25,
    multi_label: bool = True,
    max_candidates: int = 30000,
    class_mask: np.ndarray | None = None,
) -> Candidates:
    """Decode the queries of RF-DETR: sigmoid, then the best top_k of all (query, class) pairs.

    The shared rules stand in `yolokkn.ops.decode`, with two differences: the default is several labels, as the flat
    top-k of the family's own tool gives them; and candidates come by descending score (ties in query, class order).

    Args:
        boxes: (Q, 4) float32 cx cy w h, normalised to [0, 1].
        logits: (Q, C) float32; only the first num_classes columns are used.
        num_classes: At most C; None: C.
        input_hw: Height and width of the model's input, pixels.
        top_k: The best pairs that stay, 1 or more.
        score_threshold: Within [0, 1]; a candidate's score is strictly greater.
        multi_label: False: only the best class of a query.
        max_candidates: Another limit beside top_k; the smaller one holds.
        class_mask: (nc,) bool, the classes to keep; None keeps all.

    Returns:
        Candidates; `anchor_index` is the query.

    Raises:
        TypeError: An array has the wrong kind or dtype.
        ValueError: A shape or value is wrong, or an array is not C-contiguous.

    Example:
        >>> boxes = np.array([[0.5, 0.5, 0.5, 0.25]], np.float32)
        >>> decode_queries(boxes, np.array([[3.0, -3.0]], np.float32), input_hw=(100, 200)).boxes.tolist()
        [[50.0, 37.5, 150.0, 62.5]]
    """
    return Candidates(
        *_native.decode_queries(
            boxes, logits, num_classes, input_hw, top_k, score_threshold, multi_label, max_candidates, class_mask
        )
    )


@explain_kinds
def decode_final(
    boxes: np.ndarray,
    scores: np.ndarray,
    class_ids: np.ndarray,
    count: int | None = None,
    *,
    num_classes: int | None = None,
    score_threshold: float = 0.25,
    max_candidates: int = 30000,
    class_mask: np.ndarray | None = None,
) -> Candidates:
    """Filter finished detections: EfficientNMS, RT-DETR and whatever else needs a threshold only.

    Rows keep their order. A row whose score is NaN or +infinity is dropped and counted; of those above the threshold
    also one whose class id is not finite or lies outside [0, num_classes), and one whose box is not finite.

    Args:
        boxes: (M, 4) float32 xyxy, in whatever pixels the model gives.
        scores: (M,) float32.
        class_ids: (M,) int32, int64, or float32, which is rounded half to even.
        count: Rows in use, the first ones; None: all.
        num_classes: Number of classes; None: the length of class_mask, or any id.
        score_threshold: Within [0, 1]; a candidate's score is strictly greater.
        max_candidates: The best that stay, 1 or more.
        class_mask: (nc,) bool, the classes to keep; None keeps all.

    Returns:
        Candidates; `anchor_index` is the row.

    Raises:
        TypeError: An array has the wrong kind or dtype.
        ValueError: A shape or value is wrong, or an array is not C-contiguous.

    Example:
        >>> boxes = np.array([[0, 0, 2, 2], [1, 1, 3, 3]], np.float32)
        >>> found = decode_final(boxes, np.array([0.9, 0.1], np.float32), np.array([7, 7], np.int32))
        >>> found.class_ids.tolist(), found.anchor_index.tolist()
        ([7], [0])
    """
    return Candidates(
        *_native.decode_final(boxes, scores, class_ids, count, num_classes, score_threshold, max_candidates, class_mask)
    )


@explain_kinds
def decode_table(
    output: np.ndarray,
    num_classes: int | None = None,
    *,
    score_threshold: float = 0.25,
    max_candidates: int = 30000,
    class_mask: np.ndarray | None = None,
) -> Candidates:
    """Filter a table of detections: end-to-end v10 and 26, exports with NMS inside, DeepStream.

    The rules are those of `decode_final`. DeepStream's rows still need NMS.

    Args:
        output: (M, 6+e) float32: x1 y1 x2 y2 score class, extras; input pixels.
        num_classes: Number of classes; None: the length of class_mask, or any id.
        score_threshold: Within [0, 1]; a candidate's score is strictly greater.
        max_candidates: The best that stay, 1 or more.
        class_mask: (nc,) bool, the classes to keep; None keeps all.

    Returns:
        Candidates; `anchor_index` is the row.

    Raises:
        TypeError: An array has the wrong kind or dtype.
        ValueError: A shape or value is wrong, or an array is not C-contiguous.

    Example:
        >>> decode_table(np.array([[0, 0, 2, 2, 0.9, 3.0]], np.float32)).class_ids.tolist()
        [3]
    """
    return Candidates(*_native.decode_table(output, num_classes, score_threshold, max_candidates, class_mask))


@explain_kinds
def gather_extras(
    output: np.ndarray, anchor_index: np.ndarray, *, first: int, count: int, channel_major: bool
) -> np.ndarray:
    """Pick the extra columns (mask coefficients, keypoints) of the anchors that were kept.

    Args:
        output: (channels, A) float32 if channel_major, else (A, channels).
        anchor_index: (N,) int64, as Candidates hold them.
        first: The first channel to pick.
        count: How many to pick.
        channel_major: Which way round `output` lies.

    Returns:
        (N, count) float32, a new array.

    Raises:
        TypeError: An array has the wrong kind or dtype.
        ValueError: A shape is wrong, an index or channel lies outside, or an array is not C-contiguous.

    Example:
        >>> output = np.arange(6, dtype=np.float32).reshape(3, 2)
        >>> gather_extras(output, np.array([1]), first=1, count=2, channel_major=True).tolist()
        [[3.0, 5.0]]
    """
    return _native.gather_extras(output, anchor_index, first, count, channel_major)
