"""Ground truth and results of one evaluation as columns, in the order in which COCO handles them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolokkn.errors import DataError
from yolokkn.evaluation.coco_dataset import CocoDataset
from yolokkn.evaluation.coco_groups import find_groups, number_within
from yolokkn.evaluation.coco_masks import MaskRuns, read_segmentations
from yolokkn.evaluation.coco_matching import Pairs, pair_up
from yolokkn.evaluation.coco_results import Result
from yolokkn.evaluation.coco_similarity import keypoint_similarity, mask_iou, pair_box_iou

_CHUNK = 2_000_000  # pairs of boxes that are compared at a time


@dataclass(frozen=True, eq=False)
class Truth:
    """The objects, in the file's order.

    Attributes:
        keys: (G,) int64 category index * number of pictures + picture index.
        ids: (G,) int64 annotation ids.
        boxes_xywh: (G, 4) float64.
        areas: (G,) float64.
        is_crowd: (G,) bool.
        is_ignored: (G,) bool: counts in no area range.
        shapes: What is compared: MaskRuns, (G, K, 3) float64 keypoints, or None for the boxes.
    """

    keys: np.ndarray
    ids: np.ndarray
    boxes_xywh: np.ndarray
    areas: np.ndarray
    is_crowd: np.ndarray
    is_ignored: np.ndarray
    shapes: MaskRuns | np.ndarray | None


@dataclass(frozen=True, eq=False)
class Found:
    """The detections by key, then descending score, then the order of the results; cut to the limit of each key.

    Attributes:
        keys: (D,) int64, ascending.
        scores: (D,) float64.
        ranks: (D,) int64 place within the key, from 0.
        areas: (D,) float64.
        shapes: (D, 4) float64 boxes, MaskRuns, or (D, K, 2) float64 keypoints.
        num_results: Detections of the chosen pictures and categories before the cut.
    """

    keys: np.ndarray
    scores: np.ndarray
    ranks: np.ndarray
    areas: np.ndarray
    shapes: MaskRuns | np.ndarray
    num_results: int


def read_truth(
    dataset: CocoDataset, images: np.ndarray, categories: np.ndarray, iou_type: str, num_keypoints: int
) -> Truth:
    """Collect the objects of the chosen pictures and categories (ids, ascending)."""
    image_set, category_set = set(images.tolist()), set(categories.tolist())
    rows = [a for a in dataset.annotations if a.image_id in image_set and a.category_id in category_set]
    where = f"evaluate_coco: {dataset.source}: annotation"
    shapes: MaskRuns | np.ndarray | None = None
    ignored = np.array([a.is_crowd for a in rows], bool)
    if iou_type == "segm":
        sizes = {image.id: (image.height, image.width) for image in dataset.images}
        try:
            shapes = read_segmentations([a.segmentation for a in rows], [sizes[a.image_id] for a in rows])
        except ValueError as error:
            index, _, problem = str(error)[1:].partition("]")
            raise DataError(f"{where} {rows[int(index)].id}: segmentation{problem}") from error
    elif iou_type == "keypoints":
        for a in rows:
            if a.keypoints is None or len(a.keypoints) != 3 * num_keypoints:
                got = "none" if a.keypoints is None else f"{len(a.keypoints) // 3}"
                raise DataError(f"{where} {a.id}: keypoints must be {num_keypoints} x, y, visibility, got {got}")
        shapes = np.array([a.keypoints for a in rows], np.float64).reshape(-1, num_keypoints, 3)
        ignored |= np.array([a.num_keypoints == 0 for a in rows], bool)
    image = np.searchsorted(images, np.array([a.image_id for a in rows], np.int64))
    category = np.searchsorted(categories, np.array([a.category_id for a in rows], np.int64))
    return Truth(
        keys=category * len(images) + image,
        ids=np.array([a.id for a in rows], np.int64),
        boxes_xywh=np.array([a.box_xywh for a in rows], np.float64).reshape(-1, 4),
        areas=np.array([a.area for a in rows], np.float64),
        is_crowd=np.array([a.is_crowd for a in rows], bool),
        is_ignored=ignored,
        shapes=shapes,
    )


def read_found(
    dataset: CocoDataset,
    results: Sequence[Result],
    images: np.ndarray,
    categories: np.ndarray,
    iou_type: str,
    limit: int,
    num_keypoints: int,
) -> Found:
    """Collect, check, sort and cut the detections of the chosen pictures and categories (ids, ascending)."""
    for i, result in enumerate(results):
        if not isinstance(result, Mapping):
            raise TypeError(f"evaluate_coco: results[{i}] must be a dictionary, got {type(result).__name__}")
    image_ids = _ids(results, "image_id", {image.id for image in dataset.images})
    category_ids = _ids(results, "category_id", {category.id for category in dataset.categories})
    scores = _numbers(results, "score", 0)
    chosen = np.flatnonzero(np.isin(image_ids, images) & np.isin(category_ids, categories))
    image = np.searchsorted(images, image_ids[chosen])
    keys = np.searchsorted(categories, category_ids[chosen]) * len(images) + image
    order = np.lexsort((-scores[chosen], keys))
    keys = keys[order]
    ranks = number_within(keys)
    kept = ranks < limit
    rows = chosen[order][kept]
    shapes, areas = _shapes(dataset, results, rows, iou_type, num_keypoints)
    return Found(keys[kept], scores[rows], ranks[kept], areas, shapes, len(chosen))


def _shapes(
    dataset: CocoDataset, results: Sequence[Result], rows: np.ndarray, iou_type: str, num_keypoints: int
) -> tuple[MaskRuns | np.ndarray, np.ndarray]:
    """Return what is compared, and the area of each detection, in the order of the rows."""
    boxes = _numbers(results, "bbox", 4)[rows] if iou_type == "bbox" or any("bbox" in r for r in results) else None
    box_areas = None if boxes is None else boxes[:, 2] * boxes[:, 3]
    if iou_type == "segm":
        sizes = {image.id: (image.height, image.width) for image in dataset.images}
        chosen = [results[i] for i in rows]
        try:
            masks = read_segmentations([r.get("segmentation") for r in chosen], [sizes[r["image_id"]] for r in chosen])
        except ValueError as error:
            index, _, problem = str(error)[1:].partition("]")
            raise ValueError(f"evaluate_coco: results[{rows[int(index)]}].segmentation{problem}") from error
        return masks, masks.areas().astype(np.float64) if box_areas is None else box_areas
    if iou_type == "keypoints":
        points = _numbers(results, "keypoints", 3 * num_keypoints)[rows].reshape(-1, num_keypoints, 3)[:, :, :2]
        side = np.ptp(points, axis=1)
        return points, side[:, 0] * side[:, 1] if box_areas is None else box_areas
    if boxes is None or box_areas is None:
        raise RuntimeError("evaluate_coco: boxes must have been read")
    return boxes, box_areas


def _ids(results: Sequence[Result], key: str, known: set[int]) -> np.ndarray:
    ids = [result.get(key) for result in results]
    for i, value in enumerate(ids):
        if not isinstance(value, (int, np.integer)) or value not in known:
            raise ValueError(f"evaluate_coco: results[{i}].{key} must be an id of the data set, got {value!r:.80}")
    return np.array(ids, np.int64)


def _numbers(results: Sequence[Result], key: str, count: int) -> np.ndarray:
    """Return the values of all results: (N,) float64, or (N, count)."""
    shape = (len(results), count) if count else (len(results),)
    if not len(results):
        return np.zeros(shape)
    try:
        values = np.array([result[key] for result in results])
    except (KeyError, ValueError):
        values = np.zeros(0, object)
    if values.shape != shape or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise _first_bad(results, key, count)
    return values.astype(np.float64)


def _first_bad(results: Sequence[Result], key: str, count: int) -> ValueError:
    rule = f"{count} finite numbers" if count else "a finite number"
    for i, result in enumerate(results):
        if key not in result:
            return ValueError(f"evaluate_coco: results[{i}] must have {key}, got {sorted(result)}")
        try:
            value: Any = np.array(result[key])
        except ValueError:
            value = np.zeros(0, object)
        good = value.shape == ((count,) if count else ()) and value.dtype.kind in "iuf" and np.isfinite(value).all()
        if not good:
            return ValueError(f"evaluate_coco: results[{i}].{key} must be {rule}, got {result[key]!r:.80}")
    return ValueError(f"evaluate_coco: results must each have {key} of {rule}")


def compare(found: Found, truth: Truth, sigmas: np.ndarray, least: float) -> Pairs:
    """Measure every detection against every object of its picture and category; keep what agrees enough."""
    if isinstance(truth.shapes, MaskRuns) or truth.shapes is not None:
        rows_found, rows_truth = pair_up(found.keys, truth.keys)
        return Pairs(rows_found, rows_truth, _compare_each(found, truth, sigmas)).at_least(least)
    first, last = find_groups(found.keys, truth.keys)
    sizes = last - first
    parts: list[Pairs] = []
    begin = 0
    while begin < len(sizes) or not parts:
        total = np.cumsum(sizes[begin:])
        end = begin + max(int(np.searchsorted(total, _CHUNK, side="right")), 1)
        rows_found, rows_truth = pair_up(found.keys, truth.keys[begin:end])
        rows_truth += begin
        iou = pair_box_iou(found.shapes[rows_found], truth.boxes_xywh[rows_truth], truth.is_crowd[rows_truth])  # type: ignore[index]
        parts.append(Pairs(rows_found, rows_truth, iou).at_least(least))
        begin = end
    columns = [(p.found, p.truth, p.similarity) for p in parts]
    return Pairs(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def _compare_each(found: Found, truth: Truth, sigmas: np.ndarray) -> np.ndarray:
    """Masks and keypoints: object by object, in the order of `pair_up`."""
    first, last = (rows.tolist() for rows in find_groups(found.keys, truth.keys))
    values: list[np.ndarray] = [np.zeros(0)]
    mask_areas = found.shapes.areas() if isinstance(found.shapes, MaskRuns) else np.zeros(0, np.int64)
    for i, (a, b) in enumerate(zip(first, last, strict=True)):
        if a == b:
            continue
        if isinstance(truth.shapes, MaskRuns) and isinstance(found.shapes, MaskRuns):
            crowd = bool(truth.is_crowd[i])
            values.append(mask_iou(found.shapes, truth.shapes, i, a, b, crowd, mask_areas))
        elif isinstance(truth.shapes, np.ndarray) and isinstance(found.shapes, np.ndarray):
            box, area = truth.boxes_xywh[i], float(truth.areas[i])
            values.append(keypoint_similarity(found.shapes[a:b], truth.shapes[i], box, area, sigmas))
    return np.concatenate(values)
