"""Labelled and found boxes of many pictures as columns: what the evaluations other than COCO's compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolokkn.evaluation.coco_dataset import CocoDataset
from yolokkn.evaluation.coco_matching import pair_up


@dataclass(frozen=True, eq=False)
class LabelledBoxes:
    """The objects that are there, M in all.

    Attributes:
        image_index: (M,) int64 which picture.
        boxes: (M, 4) float64 x1, y1, x2, y2.
        class_ids: (M,) int64.
        difficult: (M,) bool: nobody need find it, and who does is neither right nor wrong.
    """

    image_index: np.ndarray
    boxes: np.ndarray
    class_ids: np.ndarray
    difficult: np.ndarray

    def __post_init__(self) -> None:
        _settle(self, {"image_index": np.int64, "boxes": np.float64, "class_ids": np.int64, "difficult": bool})

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, rows: np.ndarray) -> LabelledBoxes:
        return LabelledBoxes(self.image_index[rows], self.boxes[rows], self.class_ids[rows], self.difficult[rows])


@dataclass(frozen=True, eq=False)
class FoundBoxes:
    """What a model found, N in all.

    Attributes:
        image_index: (N,) int64 which picture.
        boxes: (N, 4) float64 x1, y1, x2, y2.
        class_ids: (N,) int64.
        scores: (N,) float64.
    """

    image_index: np.ndarray
    boxes: np.ndarray
    class_ids: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        _settle(self, {"image_index": np.int64, "boxes": np.float64, "class_ids": np.int64, "scores": np.float64})
        if not np.isfinite(self.scores).all():
            raise ValueError("FoundBoxes: scores must be finite")

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, rows: np.ndarray) -> FoundBoxes:
        return FoundBoxes(self.image_index[rows], self.boxes[rows], self.class_ids[rows], self.scores[rows])


def _settle(owner: LabelledBoxes | FoundBoxes, dtypes: Mapping[str, Any]) -> None:
    """Hold the columns against each other and store them in their dtypes."""
    name = type(owner).__name__
    count = len(owner.boxes)
    for field, dtype in dtypes.items():
        value = np.asarray(getattr(owner, field))
        if field == "boxes":
            value = value.reshape(-1, 4)
        if value.shape != ((count, 4) if field == "boxes" else (count,)):
            raise ValueError(f"{name}: {field} must be as long as boxes ({count}), got shape {value.shape}")
        if dtype is np.int64 and value.size and value.dtype.kind not in "iu":
            raise TypeError(f"{name}: {field} must be integers, got {value.dtype}")
        object.__setattr__(owner, field, value.astype(dtype))
    if not np.isfinite(owner.boxes).all():
        raise ValueError(f"{name}: boxes must be finite")


def pair_boxes(
    found: FoundBoxes, truth: LabelledBoxes, *, same_class: bool, inclusive: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measure every found box with every labelled one of its picture.

    Args:
        found: What a model found.
        truth: What is there.
        same_class: Only those of the same class.
        inclusive: Coordinates name pixels, and the last one belongs to the box: a width is x2 - x1 + 1. Without it they
            are places between pixels, and a width is x2 - x1.

    Returns:
        Row of the found box, row of the labelled box, IoU: (P,) int64, int64, float64; found ascending, then truth.
        A pair of boxes without area has IoU 0.
    """
    stride = 1 + max(int(found.class_ids.max(initial=0)), int(truth.class_ids.max(initial=0)))
    found_keys, truth_keys = found.image_index, truth.image_index
    if same_class:
        found_keys = found_keys * stride + found.class_ids
        truth_keys = truth_keys * stride + truth.class_ids
    order = np.argsort(found_keys, kind="stable")
    f, t = pair_up(found_keys[order], truth_keys)
    f = order[f]
    sort = np.lexsort((t, f))
    f, t = f[sort], t[sort]
    a, b, one = found.boxes[f], truth.boxes[t], float(inclusive)
    overlap = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]) + one
    shared = np.where((overlap > 0).all(1), overlap.prod(1), 0.0)
    whole = _areas(a, one) + _areas(b, one) - shared
    return f, t, np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)


def _areas(boxes: np.ndarray, one: float) -> np.ndarray:
    return np.maximum(boxes[:, 2:] - boxes[:, :2] + one, 0).prod(1)


def boxes_from_coco(
    dataset: CocoDataset, results: Sequence[Mapping[str, Any]]
) -> tuple[LabelledBoxes, FoundBoxes, tuple[str, ...]]:
    """Turn COCO ground truth and results into columns, so that what COCO does not compute can be: VOC's AP, curves.

    Args:
        dataset: The ground truth; crowds become difficult.
        results: Rows with image_id, category_id, bbox [x, y, w, h] and score.

    Returns:
        The labelled boxes, the found ones, and the class names: class ids count the categories in the file's order.
    """
    images = {image.id: i for i, image in enumerate(dataset.images)}
    classes = {category.id: i for i, category in enumerate(dataset.categories)}
    objects = dataset.annotations
    truth = LabelledBoxes(
        np.array([images[o.image_id] for o in objects], np.int64),
        _corners([o.box_xywh for o in objects]),
        np.array([classes[o.category_id] for o in objects], np.int64),
        np.array([o.is_crowd for o in objects], bool),
    )
    found = FoundBoxes(
        np.array([images[r["image_id"]] for r in results], np.int64),
        _corners([r["bbox"] for r in results]),
        np.array([classes[r["category_id"]] for r in results], np.int64),
        np.array([r["score"] for r in results], np.float64),
    )
    return truth, found, tuple(category.name for category in dataset.categories)


def _corners(boxes_xywh: Sequence[Any]) -> np.ndarray:
    boxes = np.array(boxes_xywh, np.float64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
