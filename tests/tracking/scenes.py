"""Synthetic scenes that the tracking tests share."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

Detected = tuple[np.ndarray, np.ndarray, np.ndarray]


def detected(boxes, scores=0.9, class_ids=0) -> Detected:
    """Arrays of the right dtypes."""
    array = np.array(boxes, np.float32).reshape(-1, 4)
    count = len(array)
    return array, np.full(count, scores, np.float32), np.full(count, class_ids, np.int32)


def crowd(
    seed: int, num_objects: int, num_frames: int, size: float = 600.0, num_classes: int = 2
) -> Iterator[Detected]:
    """Moving boxes, some missed, some of low score, some false, some doubled, in random order."""
    rng = np.random.default_rng(seed)
    centres, speeds = rng.uniform(0, size, (num_objects, 2)), rng.normal(0, 4, (num_objects, 2))
    half = rng.uniform(8, 40, (num_objects, 2))
    classes = rng.integers(0, num_classes, num_objects)
    for _ in range(num_frames):
        centres += speeds
        seen = rng.random(num_objects) > 0.15
        middle = (centres + rng.normal(0, 1.5, centres.shape))[seen]
        boxes = np.concatenate([middle - half[seen], middle + half[seen]], 1)
        twins = boxes[rng.random(len(boxes)) < 0.1]
        false = rng.uniform(0, size, (num_objects // 10, 2, 2))
        boxes = np.concatenate([boxes, twins, np.concatenate([false.min(1), false.max(1)], 1)])
        ids = np.concatenate([classes[seen], rng.integers(0, num_classes, len(boxes) - seen.sum())])
        order = rng.permutation(len(boxes))
        scores = rng.uniform(0.05, 1.0, len(boxes))
        yield boxes[order].astype(np.float32), scores[order].astype(np.float32), ids[order].astype(np.int32)


def hostile_times(rng: np.random.Generator, count: int) -> list[float | None]:
    """Timestamps that jump, repeat, go back, are not numbers or are missing."""
    times: list[float | None] = []
    now = float(rng.choice([0.0, 1e9, -5.0]))
    for kind in rng.integers(0, 10, count).tolist():
        now += [1 / 30, 1 / 30, 1 / 30, 0.0, -3.0, 1e7, 1e-9, 0.5, 1 / 30, 1 / 30][kind]
        times.append(None if kind == 9 else math.nan if kind == 8 else now)
    if rng.random() < 0.3:
        times[count // 2] = float(rng.choice([math.inf, -math.inf]))
    return times
