"""Specification of the inverse letterbox of boxes and keypoints."""

from __future__ import annotations

import numpy as np

from yolokkn.geometry import Letterbox


def inverse_letterbox(boxes: np.ndarray, geometry: Letterbox, *, clip: bool = True) -> np.ndarray:
    """Map boxes (N, 4) from input to frame pixels; see `yolokkn.ops.inverse_letterbox`."""
    with np.errstate(all="ignore"):
        return geometry.to_frame(boxes, clip=clip)


def decode_keypoints(extras: np.ndarray, num_keypoints: int, geometry: Letterbox, *, clip: bool = True) -> np.ndarray:
    """Turn extras (N, K*2 or K*3) into keypoints (N, K, 3); see `yolokkn.ops.decode_keypoints`."""
    values = extras.reshape(len(extras), num_keypoints, -1 if len(extras) else extras.shape[1] // num_keypoints)
    out: np.ndarray = np.ones((len(extras), num_keypoints, 3), np.float32)
    with np.errstate(all="ignore"):
        out[:, :, :2] = geometry.to_frame(values[:, :, :2], clip=clip)
    if values.shape[2] == 3:
        out[:, :, 2] = values[:, :, 2]
    return out
