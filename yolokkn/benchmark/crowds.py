"""Walking people from a seed: what trackers are measured on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np


class Crowd(NamedTuple):
    """The detections of one frame: (N, 4) float32 xyxy, (N,) float32, (N,) int32."""

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray


def crowd(num_objects: int, num_frames: int, density: float = 1.0, seed: int = 0) -> Iterator[Crowd]:
    """Yield walking people of a 1080p camera; a tenth missed, a tenth of low score, a twentieth of false positives.

    The scene grows with the number of objects beyond 50 / density of them, so that boxes overlap alike.
    """
    rng = np.random.default_rng(seed)
    size = np.array([1920.0, 1080.0]) * max(np.sqrt(num_objects * density / 50), 1.0)
    centres, speeds = rng.uniform(0, size, (num_objects, 2)), rng.normal(0, 3, (num_objects, 2))
    heights = rng.uniform(60, 160, num_objects)
    extents = np.stack([heights * rng.uniform(0.35, 0.5, num_objects), heights], 1)
    num_false = max(num_objects // 20, 1)
    for _ in range(num_frames):
        centres += speeds
        speeds = np.where((centres < 0) | (centres > size), -speeds, speeds)
        seen = rng.random(num_objects) > 0.1
        middle = (centres + rng.normal(0, 1.5, centres.shape))[seen]
        scores = np.where(rng.random(len(middle)) < 0.1, 0.15, rng.uniform(0.3, 0.95, len(middle)))
        corner = rng.uniform(0, size, (num_false, 2))
        boxes = np.concatenate(
            [
                np.concatenate([middle - extents[seen] / 2, middle + extents[seen] / 2], 1),
                np.concatenate([corner, corner + rng.uniform(30, 150, corner.shape)], 1),
            ]
        )
        scores = np.concatenate([scores, rng.uniform(0.1, 0.6, num_false)])
        order = rng.permutation(len(boxes))
        yield Crowd(boxes[order].astype(np.float32), scores[order].astype(np.float32), np.zeros(len(boxes), np.int32))


def to_and_fro(frames: list[Crowd]) -> list[Crowd]:
    """Return the frames forwards, then backwards: played again and again, nobody ever jumps.

    Example:
        >>> len(to_and_fro(list(crowd(5, 10))))
        18
    """
    return [*frames, *frames[-2:0:-1]]
