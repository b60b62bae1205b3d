"""Mirrors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from yolokkn.data.sample import Sample


def flip(sample: Sample, flip_pairs: Sequence[tuple[int, int]] = (), *, axis: int = 0) -> Sample:
    """Mirror a picture with its boxes, masks and keypoints; left and right keypoints change places.

    Args:
        sample: Not changed.
        flip_pairs: Keypoints that change places in a mirror.
        axis: 0: left to right; 1: upside down. Either way a left hand becomes a right one.
    """
    import cv2

    side = sample.image.shape[1 - axis]
    boxes = sample.boxes.copy()
    boxes[:, axis], boxes[:, axis + 2] = side - sample.boxes[:, axis + 2], side - sample.boxes[:, axis]
    masks = sample.masks
    if masks is not None:
        masks = tuple(tuple(_mirror(ring, side, axis) for ring in rings) for rings in masks)
    keypoints = sample.keypoints
    if keypoints is not None:
        order = list(range(keypoints.shape[1]))
        for a, b in flip_pairs:
            order[a], order[b] = b, a
        keypoints = keypoints[:, order]
        labelled = keypoints[..., 2] > 0
        keypoints[..., axis] = np.where(labelled, side - keypoints[..., axis], 0)
    image = np.asarray(cv2.flip(sample.image, 1 - axis))
    return replace(sample, image=image, boxes=boxes, masks=masks, keypoints=keypoints)


def _mirror(ring: np.ndarray, side: int, axis: int) -> np.ndarray:
    out = ring.copy()
    out[:, axis] = side - ring[:, axis]
    return out
