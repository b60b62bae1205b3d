"""Doors of the decoders of dense outputs: one row or column per anchor.

All decoders share their rules. A candidate's score is strictly greater than the threshold (a float32). With one label
per anchor the best class counts, the lowest id of equals; with `multi_label` every class above the threshold.
`class_mask` leaves classes out before the best is looked for. Candidates come in anchor order, then class order; when
more than `max_candidates` pass, the best scores stay (ties: the earlier ones), in the same order. An anchor is dropped
and counted in `num_dropped` when a considered score is NaN or +infinity, or when it has a candidate and its box is not
finite.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolokkn.ops import _native
from yolokkn.ops.arguments import explain_kinds
from yolokkn.ops.candidates import Candidates


@explain_kinds
def decode_channels(
    output: np.ndarray,
    num_classes: int,
    *,
    score_threshold: float = 0.25,
    multi_label: bool = False,
    max_candidates: int = 30000,
    class_mask: np.ndarray | None = None,
) -> Candidates:
    """Decode the channel-major output of v8, v9, 11, 12 and 26.

    Args:
        output: (4+nc+e, A) float32: cx cy w h in input pixels, class scores, extras; sigmoid done.
        num_classes: Number of classes, nc.
        score_threshold: Within [0, 1]; a candidate's score is strictly greater.
        multi_label: Return every class above the threshold instead of the best one of an anchor.
        max_candidates: The best that stay, 1 or more.
        class_mask: (nc,) bool, the classes to keep; None keeps all.

    Returns:
        Candidates; `anchor_index` is the column of `output`.

    Raises:
        TypeError: An array has the wrong kind or dtype.
        ValueError: A shape or value is wrong, or an array is not C-contiguous.

    Cost: one pass over the class channels; about 0.1 ms for 84 x 8400 with few candidates.

    Example:
        >>> output = np.array([[10, 50], [10, 50], [4, 8], [4, 8], [0.1, 0.9], [0.2, 0.3]], np.float32)
        >>> found = decode_channels(output, 2)
        >>> found.boxes.tolist(), found.class_ids.tolist(), found.anchor_index.tolist()
        ([[46.0, 46.0, 54.0, 54.0]], [0], [1])
    """
    return Candidates(
        *_native.decode_channels(output, num_classes, score_threshold, multi_label, max_candidates, class_mask)
    )


@explain_kinds
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
    """Decode an output with one row per anchor: v5, v6, v7, YOLOX.

    With objectness the score is the float32 product objectness * class, and an anchor is looked at only when its
    objectness is itself above the threshold (as YOLOv5 defines it; the same thing wherever class scores are at most 1);
    an objectness that is NaN or +infinity drops the anchor.

    Args:
        output: (A, C) float32: four of the box, the objectness if there is one, nc class scores, extras; sigmoid done.
        num_classes: Number of classes, nc.
        objectness: Column 4 is the objectness.
        box_format: "cxcywh" or "xyxy" in input pixels; "grid" for undecoded YOLOX: xy = (t + grid) * stride,
            wh = exp(t) * stride.
        strides: Of the grids, in the order of the rows; each grid is row-major. Used by "grid".
        input_hw: Height and width of the model's input, multiples of every stride. Needed by "grid".
        score_threshold: Within [0, 1]; a candidate's score is strictly greater.
        multi_label: Return every class above the threshold instead of the best one of an anchor.
        max_candidates: The best that stay, 1 or more.
        class_mask: (nc,) bool, the classes to keep; None keeps all.

    Returns:
        Candidates; `anchor_index` is the row of `output`.

    Raises:
        TypeError: An array has the wrong kind or dtype.
        ValueError: A shape or value is wrong, an array is not C-contiguous, or "grid" does not fit the rows.

    Example:
        >>> output = np.array([[10, 10, 4, 4, 0.5, 0.2, 0.8]], np.float32)
        >>> found = decode_rows(output, 2, objectness=True)
        >>> found.class_ids.tolist(), found.scores.round(3).tolist()
        ([1], [0.4000000059604645])
    """
    return Candidates(
        *_native.decode_rows(
            output,
            num_classes,
            objectness,
            box_format,
            strides,
            input_hw,
            score_threshold,
            multi_label,
            max_candidates,
            class_mask,
        )
    )
