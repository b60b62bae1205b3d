"""Specification of the camera's motion, and of places: (4,) float64 centre x, centre y, width, height."""

from __future__ import annotations

import math

import numpy as np

MOST_SCALE, MOST = 10.0, 1e100


class Camera:
    """How the camera moved the picture: (x, y) of the frame before lies at matrix @ (x, y, 1)."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix: list[list[float]] = matrix.tolist()
        (xx, xy, _), (yx, yy, _) = self.matrix
        self.scale = math.sqrt(abs(xx * yy - xy * yx))
        scaled = 1.0 / MOST_SCALE <= self.scale <= MOST_SCALE
        self.is_sound = bool(np.isfinite(matrix).all()) and scaled

    def moved(self, place: np.ndarray) -> np.ndarray:
        """Return a place as the camera moved it; as it was where that leaves the range of reason."""
        (xx, xy, x0), (yx, yy, y0) = self.matrix
        x, y, w, h = place
        to = np.array([xx * x + xy * y + x0, yx * x + yy * y + y0, w * self.scale, h * self.scale])
        return to if is_reasonable(to) else place


def is_reasonable(place: np.ndarray) -> bool:
    """Return whether any frame can give these numbers, and the arithmetic here bear them."""
    return bool((np.abs(place) < MOST).all() and (place[2:] > 1.0 / MOST).all())


def place_of(box: np.ndarray) -> np.ndarray:
    """Return the place of an xyxy box."""
    x1, y1, x2, y2 = box
    return np.array([(x1 + x2) * 0.5, (y1 + y2) * 0.5, x2 - x1, y2 - y1])


def box_at(place: np.ndarray) -> np.ndarray:
    """Return the xyxy box of a place."""
    x, y, w, h = place
    return np.array([x - w * 0.5, y - h * 0.5, x + w * 0.5, y + h * 0.5])


def grown(boxes: np.ndarray, x: float, y: float) -> np.ndarray:
    """Return boxes (N, 4) grown on each side by a share of their width and height."""
    w, h = (boxes[:, 2] - boxes[:, 0]) * x, (boxes[:, 3] - boxes[:, 1]) * y
    return np.stack([boxes[:, 0] - w, boxes[:, 1] - h, boxes[:, 2] + w, boxes[:, 3] + h], 1)
