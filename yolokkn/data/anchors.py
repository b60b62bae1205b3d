"""Anchors fitted to a dataset's boxes: k-means by IoU, then evolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yolokkn.data.datasets import Dataset
from yolokkn.data.order import generator


@dataclass(frozen=True, eq=False)
class AnchorFit:
    """Anchors and how well they fit.

    Attributes:
        anchors: (k, 2) float64 width and height in input pixels, smallest area first.
        mean_iou: Mean over the boxes of the IoU with the best anchor, both in one corner.
        best_possible_recall: Part of the boxes that some anchor reaches with sides within `max_ratio`.
        max_ratio: Most that sides of box and anchor may differ, as a factor either way.
        num_boxes: Boxes looked at.
    """

    anchors: np.ndarray
    mean_iou: float
    best_possible_recall: float
    max_ratio: float
    num_boxes: int

    def levels(self, count: int) -> tuple[tuple[tuple[float, float], ...], ...]:
        """Return the anchors divided over levels, small ones first, as `HeadSpec.anchors` takes them.

        Raises:
            ValueError: They do not divide.
        """
        if count < 1 or len(self.anchors) % count:
            raise ValueError(f"AnchorFit.levels: count must divide {len(self.anchors)}, got {count}")
        rounded = [(round(w, 1), round(h, 1)) for w, h in self.anchors.tolist()]
        step = len(rounded) // count
        return tuple(tuple(rounded[i : i + step]) for i in range(0, len(rounded), step))

    def text(self) -> str:
        """Return the anchors as people write them, and how well they fit."""
        written = "  ".join(f"{w:.0f},{h:.0f}" for w, h in self.anchors.tolist())
        return (
            f"{written}\nmean IoU {self.mean_iou:.3f}, best possible recall {self.best_possible_recall:.4f} "
            f"(sides within a factor of {self.max_ratio:g}), {self.num_boxes:,} boxes"
        )


def box_sizes(datasets: Dataset | Sequence[Dataset], imgsz: int | tuple[int, int]) -> np.ndarray:
    """Return width and height of all boxes as they are when pictures are letterboxed: (M, 2) float64 input pixels.

    Ignored boxes, and pictures whose size is not known (opened with check="files"), are left out.
    """
    hw = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    parts = [np.zeros((0, 2))]
    for dataset in [datasets] if isinstance(datasets, Dataset) else datasets:
        labels = dataset.labels
        owner: np.ndarray = np.repeat(np.arange(len(dataset)), np.diff(labels.offsets))
        sizes_hw: np.ndarray = dataset.sizes_hw.astype(np.float64)
        known = (sizes_hw > 0).all(1)
        gain = np.min(np.array(hw) / np.maximum(sizes_hw, 1), 1)
        unit = np.where(labels.relative[:, None], sizes_hw[:, ::-1], 1.0) * gain[:, None]
        sides = (labels.boxes[:, 2:] - labels.boxes[:, :2]).astype(np.float64) * unit[owner]
        parts.append(sides[~labels.ignored & known[owner]])
    return np.concatenate(parts)


def kmeans_anchors(
    datasets: Dataset | Sequence[Dataset] | np.ndarray,
    count: int = 9,
    *,
    imgsz: int | tuple[int, int] = 640,
    generations: int = 0,
    max_ratio: float = 4.0,
    min_side_px: float = 2.0,
    seed: int = 0,
) -> AnchorFit:
    """Fit anchors to boxes: k-means++ starts, distance 1 - IoU, medians as centres; then random changes that help.

    Args:
        datasets: Whose boxes; or their sizes, (M, 2) in input pixels.
        count: How many anchors.
        imgsz: Side, or height and width, of the network's input.
        generations: Random changes that are tried afterwards; each is kept if the fit is better.
        max_ratio: Most that sides of box and anchor may differ for a box to count as reached.
        min_side_px: Boxes with a shorter side are left out.
        seed: Decides the start and the changes.

    Raises:
        ValueError: There are fewer boxes than anchors.

    Source: J. Redmon, A. Farhadi, YOLO9000 (2016), section 2; D. Arthur, S. Vassilvitskii, k-means++ (2007).

    Example:
        >>> sizes = np.array([[10, 20]] * 5 + [[100, 50]] * 5, float)
        >>> kmeans_anchors(sizes, 2).anchors.tolist()
        [[10.0, 20.0], [100.0, 50.0]]
    """
    sizes = datasets if isinstance(datasets, np.ndarray) else box_sizes(datasets, imgsz)
    sizes = np.asarray(sizes, np.float64).reshape(-1, 2)
    sizes = sizes[(sizes >= min_side_px).all(1)]
    if count < 1 or len(sizes) < count:
        raise ValueError(f"kmeans_anchors: there must be at least as many boxes as anchors ({count}), got {len(sizes)}")
    rng = generator(seed, count)
    looked_at = sizes if len(sizes) <= 50_000 else sizes[rng.choice(len(sizes), 50_000, replace=False)]
    anchors = _cluster(looked_at, _start(looked_at, count, rng))
    if generations:
        anchors = _evolve(looked_at, anchors, generations, max_ratio, rng)
    anchors = anchors[np.argsort(anchors.prod(1), kind="stable")]
    mean_iou, recall = _fitness(sizes, anchors, max_ratio)
    return AnchorFit(anchors, mean_iou, recall, max_ratio, len(sizes))


def size_iou(sizes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Return the IoU of boxes and anchors that share a corner: (M, k)."""
    shared = np.minimum(sizes[:, None], anchors[None]).prod(2)
    return np.asarray(shared / (sizes.prod(1)[:, None] + anchors.prod(1)[None] - shared))


def _start(sizes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    chosen = [sizes[int(rng.integers(len(sizes)))]]
    for _ in range(count - 1):
        distance = (1 - size_iou(sizes, np.array(chosen)).max(1)) ** 2
        total = float(distance.sum())
        place = int(rng.integers(len(sizes))) if total <= 0 else int(rng.choice(len(sizes), p=distance / total))
        chosen.append(sizes[place])
    return np.array(chosen)


def _cluster(sizes: np.ndarray, anchors: np.ndarray, rounds: int = 100) -> np.ndarray:
    nearest = np.full(len(sizes), -1)
    for _ in range(rounds):
        iou = size_iou(sizes, anchors)
        now = iou.argmax(1)
        if (now == nearest).all():
            break
        nearest = now
        for k in range(len(anchors)):
            mine = sizes[nearest == k]
            # A centre that nobody is nearest to goes where the fit is worst.
            anchors[k] = np.median(mine, 0) if len(mine) else sizes[iou.max(1).argmin()]
    return anchors


def _evolve(
    sizes: np.ndarray, anchors: np.ndarray, generations: int, max_ratio: float, rng: np.random.Generator
) -> np.ndarray:
    best = sum(_fitness(sizes, anchors, max_ratio))
    for _ in range(generations):
        changed = rng.random(anchors.shape) < 0.5
        trial = np.maximum(anchors * np.where(changed, rng.normal(1, 0.08, anchors.shape).clip(0.5, 2), 1), 1)
        fit = sum(_fitness(sizes, trial, max_ratio))
        if fit > best:
            anchors, best = trial, fit
    return anchors


def _fitness(sizes: np.ndarray, anchors: np.ndarray, max_ratio: float) -> tuple[float, float]:
    ratio = sizes[:, None] / anchors[None]
    reached = (np.maximum(ratio, 1 / ratio).max(2) < max_ratio).any(1)
    return float(size_iou(sizes, anchors).max(1).mean()), float(reached.mean())
