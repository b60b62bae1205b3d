"""Polygons filled as COCO's tools fill them, so that areas and overlaps agree to the pixel.

The outline is drawn on a grid five times finer than the pixels: vertices are rounded to it, and each edge takes one
step at a time along its longer axis, the other coordinate rounded to the nearest. A pixel column lies on the fine line
between 5x + 2 and 5x + 3; wherever the outline crosses it, the pixels below flip between outside and inside.
Only these crossings are computed here, for all edges of all polygons at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_SCALE = 5


def fill_polygons(
    polygons: Sequence[np.ndarray], masks: np.ndarray, sizes_hw: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the runs of pixels inside each polygon (even-odd rule).

    Args:
        polygons: Each (V, 2) float64 x, y in pixels.
        masks: (P,) int64: the mask that each polygon belongs to.
        sizes_hw: (N, 2) int64: height and width of the picture of each mask.

    Returns:
        mask, begin, end of each run: (R,) int64. Runs of different polygons of a mask may overlap.
    """
    if not polygons:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64)
    height, width = sizes_hw[masks].T
    polygon, edges = _edges(polygons)
    polygon, column, fine_y = _crossings(polygon, edges, width)
    # The crossing's lower pixel: ceil((fine_y + 0.5) / 5 - 0.5), kept within the column.
    row = np.clip((fine_y + 2) // _SCALE, 0, height[polygon])
    position = column * height[polygon] + row
    order = np.lexsort((position, polygon))  # closed outlines cross each column an even number of times
    polygon, position = polygon[order], position[order]
    return masks[polygon[0::2]], position[0::2], position[1::2]


def _edges(polygons: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the polygon of each edge, and (E, 4) x1, y1, x2, y2 on the fine grid."""
    lengths = np.array([len(p) for p in polygons])
    corners = (_SCALE * np.concatenate(polygons) + 0.5).astype(np.int64)  # towards zero
    following = np.arange(1, len(corners) + 1)
    lasts = np.cumsum(lengths) - 1
    following[lasts] = lasts - lengths + 1
    return np.repeat(np.arange(len(polygons)), lengths), np.concatenate([corners, corners[following]], axis=1)


def _crossings(polygon: np.ndarray, edges: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return polygon, pixel column and upper fine y of each crossing of an edge with a column's line."""
    dx, dy = np.abs(edges[:, 2] - edges[:, 0]), np.abs(edges[:, 3] - edges[:, 1])
    is_flat = dx >= dy
    turn = np.where(is_flat, edges[:, 0] > edges[:, 2], edges[:, 1] > edges[:, 3])
    edges = np.where(turn[:, None], edges[:, [2, 3, 0, 1]], edges)
    low, high = edges[:, [0, 2]].min(axis=1), edges[:, [0, 2]].max(axis=1)
    first = np.maximum((low + 2) // _SCALE, 0)
    last = np.minimum((high - 3) // _SCALE, width[polygon] - 1)
    count = np.maximum(last - first + 1, 0)
    edge: np.ndarray = np.repeat(np.arange(len(edges)), count)
    column = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    fine_y: np.ndarray = np.empty(len(edge), np.int64)
    flat = is_flat[edge]
    fine_y[flat] = _y_of_flat(edges[edge[flat]], column[flat])
    fine_y[~flat] = _y_of_steep(edges[edge[~flat]], column[~flat])
    return polygon[edge], column, fine_y


def _y_of_flat(edges: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Edges that step along x: the smaller y of the two steps beside the line."""
    x1, y1, x2, y2 = edges.T
    slope = (y2 - y1) / (x2 - x1)
    step = _SCALE * column + 2 - x1
    before, after = ((y1 + slope * t + 0.5).astype(np.int64) for t in (step, step + 1))
    return np.minimum(before, after)


def _y_of_steep(edges: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Edges that step along y: the last step before the rounded x passes the line."""
    x1, y1, x2, y2 = edges.T
    slope = (x2 - x1) / (y2 - y1)
    rising = slope > 0

    def passed(t: np.ndarray) -> np.ndarray:
        x = (x1 + slope * t + 0.5).astype(np.int64)
        return np.where(rising, x >= _SCALE * column + 3, x <= _SCALE * column + 2)

    step = np.ceil((_SCALE * column + 2.5 - x1) / slope).astype(np.int64)
    step -= passed(step - 1)  # the division may be off by one step either way
    step += ~passed(step)
    return y1 + step - 1
