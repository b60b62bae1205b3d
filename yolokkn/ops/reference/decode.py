"""Specification of the decoders of dense outputs: which anchors become candidates, in which order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolokkn.ops.candidates import Candidates
from yolokkn.ops.reference.elementary import exp


def _is_bad(values: np.ndarray) -> np.ndarray:
    return np.isnan(values) | np.isposinf(values)


def cut(scores: np.ndarray, max_candidates: int) -> np.ndarray:
    """Return the indices of the best scores in input order: all, or max_candidates; ties keep the earlier ones."""
    best = np.argsort(-scores, kind="stable")[:max_candidates]
    return np.sort(best)


def collect(
    boxes: np.ndarray,
    scores: np.ndarray,
    bad: np.ndarray,
    *,
    score_threshold: float,
    multi_label: bool,
    max_candidates: int,
    class_mask: np.ndarray | None,
) -> Candidates:
    """Turn boxes (A, 4) and scores (A, nc) into candidates: the rules that all decoders share.

    A class is considered unless class_mask leaves it out. An anchor is dropped and counted when it is `bad` already,
    when a considered score is NaN or +inf, or when it has a candidate and its box is not finite. A candidate has a
    score strictly above the threshold; without multi_label only the anchor's best class (the lowest id of equals) can
    be one. Candidates come in anchor order, then class order; beyond max_candidates the best scores stay, in order.
    """
    considered = np.ones(scores.shape[1], bool) if class_mask is None else class_mask
    bad = bad | _is_bad(scores[:, considered]).any(1)
    considered_scores = np.where(considered, scores, np.float32(-np.inf))
    passes = considered_scores > np.float32(score_threshold)
    if not multi_label:
        best = considered_scores.argmax(1)
        passes &= np.arange(scores.shape[1]) == best[:, None]
    bad = bad | (passes.any(1) & ~np.isfinite(boxes).all(1))
    anchors, classes = np.nonzero(passes & ~bad[:, None])
    keep = cut(scores[anchors, classes], max_candidates)
    anchors, classes = anchors[keep], classes[keep]
    return Candidates(
        boxes[anchors].astype(np.float32),
        scores[anchors, classes],
        classes.astype(np.int32),
        anchors.astype(np.int64),
        int(bad.sum()),
    )


def corners(cxcywh: np.ndarray) -> np.ndarray:
    """Convert (A, 4) centres and sizes to corners."""
    half = cxcywh[:, 2:4] * np.float32(0.5)
    return np.concatenate([cxcywh[:, :2] - half, cxcywh[:, :2] + half], axis=1)


def decode_channels(
    output: np.ndarray,
    num_classes: int,
    *,
    score_threshold: float = 0.25,
    multi_label: bool = False,
    max_candidates: int = 30000,
    class_mask: np.ndarray | None = None,
) -> Candidates:
    """Decode (4+nc+e, A): cx cy w h cls..., channel-major; see `yolokkn.ops.decode_channels`."""
    with np.errstate(all="ignore"):
        return collect(
            corners(output[:4].T),
            output[4 : 4 + num_classes].T,
            np.zeros(output.shape[1], bool),
            score_threshold=score_threshold,
            multi_label=multi_label,
            max_candidates=max_candidates,
            class_mask=class_mask,
        )


def grid_boxes(t: np.ndarray, strides: Sequence[int], input_hw: tuple[int, int]) -> np.ndarray:
    """Decode (A, 4) of undecoded YOLOX: xy = (t + grid) * stride, wh = exp(t) * stride; to corners."""
    cells = []
    for stride in strides:
        y, x = np.divmod(np.arange((input_hw[0] // stride) * (input_hw[1] // stride)), input_hw[1] // stride)
        cells.append(np.stack([x, y, np.full_like(x, stride)], axis=1))
    x, y, stride = np.concatenate(cells).astype(np.float32).T
    centre = (t[:, :2] + np.stack([x, y], axis=1)) * stride[:, None]
    return corners(np.concatenate([centre, exp(t[:, 2:4]) * stride[:, None]], axis=1))


def decode_rows(
    output: np.ndarray,
    num_classes: int,
    *,
    objectness: bool,
    box_format: str = "cxcywh",
    strides: Sequence[int] = (8, 16, 32),
    input_hw: tuple[int, int] | None = None,
    score_threshold: float = 0.25,
    multi_label: bool = False,
    max_candidates: int = 30000,
    class_mask: np.ndarray | None = None,
) -> Candidates:
    """Decode (A, C): box, [objectness], classes, extras; see `yolokkn.ops.decode_rows`.

    With objectness, an anchor whose objectness is NaN or +inf is dropped; one whose objectness is not above the
    threshold has no candidate, whatever its classes hold.
    """
    with np.errstate(all="ignore"):
        if box_format == "grid":
            boxes = grid_boxes(output, strides, input_hw or (0, 0))
        else:
            boxes = output[:, :4] if box_format == "xyxy" else corners(output)
        first = 5 if objectness else 4
        scores = output[:, first : first + num_classes]
        bad: np.ndarray = np.zeros(len(output), bool)
        if objectness:
            confidence = output[:, 4:5]
            bad = _is_bad(confidence[:, 0])
            scores = np.where(confidence > np.float32(score_threshold), confidence * scores, np.float32(-np.inf))
        return collect(
            boxes,
            scores,
            bad,
            score_threshold=score_threshold,
            multi_label=multi_label,
            max_candidates=max_candidates,
            class_mask=class_mask,
        )
