"""Specification of the masks: assembled pixel by pixel, encoded and traced from the painted frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from yolokkn.geometry import Letterbox
from yolokkn.types import Masks

_STEPS = ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))  # x, y: counter-clockwise on the screen


def node_logits(coeffs: np.ndarray, prototypes: np.ndarray) -> np.ndarray:
    """Compute coeffs (N, P) x prototypes (P, h, w) -> (N, h, w) float32, summed in order; 0 where it is not finite."""
    logits = np.zeros((len(coeffs), *prototypes.shape[1:]), np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        for p in range(len(prototypes)):
            logits += coeffs[:, p, None, None] * prototypes[p]
    return np.where(np.isfinite(logits), logits, np.float32(0))


def mask_crops(boxes: np.ndarray, frame_hw: tuple[int, int]) -> np.ndarray:
    """Find the pixels whose centres lie inside boxes (N, 4) -> (N, 4) int32, clipped; 0 0 0 0 where there are none."""
    crops: np.ndarray = np.zeros((len(boxes), 4), np.int32)
    h, w = frame_hw
    for i, box in enumerate(boxes.astype(np.float64)):
        if np.isfinite(box).all():
            x1, y1, x2, y2 = np.clip(np.ceil(box - 0.5), 0, [w, h, w, h])
            if x2 > x1 and y2 > y1:
                crops[i] = x1, y1, x2, y2
    return crops


def sample_logits(logits: np.ndarray, crop: np.ndarray, geometry: Letterbox) -> np.ndarray:
    """Sample logits (h, w) bilinearly at the centres of a crop's pixels -> (crop h, crop w) float32."""
    h, w = logits.shape
    x1, y1, x2, y2 = (int(v) for v in crop)
    gain_x, gain_y = geometry.gain_xy
    px = (np.arange(x1, x2) + 0.5) * gain_x + geometry.pad_left
    py = (np.arange(y1, y2) + 0.5) * gain_y + geometry.pad_top
    left, fx = _split(px * (w / geometry.input_hw[1]) - 0.5, w)
    top, fy = _split(py * (h / geometry.input_hw[0]) - 0.5, h)
    fy = fy[:, None]
    rows = (1 - fy) * logits[top] + fy * logits[np.minimum(top + 1, h - 1)]
    return (1 - fx) * rows[:, left] + fx * rows[:, np.minimum(left + 1, w - 1)]


def _split(positions: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    positions = np.clip(positions, 0, count - 1)
    nodes = np.floor(positions).astype(int)
    return nodes, (positions - nodes).astype(np.float32)


def assemble_masks(coeffs: np.ndarray, prototypes: np.ndarray, boxes: np.ndarray, geometry: Letterbox) -> Masks:
    """Assemble masks from prototypes; see `yolokkn.ops.assemble_masks`."""
    crops = mask_crops(boxes, geometry.image_hw)
    logits = node_logits(coeffs, prototypes)
    parts = [(sample_logits(logits[i], crop, geometry) > 0).ravel() for i, crop in enumerate(crops)]
    data = np.concatenate([np.zeros(0, bool), *parts]).astype(np.uint8)
    return Masks(data, crops, geometry.image_hw)


def encode_rle(masks: Masks) -> list[dict[str, Any]]:
    """Encode masks as COCO's compressed run lengths; see `yolokkn.ops.encode_rle`."""
    return [{"size": list(masks.frame_hw), "counts": rle_string(run_lengths(full))} for full in paint_masks(masks)]


def run_lengths(full: np.ndarray) -> list[int]:
    """Count the runs of a painted mask (H, W), column by column, the first one of zeros."""
    pixels = np.concatenate([[False], full.ravel(order="F")])
    ends = [*np.flatnonzero(pixels[1:] != pixels[:-1]), full.size]
    return [int(n) for n in np.diff([0, *ends])]


def rle_string(runs: list[int]) -> bytes:
    """Write run lengths in COCO's compressed form: as differences of every other one, 5 bits a character."""
    text = bytearray()
    for i, run in enumerate(runs):
        value = run - runs[i - 2] if i > 2 else run
        while True:
            digit, value = value & 31, value >> 5
            done = value == (-1 if digit & 16 else 0)
            text.append(48 + digit + (0 if done else 32))
            if done:
                break
    return bytes(text)


def rle_runs(text: bytes) -> list[int]:
    """Read run lengths from COCO's compressed form.

    Raises:
        ValueError: The text is malformed.
    """
    runs: list[int] = []
    value = digits = 0
    for character in text:
        code = character - 48
        if not 0 <= code < 64 or digits == 7:
            raise ValueError(f"decode_rle: counts must hold COCO's characters, got {text!r}")
        value |= (code & 31) << 5 * digits
        digits += 1
        if not code & 32:
            value -= (1 << 5 * digits) if code & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            if not 0 <= runs[-1] < 2**32:
                raise ValueError(f"decode_rle: counts must hold run lengths from 0 to 2**32 - 1, got {runs[-1]}")
            value = digits = 0
    if digits:
        raise ValueError("decode_rle: counts must end with a complete number, got a truncated string")
    return runs


def decode_rle(rles: Sequence[Mapping[str, Any]]) -> Masks:
    """Decode COCO run lengths; see `yolokkn.ops.decode_rle`."""
    crops: np.ndarray = np.zeros((len(rles), 4), np.int32)
    parts: list[np.ndarray] = [np.zeros(0, np.uint8)]
    h, w = rles[0]["size"] if rles else (0, 0)
    for i, rle in enumerate(rles):
        counts = rle["counts"].encode("ascii") if isinstance(rle["counts"], str) else rle["counts"]
        runs = rle_runs(counts) if isinstance(counts, bytes) else list(counts)
        if tuple(rle["size"]) != (h, w) or sum(runs) != h * w or any(run < 0 for run in runs):
            raise ValueError(f"decode_rle: rles[{i}] must have runs of 0 or more that sum to {h}x{w}, got {sum(runs)}")
        full = np.repeat(np.arange(len(runs)) % 2, runs).reshape(w, h).T
        ys, xs = np.nonzero(full)
        if len(xs):
            crops[i] = x1, y1, x2, y2 = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
            parts.append(full[y1:y2, x1:x2].astype(np.uint8).ravel())
    return Masks(np.concatenate(parts), crops, (int(h), int(w)))


def paint_masks(masks: Masks, out: np.ndarray | None = None) -> np.ndarray:
    """Paint every mask at the size of the frame; see `yolokkn.ops.paint_masks`."""
    out = np.empty((len(masks), *masks.frame_hw), bool) if out is None else out
    out[:] = False
    for i, (x1, y1, x2, y2) in enumerate(masks.crops):
        out[i, y1:y2, x1:x2] = masks.crop(i) != 0
    return out


def mask_polygons(masks: Masks) -> list[list[np.ndarray]]:
    """Trace the outermost borders; see `yolokkn.ops.mask_polygons`."""
    return [
        [_trace(part) + masks.crops[i, :2] for part in _outermost_components(masks.crop(i) != 0)]
        for i in range(len(masks))
    ]


def _flood(passable: np.ndarray, seed: tuple[int, int], steps: tuple[tuple[int, int], ...]) -> np.ndarray:
    reached = np.zeros_like(passable)
    reached[seed] = True
    todo = [seed]
    while todo:
        y, x = todo.pop()
        for dx, dy in steps:
            v, u = y + dy, x + dx
            if 0 <= v < passable.shape[0] and 0 <= u < passable.shape[1] and passable[v, u] and not reached[v, u]:
                reached[v, u] = True
                todo.append((v, u))
    return reached


def _outermost_components(bitmap: np.ndarray) -> list[np.ndarray]:
    """Split a bitmap into the 8-connected components that touch the outside (4-connected), by their first pixels."""
    if bitmap.size == 0:
        return []
    outside = _flood(np.pad(~bitmap, 1, constant_values=True), (0, 0), _STEPS[::2])
    beside = outside[:-2, 1:-1] | outside[2:, 1:-1] | outside[1:-1, :-2] | outside[1:-1, 2:]
    left, components = bitmap.copy(), []
    while left.any():
        y, x = divmod(int(np.flatnonzero(left.ravel())[0]), left.shape[1])
        component = _flood(left, (y, x), _STEPS)
        left &= ~component
        if (component & beside).any():
            components.append(component)
    return components


def _trace(component: np.ndarray) -> np.ndarray:
    """Walk round a component from its first pixel, outside on the right hand; keep the pixels where the walk turns."""
    padded = np.pad(component, 1)
    y, x = divmod(int(np.flatnonzero(padded.ravel())[0]), padded.shape[1])
    walk: list[tuple[int, int, int]] = []
    start, back = (x, y), 4
    while True:
        for direction in range(back + 1, back + 9):
            dx, dy = _STEPS[direction % 8]
            if padded[y + dy, x + dx]:
                break
        else:
            return np.array([[x - 1, y - 1]], np.int32)
        direction %= 8
        if walk and walk[0] == (x, y, direction) and (x, y) == start:
            break
        walk.append((x, y, direction))
        x, y, back = x + dx, y + dy, (direction + 4) % 8
    turns = [(px - 1, py - 1) for i, (px, py, step) in enumerate(walk) if step != walk[i - 1][2]]
    return np.array(turns, np.int32)
