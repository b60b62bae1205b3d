"""Hard cases, hypothesis strategies and the size of counted tests, which all tests share."""

from __future__ import annotations

import os

import numpy as np

SCALE = float(os.environ.get("YOLOKKN_TEST_SCALE", "1"))  # a nightly run multiplies what the tests count


def scaled(count: int) -> int:
    """How many cases to run where CI runs `count`: times YOLOKKN_TEST_SCALE, at least 1."""
    return max(int(count * SCALE), 1)


def random_boxes(rng: np.random.Generator, count: int, size: float = 100.0) -> np.ndarray:
    """(count, 4) float32 xyxy boxes, a few of them degenerate."""
    corners = rng.uniform(0, size, (count, 2, 2)).astype(np.float32)
    boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    boxes[rng.random(count) < 0.05, 2] = 0
    return boxes


COUNTS = (0, 1, 2, 31, 32, 33, 300)
