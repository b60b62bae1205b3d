"""Placing pictures on a canvas: image, boxes, masks and keypoints moved by one matrix, in one pass over the pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yolokkn.data.augment.config import AugmentConfig
from yolokkn.data.rings import clip_ring
from yolokkn.data.sample import Rings, Sample

Region = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a picture lies on a plane: at (x * gain + dx, y * gain + dy), seen only inside `region`."""

    sample: Sample
    gain: float
    dx: float
    dy: float
    region: Region


def draw_matrix(
    config: AugmentConfig,
    rng: np.random.Generator,
    center_xy: tuple[float, float],
    hw: tuple[int, int],
    zoom: float = 1.0,
) -> np.ndarray:
    """Draw a random move of the plane: (3, 3) float64, that takes a point of it near the middle of a canvas.

    Args:
        config: How much.
        rng: Eight numbers are drawn, whatever the configuration.
        center_xy: The point that goes to the middle, but for the shift.
        hw: Height and width of the canvas.
        zoom: The size is multiplied by it.
    """
    h, w = hw
    turn, size, shear_x, shear_y, persp_x, persp_y, shift_x, shift_y = rng.uniform(-1, 1, 8).tolist()
    to_origin = np.array([[1, 0, -center_xy[0]], [0, 1, -center_xy[1]], [0, 0, 1]], np.float64)
    angle, gain = math.radians(turn * config.degrees), zoom * (1 + size * config.scale)
    cos, sin = gain * math.cos(angle), gain * math.sin(angle)
    rotation = np.array(
        [[cos, sin, 0], [-sin, cos, 0], [persp_x * config.perspective, persp_y * config.perspective, 1]]
    )
    slant = [math.tan(math.radians(s * config.shear)) for s in (shear_x, shear_y)]
    shear = np.array([[1, slant[0], 0], [slant[1], 1, 0], [0, 0, 1]], np.float64)
    middle = (0.5 + shift_x * config.translate) * w, (0.5 + shift_y * config.translate) * h
    place = np.array([[1, 0, middle[0]], [0, 1, middle[1]], [0, 0, 1]], np.float64)
    return np.asarray(place @ shear @ rotation @ to_origin)


def move_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Move (..., 2) x, y by a (3, 3) matrix; float32."""
    moved = points @ matrix[:2, :2].T.astype(np.float32) + matrix[:2, 2].astype(np.float32)
    if matrix[2, 0] or matrix[2, 1]:
        depth = points @ matrix[2, :2].astype(np.float32) + np.float32(matrix[2, 2])
        moved = moved / np.maximum(depth, 1e-3)[..., None]
    return np.asarray(moved, np.float32)


def move_boxes(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the bounds of the boxes' four corners after the move: (M, 4) float32."""
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    moved = move_points(corners, matrix)
    return np.concatenate((moved.min(1), moved.max(1)), 1)


def compose(
    placements: Sequence[Placement], matrix: np.ndarray, hw: tuple[int, int], config: AugmentConfig, image_id: str = ""
) -> Sample:
    """Put pictures that lie on a plane onto a canvas, each warped once and straight to its place.

    Args:
        placements: The pictures; later ones lie on top.
        matrix: (3, 3): from the plane to the canvas.
        hw: Height and width of the canvas.
        config: What is padded and which boxes are too small to keep.
        image_id: Of the result.
    """
    canvas: np.ndarray = np.full((*hw, 3), config.pad_value, np.uint8)
    parts = []
    for placement in placements:
        h, w = placement.sample.image.shape[:2]
        gain = placement.gain
        x1, y1, x2, y2 = placement.region
        visible = (
            max((x1 - placement.dx) / gain, 0.0),
            max((y1 - placement.dy) / gain, 0.0),
            min((x2 - placement.dx) / gain, float(w)),
            min((y2 - placement.dy) / gain, float(h)),
        )
        if visible[2] - visible[0] < 0.5 or visible[3] - visible[1] < 0.5:
            continue
        own = matrix @ np.array([[gain, 0, placement.dx], [0, gain, placement.dy], [0, 0, 1]])
        true = warp_onto(canvas, placement.sample.image, own, visible)
        if true is not None and len(placement.sample):
            parts.append(move_labels(placement.sample, true, visible, hw, config))
    return join_samples(canvas, parts, [p.sample for p in placements], image_id)


def warp_onto(canvas: np.ndarray, image: np.ndarray, matrix: np.ndarray, visible: Region) -> np.ndarray | None:
    """Paint the visible part of a picture onto a canvas, in place.

    Without rotation the part is resized, which is four times faster than warping; pixels are then whole at both ends,
    so that the matrix differs a little from what was asked.

    Returns:
        The matrix that holds, or None where nothing was painted.
    """
    if _is_straight(matrix):
        return _resize_onto(canvas, image, matrix, visible)
    return _warp_onto(canvas, image, matrix, visible)


def _resize_onto(canvas: np.ndarray, image: np.ndarray, matrix: np.ndarray, visible: Region) -> np.ndarray | None:
    import cv2

    spans = []
    for axis, side in ((0, 1), (1, 0)):
        gain, shift = float(matrix[axis, axis]), float(matrix[axis, 2])
        begin = max(round(visible[axis] * gain + shift), 0)
        end = min(round(visible[axis + 2] * gain + shift), canvas.shape[side])
        if end <= begin:
            return None
        limit = image.shape[side]
        first = min(max(round((begin - shift) / gain), 0), limit - 1)
        last = min(max(round((end - shift) / gain), first + 1), limit)
        spans.append((begin, end, first, last))
    (left, right, a, b), (top, bottom, c, d) = spans
    to = canvas[top:bottom, left:right]
    cv2.resize(image[c:d, a:b], (right - left, bottom - top), dst=to, interpolation=cv2.INTER_LINEAR)
    gain_x, gain_y = (right - left) / (b - a), (bottom - top) / (d - c)
    return np.array([[gain_x, 0, left - a * gain_x], [0, gain_y, top - c * gain_y], [0, 0, 1]])


def _warp_onto(canvas: np.ndarray, image: np.ndarray, matrix: np.ndarray, visible: Region) -> np.ndarray | None:
    import cv2

    h, w = canvas.shape[:2]
    bounds = move_boxes(np.array([visible], np.float32), matrix)[0].tolist()
    left, top = max(math.floor(bounds[0]), 0), max(math.floor(bounds[1]), 0)
    right, bottom = min(math.ceil(bounds[2]), w), min(math.ceil(bounds[3]), h)
    if right <= left or bottom <= top:
        return None
    # One more pixel around the visible part, or else what is between two neighbours would be nobody's.
    a, c = max(math.floor(visible[0]) - 1, 0), max(math.floor(visible[1]) - 1, 0)
    b, d = min(math.ceil(visible[2]) + 1, image.shape[1]), min(math.ceil(visible[3]) + 1, image.shape[0])
    # cv2 counts coordinates from the middle of pixel 0: half a pixel in, half a pixel out.
    into = np.array([[1, 0, a + 0.5], [0, 1, c + 0.5], [0, 0, 1]])
    out_of = np.array([[1, 0, -left - 0.5], [0, 1, -top - 0.5], [0, 0, 1]])
    own = out_of @ matrix @ into
    to, size = canvas[top:bottom, left:right], (right - left, bottom - top)
    if own[2, 0] or own[2, 1]:
        cv2.warpPerspective(image[c:d, a:b], own, size, to, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT)
    else:
        cv2.warpAffine(image[c:d, a:b], own[:2], size, to, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT)
    return matrix


def move_labels(
    sample: Sample, matrix: np.ndarray, visible: Region, hw: tuple[int, int], config: AugmentConfig
) -> Sample:
    """Move the labels of a picture: cut to its visible part, moved, cut to the canvas; too small ones go, ignored ones stay.

    Boxes follow their masks where they have one, else the moved corners. The image of the result is empty.
    """
    placed, whole = _place_boxes(sample.boxes, matrix, visible, hw)
    masks = None
    if sample.masks is not None:
        masks = tuple(move_masks(sample.masks, matrix, visible, hw))
        for i, rings in enumerate(masks):
            if rings:
                points = np.concatenate(rings) if len(rings) > 1 else rings[0]
                placed[i, :2], placed[i, 2:] = points.min(0), points.max(0)
            elif sample.masks[i]:
                placed[i] = 0  # none of its mask is left
    sides = placed[:, 2:] - placed[:, :2]
    kept = (sides >= config.min_box_px).all(1) & (sides[:, 0] * sides[:, 1] >= config.min_visible * whole)
    if sample.ignored.any():
        kept |= sample.ignored & (sides > 0).all(1)  # what is left of a crowd must not become background
    keypoints = None
    if sample.keypoints is not None:
        keypoints = _move_keypoints(sample.keypoints[kept], matrix, visible, hw)
    return Sample(
        image=sample.image[:0],
        boxes=placed[kept],
        class_ids=sample.class_ids[kept],
        masks=None if masks is None else tuple(m for m, k in zip(masks, kept.tolist(), strict=True) if k),
        keypoints=keypoints,
        ignored=sample.ignored[kept],
        image_id=sample.image_id,
    )


def _is_straight(matrix: np.ndarray) -> bool:
    """Whether a move neither turns nor mirrors."""
    turns = matrix[0, 1] or matrix[1, 0] or matrix[2, 0] or matrix[2, 1]
    return bool(not turns and matrix[0, 0] > 0 and matrix[1, 1] > 0)


def _seen_region(matrix: np.ndarray, visible: Region, hw: tuple[int, int]) -> Region:
    """Return where on the canvas the visible part of a picture lies, after a straight move."""
    (gain_x, _, shift_x), (_, gain_y, shift_y) = matrix[:2].tolist()
    return (
        max(visible[0] * gain_x + shift_x, 0.0),
        max(visible[1] * gain_y + shift_y, 0.0),
        min(visible[2] * gain_x + shift_x, float(hw[1])),
        min(visible[3] * gain_y + shift_y, float(hw[0])),
    )


def _place_boxes(
    boxes: np.ndarray, matrix: np.ndarray, visible: Region, hw: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Move boxes and cut them to what is seen: (M, 4) float32, and the areas (M,) that they would have uncut.

    A straight move keeps boxes boxes: moved first and cut once. Otherwise the part of a box that is visible is moved, so
    that what is outside of it does not widen the bounds.
    """
    if _is_straight(matrix):
        gains, shifts = matrix[(0, 1, 0, 1), (0, 1, 0, 1)], matrix[(0, 1, 0, 1), 2]
        moved = boxes * gains.astype(np.float32) + shifts.astype(np.float32)
        region = np.array(_seen_region(matrix, visible, hw), np.float32)
        placed = np.minimum(np.maximum(moved, region[[0, 1, 0, 1]]), region[[2, 3, 2, 3]])
        return placed, _areas(moved)
    low, high = np.array(visible[:2], np.float32), np.array(visible[2:], np.float32)
    limit = np.array((hw[1], hw[0]), np.float32)
    cut = np.concatenate((np.maximum(boxes[:, :2], low), np.minimum(boxes[:, 2:], high)), 1)
    moved = move_boxes(np.concatenate((cut[:, :2], np.maximum(cut[:, 2:], cut[:, :2])), 1), matrix)
    placed = np.concatenate((np.maximum(moved[:, :2], 0), np.minimum(moved[:, 2:], limit)), 1)
    return placed, _areas(moved) * _areas(boxes) / np.maximum(_areas(cut), 1e-6)


def _areas(boxes: np.ndarray) -> np.ndarray:
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return np.asarray(sides[:, 0] * sides[:, 1])


def move_masks(masks: Sequence[Rings], matrix: np.ndarray, visible: Region, hw: tuple[int, int]) -> list[Rings]:
    """Move masks: cut to the visible part, moved, cut to the canvas; () where nothing is left.

    All points move at once; only rings that cross an edge are cut one by one.
    """
    rings = [ring for mask in masks for ring in mask]
    if not rings:
        return [()] * len(masks)
    ends = np.cumsum([len(ring) for ring in rings])
    starts = np.concatenate([[0], ends[:-1]])
    points = np.concatenate(rings)
    moved = move_points(points, matrix)
    frame = (0.0, 0.0, float(hw[1]), float(hw[0]))
    straight = _is_straight(matrix)
    region = _seen_region(matrix, visible, hw) if straight else frame
    away, whole = _compare(points, starts, visible)
    away_after, whole_after = _compare(moved, starts, frame)
    whole = (whole & whole_after).tolist()
    away = (away | (away_after & (matrix[2, 0] == 0) & (matrix[2, 1] == 0))).tolist()
    out: list[Rings] = []
    place = 0
    for mask in masks:
        kept = []
        for ring in mask:
            if whole[place]:
                kept.append(moved[starts[place] : ends[place]])
            elif not away[place]:
                if straight:
                    cut = clip_ring(moved[starts[place] : ends[place]], region)
                else:
                    cut = clip_ring(ring, visible)
                    cut = clip_ring(move_points(cut, matrix), frame) if len(cut) else cut
                if len(cut):
                    kept.append(cut)
            place += 1
        out.append(tuple(kept))
    return out


def _compare(points: np.ndarray, starts: np.ndarray, region: Region) -> tuple[np.ndarray, np.ndarray]:
    """Say which runs of points lie outside of a region on one side, and which lie wholly inside."""
    low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
    first, last = np.array(region[:2], np.float32), np.array(region[2:], np.float32)
    return ((low >= last) | (high <= first)).any(1), ((low >= first) & (high <= last)).all(1)


def _move_keypoints(keypoints: np.ndarray, matrix: np.ndarray, visible: Region, hw: tuple[int, int]) -> np.ndarray:
    low, high = np.array(visible[:2], np.float32), np.array(visible[2:], np.float32)
    limit = np.array((hw[1], hw[0]), np.float32)
    out: np.ndarray = np.zeros_like(keypoints)
    xy = keypoints[..., :2]
    moved = move_points(xy, matrix)
    inside = ((xy >= low) & (xy <= high) & (moved >= 0) & (moved <= limit)).all(-1) & (keypoints[..., 2] > 0)
    out[inside, :2], out[inside, 2] = moved[inside], keypoints[inside, 2]
    return out


def join_samples(image: np.ndarray, parts: Sequence[Sample], sources: Sequence[Sample], image_id: str = "") -> Sample:
    """Put the objects of several samples into one list, over one image.

    Args:
        image: The image of the result.
        parts: Whose objects.
        sources: Samples that say whether there are masks and keypoints at all.
        image_id: Of the result.
    """
    has_masks = any(s.masks is not None for s in sources)
    num_keypoints = next((s.keypoints.shape[1] for s in sources if s.keypoints is not None), None)
    masks: list[Rings] = []
    keypoints = [np.zeros((0, num_keypoints or 0, 3), np.float32)]
    for part in parts:
        masks += [()] * len(part) if part.masks is None else list(part.masks)
        blank = np.zeros((len(part), num_keypoints or 0, 3), np.float32)
        keypoints.append(blank if part.keypoints is None else part.keypoints)
    return Sample(
        image=image,
        boxes=np.concatenate([np.zeros((0, 4), np.float32), *(p.boxes for p in parts)]),
        class_ids=np.concatenate([np.zeros(0, np.int64), *(p.class_ids for p in parts)]),
        masks=tuple(masks) if has_masks else None,
        keypoints=None if num_keypoints is None else np.concatenate(keypoints),
        ignored=np.concatenate([np.zeros(0, bool), *(p.ignored for p in parts)]),
        image_id=image_id,
    )


def affine(sample: Sample, rng: np.random.Generator, hw: tuple[int, int], config: AugmentConfig) -> Sample:
    """Fit a picture into a canvas, then rotate, scale, shear and shift it at random.

    Args:
        sample: Of any size; not changed.
        rng: Decides how.
        hw: Height and width of the canvas.
        config: How much.
    """
    (h, w), (out_h, out_w) = sample.image.shape[:2], hw
    gain = min(out_h / h, out_w / w)
    dx, dy = (out_w - w * gain) / 2, (out_h - h * gain) / 2
    whole = Placement(sample, gain, dx, dy, (0.0, 0.0, float(out_w), float(out_h)))
    matrix = draw_matrix(config, rng, (out_w / 2, out_h / 2), hw)
    return compose([whole], matrix, hw, config, sample.image_id)
