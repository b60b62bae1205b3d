"""How much pictures are changed in training; values only."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from yolokkn.configuration import about

_SHARES = ("mosaic", "mosaic9", "mixup", "copy_paste", "flip_lr", "flip_ud", "blur", "noise", "jpeg", "min_visible")


@dataclass(frozen=True)
class AugmentConfig:
    """How much pictures are changed in training. Shares are probabilities, 0 to 1.

    `yolokkn train --help` lists what each field means.

    Example:
        >>> AugmentConfig(mosaic=0.5, flip_lr=0.3).unmixed().mosaic
        0.0
    """

    mosaic: float = about("share of pictures made of four, with three others at random", 1.0)
    mosaic9: float = about("share of the mosaics that are made of nine", 0.0)
    zoom: float = about(
        "size of a mosaic's pictures, times scale's factor: 1 cuts them, 0.5 shows all of them whole",
        1.0,
    )
    mixup: float = about("share of pictures blended with another", 0.0)
    copy_paste: float = about(
        "share of pictures that get objects of another by their masks; tasks with masks only", 0.0
    )
    degrees: float = about("rotation, up to so many degrees either way", 0.0)
    translate: float = about("shift, up to this part of the sides either way", 0.1)
    scale: float = about("size, factor 1 - scale to 1 + scale", 0.5)
    shear: float = about("up to so many degrees either way", 0.0)
    perspective: float = about("up to so much in the matrix's last row; 0.0005 is strong", 0.0)
    hsv_h: float = about("hue turns by up to this part of the circle", 0.015)
    hsv_s: float = about("saturation times 1 - hsv_s to 1 + hsv_s", 0.7)
    hsv_v: float = about("brightness times 1 - hsv_v to 1 + hsv_v", 0.4)
    flip_lr: float = about("share mirrored left to right", 0.5)
    flip_ud: float = about("share turned upside down", 0.0)
    blur: float = about("share blurred a little", 0.01)
    noise: float = about("share with some noise", 0.01)
    jpeg: float = about("share compressed as JPEG of quality 40 to 90", 0.01)
    min_box_px: float = about("boxes with a shorter side go, but for ignored ones", 2.0)
    min_visible: float = about("boxes of which less than this part is left go, but for ignored ones", 0.1)
    pad_value: int = about("what surrounds pictures", 114)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise TypeError(f"AugmentConfig: {field.name} must be a number, got {value!r}")
            if value < 0 or (field.name in _SHARES and value > 1):
                rule = "within 0 and 1" if field.name in _SHARES else "0 or more"
                raise ValueError(f"AugmentConfig: {field.name} must be {rule}, got {value}")
        if not 0.1 <= self.zoom <= 4:
            raise ValueError(f"AugmentConfig: zoom must be within 0.1 and 4, got {self.zoom}")
        if self.scale >= 1 or self.translate > 1 or self.shear >= 60 or self.pad_value > 255:
            raise ValueError(
                "AugmentConfig: scale must be below 1, translate 1 or less, shear below 60 and pad_value 255 or less, "
                f"got {self.scale}, {self.translate}, {self.shear} and {self.pad_value}"
            )

    def unmixed(self) -> AugmentConfig:
        """Return the same without what joins pictures: mosaic, mixup and copy-paste."""
        return replace(self, mosaic=0.0, mixup=0.0, copy_paste=0.0)


LIGHT = AugmentConfig(mosaic=0.0, scale=0.2, hsv_s=0.4, hsv_v=0.3)
