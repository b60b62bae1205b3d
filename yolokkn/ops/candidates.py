"""The value that every decoder returns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Candidates(NamedTuple):
    """Boxes of one image that passed the score threshold, before NMS; all fields are indexed together.

    Attributes:
        boxes: (N, 4) float32 xyxy, pixels of the model's input.
        scores: (N,) float32.
        class_ids: (N,) int32.
        anchor_index: (N,) int64: the row, anchor or query of the raw output, counted over all heads in their order.
        num_dropped: Anchors that were left out because a value that mattered was NaN or infinite.
    """

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    anchor_index: np.ndarray
    num_dropped: int
