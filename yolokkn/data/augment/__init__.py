"""Augmentation: pure functions of a sample and a random generator; boxes, masks and keypoints move together."""

from __future__ import annotations

from yolokkn.data.augment.appearance import degrade, hsv
from yolokkn.data.augment.config import LIGHT, AugmentConfig
from yolokkn.data.augment.fit import letterbox, letterbox_image, reduce_image
from yolokkn.data.augment.flip import flip
from yolokkn.data.augment.geometry import affine
from yolokkn.data.augment.mix import copy_paste, mixup
from yolokkn.data.augment.mosaic import mosaic
from yolokkn.data.augment.recipe import augment

__all__ = [
    "LIGHT",
    "AugmentConfig",
    "affine",
    "augment",
    "copy_paste",
    "degrade",
    "flip",
    "hsv",
    "letterbox",
    "letterbox_image",
    "mixup",
    "mosaic",
    "reduce_image",
]
