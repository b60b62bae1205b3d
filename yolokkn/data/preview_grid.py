"""Preview pictures: samples with their boxes, masks, keypoints and names drawn, in a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from yolokkn.data.augment import AugmentConfig, augment, letterbox
from yolokkn.data.cache import PictureCache
from yolokkn.data.datasets import Dataset
from yolokkn.data.order import generator
from yolokkn.data.rings import fill_rings
from yolokkn.data.sample import Rings, Sample
from yolokkn.runtime.draw import DrawStyle, draw
from yolokkn.types import Detections, Masks


def preview(
    dataset: Dataset,
    *,
    count: int = 9,
    imgsz: int = 416,
    augment_config: AugmentConfig | None = None,
    seed: int = 0,
    columns: int | None = None,
) -> np.ndarray:
    """Draw some samples of a dataset in a grid.

    Args:
        dataset: What is looked at.
        count: How many samples, chosen at random.
        imgsz: Side of each, pixels.
        augment_config: Show them as training sees them; None: as they are, letterboxed.
        seed: Decides which.
        columns: Of the grid; None: about as many as rows.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    if count < 1 or imgsz < 32:
        raise ValueError(f"preview: count must be 1 or more and imgsz 32 or more, got {count} and {imgsz}")
    rng, hw = generator(seed), (imgsz, imgsz)
    chosen = rng.permutation(len(dataset))[:count].tolist()
    cache = PictureCache(dataset, hw, 0)
    pictures = []
    for place, index in enumerate(chosen):
        if augment_config is None:
            sample = letterbox(cache.load(index), hw)[0]
        else:
            own = generator(seed, place)
            sample = augment(cache.load, index, range(len(dataset)), own, hw, augment_config, dataset.flip_pairs or ())
        pictures.append(draw_sample(sample, dataset.class_names))
    return make_grid(pictures, columns)


def draw_sample(sample: Sample, class_names: Sequence[str]) -> np.ndarray:
    """Draw a sample's objects onto a copy of its picture; ignored ones are called so."""
    h, w = sample.image.shape[:2]
    names = (*class_names, *(f"{name} (ignored)" for name in class_names))
    class_ids = np.where(sample.ignored, sample.class_ids + len(class_names), sample.class_ids)
    keypoints = sample.keypoints
    if keypoints is not None:
        keypoints = keypoints.astype(np.float32) * np.array((1, 1, 0.5), np.float32)
        keypoints[..., 2] = np.where(keypoints[..., 2] > 0, np.maximum(keypoints[..., 2], 0.5), 0)
    result = Detections(
        boxes=sample.boxes.astype(np.float32),
        scores=np.ones(len(sample), np.float32),
        class_ids=class_ids.astype(np.int32),
        masks=None if sample.masks is None else paint_crops(sample.masks, (h, w)),
        keypoints=keypoints,
        class_names=names,
    )
    return draw(sample.image, result, style=DrawStyle(show_scores=False))


def paint_crops(masks: Sequence[Rings], hw: tuple[int, int]) -> Masks:
    """Paint masks into bitmaps cropped to their bounds."""
    crops: np.ndarray = np.zeros((len(masks), 4), np.int32)
    data: list[np.ndarray] = [np.zeros(0, np.uint8)]
    for i, rings in enumerate(masks):
        if not rings:
            continue
        points = np.concatenate(rings)
        low = np.clip(np.floor(points.min(0)), 0, hw[::-1]).astype(int)
        high = np.clip(np.ceil(points.max(0)), 0, hw[::-1]).astype(int)
        if (high <= low).any():
            continue
        crops[i] = (*low, *high)
        shift = low.astype(np.float32)
        bitmap = fill_rings(tuple(ring - shift for ring in rings), (int(high[1] - low[1]), int(high[0] - low[0])))
        data.append(bitmap.reshape(-1))
    return Masks(np.concatenate(data), crops, hw)


def make_grid(pictures: Sequence[np.ndarray], columns: int | None = None, gap_px: int = 4) -> np.ndarray:
    """Put pictures of one size side by side."""
    h, w = pictures[0].shape[:2]
    columns = min(columns or math.ceil(math.sqrt(len(pictures))), len(pictures))
    rows = math.ceil(len(pictures) / columns)
    size = (rows * (h + gap_px) - gap_px, columns * (w + gap_px) - gap_px, 3)
    grid: np.ndarray = np.full(size, 255, np.uint8)
    for i, picture in enumerate(pictures):
        y, x = (i // columns) * (h + gap_px), (i % columns) * (w + gap_px)
        grid[y : y + h, x : x + w] = picture
    return grid
