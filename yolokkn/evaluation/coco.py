"""COCO's evaluation of boxes, masks and keypoints: the same figures as its reference tool gives, computed in NumPy.

The parts: `coco_dataset` reads ground truth, `coco_results` results, `coco_similarity` measures pairs, `coco_matching`
assigns, `coco_metrics` computes the figures. Specification:
https://cocodataset.org/#detection-eval and #keypoints-eval.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from yolokkn.evaluation.coco_classes import map_classes
from yolokkn.evaluation.coco_dataset import CocoAnnotation, CocoCategory, CocoDataset, CocoImage
from yolokkn.evaluation.coco_matching import match
from yolokkn.evaluation.coco_metrics import CocoMetrics, Curves, Judged, compute_curves
from yolokkn.evaluation.coco_results import Result, read_results, write_results
from yolokkn.evaluation.coco_similarity import PERSON_SIGMAS, sigmas_of
from yolokkn.evaluation.coco_tables import Found, Truth, compare, read_found, read_truth

__all__ = [
    "IOU_TYPES",
    "PERSON_SIGMAS",
    "sigmas_of",
    "CocoAnnotation",
    "CocoCategory",
    "CocoDataset",
    "CocoImage",
    "CocoMetrics",
    "IouType",
    "evaluate_coco",
    "map_classes",
    "read_results",
    "write_results",
]

IouType = Literal["bbox", "segm", "keypoints"]
IOU_TYPES: tuple[str, ...] = get_args(IouType)
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_AREAS = {"": (0.0, 1e10), "s": (0.0, 32.0**2), "m": (32.0**2, 96.0**2), "l": (96.0**2, 1e10)}


def evaluate_coco(
    dataset: CocoDataset,
    results: Sequence[Result],
    *,
    iou_type: IouType = "bbox",
    image_ids: Sequence[int] | None = None,
    category_ids: Sequence[int] | None = None,
    max_detections: Sequence[int] | None = None,
    keypoint_sigmas: Sequence[float] = PERSON_SIGMAS,
) -> CocoMetrics:
    """Measure detections against ground truth as COCO does.

    Args:
        dataset: The ground truth.
        results: Dictionaries with image_id, category_id, score, and bbox [x, y, w, h] for "bbox", segmentation for
            "segm", keypoints [x, y, v, ...] for "keypoints". For masks and keypoints, a bbox where there is one gives
            the detection's area, else the mask's pixels or the keypoints' bounds do.
        iou_type: What is compared.
        image_ids: Only these pictures; all by default.
        category_ids: Only these categories; all by default.
        max_detections: How many detections count per picture and category, ascending; (1, 10, 100), or (20,) for
            keypoints. AP and the recalls by area use the last.
        keypoint_sigmas: Spread of each keypoint, for skeletons other than COCO's persons.

    Returns:
        The figures. An object numbered 0 never counts as found, for that is what COCO's tool does; a warning says so.

    Raises:
        TypeError: A result is not a dictionary or an argument is of the wrong kind.
        ValueError: A result lacks a value, has a bad one, or is about a picture or category that the data set has not.
        DataError: An annotation lacks the segmentation or the keypoints that the type needs.

    Example:
        >>> image = {"id": 1, "file_name": "a.jpg", "height": 40, "width": 60}
        >>> cup = {"id": 7, "image_id": 1, "category_id": 3, "bbox": [0, 0, 20, 20], "area": 400, "iscrowd": 0}
        >>> content = {"images": [image], "categories": [{"id": 3, "name": "cup"}], "annotations": [cup]}
        >>> found = {"image_id": 1, "category_id": 3, "bbox": [0, 0, 20, 16], "score": 0.9}
        >>> metrics = evaluate_coco(CocoDataset.from_dict(content), [found])
        >>> round(metrics["AP"], 3), round(metrics["AP50"], 3), metrics["APl"]
        (0.7, 1.0, -1.0)
    """
    if iou_type not in IOU_TYPES:
        raise ValueError(f"evaluate_coco: iou_type must be one of {', '.join(IOU_TYPES)}, got {iou_type!r}")
    limits = _check_limits(max_detections, iou_type)
    images = _select("image_ids", image_ids, [image.id for image in dataset.images])
    categories = _select("category_ids", category_ids, [category.id for category in dataset.categories])
    sigmas = np.asarray(keypoint_sigmas, np.float64)
    truth = read_truth(dataset, images, categories, iou_type, len(sigmas))
    found = read_found(dataset, results, images, categories, iou_type, limits[-1], len(sigmas))
    areas = {name: limits for name, limits in _AREAS.items() if iou_type != "keypoints" or name != "s"}
    curves, judged = _accumulate(
        found, truth, sigmas, limits, np.array(list(areas.values())), len(images), len(categories)
    )
    names = {category.id: category.name for category in dataset.categories}
    per_class: dict[str, float] = {}
    for i, category_id in enumerate(categories.tolist()):
        name = names[category_id]
        per_class[f"{name} ({category_id})" if name in per_class else name] = _class_ap(curves, i)
    return CocoMetrics(
        iou_type=iou_type,
        figures=_figures(curves, list(areas), limits, iou_type),
        per_class_ap=per_class,
        num_images=len(images),
        num_truths=len(truth.keys),
        num_results=found.num_results,
        judged=judged,
    )


def _accumulate(
    found: Found,
    truth: Truth,
    sigmas: np.ndarray,
    limits: tuple[int, ...],
    areas: np.ndarray,
    num_images: int,
    num_categories: int,
) -> tuple[Curves, Judged]:
    pairs = compare(found, truth, sigmas, float(IOU_THRESHOLDS[0]))
    outside = (truth.areas[:, None] < areas[:, 0]) | (truth.areas[:, None] > areas[:, 1])
    ignored = truth.is_ignored[:, None] | outside
    matched = match(pairs, found.keys, IOU_THRESHOLDS, truth.is_crowd, ignored)
    has_match = matched >= 0
    in_ignored = has_match & np.append(ignored, np.zeros((1, len(areas)), bool), axis=0)[matched, np.arange(len(areas))]
    if (truth.ids == 0).any():
        warnings.warn("evaluate_coco: the annotation with id 0 never counts as found; number from 1", stacklevel=3)
        has_match &= np.append(truth.ids, 1)[matched] != 0
    outside = (found.areas[:, None] < areas[:, 0]) | (found.areas[:, None] > areas[:, 1])
    counts = ~(in_ignored | (~has_match & outside[:, None, :]))
    category: np.ndarray = found.keys // max(num_images, 1)
    order = np.lexsort((-found.scores, category))  # stable: equal scores keep the order of the pictures
    counting = [
        np.bincount(truth.keys[~column] // max(num_images, 1), minlength=num_categories) for column in ignored.T
    ]
    hit, miss, category = (has_match & counts)[order], (~has_match & counts)[order], category[order]
    in_pictures = np.bincount(truth.keys[~ignored[:, 0]], minlength=num_categories * num_images)
    judged = Judged(
        hit[..., :1],
        miss[..., :1],
        category,
        (found.keys % max(num_images, 1))[order],
        in_pictures.reshape(num_categories, num_images),
    )
    return compute_curves(hit, miss, category, found.ranks[order], limits, np.array(counting)), judged


def _figures(curves: Curves, areas: list[str], limits: tuple[int, ...], iou_type: str) -> dict[str, float]:
    figures = {"AP": curves.ap(), "AP50": curves.ap(0), "AP75": curves.ap(5)}
    figures |= {f"AP{name}": curves.ap(None, i) for i, name in enumerate(areas) if name}
    if iou_type == "keypoints":
        figures |= {"AR": curves.ar(), "AR50": curves.ar(-1, 0), "AR75": curves.ar(-1, 5)}
    else:
        figures |= {f"AR{limit}": curves.ar(i) for i, limit in enumerate(limits)}
    return figures | {f"AR{name}": curves.ar(-1, None, i) for i, name in enumerate(areas) if name}


def _class_ap(curves: Curves, index: int) -> float:
    values = curves.precision[:, 0, index]
    return float(values.mean()) if values.min(initial=-1.0 if not values.size else 1.0) > -1 else -1.0


def _check_limits(max_detections: Sequence[int] | None, iou_type: str) -> tuple[int, ...]:
    if max_detections is None:
        return (20,) if iou_type == "keypoints" else (1, 10, 100)
    limits = tuple(max_detections)
    good = all(isinstance(n, int) and n >= 1 for n in limits) and list(limits) == sorted(set(limits))
    if not limits or not good:
        raise ValueError(f"evaluate_coco: max_detections must be ascending numbers of 1 or more, got {limits}")
    return limits


def _select(argument: str, wanted: Sequence[int] | None, known: list[int]) -> np.ndarray:
    """Return the chosen ids, ascending, each once."""
    chosen = set(known) if wanted is None else {int(i) for i in wanted}
    unknown = sorted(chosen - set(known))
    if unknown:
        raise ValueError(f"evaluate_coco: {argument} must be ids of the data set, got {unknown[:5]}")
    return np.array(sorted(chosen), np.int64)
