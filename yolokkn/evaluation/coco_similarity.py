"""How much a detection and an object agree: IoU of boxes, IoU of masks, similarity of keypoints (OKS)."""

from __future__ import annotations

import numpy as np

from yolokkn.evaluation.coco_masks import MaskRuns

PERSON_SIGMAS: tuple[float, ...] = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072),
    *(0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)
"""COCO's spread of the annotators for each of a person's 17 keypoints, in units of the root of the object's area."""
UNIFORM_SIGMA = 0.066  # the mean of COCO's


def sigmas_of(num_keypoints: int) -> tuple[float, ...]:
    """Return COCO's spread of each of 17 person keypoints; a uniform one, the mean of those, for another number."""
    return PERSON_SIGMAS if num_keypoints == len(PERSON_SIGMAS) else (UNIFORM_SIGMA,) * num_keypoints


def pair_box_iou(found: np.ndarray, truth: np.ndarray, is_crowd: np.ndarray) -> np.ndarray:
    """Compute the IoU of pairs of boxes; against a crowd, the part of the found box that lies in it.

    Args:
        found: (P, 4) float64 left, top, width, height.
        truth: (P, 4) float64, the same.
        is_crowd: (P,) bool.

    Returns:
        (P,) float64; 0 where the boxes do not overlap.
    """
    low = np.maximum(found[:, :2], truth[:, :2])
    side = np.minimum(found[:, :2] + found[:, 2:], truth[:, :2] + truth[:, 2:]) - low
    overlap = (side > 0).all(axis=1)
    shared = side[:, 0] * side[:, 1]
    found_area, truth_area = found[:, 2] * found[:, 3], truth[:, 2] * truth[:, 3]
    union = np.where(is_crowd, found_area, found_area + truth_area - shared)
    return np.divide(shared, union, out=np.zeros(len(found)), where=overlap)


def mask_iou(
    found: MaskRuns, truth: MaskRuns, index: int, first: int, last: int, is_crowd: bool, areas: np.ndarray
) -> np.ndarray:
    """Compute the IoU of one object's mask with a range of found masks; against a crowd, the share that lies in it.

    Args:
        found: The found masks.
        truth: The objects' masks.
        index: The object.
        first: The first of the found masks.
        last: One past the last of them.
        is_crowd: The object is a crowd.
        areas: (N,) int64 areas of all found masks.

    Returns:
        (last - first,) float64; 0 where the masks do not overlap.
    """
    shared = truth.intersections(index, first, last, found)
    own = int((truth.ends - truth.begins)[truth.offsets[index] : truth.offsets[index + 1]].sum())
    union = areas[first:last] if is_crowd else areas[first:last] + own - shared
    return np.divide(shared, union, out=np.zeros(last - first), where=shared > 0)


def keypoint_similarity(
    found: np.ndarray, truth: np.ndarray, box_xywh: np.ndarray, area: float, sigmas: np.ndarray
) -> np.ndarray:
    """Compute the OKS of one object with many detections.

    The mean over the object's labelled keypoints of exp(-d^2 / (2 s^2 k^2)), k = 2 sigma, s^2 the object's area. An
    object without a labelled keypoint measures the distance by which each keypoint leaves the box doubled about it.

    Args:
        found: (D, K, 2) float64 x, y.
        truth: (K, 3) float64 x, y, visibility.
        box_xywh: (4,) float64, the object's box.
        area: The object's area.
        sigmas: (K,) float64.

    Returns:
        (D,) float64 in [0, 1].
    """
    labelled = truth[:, 2] > 0
    if labelled.any():
        offset = found - truth[None, :, :2]
    else:
        labelled = np.ones(len(truth), bool)
        low, high = box_xywh[:2] - box_xywh[2:], box_xywh[:2] + box_xywh[2:] * 2
        offset = np.maximum(0, low - found) + np.maximum(0, found - high)
    variance: np.ndarray = (sigmas * 2) ** 2
    error = (offset[..., 0] ** 2 + offset[..., 1] ** 2) / variance / (area + np.spacing(1)) / 2
    likeness = np.exp(-np.ascontiguousarray(error[:, labelled]))
    return np.sum(likeness, axis=1) / likeness.shape[1]
