"""A labelled picture, as datasets give it and augmentation changes it. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

Rings = tuple[np.ndarray, ...]  # closed polygons (n, 2) float32 x, y; filled by the even-odd rule


@dataclass(frozen=True)
class Sample:
    """A picture with the objects in it; all fields of the objects have the same length M.

    Coordinates are places between pixels: 0 is the outer edge of the first pixel, 0.5 its middle, the width the outer edge
    of the last. Files' numbers are taken as they are where they mean that (COCO: boxes, polygons and keypoints alike).

    Attributes:
        image: (H, W, 3) uint8 BGR.
        boxes: (M, 4) float32 x1, y1, x2, y2 in pixels of the image.
        class_ids: (M,) int64.
        masks: Per object the rings of its mask in pixels, () where it has none; None where nobody has one.
        keypoints: (M, K, 3) float32 x, y in pixels and visibility 0 (not labelled), 1 (hidden) or 2; None where the
            dataset has none. An object without labelled keypoints has visibility 0 everywhere.
        ignored: (M,) bool: a crowd or "difficult" region: no target, and no background either.
        image_id: What the dataset calls the picture.
    """

    image: np.ndarray
    boxes: np.ndarray
    class_ids: np.ndarray
    masks: tuple[Rings, ...] | None = None
    keypoints: np.ndarray | None = None
    ignored: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    image_id: str = ""

    def __post_init__(self) -> None:
        count = len(self.boxes)
        if len(self.ignored) != count and len(self.ignored) == 0:
            object.__setattr__(self, "ignored", np.zeros(count, bool))
        for name in ("class_ids", "masks", "keypoints", "ignored"):
            value = getattr(self, name)
            if value is not None and len(value) != count:
                raise ValueError(f"Sample: {name} must have the length of boxes ({count}), got {len(value)}")

    def __len__(self) -> int:
        return len(self.boxes)
