"""Drawing results onto frames: boxes, labels, masks, skeletons and trails, on a copy."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from yolokkn.runtime.labels import paint_labels
from yolokkn.runtime.palette import Colour, colour_of, shade_of
from yolokkn.runtime.skeleton import paint_keypoints
from yolokkn.types import Detections, Tracks

Box = Sequence[float]
_SHIFT = 3  # cv2 draws at eighths of a pixel


@dataclass(frozen=True)
class DrawStyle:
    """How results look.

    Attributes:
        line_width: Pixels; None: by the frame's size (2 at 640, 6 at 4K).
        font_scale: Of OpenCV's plain font; None: by the frame's size.
        show_boxes: Draw the rectangles.
        show_labels: Write the class name.
        show_scores: Write the score.
        show_ids: Write the track id.
        mask_alpha: Opacity of masks, 0 (contour only) to 1.
        show_masks: Draw masks.
        show_keypoints: Draw keypoints, and limbs where there are COCO's 17.
        keypoint_threshold: Least visibility of a keypoint that is drawn.
        trail_length: Points of a track's trail at most; 0: none.
        unconfirmed: Draw detections without a track id (thin), where there are tracks.
    """

    line_width: int | None = None
    font_scale: float | None = None
    show_boxes: bool = True
    show_labels: bool = True
    show_scores: bool = True
    show_ids: bool = True
    mask_alpha: float = 0.45
    show_masks: bool = True
    show_keypoints: bool = True
    keypoint_threshold: float = 0.5
    trail_length: int = 40
    unconfirmed: bool = False

    def __post_init__(self) -> None:
        if self.line_width is not None and self.line_width < 1:
            raise ValueError(f"DrawStyle: line_width must be 1 or more, got {self.line_width}")
        if self.font_scale is not None and not self.font_scale > 0:
            raise ValueError(f"DrawStyle: font_scale must be greater than 0, got {self.font_scale}")
        if not 0 <= self.mask_alpha <= 1:
            raise ValueError(f"DrawStyle: mask_alpha must be within 0 and 1, got {self.mask_alpha}")
        if self.trail_length < 0:
            raise ValueError(f"DrawStyle: trail_length must be 0 or more, got {self.trail_length}")


class TrailHistory:
    """Where each track's foot point was: give every result to `update`, then the history to `draw`.

    Args:
        length: Points kept for a track.
        forget_after: Frames after which a track that is not seen loses its trail.
    """

    def __init__(self, length: int = 40, forget_after: int = 5) -> None:
        self._length = length
        self._forget_after = forget_after
        self._points: dict[int, deque[tuple[float, float]]] = {}
        self._seen: dict[int, int] = {}
        self._frame = 0

    def update(self, tracks: Tracks) -> None:
        """Append the middle of each confirmed track's lower edge."""
        self._frame += 1
        for track_id, box in zip(tracks.track_ids.tolist(), tracks.boxes.tolist(), strict=True):
            if track_id < 0 or not all(map(math.isfinite, box)):
                continue
            trail = self._points.setdefault(track_id, deque(maxlen=max(self._length, 1)))
            trail.append(((box[0] + box[2]) / 2, box[3]))
            self._seen[track_id] = self._frame
        for track_id in [t for t, seen in self._seen.items() if self._frame - seen > self._forget_after]:
            del self._points[track_id], self._seen[track_id]

    def __len__(self) -> int:
        return len(self._points)

    def trails(self) -> dict[int, list[tuple[float, float]]]:
        """Return the points of each track seen lately, oldest first."""
        return {track_id: list(points) for track_id, points in self._points.items()}


def draw(
    image: np.ndarray,
    result: Detections,
    *,
    style: DrawStyle | None = None,
    trails: TrailHistory | None = None,
) -> np.ndarray:
    """Draw a result onto a copy of its frame.

    Colours follow the track id where there is one, else the class (masks and skeletons of one class in shades of it);
    labels stay inside the frame and off one another where there is room; limbs of a person's left are green, right orange.
    Of tracks that were carried over a frame which no network saw, the corners of the boxes are drawn alone.

    Args:
        image: (H, W, 3) uint8 BGR; not changed.
        result: Detections or Tracks of this frame.
        style: How it looks; None: the defaults.
        trails: Trails to draw beneath; the caller updates them.

    Returns:
        A new array of the same shape.

    Raises:
        TypeError: The image is not uint8.
        ValueError: The image is not (H, W, 3).

    Cost:
        About 0.4 ms for 10 boxes at 768x576, 0.05 to 0.1 ms more for each trail, 0.1 ms for each mask of 100x100.

    Example:
        >>> draw(np.zeros((8, 8, 3), np.uint8), Detections.empty()).shape
        (8, 8, 3)
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        got = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(f"draw: image must be a NumPy array of uint8, got {got}")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"draw: image must have shape (H, W, 3), got {image.shape}")
    out = np.ascontiguousarray(image.copy())
    if out.size:
        _Painter(out, style or DrawStyle()).paint(result, trails)
    return out


class _Painter:
    """Draws onto one image in place; the sizes follow the image."""

    def __init__(self, image: np.ndarray, style: DrawStyle) -> None:
        import cv2

        self.cv2: Any = cv2
        self.image, self.style = image, style
        side = (image.shape[0] * image.shape[1]) ** 0.5
        self.width = style.line_width or max(round(side / 420 + 0.6), 1)
        self.font_scale = style.font_scale or min(max(side / 1400, 0.35), 3.0)
        self.font_width = max(round(self.font_scale * 1.6), 1)

    def paint(self, result: Detections, trails: TrailHistory | None) -> None:
        rows = self._rows(result)
        colours = self._colours(result, rows)
        if result.masks is not None and self.style.show_masks:
            for i in rows:
                self._mask(result.masks.crop(i), result.masks.crops[i], colours[i])
        if trails is not None and self.style.trail_length:
            for track_id, points in trails.trails().items():
                self._trail(points[-self.style.trail_length :], colour_of(track_id))
        boxes = result.boxes.tolist()
        if self.style.show_boxes:
            is_carried = isinstance(result, Tracks) and result.carried
            for i in rows:
                self._box(boxes[i], colours[i], self.width, is_carried)
        if result.keypoints is not None and self.style.show_keypoints:
            for i in rows:
                self._keypoints(result.keypoints[i], boxes[i], colours[i])
        self._labels(result, rows, boxes, colours)

    def _rows(self, result: Detections) -> list[int]:
        """Rows to draw, the best last so that it lies on top."""
        usable = np.isfinite(result.boxes).all(1)
        if isinstance(result, Tracks) and not self.style.unconfirmed:
            usable &= result.track_ids >= 0
        order = np.argsort(result.scores, kind="stable")
        return [int(i) for i in order if usable[i]]

    @staticmethod
    def _colours(result: Detections, rows: list[int]) -> dict[int, Colour]:
        """By track; else by class, and masks or keypoints of one class in shades of its colour."""
        track_ids = result.track_ids.tolist() if isinstance(result, Tracks) else None
        apart = result.masks is not None or result.keypoints is not None
        colours, met = {}, Counter[int]()
        for i in reversed(rows):
            class_id = int(result.class_ids[i])
            if track_ids is not None and track_ids[i] >= 0:
                colours[i] = colour_of(track_ids[i])
            else:
                colours[i] = shade_of(class_id, met[class_id]) if apart else colour_of(class_id)
                met[class_id] += 1
        return colours

    def _texts(self, result: Detections, rows: list[int]) -> list[str]:
        style, texts = self.style, []
        classes, scores = result.class_ids.tolist(), result.scores.tolist()
        track_ids = result.track_ids.tolist() if isinstance(result, Tracks) and style.show_ids else None
        for i in rows:
            parts = [f"#{track_ids[i]}"] if track_ids is not None and track_ids[i] >= 0 else []
            if style.show_labels:
                parts.append(result.class_name(classes[i]))
            if style.show_scores:
                parts.append(f"{scores[i]:.2f}")
            texts.append(" ".join(parts))
        return texts

    def _fixed(self, points: Any) -> np.ndarray:
        """Continuous pixel coordinates to cv2's fixed point, whose integers are the middles of pixels."""
        limit = 4.0 * max(self.image.shape[:2])
        clipped = np.minimum(np.maximum(np.asarray(points, np.float64) - 0.5, -limit), limit)
        return np.asarray(np.rint(clipped * (1 << _SHIFT)).astype(np.int32))

    def _box(self, box: Box, colour: Colour, width: int, corners_only: bool) -> None:
        h, w = self.image.shape[:2]
        x1, y1, x2, y2 = min(max(box[0], 0), w), min(max(box[1], 0), h), min(max(box[2], 0), w), min(max(box[3], 0), h)
        left, top, right, bottom = round(x1), round(y1), round(x2) - 1, round(y2) - 1
        left, top = min(left, w - 1), min(top, h - 1)  # a box on the frame's very edge still shows
        right, bottom = max(right, left), max(bottom, top)
        if width <= 3 and not corners_only:  # rectangles of single lines, one in the other
            for k in range(width):
                corner = max(right - k, left), max(bottom - k, top)
                self.cv2.rectangle(self.image, (min(left + k, right), min(top + k, bottom)), corner, colour, 1)
            return
        inner_l, inner_t = min(left + width - 1, right), min(top + width - 1, bottom)
        inner_r, inner_b = max(right - width + 1, left), max(bottom - width + 1, top)
        # four bars instead of one thick line: it lies inside the box, whatever the width
        bars = [
            (left, top, right, inner_t),
            (left, inner_b, right, bottom),
            (left, top, inner_l, bottom),
            (inner_r, top, right, bottom),
        ]
        if corners_only:
            bars = [end for bar in bars for end in _ends(bar)]
        for bar in bars:
            self.cv2.rectangle(self.image, bar[:2], bar[2:], colour, -1)

    def _labels(self, result: Detections, rows: list[int], boxes: list[Box], colours: dict[int, Colour]) -> None:
        texts = self._texts(result, rows)
        if not any(texts):
            return
        rank = {i: -k for k, i in enumerate(rows)}  # the best choose their places first
        if isinstance(result, Tracks):
            rank = dict(enumerate(result.track_ids.tolist()))  # the same first in every frame
        paint_labels(
            self.cv2,
            self.image,
            texts,
            [boxes[i] for i in rows],
            [colours[i] for i in rows],
            sorted(range(len(rows)), key=lambda k: rank[rows[k]]),
            (self.font_scale, self.font_width),
        )

    def _mask(self, bitmap: np.ndarray, crop: np.ndarray, colour: Colour) -> None:
        cv2 = self.cv2
        x1, y1, x2, y2 = (int(v) for v in crop)
        h, w = self.image.shape[:2]
        if not (0 <= x1 < x2 <= w and 0 <= y1 < y2 <= h):
            return
        region = self.image[y1:y2, x1:x2]
        if self.style.mask_alpha > 0:
            cv2.copyTo(cv2.LUT(region, tint_table(colour, self.style.mask_alpha)), bitmap, region)
        contours, _ = cv2.findContours(bitmap, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        width = max(self.width - 1, 1)  # smooth lines wider than a pixel cost six times as much
        cv2.drawContours(region, contours, -1, colour, width, cv2.LINE_AA if width == 1 else cv2.LINE_8)

    def _keypoints(self, keypoints: np.ndarray, box: Box, colour: Colour) -> None:
        seen = (keypoints[:, 2] >= self.style.keypoint_threshold) & np.isfinite(keypoints).all(1)
        if not seen.any():
            return
        points = self._fixed(np.where(seen[:, None], keypoints[:, :2], 0))
        height_px = min(max(box[3] - box[1], 0.0), 1e6)
        paint_keypoints(
            self.cv2, self.image, points, seen, colour, height_px=height_px, line_width=self.width, shift=_SHIFT
        )

    def _trail(self, points: list[tuple[float, float]], colour: Colour) -> None:
        """A line that thins and darkens towards its past; drawn in a few pieces of equal shade."""
        if len(points) < 2:
            return
        points = points[::-2][::-1] if len(points) > 8 else points  # the cost follows the number of segments
        fixed = self._fixed(points).reshape(-1, 1, 2)
        pieces = min(4, len(points) - 1)
        for k in range(pieces):
            strength = (k + 1) / pieces
            shade = tuple(round(channel * (0.35 + 0.65 * strength)) for channel in colour)
            width = max(round(self.width * (0.4 + 0.6 * strength)), 1)
            begin, end = (len(points) - 1) * k // pieces, (len(points) - 1) * (k + 1) // pieces
            self.cv2.polylines(self.image, [fixed[begin : end + 1]], False, shade, width, self.cv2.LINE_AA, _SHIFT)


@lru_cache(maxsize=256)
def tint_table(colour: Colour, alpha: float) -> np.ndarray:
    """Return the table that mixes a colour into each channel: (1, 256, 3) uint8 for `cv2.LUT`."""
    levels = np.arange(256)[None, :, None] * (1 - alpha) + np.array(colour) * alpha
    return np.asarray(np.rint(levels).astype(np.uint8))


def _ends(bar: tuple[int, int, int, int]) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
    """Return the quarters at both ends of a bar: left, top, right, bottom, all inside."""
    left, top, right, bottom = bar
    if right - left >= bottom - top:
        length = max((right - left + 1) // 4, 1)
        return (left, top, left + length - 1, bottom), (right - length + 1, top, right, bottom)
    length = max((bottom - top + 1) // 4, 1)
    return (left, top, right, top + length - 1), (left, bottom - length + 1, right, bottom)
