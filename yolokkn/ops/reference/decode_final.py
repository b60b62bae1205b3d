"""Specification of the decoders of outputs that need no NMS, and of the gathering of extra columns."""

from __future__ import annotations

import numpy as np

from yolokkn.ops.candidates import Candidates
from yolokkn.ops.reference.decode import collect, cut
from yolokkn.ops.reference.elementary import sigmoid


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
    """Decode queries (Q, 4), (Q, C): best top_k of all (query, class); see `yolokkn.ops.decode_queries`."""
    used = logits[:, :num_classes]
    with np.errstate(all="ignore"):
        scale = np.array([input_hw[1], input_hw[0]], np.float32)
        half = boxes[:, 2:] * np.float32(0.5)
        xyxy = np.concatenate([(boxes[:, :2] - half) * scale, (boxes[:, :2] + half) * scale], axis=1)
        found = collect(
            xyxy,
            np.where(np.isposinf(used), np.float32(np.inf), sigmoid(used)),
            np.zeros(len(boxes), bool),
            score_threshold=score_threshold,
            multi_label=multi_label,
            max_candidates=min(max_candidates, top_k),
            class_mask=class_mask,
        )
    boxes, scores, class_ids, anchor_index, num_dropped = found
    order = np.argsort(-scores, kind="stable")
    return Candidates(boxes[order], scores[order], class_ids[order], anchor_index[order], num_dropped)


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
    """Filter finished detections; see `yolokkn.ops.decode_final`.

    Of the first count rows: a score of NaN or +inf drops the row; a score not above the threshold passes it over; then
    a class id (rounded half to even) that is not finite or lies outside [0, num_classes) drops it; a class that the
    mask leaves out passes it over; then a box that is not finite drops it.
    """
    if num_classes is None:
        num_classes = 2**31 if class_mask is None else len(class_mask)
    rows = np.arange(len(boxes)) < (len(boxes) if count is None else count)
    bad = rows & (np.isnan(scores) | np.isposinf(scores))
    passes = rows & (scores > np.float32(score_threshold)) & ~bad
    ids = np.rint(class_ids.astype(np.float64))
    known = (ids >= 0) & (ids < num_classes)
    bad |= passes & ~known
    ids = np.where(known, ids, 0).astype(np.int64)
    passes &= known
    if class_mask is not None:
        passes &= class_mask[ids]
    finite = np.isfinite(boxes).all(1)
    bad |= passes & ~finite
    index = np.nonzero(passes & finite)[0]
    index = index[cut(scores[index], max_candidates)]
    return Candidates(boxes[index], scores[index], ids[index].astype(np.int32), index.astype(np.int64), int(bad.sum()))


def decode_table(
    output: np.ndarray,
    num_classes: int | None = None,
    *,
    score_threshold: float = 0.25,
    max_candidates: int = 30000,
    class_mask: np.ndarray | None = None,
) -> Candidates:
    """Filter a table (M, 6+e) of x1 y1 x2 y2 score class; see `yolokkn.ops.decode_table`."""
    return decode_final(
        output[:, :4],
        output[:, 4],
        output[:, 5],
        num_classes=num_classes,
        score_threshold=score_threshold,
        max_candidates=max_candidates,
        class_mask=class_mask,
    )


def gather_extras(
    output: np.ndarray, anchor_index: np.ndarray, *, first: int, count: int, channel_major: bool
) -> np.ndarray:
    """Pick (N, count) extra columns of the kept anchors; see `yolokkn.ops.gather_extras`."""
    if channel_major:
        return np.ascontiguousarray(output[first : first + count, anchor_index].T)
    return output[anchor_index, first : first + count]
