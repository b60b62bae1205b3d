"""Masks by hand-tuned NumPy and OpenCV: only the region of each box is resized.

Regions are whole prototype positions, whose size in the frame is a whole number of pixels for the frames measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

ENVIRONMENT = "opencv"
Value = Mapping[str, np.ndarray]


def crops_of(boxes: np.ndarray, frame_hw: Any) -> np.ndarray:
    h, w = frame_hw
    return np.clip(np.ceil(boxes - 0.5), 0, np.array([w, h, w, h])).astype(int)


def OUTPUT(result: Any, value: Value, facts: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The crops one after the other, as bytes of 0 and 1."""
    return {"pixels": np.concatenate([np.asarray(crop, bool).ravel() for crop in result])}


class Scales:
    """How the prototypes lie over the frame."""

    def __init__(self, prototypes: np.ndarray, facts: Mapping[str, Any]) -> None:
        _, self.h, self.w = prototypes.shape
        (in_h, in_w), (gain_x, gain_y) = facts["input_hw"], facts["gain_xy"]
        self.x, self.y = in_w / self.w / gain_x, in_h / self.h / gain_y
        self.off_x, self.off_y = facts["pad_left"] * self.w / in_w, facts["pad_top"] * self.h / in_h

    def region(self, crop: list[int]) -> tuple[int, int, int, int]:
        x1, y1, x2, y2 = crop
        left, right = max(int(x1 / self.x + self.off_x) - 1, 0), min(int(x2 / self.x + self.off_x) + 2, self.w)
        top, bottom = max(int(y1 / self.y + self.off_y) - 1, 0), min(int(y2 / self.y + self.off_y) + 2, self.h)
        return left, top, right, bottom

    def cut(self, resized: np.ndarray, crop: list[int], region: tuple[int, int, int, int]) -> np.ndarray:
        x = crop[0] - round((region[0] - self.off_x) * self.x)
        y = crop[1] - round((region[1] - self.off_y) * self.y)
        return (resized[y : y + crop[3] - crop[1], x : x + crop[2] - crop[0]] > 0).view(np.uint8)


def one_product(facts: Mapping[str, Any]) -> Callable[[Value], Any]:
    """One product over all prototype positions, then per mask a resize of its region and a threshold."""
    import cv2

    cv2.setNumThreads(1)

    def run(value: Value) -> list[np.ndarray]:
        prototypes = value["prototypes"]
        scales = Scales(prototypes, facts)
        logits = (value["coeffs"] @ prototypes.reshape(len(prototypes), -1)).reshape(-1, scales.h, scales.w)
        out = []
        for i, crop in enumerate(crops_of(value["boxes"], facts["frame_hw"]).tolist()):
            left, top, right, bottom = region = scales.region(crop)
            size = round((right - left) * scales.x), round((bottom - top) * scales.y)
            resized = cv2.resize(logits[i, top:bottom, left:right], size, interpolation=cv2.INTER_LINEAR)
            out.append(scales.cut(resized, crop, region))
        return out

    return run


def product_each(facts: Mapping[str, Any]) -> Callable[[Value], Any]:
    """The same with one product per mask, of its region only."""
    import cv2

    cv2.setNumThreads(1)

    def run(value: Value) -> list[np.ndarray]:
        prototypes, coeffs = value["prototypes"], value["coeffs"]
        scales = Scales(prototypes, facts)
        out = []
        for i, crop in enumerate(crops_of(value["boxes"], facts["frame_hw"]).tolist()):
            left, top, right, bottom = region = scales.region(crop)
            part = prototypes[:, top:bottom, left:right].reshape(len(prototypes), -1)
            logits = (coeffs[i] @ part).reshape(bottom - top, right - left)
            size = round((right - left) * scales.x), round((bottom - top) * scales.y)
            out.append(scales.cut(cv2.resize(logits, size, interpolation=cv2.INTER_LINEAR), crop, region))
        return out

    return run


WAYS = {"one product, regions resized": one_product, "a product per region": product_each}
