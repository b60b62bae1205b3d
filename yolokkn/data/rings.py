"""Masks as rings: closed polygons, filled by the even-odd rule; clipped, moved, and turned from and into bitmaps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolokkn.data.sample import Rings

_SHIFT = 4  # cv2 fills at sixteenths of a pixel
_FAR = float(1 << 16)


def clip_ring(ring: np.ndarray, region: Sequence[float]) -> np.ndarray:
    """Cut a ring to an axis-aligned rectangle.

    Args:
        ring: (n, 2) x, y.
        region: x1, y1, x2, y2.

    Returns:
        (m, 2) of the same dtype; m is 0 where nothing is left.

    Source: I. Sutherland and G. Hodgman, Reentrant polygon clipping, 1974.

    Example:
        >>> clip_ring(np.array([[0, 0], [4, 0], [4, 2], [0, 2]], np.float32), (1, 0, 9, 9)).tolist()
        [[1.0, 0.0], [4.0, 0.0], [4.0, 2.0], [1.0, 2.0]]
    """
    x1, y1, x2, y2 = region
    low, high = ring.min(0), ring.max(0)
    if low[0] >= x2 or high[0] <= x1 or low[1] >= y2 or high[1] <= y1:
        return ring[:0]
    for axis, limit, side in ((0, x1, low), (0, x2, high), (1, y1, low), (1, y2, high)):
        if side is low and low[axis] < limit:
            ring = _clip_side(ring, ring[:, axis] - limit, axis, limit)
        elif side is high and high[axis] > limit:
            ring = _clip_side(ring, limit - ring[:, axis], axis, limit)
        if len(ring) < 3:
            return ring[:0]
    return ring


def _clip_side(ring: np.ndarray, distance: np.ndarray, axis: int, limit: float) -> np.ndarray:
    """Keep what of a ring lies on one side of a line, by the distances of its points (0 or more is kept)."""
    inside = distance >= 0
    crossings = np.flatnonzero(inside != np.concatenate((inside[1:], inside[:1])))
    if not len(crossings):
        return ring if inside[0] else ring[:0]
    after: np.ndarray = (crossings + 1) % len(ring)
    t = distance[crossings] / (distance[crossings] - distance[after])
    cuts = ring[crossings] + t[:, None] * (ring[after] - ring[crossings])
    cuts[:, axis] = limit
    if len(crossings) > 2:
        return np.insert(ring, crossings + 1, cuts, 0)[np.insert(inside, crossings + 1, True)]
    first = int(inside[crossings[0]])  # the crossing that leads in
    (begin, end) = (int(after[first]), int(after[1 - first]))
    runs = (ring[begin:end],) if begin < end else (ring[begin:], ring[:end])
    return np.concatenate((cuts[first : first + 1], *runs, cuts[1 - first : 2 - first]))


def clip_rings(rings: Rings, region: Sequence[float]) -> Rings:
    """Cut the rings of a mask to a rectangle; those of which nothing is left go."""
    clipped = (clip_ring(ring, region) for ring in rings)
    return tuple(ring for ring in clipped if len(ring))


def rings_bounds(rings: Rings) -> np.ndarray:
    """Return the bounding box of a mask's rings: (4,) float32 xyxy; zeros where there are none."""
    if not rings:
        return np.zeros(4, np.float32)
    points = np.concatenate(rings) if len(rings) > 1 else rings[0]
    return np.concatenate((points.min(0), points.max(0))).astype(np.float32)


def fill_rings(rings: Rings, hw: tuple[int, int], scale: float = 1.0, out: np.ndarray | None = None) -> np.ndarray:
    """Paint a mask.

    Args:
        rings: Its rings, in pixels.
        hw: Height and width of the bitmap.
        scale: Bitmap pixels per pixel of the rings.
        out: (H, W) uint8 of zeros to paint into; None makes a new array.

    Returns:
        (H, W) uint8, 0 or 1.
    """
    bitmap: np.ndarray = np.zeros((1, *hw), np.uint8) if out is None else out[None]
    fill_masks((rings,), bitmap, scale)
    return bitmap[0]


def fill_masks(masks: Sequence[Rings], out: np.ndarray, scale: float = 1.0) -> None:
    """Paint several masks, each into a bitmap of its own.

    Args:
        masks: The rings of each, in pixels.
        out: (M, H, W) uint8 of zeros to paint into.
        scale: Bitmap pixels per pixel of the rings.
    """
    import cv2

    filled = [i for i, rings in enumerate(masks) if rings]
    if not filled:
        return
    rings = [ring for i in filled for ring in masks[i]]
    ends = np.cumsum([len(ring) for ring in rings])
    counts = [len(masks[i]) for i in filled]
    firsts = np.concatenate(([0], np.cumsum(counts)[:-1]))  # ring with which each mask begins
    points = np.concatenate(rings) if len(rings) > 1 else rings[0]
    starts = np.concatenate(([0], ends[:-1]))
    h, w = out.shape[1:]
    sides = np.array((w, h))
    low = np.clip(np.floor(np.minimum.reduceat(points, starts[firsts]) * scale), 0, sides).astype(int)
    high = np.clip(np.ceil(np.maximum.reduceat(points, starts[firsts]) * scale), 0, sides).astype(int)
    # A pixel is inside by its centre. cv2 also paints the outline, half a pixel too much on each side: the rings are
    # filled at twice the size, and a pixel is set where two opposite quarters of it are, which is right on average.
    # cv2 counts from the middle of pixel 0.
    doubled = np.clip((2 * scale) * points - np.float32(0.5), -_FAR, _FAR)
    fixed = np.rint(doubled * (1 << _SHIFT)).astype(np.int32)
    pieces = [fixed[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
    spans = zip(filled, firsts.tolist(), counts, low.tolist(), high.tolist(), strict=True)
    for i, first, count, (x1, y1), (x2, y2) in spans:
        if x2 <= x1 or y2 <= y1:
            continue
        double: np.ndarray = np.zeros((2 * (y2 - y1), 2 * (x2 - x1)), np.uint8)
        own = pieces[first : first + count]
        own = [piece - np.array((2 * x1 << _SHIFT, 2 * y1 << _SHIFT), np.int32) for piece in own]
        cv2.fillPoly(double, own, 1, cv2.LINE_8, _SHIFT)
        np.bitwise_and(double[::2, ::2], double[1::2, 1::2], out=out[i, y1:y2, x1:x2])


def mask_to_rings(mask: np.ndarray, origin: tuple[float, float] = (0.0, 0.0), tolerance_px: float = 0.5) -> Rings:
    """Trace the outlines of a bitmap along the pixels' edges, holes too.

    Args:
        mask: (H, W), any value but 0 counts as set.
        origin: x, y of the bitmap's corner.
        tolerance_px: By how much an outline may be simplified; 0 keeps each step.

    Returns:
        Rings of 3 points or more.

    Example:
        >>> mask_to_rings(np.ones((2, 3), np.uint8))[0].tolist()
        [[0.0, 0.0], [0.0, 2.0], [3.0, 2.0], [3.0, 0.0]]
    """
    import cv2

    h, w = mask.shape
    # Each pixel becomes 3 x 3 points of a grid of half pixels: outlines through points lie on the pixels' edges.
    grid: np.ndarray = np.zeros((2 * h + 1, 2 * w + 1), np.uint8)
    grid[1::2, 1::2] = mask != 0
    grid = np.asarray(cv2.dilate(grid, np.ones((3, 3), np.uint8)))
    outlines, _ = cv2.findContours(grid, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    shift = np.array(origin, np.float32)
    rings = []
    for outline in outlines:
        if tolerance_px > 0 and len(outline) > 8:
            outline = cv2.approxPolyDP(outline, 2 * tolerance_px, True)
        if len(outline) >= 3:
            rings.append(outline.reshape(-1, 2).astype(np.float32) / 2 + shift)
    return tuple(rings)


def merge_overlapping(rings: Rings) -> Rings:
    """Turn polygons whose union is a mask into rings of the even-odd rule: those that overlap are merged."""
    import cv2

    if len(rings) < 2 or not any_overlap(rings):
        return rings
    low = np.floor(np.min([r.min(0) for r in rings], 0))
    high = np.ceil(np.max([r.max(0) for r in rings], 0))
    w, h = np.minimum(np.maximum(high - low, 1), 20_000).astype(int).tolist()
    canvas: np.ndarray = np.zeros((h, w), np.uint8)
    for ring in rings:
        one = fill_rings((ring - low.astype(np.float32),), (h, w))
        canvas = np.asarray(cv2.bitwise_or(canvas, one))
    return mask_to_rings(canvas, (float(low[0]), float(low[1]))) or rings


def any_overlap(rings: Rings) -> bool:
    """Say whether a ring has a corner inside of another: only then is the union not what the even-odd rule fills."""
    import cv2

    bounds = [(*r.min(0), *r.max(0)) for r in rings]
    for i, a in enumerate(bounds):
        for j in range(i + 1, len(bounds)):
            b = bounds[j]
            if a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3]:
                continue
            for first, second in ((i, j), (j, i)):
                contour = np.ascontiguousarray(rings[second], np.float32).reshape(-1, 1, 2)
                for point in rings[first]:
                    if cv2.pointPolygonTest(contour, (float(point[0]), float(point[1])), False) > 0:
                        return True
    return False
