"""Two pictures in one: mixup, and objects copied by their masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from yolokkn.data.augment.config import AugmentConfig
from yolokkn.data.augment.geometry import join_samples, move_labels
from yolokkn.data.rings import fill_rings, mask_to_rings, rings_bounds
from yolokkn.data.sample import Rings, Sample

MAX_PASTED = 6
MAX_COVERED = 0.3  # an object is not pasted where it would hide more of another


def mixup(sample: Sample, other: Sample, rng: np.random.Generator) -> Sample:
    """Blend two pictures of one size half and half, a little at random; the objects of both stay.

    Source: H. Zhang et al., mixup (2017); the ratio is drawn from Beta(32, 32).
    """
    import cv2

    if sample.image.shape != other.image.shape:
        raise ValueError(f"mixup: pictures must have one size, got {sample.image.shape} and {other.image.shape}")
    ratio = float(rng.beta(32, 32))
    image = np.asarray(cv2.addWeighted(sample.image, ratio, other.image, 1 - ratio, 0))
    return join_samples(image, [sample, other], [sample, other], sample.image_id)


def copy_paste(sample: Sample, donor: Sample, rng: np.random.Generator, config: AugmentConfig) -> Sample:
    """Copy some objects of another picture by their masks, at another place and size, over this one.

    Masks below a pasted object lose what it hides; an object is not pasted where it would hide too much of another.

    Args:
        sample: The picture; not changed.
        donor: Where objects come from; those without a mask, and ignored ones, are not taken.
        rng: Decides which and where.
        config: Which boxes are too small to keep.

    Source: G. Ghiasi et al., Simple Copy-Paste (2021).
    """
    takable = [i for i, m in enumerate(donor.masks or ()) if m and not donor.ignored[i]]
    if not takable:
        return sample
    chosen = rng.permutation(takable)[: int(rng.integers(1, MAX_PASTED + 1))]
    image, result = sample.image.copy(), sample
    for i in chosen.tolist():
        matrix = _draw_place(donor, i, rng, sample.image.shape[:2])
        pasted = _paste(image, result, donor, i, matrix, config)
        if pasted is not None:
            result = pasted
    return replace(result, image=image)


def _draw_place(donor: Sample, i: int, rng: np.random.Generator, hw: tuple[int, int]) -> np.ndarray:
    h, w = hw
    fit = min(h / donor.image.shape[0], w / donor.image.shape[1])
    x1, y1, x2, y2 = donor.boxes[i].tolist()
    gain = fit * float(rng.uniform(0.5, 1.25))
    x, y = (rng.random(2) * (w, h)).tolist()
    return np.array([[gain, 0, x - gain * (x1 + x2) / 2], [0, gain, y - gain * (y1 + y2) / 2], [0, 0, 1]])


def _paste(
    image: np.ndarray, sample: Sample, donor: Sample, i: int, matrix: np.ndarray, config: AugmentConfig
) -> Sample | None:
    import cv2

    hw = (image.shape[0], image.shape[1])
    one = _pick(donor, i)
    whole = (0.0, 0.0, float(donor.image.shape[1]), float(donor.image.shape[0]))
    moved = move_labels(one, matrix, whole, hw, replace(config, min_box_px=max(config.min_box_px, 4), min_visible=0.25))
    if not len(moved) or moved.masks is None:
        return None
    x1, y1 = np.floor(moved.boxes[0, :2]).astype(int).tolist()
    x2, y2 = np.ceil(moved.boxes[0, 2:]).astype(int).tolist()
    shift = np.array((x1, y1), np.float32)
    mask = fill_rings(tuple(r - shift for r in moved.masks[0]), (y2 - y1, x2 - x1))
    others = _hide(sample, mask, (x1, y1, x2, y2), config)
    if others is None or not mask.any():
        return None
    own = (
        np.array([[1, 0, -x1 - 0.5], [0, 1, -y1 - 0.5], [0, 0, 1]])
        @ matrix
        @ np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    )
    size = (x2 - x1, y2 - y1)
    patch = cv2.warpAffine(donor.image, own[:2], size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cv2.copyTo(patch, mask, image[y1:y2, x1:x2])
    return join_samples(sample.image, [others, moved], [sample, donor], sample.image_id)


def _pick(donor: Sample, i: int) -> Sample:
    return Sample(
        image=donor.image,
        boxes=donor.boxes[i : i + 1],
        class_ids=donor.class_ids[i : i + 1],
        masks=None if donor.masks is None else (donor.masks[i],),
        keypoints=None if donor.keypoints is None else donor.keypoints[i : i + 1],
        ignored=donor.ignored[i : i + 1],
    )


def _hide(sample: Sample, mask: np.ndarray, at: tuple[int, int, int, int], config: AugmentConfig) -> Sample | None:
    """Take what a mask hides from the objects below it; None where it would hide too much of one."""
    x1, y1, x2, y2 = at
    boxes, masks, keypoints = sample.boxes.copy(), list(sample.masks or [()] * len(sample)), sample.keypoints
    keypoints = None if keypoints is None else keypoints.copy()
    meets = (boxes[:, 0] < x2) & (boxes[:, 2] > x1) & (boxes[:, 1] < y2) & (boxes[:, 3] > y1)
    for j in np.flatnonzero(meets).tolist():
        bx1, by1, bx2, by2 = boxes[j].tolist()
        area = max((bx2 - bx1) * (by2 - by1), 1e-6)
        left, top = max(int(bx1), x1) - x1, max(int(by1), y1) - y1
        right, bottom = min(int(np.ceil(bx2)), x2) - x1, min(int(np.ceil(by2)), y2) - y1
        hidden = int(np.count_nonzero(mask[top:bottom, left:right]))
        if hidden / area > MAX_COVERED:
            return None
        if hidden and masks[j]:
            left_over = _subtract(masks[j], mask, at, sample.image.shape[:2])
            if not left_over:
                return None
            masks[j], boxes[j] = left_over, rings_bounds(left_over)
        if keypoints is not None:
            _hide_keypoints(keypoints[j], mask, at)
    return replace(sample, boxes=boxes, masks=tuple(masks) if sample.masks is not None else None, keypoints=keypoints)


def _subtract(rings: Rings, mask: np.ndarray, at: tuple[int, int, int, int], hw: tuple[int, int]) -> Rings:
    bounds = rings_bounds(rings)
    x1, y1 = np.maximum(np.floor(bounds[:2]), 0).astype(int).tolist()
    x2, y2 = min(int(np.ceil(bounds[2])), hw[1]), min(int(np.ceil(bounds[3])), hw[0])
    own = fill_rings(tuple(r - np.array((x1, y1), np.float32) for r in rings), (y2 - y1, x2 - x1))
    left, top, right, bottom = max(x1, at[0]), max(y1, at[1]), min(x2, at[2]), min(y2, at[3])
    if right > left and bottom > top:
        over = mask[top - at[1] : bottom - at[1], left - at[0] : right - at[0]]
        own[top - y1 : bottom - y1, left - x1 : right - x1] &= 1 - over
    return mask_to_rings(own, (x1, y1))


def _hide_keypoints(keypoints: np.ndarray, mask: np.ndarray, at: tuple[int, int, int, int]) -> None:
    """Keypoints below the mask become hidden ones, in place."""
    x, y = (np.floor(keypoints[:, k]).astype(int) - at[k] for k in (0, 1))
    inside = (keypoints[:, 2] > 1) & (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
    for k in np.flatnonzero(inside).tolist():
        if mask[y[k], x[k]]:
            keypoints[k, 2] = 1
