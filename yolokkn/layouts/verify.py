"""Holds a layout that was chosen by names and shapes alone against what the model really gives.

Names and shapes can lie (boxes from 0 to 1, a transposed head, logits instead of scores). One pass over a neutral picture shows
most of it: scores outside [0, 1], boxes that do not follow the grid, or boxes that do where they should be raw.
"""

from __future__ import annotations

import numpy as np

from yolokkn.layouts.base import Layout, Outputs
from yolokkn.layouts.channels import ChannelsLayout
from yolokkn.layouts.rows import RowsLayout
from yolokkn.layouts.tables import TableLayout

_LOOSE = 1e-3


def contradiction(layout: Layout, outputs: Outputs, input_hw: tuple[int, int]) -> str | None:
    """Return why the outputs cannot have this layout, or None where they can.

    Args:
        layout: The layout in question.
        outputs: Raw outputs of one pass, float32, batch first.
        input_hw: Height and width of the input that gave them.
    """
    if isinstance(layout, ChannelsLayout):
        table = outputs[layout.head][0].T
        return _check_head(table[:, :4], table[:, 4 : 4 + layout.num_classes], input_hw, decoded=True)
    if isinstance(layout, RowsLayout):
        table = outputs[layout.head][0]
        decoded = layout.box_format != "grid"
        return _check_head(table[:, :4], table[:, 4 : 5 + layout.num_classes], input_hw, decoded)
    if isinstance(layout, TableLayout):
        return _check_table(outputs[layout.head][0])
    return None


def _check_table(table: np.ndarray) -> str | None:
    """Finished rows: x1 y1 x2 y2 in pixels, a score from 0 to 1, a whole class id; rows of zeros are unused."""
    rows = table[np.isfinite(table).all(1) & table[:, :6].any(1), :6]
    if not len(rows):
        return None
    boxes, scores, ids = rows[:, :4], rows[:, 4], rows[:, 5]
    if scores.min() < -_LOOSE or scores.max() > 1 + _LOOSE:
        return f"column 5 must be scores within 0 and 1 there, and goes from {scores.min():.4g} to {scores.max():.4g}"
    if (ids < 0).any() or (np.abs(ids - np.rint(ids)) > _LOOSE).any():
        return "column 6 must be whole class ids there"
    if (boxes[:, 2:] < boxes[:, :2] - _LOOSE).any():
        return "columns 1 to 4 must be x1 y1 x2 y2 there, and some x2, y2 are smaller than x1, y1"
    if np.abs(boxes).max() <= 1.5:
        return "boxes must be in pixels there, and all of them lie within 0 and 1.5"
    return None


def _check_head(boxes: np.ndarray, scores: np.ndarray, input_hw: tuple[int, int], decoded: bool) -> str | None:
    if not np.isfinite(boxes).all() or not np.isfinite(scores).all():
        return None
    low, high = float(scores.min()), float(scores.max())
    if low < -_LOOSE or high > 1 + _LOOSE:
        return f"scores must be within 0 and 1 there, and go from {low:.4g} to {high:.4g}"
    centres = boxes[:, :2]
    spread = np.percentile(centres, 95, axis=0) - np.percentile(centres, 5, axis=0)
    follows_grid = bool((spread > 0.5 * np.array(input_hw[::-1])).all())
    if decoded and not follows_grid:
        return "box centres must spread over the whole input there, in pixels, and spread over " + _text(spread)
    if not decoded and follows_grid:
        return "boxes must be raw there, and their centres spread over the whole input: they look decoded"
    return None


def _text(spread: np.ndarray) -> str:
    return f"{spread[0]:.3g} x {spread[1]:.3g}"
