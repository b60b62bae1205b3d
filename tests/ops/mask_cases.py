"""Masks that the tests of the mask doors share."""

from __future__ import annotations

import cv2
import numpy as np

from yolokkn.types import Masks


def masks_from_full(full: np.ndarray) -> Masks:
    """Masks whose crops are the whole frame, from (N, H, W) bool."""
    n, h, w = full.shape
    crops = np.tile(np.array([0, 0, w, h], np.int32), (n, 1))
    return Masks(np.ascontiguousarray(full).astype(np.uint8).ravel(), crops, (h, w))


def random_masks(rng: np.random.Generator, count: int, frame_hw: tuple[int, int]) -> Masks:
    """Masks of random crops: blobs, noise, nothing, everything, at and off the frame's edges."""
    h, w = frame_hw
    crops, parts = [], [np.zeros(0, np.uint8)]
    for i in range(count):
        xs, ys = np.sort(rng.integers(0, w + 1, 2)), np.sort(rng.integers(0, h + 1, 2))
        if i % 5 == 0:
            xs, ys = np.array([0, w]), np.array([0, h])
        shape = (int(ys[1] - ys[0]), int(xs[1] - xs[0]))
        noise = rng.random(shape)
        if i % 3 == 1 and noise.size:
            noise = cv2.GaussianBlur(noise, (5, 5), 2) * 3 - 1
        parts.append((noise > rng.choice([-1.0, 0.2, 0.5, 0.8, 2.0])).astype(np.uint8).ravel())
        crops.append([xs[0], ys[0], xs[1], ys[1]])
    return Masks(np.concatenate(parts), np.array(crops, np.int32).reshape(-1, 4), frame_hw)


def pack_masks(masks: Masks) -> tuple[np.ndarray, np.ndarray]:
    """Bits as the GPU packs them, and where each mask begins: (words,) uint32, (N + 1,) int32."""
    parts, starts = [np.zeros(0, np.uint32)], [0]
    for index in range(len(masks)):
        crop = masks.crop(index) != 0
        h, w = crop.shape
        padded = np.zeros((h, -(-w // 32) * 32), bool)
        padded[:, :w] = crop
        parts.append(np.packbits(padded, axis=1, bitorder="little").ravel().view(np.uint32))
        starts.append(starts[-1] + parts[-1].size)
    return np.concatenate(parts), np.array(starts, np.int32)
