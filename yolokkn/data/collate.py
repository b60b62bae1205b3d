"""Samples of one size into a Batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from yolokkn.data.batch import MASK_STRIDE, Batch, Targets
from yolokkn.data.rings import fill_masks
from yolokkn.data.sample import Sample
from yolokkn.geometry import Letterbox


def collate(
    samples: Sequence[Sample], hw: tuple[int, int], letterboxes: Sequence[Letterbox] = (), *, shared: bool = False
) -> Batch:
    """Put samples into a batch; masks are painted at a quarter of the size.

    Args:
        samples: All of the size `hw`.
        hw: Height and width.
        letterboxes: How each picture lies in the canvas, where that is known.
        shared: Put the images into memory that another process can take over without a copy.
    """
    import cv2

    images = torch.empty((len(samples), 3, *hw), dtype=torch.uint8)
    if shared and images.numel():
        images.share_memory_()
    planes = images.numpy()
    for i, sample in enumerate(samples):
        if sample.image.shape[:2] != hw:
            raise ValueError(f"collate: samples must be of size {hw}, got {sample.image.shape[:2]}")
        cv2.split(sample.image, [planes[i, 2], planes[i, 1], planes[i, 0]])
    return Batch(images, collate_targets(samples, hw), tuple(s.image_id for s in samples), tuple(letterboxes))


def collate_targets(samples: Sequence[Sample], hw: tuple[int, int]) -> Targets:
    """Put the objects of samples into one list."""
    counts = [len(sample) for sample in samples]
    total = sum(counts)
    index: np.ndarray = np.repeat(np.arange(len(samples)), counts)
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(s.boxes for s in samples)]).astype(np.float32)
    class_ids = np.concatenate([np.zeros(0, np.int64), *(s.class_ids for s in samples)])
    ignored = np.concatenate([np.zeros(0, bool), *(s.ignored for s in samples)])
    masks = has_mask = keypoints = None
    if any(s.masks is not None for s in samples):
        rings = [r for s in samples for r in (s.masks if s.masks is not None else ((),) * len(s))]
        small = (hw[0] // MASK_STRIDE, hw[1] // MASK_STRIDE)
        bitmaps: np.ndarray = np.zeros((total, *small), np.uint8)
        fill_masks(rings, bitmaps, 1 / MASK_STRIDE)
        masks = torch.from_numpy(bitmaps.view(bool))
        has_mask = masks.flatten(1).any(1)  # one too small for the bitmap teaches nothing
    num_keypoints = next((s.keypoints.shape[1] for s in samples if s.keypoints is not None), 0)
    if num_keypoints:
        blanks = (
            s.keypoints if s.keypoints is not None else np.zeros((len(s), num_keypoints, 3), np.float32)
            for s in samples
        )
        keypoints = torch.from_numpy(np.concatenate(list(blanks)).astype(np.float32))
    return Targets(
        image_index=torch.from_numpy(index.astype(np.int64)),
        boxes=torch.from_numpy(boxes),
        class_ids=torch.from_numpy(class_ids.astype(np.int64)),
        ignored=torch.from_numpy(ignored.astype(bool)),
        masks=masks,
        has_mask=has_mask,
        keypoints=keypoints,
    )
