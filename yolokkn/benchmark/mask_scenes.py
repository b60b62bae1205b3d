"""Plausible outputs of a segmentation model, from a seed: what the mask kernels are measured on.

Boxes' sides are log-normal (median 0.12 of the root of the frame's area, sigma 0.7: many small and few large objects, as COCO
has them); 32 prototypes of smooth noise at 160 x 160 for a 640 x 640 input; coefficients fitted so that each box
holds one blob that fills about two thirds of it: 2 to 3 % of the frame are set per mask.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from yolokkn.geometry import Letterbox

_SIDE, _PLANES = 160, 32


class MaskScene(NamedTuple):
    """The arguments of `ops.assemble_masks`: (N, 32) and (32, 160, 160) float32, (N, 4) float32 xyxy, and the frame's place."""

    coeffs: np.ndarray
    prototypes: np.ndarray
    boxes: np.ndarray
    geometry: Letterbox


def mask_scene(count: int, frame_hw: tuple[int, int], seed: int) -> MaskScene:
    """Return a scene of so many objects in a frame of this height and width."""
    rng = np.random.default_rng(seed)
    h, w = frame_hw
    geometry = Letterbox.fit(frame_hw, (640, 640))
    prototypes = _smooth_noise(rng)
    side = np.clip(rng.lognormal(np.log(0.12), 0.7, count), 0.01, 0.7) * np.sqrt(h * w)
    aspect = rng.lognormal(0, 0.4, count)
    size = np.minimum(np.stack([side * aspect, side / aspect], 1), [w, h])
    corner = rng.uniform(0, 1, (count, 2)) * ([w, h] - size)
    boxes = np.concatenate([corner, corner + size], 1).astype(np.float32)
    coeffs = []
    for box in geometry.to_input(boxes) / 4:
        x1, y1 = np.clip(np.floor(box[:2]).astype(int), 0, _SIDE - 2)
        x2, y2 = np.clip(np.ceil(box[2:]).astype(int), [x1 + 2, y1 + 2], _SIDE)
        coeffs.append(_fit_blob(prototypes, (slice(y1, y2), slice(x1, x2)), rng))
    return MaskScene(np.array(coeffs, np.float32).reshape(-1, _PLANES), prototypes, boxes, geometry)


def _smooth_noise(rng: np.random.Generator) -> np.ndarray:
    """Return (32, 160, 160) noise, from fine to coarse: white noise under Gaussians, in the frequency domain."""
    squares = np.fft.fftfreq(_SIDE)[:, None] ** 2 + np.fft.rfftfreq(_SIDE) ** 2
    planes = []
    for sigma in np.geomspace(3, 40, _PLANES):
        kept = np.fft.rfft2(rng.normal(size=(_SIDE, _SIDE))) * np.exp(-2 * (np.pi * sigma) ** 2 * squares)
        plane = np.fft.irfft2(kept, (_SIDE, _SIDE))
        planes.append(plane / plane.std())
    return np.array(planes, np.float32)


def _fit_blob(prototypes: np.ndarray, region: tuple[slice, slice], rng: np.random.Generator) -> np.ndarray:
    """Return coefficients (32,) whose logits over the region come near an ellipse."""
    planes = prototypes[:, region[0], region[1]]
    h, w = planes.shape[1:]
    y, x = np.mgrid[0:h, 0:w]
    radius = np.hypot((x - (w - 1) / 2) / (w / 2), (y - (h - 1) / 2) / (h / 2))
    target = np.clip(3 * (0.93 + 0.05 * rng.normal() - radius), -1, 1).ravel()
    matrix = planes.reshape(_PLANES, -1).T.astype(np.float64)
    fitted = np.linalg.solve(matrix.T @ matrix + 0.01 * len(target) * np.eye(_PLANES) + 1e-3, matrix.T @ target)
    return (6 * fitted).astype(np.float32)
