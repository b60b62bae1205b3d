"""Plausible raw outputs of detectors, from a seed: what decoding and suppression are measured on.

Objects are random boxes on a 640 x 640 input. Every anchor whose cell centre lies within an object and whose stride
fits its size becomes one of its cluster: its box is the object's with noise of 6 % of its size, its logit falls with
the distance from the centre, and two other classes get a part of the logit. The background is noise around
`background` (logits; a standard deviation of 1 shared by the classes of an anchor and 0.6 of each class's own), which
decides how many candidates pass 0.001 (logit -6.9).
"""

from __future__ import annotations

import numpy as np

STRIDES = (8, 16, 32)


def _anchors(size: int, strides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    centres, steps = [], []
    for stride in strides:
        line = (np.arange(size // stride) + 0.5) * stride
        grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
        centres.append(grid)
        steps.append(np.full(len(grid), stride))
    return np.concatenate(centres), np.concatenate(steps)


def v8_head(
    seed: int,
    *,
    num_objects: int,
    num_classes: int = 80,
    extras: int = 0,
    background: float = -10.0,
    size: int = 640,
    copies: int = 1,
) -> np.ndarray:
    """Return (4 + num_classes + extras, A) float32, sigmoid done; extras are points inside the box, for a pose head.

    Args:
        seed: Of the generator.
        num_objects: How many objects there are.
        num_classes: Channels of scores.
        extras: Channels after them, filled x y visibility.
        background: Mean logit where there is no object.
        size: Height and width of the input.
        copies: Anchors for each cell (3 for v5).
    """
    rng = np.random.default_rng(seed)
    centres, steps = (np.repeat(a, copies, axis=0) for a in _anchors(size, STRIDES))
    count = len(centres)
    shared = rng.normal(0, 1.0, (1, count))
    logits = rng.normal(background, 0.6, (num_classes, count)) + shared
    boxes = np.concatenate([centres.T, np.exp(rng.normal(0, 0.5, (2, count))) * steps * 3])
    for _ in range(num_objects):
        w, h = np.exp(rng.uniform(np.log(24), np.log(260), 2))
        cx, cy = rng.uniform(0, size, 2)
        inside = (np.abs(centres[:, 0] - cx) < w / 2) & (np.abs(centres[:, 1] - cy) < h / 2)
        members = np.nonzero(inside & (steps * 2 < max(w, h)) & (steps * 12 > max(w, h)))[0]
        box = np.array([[cx], [cy], [w], [h]])
        boxes[:, members] = box + rng.normal(0, 0.06, (4, len(members))) * np.array([[w], [h], [w], [h]])
        away = np.hypot((centres[members, 0] - cx) / w, (centres[members, 1] - cy) / h)
        peak = rng.normal(1.5, 1.0) - 12 * away + rng.normal(0, 0.4, len(members))
        for class_id, weaker in zip(rng.integers(0, num_classes, 3), (0, 4, 6), strict=True):
            logits[class_id, members] = np.maximum(logits[class_id, members], peak - weaker)
    points = rng.uniform(-0.5, 0.5, (extras, count)) * boxes[2] + boxes[0]
    return np.concatenate([boxes, 1 / (1 + np.exp(-logits)), points]).astype(np.float32)


def v5_head(seed: int, *, num_objects: int, num_classes: int = 80, background: float = -10.0) -> np.ndarray:
    """Return (25200, 5 + num_classes) float32, sigmoid done; the objectness follows the best class."""
    head = v8_head(seed, num_objects=num_objects, num_classes=num_classes, background=background, copies=3)
    rng = np.random.default_rng(seed + 1)
    scores = head[4:]
    objectness = scores.max(0, keepdims=True) ** 0.8
    classes = 1 / (1 + np.exp(-rng.normal(-8, 0.8, scores.shape))) + scores / np.maximum(objectness, 1e-6)
    rows = np.concatenate([head[:4], objectness, np.minimum(classes, 1.0)]).T
    return np.ascontiguousarray(rows, dtype=np.float32)
