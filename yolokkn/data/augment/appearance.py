"""Changes of pixels that leave the labels as they are: colours, blur, noise, compression."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from yolokkn.data.augment.config import AugmentConfig
from yolokkn.data.sample import Sample

_LUMA = np.array((0.114, 0.587, 0.299))  # of BGR
_AXIS = 1 / math.sqrt(3)


def colour_matrix(hue: float, saturation: float, value: float) -> np.ndarray:
    """Return the (3, 3) float32 matrix of BGR that turns the hue, scales the saturation and the brightness.

    Hue turns around the grey axis, saturation scales the distance from the luma: a linear step in place of the way to
    HSV and back, five times faster, and grey stays grey.

    Args:
        hue: Parts of the circle.
        saturation: Factor.
        value: Factor.
    """
    angle = 2 * math.pi * hue
    cos, sin = math.cos(angle), math.sin(angle)
    cross = _AXIS * np.array([[0, 1, -1], [-1, 0, 1], [1, -1, 0]])
    turn = cos * np.eye(3) + sin * cross + (1 - cos) / 3
    fade = saturation * np.eye(3) + (1 - saturation) * np.tile(_LUMA, (3, 1))
    return np.asarray(value * fade @ turn, np.float32)


def hsv(sample: Sample, rng: np.random.Generator, config: AugmentConfig) -> Sample:
    """Turn the hue, scale saturation and brightness at random."""
    import cv2

    h, s, v = rng.uniform(-1, 1, 3).tolist()
    if not (config.hsv_h or config.hsv_s or config.hsv_v):
        return sample
    matrix = colour_matrix(h * config.hsv_h, 1 + s * config.hsv_s, 1 + v * config.hsv_v)
    return replace(sample, image=np.asarray(cv2.transform(sample.image, matrix)))


def degrade(sample: Sample, rng: np.random.Generator, config: AugmentConfig) -> Sample:
    """Blur, add noise or compress a few pictures, each a little."""
    import cv2

    blur, noise, jpeg = rng.random(3).tolist()
    image = sample.image
    if blur < config.blur:
        image = np.asarray(cv2.blur(image, (3, 3)) if rng.random() < 0.5 else cv2.medianBlur(image, 3))
    if noise < config.noise:
        grain = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(2, 10))
        image = np.asarray(cv2.add(image, grain, dtype=cv2.CV_8U))
    if jpeg < config.jpeg:
        quality = int(rng.integers(40, 91))
        done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)) if done else image
    return sample if image is sample.image else replace(sample, image=image)
