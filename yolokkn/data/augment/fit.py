"""Letterbox for evaluation, and the reduction before caching: the same pixels as the runtime's own letterbox."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from yolokkn import ops
from yolokkn.data.sample import Sample
from yolokkn.geometry import Letterbox


def letterbox_image(image: np.ndarray, geometry: Letterbox, pad_value: int = 114) -> np.ndarray:
    """Place an image as the runtime does, rounded to bytes: (input_h, input_w, 3) uint8 BGR."""
    h, w = geometry.input_hw
    if geometry.resized_hw == geometry.image_hw:  # only padding: the same bytes, without arithmetic
        out: np.ndarray = np.full((h, w, 3), pad_value, np.uint8)
        top, left = geometry.pad_top, geometry.pad_left
        out[top : top + image.shape[0], left : left + image.shape[1]] = image
        return out
    planes = ops.letterbox(image, geometry, swap_rb=False, scale=(1.0,) * 3, pad_value=pad_value)
    np.rint(planes, out=planes)
    return np.ascontiguousarray(planes.transpose(1, 2, 0).astype(np.uint8))


def letterbox(sample: Sample, hw: tuple[int, int], pad_value: int = 114) -> tuple[Sample, Letterbox]:
    """Fit a picture into a canvas for evaluation, with its labels.

    Args:
        sample: Of any size; not changed.
        hw: Height and width of the canvas.
        pad_value: What surrounds the picture.

    Returns:
        The sample, and how it lies in the canvas.
    """
    image_hw = (sample.image.shape[0], sample.image.shape[1])
    geometry = Letterbox.fit(image_hw, hw)
    keypoints = sample.keypoints
    if keypoints is not None:
        keypoints = keypoints.copy()
        moved = geometry.to_input(keypoints[..., :2])
        keypoints[..., :2] = np.where(keypoints[..., 2:] > 0, moved, 0)
    masks = sample.masks
    if masks is not None:
        masks = tuple(tuple(geometry.to_input(ring) for ring in rings) for rings in masks)
    image = letterbox_image(sample.image, geometry, pad_value)
    boxes: np.ndarray = geometry.to_input(sample.boxes).astype(np.float32)
    return replace(sample, image=image, boxes=boxes, masks=masks, keypoints=keypoints), geometry


def reduce_image(image: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """Reduce an image so that it fits into a canvas, by the pixels that its letterbox there has; never enlarge it."""
    geometry = Letterbox.fit((image.shape[0], image.shape[1]), hw)
    h, w = geometry.resized_hw
    if h >= image.shape[0] and w >= image.shape[1]:
        return image
    return letterbox_image(image, Letterbox(geometry.image_hw, (h, w), (h, w)))
